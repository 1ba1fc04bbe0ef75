/** What the broker's own way to DynamoDB says is what the SDK says: the same requests, the same answers, the same errors. */
import {
  BatchGetItemCommand,
  BatchWriteItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  UpdateItemCommand,
} from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Http } from '../../../services/dynamo/http.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { dynamoServers } from './servers.js';

const commands = {
  PutItem: PutItemCommand,
  GetItem: GetItemCommand,
  UpdateItem: UpdateItemCommand,
  DeleteItem: DeleteItemCommand,
  Query: QueryCommand,
  BatchWriteItem: BatchWriteItemCommand,
  BatchGetItem: BatchGetItemCommand,
};
type Action = keyof typeof commands;
type Send = (input: object) => Parameters<DynamoDBClient['send']>[0];

const credentials = { accessKeyId: 'embedded', secretAccessKey: 'embedded' };
const region = 'eu-central-1';
const metered = { ReturnConsumedCapacity: 'TOTAL' };
const key = (sk: string) => ({ pk: { S: 'acme#ä' }, sk: { S: sk } });
const item = (sk: string) => ({
  ...key(sk),
  n: { N: '7' },
  l: { L: [{ NULL: true }, { BOOL: false }] },
  t: { S: 'ü\n"' },
});

describe.each(dynamoServers)('over $name', ({ start }) => {
  let server: EmbeddedDynamo;
  let sdk: DynamoDBClient;
  let ours: Http;
  let table: string;

  beforeAll(async () => {
    server = await start();
    table = (await server.open()).tableName('inbox');
    const { endpoint } = server;
    sdk = new DynamoDBClient({ region, endpoint, credentials, maxAttempts: 1 });
    ours = new Http({
      region,
      endpoint: () => Promise.resolve(new URL(endpoint)),
      credentials: () => Promise.resolve(credentials),
    });
  });
  afterAll(async () => {
    sdk.destroy();
    ours.close();
    await server.stop();
  });

  /** An answer, or what of an error counts. */
  async function outcome(answer: Promise<object>): Promise<object> {
    try {
      const { $metadata: _, ...said } = (await answer) as { $metadata?: unknown };
      return { said };
    } catch (error) {
      const { name, message, Item, $metadata } = error as Error & {
        Item?: unknown;
        $metadata?: Record<string, unknown>;
      };
      return {
        name,
        message,
        Item,
        status: $metadata?.['httpStatusCode'],
        isNumbered: $metadata?.['requestId'] !== undefined,
      };
    }
  }

  const bySdk = (action: Action, input: object): Promise<object> =>
    outcome(sdk.send(new (commands[action] as never as new (...input: Parameters<Send>) => ReturnType<Send>)(input)));
  const byUs = (action: Action, input: object): Promise<object> =>
    outcome(ours.send(action, JSON.stringify(input), 10_000));

  const requests: readonly (readonly [what: string, action: Action, input: (table: string) => object])[] = [
    ['writes an item', 'PutItem', (TableName) => ({ ...metered, TableName, Item: item('a') })],
    [
      'gives back what it replaced',
      'PutItem',
      (TableName) => ({ ...metered, TableName, Item: item('a'), ReturnValues: 'ALL_OLD' }),
    ],
    [
      'a condition that does not hold',
      'PutItem',
      (TableName) => ({
        TableName,
        Item: item('a'),
        ConditionExpression: 'attribute_not_exists(pk)',
        ReturnValuesOnConditionCheckFailure: 'ALL_OLD',
      }),
    ],
    ['reads an item', 'GetItem', (TableName) => ({ ...metered, TableName, Key: key('a'), ConsistentRead: true })],
    ['reads what is not there', 'GetItem', (TableName) => ({ ...metered, TableName, Key: key('none') })],
    [
      'updates',
      'UpdateItem',
      (TableName) => ({
        TableName,
        Key: key('a'),
        UpdateExpression: 'SET #t = :t',
        ExpressionAttributeNames: { '#t': 't' },
        ExpressionAttributeValues: { ':t': { S: '' } },
        ReturnValues: 'ALL_NEW',
      }),
    ],
    [
      'writes a batch',
      'BatchWriteItem',
      (table) => ({
        ...metered,
        RequestItems: { [table]: [{ PutRequest: { Item: item('b') } }, { DeleteRequest: { Key: key('none') } }] },
      }),
    ],
    ['reads a batch', 'BatchGetItem', (table) => ({ RequestItems: { [table]: { Keys: [key('b'), key('none')] } } })],
    [
      'reads some attributes of a batch',
      'BatchGetItem',
      (table) => ({
        RequestItems: { [table]: { Keys: [key('b'), key('none')], ConsistentRead: true, ProjectionExpression: 'sk' } },
      }),
    ],
    [
      'reads a page',
      'Query',
      (TableName) => ({
        ...metered,
        TableName,
        KeyConditionExpression: 'pk = :pk',
        ExpressionAttributeValues: { ':pk': { S: 'acme#ä' } },
        Limit: 1,
      }),
    ],
    ['an expression that is none', 'Query', (TableName) => ({ TableName, KeyConditionExpression: 'pk =' })],
    ['a key that lacks a part', 'GetItem', (TableName) => ({ TableName, Key: { pk: { S: 'a' } } })],
    ['an empty key', 'PutItem', (TableName) => ({ TableName, Item: key('') })],
    ['a table that does not exist', 'GetItem', () => ({ TableName: 'none-such', Key: key('a') })],
    [
      'too large an item',
      'PutItem',
      (TableName) => ({ TableName, Item: { ...key('big'), t: { S: 'x'.repeat(401 * 1024) } } }),
    ],
    [
      'deletes and tells what was there',
      'DeleteItem',
      (TableName) => ({ TableName, Key: key('b'), ReturnValues: 'ALL_OLD' }),
    ],
  ];

  it.each(requests)('%s (%s)', async (_, action, input) => {
    const before = { TableName: table, Item: item('a') };
    await bySdk('PutItem', before);
    await bySdk('PutItem', { TableName: table, Item: item('b') });
    const theirs = await bySdk(action, input(table));
    await bySdk('PutItem', before);
    await bySdk('PutItem', { TableName: table, Item: item('b') });
    expect(await byUs(action, input(table))).toEqual(theirs);
  });
});
