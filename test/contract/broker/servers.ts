/**
 * The DynamoDB servers that contract suites run against: dynalite always, DynamoDB Local when
 * SHOAL_TEST_DYNAMODB=local, as `npm run test:dynamodb-local` sets it.
 */
import { startDynalite } from '../../support/dynalite.js';
import { startDynamodbLocal } from '../../support/dynamodb-local.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';

export interface DynamoServer {
  readonly name: 'dynalite' | 'DynamoDB Local';
  start(): Promise<EmbeddedDynamo>;
}

const dynalite: DynamoServer = { name: 'dynalite', start: () => startDynalite() };
const dynamodbLocal: DynamoServer = { name: 'DynamoDB Local', start: () => startDynamodbLocal() };

export const dynamoServers: readonly DynamoServer[] =
  process.env['SHOAL_TEST_DYNAMODB'] === 'local' ? [dynamodbLocal] : [dynalite];
