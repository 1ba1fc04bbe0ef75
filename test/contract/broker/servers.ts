/**
 * The DynamoDB servers that contract suites run against: dynalite and the database of the benches, or
 * DynamoDB Local when SHOAL_TEST_DYNAMODB=local, as `npm run test:dynamodb-local` sets it.
 */
import { startDynalite } from '../../support/dynalite.js';
import { startDynamodbLocal } from '../../support/dynamodb-local.js';
import { startFastDatabase } from '../../support/fast-database.js';
import type { Dynamo, DynamoOptions } from '../../../services/dynamo/dynamo.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { FaultProxy } from '../../support/fault-proxy.js';

export interface DynamoServer {
  readonly name: 'dynalite' | 'fast database' | 'DynamoDB Local';
  start(): Promise<EmbeddedDynamo>;
}

const dynalite: DynamoServer = { name: 'dynalite', start: () => startDynalite() };
const fastDatabase: DynamoServer = { name: 'fast database', start: startFastDatabase };
const dynamodbLocal: DynamoServer = { name: 'DynamoDB Local', start: () => startDynamodbLocal() };

export const dynamoServers: readonly DynamoServer[] =
  process.env['SHOAL_TEST_DYNAMODB'] === 'local' ? [dynamodbLocal] : [dynalite, fastDatabase];

export interface FaultyServer {
  readonly proxy: FaultProxy;
  readonly dynamo: Dynamo;
  stop(): Promise<void>;
}

/** A server behind a proxy that passes everything until a test says otherwise. */
export async function startFaulty(server: DynamoServer, options: Partial<DynamoOptions> = {}): Promise<FaultyServer> {
  const { endpoint, open, stop } = await server.start();
  const proxy = await FaultProxy.start(endpoint);
  return {
    proxy,
    dynamo: await open({ ...options, endpoint: proxy.endpoint }),
    stop: async () => {
      await proxy.close();
      await stop();
    },
  };
}
