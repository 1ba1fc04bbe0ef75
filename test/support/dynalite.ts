/** A real embedded DynamoDB in a worker (it needs an event loop of its own), on a free loopback port, in memory. */
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { embeddedDynamo, type EmbeddedDynamo } from './embedded.js';

export type Dynalite = EmbeddedDynamo;

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
  return embeddedDynamo(`http://127.0.0.1:${portInUse}`, () => worker.terminate());
}
