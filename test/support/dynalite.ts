/**
 * A real embedded DynamoDB in a worker (it needs an event loop of its own), on a free loopback port, in memory.
 * `open` gives a client with tables of its own, so that tests that share a server do not meet.
 */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { createTables, Dynamo, type DynamoOptions } from '../../services/dynamo/dynamo.js';

export interface Dynalite {
  readonly endpoint: string;
  /** A client over empty tables with a prefix that nobody else has. Closed by `stop`. */
  open(options?: Partial<DynamoOptions>): Promise<Dynamo>;
  stop(): Promise<void>;
}

const server = `
  const { parentPort, workerData } = require('node:worker_threads');
  const server = require(workerData.dynalite)({ createTableMs: 0, path: workerData.path });
  server.on('error', (error) => { throw error; });
  server.listen(workerData.port, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

/** `path` keeps the data in a folder; without it in memory. `port` to come back where another one was. */
export async function startDynalite(path?: string, port = 0): Promise<Dynalite> {
  const dynalite = createRequire(import.meta.url).resolve('dynalite');
  const worker = new Worker(server, { eval: true, workerData: { dynalite, path, port } });
  const portInUse = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  const endpoint = `http://127.0.0.1:${portInUse}`;
  const clients: Dynamo[] = [];
  return {
    endpoint,
    async open(options = {}) {
      const tablePrefix = `test${clients.length}-`;
      const dynamo = new Dynamo({
        endpoint,
        region: 'eu-central-1',
        tablePrefix,
        requestTimeoutMs: 10_000,
        ...options,
      });
      clients.push(dynamo);
      await createTables(dynamo);
      return dynamo;
    },
    async stop() {
      for (const dynamo of clients) dynamo.close();
      await worker.terminate();
    },
  };
}
