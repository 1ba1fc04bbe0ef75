/** Clients of an embedded DynamoDB, each with tables of its own, so that tests that share a server do not meet. */
import { createTables, Dynamo, type DynamoOptions } from '../../services/dynamo/dynamo.js';

export interface EmbeddedDynamo {
  readonly endpoint: string;
  /** A client over empty tables with a prefix that nobody else has. Closed by `stop`. */
  open(options?: Partial<DynamoOptions>): Promise<Dynamo>;
  stop(): Promise<void>;
}

/** `stopServer` is called once the clients are closed. */
export function embeddedDynamo(endpoint: string, stopServer: () => Promise<unknown>): EmbeddedDynamo {
  const clients: Dynamo[] = [];
  return {
    endpoint,
    async open(options = {}) {
      const base = {
        endpoint,
        region: 'eu-central-1',
        tablePrefix: `test${clients.length}-`,
        requestTimeoutMs: 10_000,
      };
      const dynamo = new Dynamo({ ...base, ...options });
      clients.push(dynamo);
      // Whatever the test has in mind for its own calls: an emulator that has just started takes its time.
      const patient = new Dynamo({ ...base, ...(options.tablePrefix && { tablePrefix: options.tablePrefix }) });
      await createTables(patient);
      patient.close();
      return dynamo;
    },
    async stop() {
      for (const dynamo of clients) dynamo.close();
      await stopServer();
    },
  };
}
