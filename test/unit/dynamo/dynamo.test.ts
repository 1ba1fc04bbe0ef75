import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CreateTableCommand, DeleteTableCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  ConditionFailed,
  createTables,
  Dynamo,
  DynamoMisconfigured,
  type DynamoOptions,
  DynamoRejected,
  DynamoUnavailable,
  type Item,
  type TableWrite,
  tableDefinitions,
} from '../../../services/dynamo/dynamo.js';
import { Metrics } from '../../../services/kernel/kernel.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';

let dynalite: Dynalite;
let dynamo: Dynamo;

beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
});
afterAll(async () => await dynalite.stop());

describe('items', () => {
  it('come back as they were written, bytes, sets and nesting included', async () => {
    const item = {
      pk: 'acme#client',
      sk: 'a/b',
      text: 'ä',
      count: 1.5,
      flag: false,
      nothing: null,
      bytes: new Uint8Array([0, 255]),
      ids: new Set(['a', 'b']),
      list: [{ x: 1 }],
      left: undefined,
    };
    await dynamo.put('routes', item);
    const { left: _left, ...expected } = item;
    expect(await dynamo.get('routes', item)).toEqual(expected);
    expect(await dynamo.get('routes', { pk: item.pk, sk: item.sk }, { consistent: true })).toEqual(expected);
    expect(await dynamo.get('routes', { pk: item.pk, sk: 'other' })).toBeUndefined();
  });

  it('return what a write replaced when asked', async () => {
    const key = { pk: 'acme', sk: 'topic' };
    expect(await dynamo.put('retained', { ...key, n: 1 }, { returnOld: true })).toBeUndefined();
    expect(await dynamo.put('retained', { ...key, n: 2 }, { returnOld: true })).toEqual({ ...key, n: 1 });
    const add = { update: 'ADD #n :one', names: { '#n': 'n' }, values: { ':one': 1 } };
    expect(await dynamo.update('retained', key, add)).toBeUndefined();
    expect(await dynamo.update('retained', key, { ...add, returns: 'old' })).toEqual({ ...key, n: 3 });
    expect(await dynamo.update('retained', key, { ...add, returns: 'new' })).toEqual({ ...key, n: 5 });
    expect(await dynamo.delete('retained', key, { returnOld: true })).toEqual({ ...key, n: 5 });
    expect(await dynamo.delete('retained', key, { returnOld: true })).toBeUndefined();
  });

  it('are guarded by conditions', async () => {
    const item = { pk: 'guarded', sk: 'meta' };
    const isNew = { condition: 'attribute_not_exists(pk)' };
    await dynamo.put('tenants', item, isNew);
    await expect(dynamo.put('tenants', item, isNew)).rejects.toThrow(ConditionFailed);
    const update = { update: 'SET a = :a', values: { ':a': 1 }, condition: 'attribute_exists(pk)' };
    await expect(dynamo.update('tenants', { pk: 'other', sk: 'meta' }, update)).rejects.toThrow(ConditionFailed);
    await expect(dynamo.delete('tenants', item, { condition: 'a = :a', values: { ':a': 2 } })).rejects.toThrow(
      ConditionFailed,
    );
  });
});

describe('queries', () => {
  const pk = 'acme#query';
  const collect = async (options: Parameters<Dynamo['query']>[1]): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const items of dynamo.queryAll('inbox', options)) found.push(...items.map(({ sk }) => sk));
    return found;
  };
  beforeAll(async () => {
    const keys = ['a1', 'a2', 'b1', 'b2', 'c1'];
    await dynamo.batchWrite(
      'inbox',
      keys.map((sk) => ({ pk, sk, owner: 'x', big: 'x'.repeat(10) })),
    );
    await dynamo.batchWrite(
      'sessions',
      keys.map((sk) => ({ pk, sk, owner: sk < 'b' ? 'one' : 'two', connected: true })),
    );
  });

  it.each([
    ['everything', {}, ['a1', 'a2', 'b1', 'b2', 'c1']],
    ['in pages', { limit: 2 }, ['a1', 'a2', 'b1', 'b2', 'c1']],
    ['backwards', { limit: 2, descending: true }, ['c1', 'b2', 'b1', 'a2', 'a1']],
    ['a prefix', { sk: { beginsWith: 'a' } }, ['a1', 'a2']],
    ['after', { sk: { after: 'b1' } }, ['b2', 'c1']],
    ['before', { sk: { before: 'b1' } }, ['a1', 'a2']],
    ['between', { sk: { between: ['a2', 'b2'] } }, ['a2', 'b1', 'b2']],
    ['filtered', { filter: '#s = :s', names: { '#s': 'owner' }, values: { ':s': 'nobody' } }, []],
  ] as const)('find %s', async (_, options, expected) => {
    expect(await collect({ pk, ...options })).toEqual(expected);
  });

  it('return the attributes asked for, and one page at a time', async () => {
    const page = await dynamo.query('inbox', { pk, limit: 3, attributes: ['sk', 'owner'] });
    expect(page.items[0]).toEqual({ sk: 'a1', owner: 'x' });
    expect(page.next).toEqual({ pk, sk: 'b1' });
    const last = await dynamo.query('inbox', { pk, limit: 3, from: page.next! });
    expect(last.items.map(({ sk }) => sk)).toEqual(['b2', 'c1']);
    expect(last.next).toBeUndefined();
  });
});

describe('batches', () => {
  it('write and delete any number of items', async () => {
    const items = Array.from({ length: 130 }, (_, i) => ({ pk: 'many', sk: `s${i}`, n: i }));
    await dynamo.batchWrite('usage', items);
    const { items: found } = await dynamo.query('usage', { pk: 'many' });
    expect(found).toHaveLength(130);
    await dynamo.batchWrite('usage', [{ pk: 'many', sk: 'last' }], items);
    const left = await dynamo.query('usage', { pk: 'many' });
    expect(left.items).toEqual([{ pk: 'many', sk: 'last' }]);
    await dynamo.batchWrite('usage', [], []);
  });
});

describe('tables', () => {
  it('are created once and checked', async () => {
    await createTables(dynamo);
    await dynamo.check();
  });

  it('that are missing or have other keys are named, with what to do', async () => {
    const other = await dynalite.open({ tablePrefix: 'broken-' });
    await other.run('routes', 'DeleteTable', (c) => c.send(new DeleteTableCommand({ TableName: 'broken-routes' })));
    const missing = (error: unknown): void => {
      expect(error).toBeInstanceOf(DynamoMisconfigured);
      expect((error as Error).message).toMatch(/broken-routes.*create the tables/);
    };
    await expect
      .poll(
        async () =>
          await other.check().then(
            () => undefined,
            (e: Error) => e.message,
          ),
      ) // Deleting takes a moment.
      .toMatch(/create the tables/);
    missing(await other.check().catch((e: unknown) => e));
    missing(await other.get('routes', { pk: 'a', sk: 'b' }).catch((e: unknown) => e));
    await other.run('routes', 'CreateTable', (c) =>
      c.send(
        new CreateTableCommand({
          TableName: 'broken-routes',
          BillingMode: 'PAY_PER_REQUEST',
          AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
          KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
        }),
      ),
    );
    await createTables(other);
    await expect(other.check()).rejects.toThrow('broken-routes shows keys other than pk (S), sk (S); create it again');
    await expect(other.get('routes', { pk: 'a', sk: 'b' })).rejects.toThrow(DynamoMisconfigured);
  });

  it('are the seven that the service needs', () => {
    expect(tableDefinitions.map(({ name }) => name)).toEqual([
      'tenants',
      'sessions',
      'routes',
      'inbox',
      'retained',
      'cluster',
      'usage',
    ]);
  });
});

describe('faults', () => {
  /** Answers of a broken DynamoDB, one after the other; the last one for ever. */
  type Answer = { status: number; type?: string; body?: object } | 'silence' | 'hang up';
  let server: Server | undefined;
  let requests: { action: string; body: Item }[] = [];

  async function broken(answers: Answer[], options: Partial<DynamoOptions> = {}): Promise<Dynamo> {
    requests = [];
    server = createServer((request, response) => {
      const answer = (answers.length > 1 ? answers.shift() : answers[0])!;
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const action = String(request.headers['x-amz-target']).split('.')[1]!;
        requests.push({ action, body: JSON.parse(body) as Item });
        if (answer === 'silence') return;
        if (answer === 'hang up') return void request.socket.destroy();
        response.writeHead(answer.status, { 'content-type': 'application/x-amz-json-1.0' });
        response.end(JSON.stringify(answer.body ?? { __type: `com.amazonaws#${answer.type}`, message: 'no' }));
      });
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const endpoint = `http://127.0.0.1:${port}`;
    return new Dynamo({ endpoint, region: 'eu-central-1', tablePrefix: 'x-', requestTimeoutMs: 200, ...options });
  }
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  const key = { pk: 'a', sk: 'b' };

  it.each([
    ['throttling', { status: 400, type: 'ProvisionedThroughputExceededException' }],
    ['an internal error', { status: 500, type: 'InternalServerError' }],
    ['a timeout', 'silence'],
    ['a lost connection', 'hang up'],
  ] as [string, Answer][])('%s is tried again', async (_, answer) => {
    const client = await broken([answer, { status: 200, body: { Item: { pk: { S: 'a' }, sk: { S: 'b' } } } }]);
    expect(await client.get('routes', key)).toEqual(key);
    expect(requests.map(({ action }) => action)).toEqual(['GetItem', 'GetItem']);
    client.close();
  });

  it.each([
    ['throttling', { status: 400, type: 'ThrottlingException' }, DynamoUnavailable, 3, /GetItem on table x-routes was/],
    ['an internal error', { status: 503, type: 'ServiceUnavailable' }, DynamoUnavailable, 3, /x-routes failed/],
    ['silence', 'silence', DynamoUnavailable, 3, /x-routes failed: \w/],
    ['no access', { status: 400, type: 'AccessDeniedException' }, DynamoMisconfigured, 1, /grant this action/],
    ['no table', { status: 400, type: 'ResourceNotFoundException' }, DynamoMisconfigured, 1, /create the tables/],
    ['wrong credentials', { status: 400, type: 'UnrecognizedClientException' }, DynamoMisconfigured, 1, /credentials/],
    ['a bad request', { status: 400, type: 'ValidationException' }, DynamoRejected, 1, /was rejected/],
  ] as [string, Answer, new (...a: never[]) => Error, number, RegExp][])(
    '%s ends typed',
    async (_, answer, type, attempts, message) => {
      const client = await broken([answer]);
      const error = await client.get('routes', key).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toMatch(message);
      expect((error as Error).message).not.toContain('\n');
      expect(requests).toHaveLength(attempts);
      client.close();
    },
  );

  it('nobody listening is unavailable, a host that does not exist is a wrong set-up', async () => {
    const closed = await broken([{ status: 200 }]);
    server!.close();
    await new Promise((resolve) => server!.once('close', resolve));
    await expect(closed.get('routes', key)).rejects.toThrow(DynamoUnavailable);
    const options = { region: 'eu-central-1', tablePrefix: 'x-' };
    const nowhere = new Dynamo({ ...options, endpoint: 'http://nowhere.invalid' });
    const error = await nowhere.get('routes', key).catch((e: unknown) => e);
    // A resolver that is itself out of reach says "try again" instead.
    expect(error).toSatisfy((e) => e instanceof DynamoMisconfigured || e instanceof DynamoUnavailable);
    expect(() => new Dynamo({ ...options, endpoint: 'localhost:8000' })).toThrow(DynamoMisconfigured);
    expect(() => new Dynamo({ ...options, region: '' })).toThrow(DynamoMisconfigured);
  });

  it('a failed condition carries the item where the server tells it', async () => {
    const type = 'ConditionalCheckFailedException';
    const body = { __type: `com.amazonaws#${type}`, message: 'no', Item: { pk: { S: 'a' }, epoch: { N: '3' } } };
    const client = await broken([{ status: 400, body }]);
    const error = await client.put('sessions', key, { condition: 'attribute_not_exists(pk)' }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConditionFailed);
    expect((error as ConditionFailed).item).toEqual({ pk: 'a', epoch: 3 });
    expect(requests).toHaveLength(1);
    client.close();
  });

  it('unprocessed items of a batch are sent again, alone', async () => {
    const left = { 'x-inbox': [{ DeleteRequest: { Key: { pk: { S: 'a' }, sk: { S: '7' } } } }] };
    const client = await broken([
      { status: 200, body: { UnprocessedItems: left } },
      { status: 200, body: { UnprocessedItems: {} } },
    ]);
    await client.batchWrite(
      'inbox',
      [],
      Array.from({ length: 10 }, (_, i) => ({ pk: 'a', sk: `${i}` })),
    );
    expect(requests.map(({ body }) => (body['RequestItems'] as typeof left)['x-inbox'].length)).toEqual([10, 1]);
    expect(requests[1]!.body['RequestItems']).toEqual(left);
    client.close();
  });

  it('unprocessed keys of a look are not asked for again, and it says so', async () => {
    const left = { 'x-retained': { Keys: [{ pk: { S: 'a' }, sk: { S: '7' } }] } };
    const found = { 'x-retained': [{ sk: { S: '6' } }] };
    const client = await broken([
      { status: 200, body: { Responses: found, UnprocessedKeys: left } },
      { status: 200, body: { Responses: found, UnprocessedKeys: {} } },
    ]);
    const keys = ['6', '7'].map((sk) => ({ pk: 'a', sk }));
    expect(await client.look('retained', keys, ['sk'])).toEqual({ items: [{ sk: '6' }], isPart: true });
    expect(await client.look('retained', keys, ['sk'])).toEqual({ items: [{ sk: '6' }], isPart: false });
    expect(requests).toHaveLength(2);
    client.close();
  });

  it('a batch over tables tells which of its writes were left, in one attempt', async () => {
    const left = {
      'x-routes': [{ DeleteRequest: { Key: { pk: { S: 'a' }, sk: { S: '1' } } } }],
      'x-inbox': [{ PutRequest: { Item: { pk: { S: 'a' }, sk: { S: '2' }, n: { N: '7' } } } }],
    };
    const capacity = [
      { TableName: 'x-inbox', CapacityUnits: 3 },
      { TableName: 'x-routes', CapacityUnits: 1 },
    ];
    const metrics = new Metrics();
    const client = await broken([{ status: 200, body: { UnprocessedItems: left, ConsumedCapacity: capacity } }], {
      metrics,
    });
    const writes: TableWrite[] = [
      { table: 'inbox', put: { pk: 'a', sk: '1' } },
      { table: 'inbox', put: { pk: 'a', sk: '2', n: 7 } },
      { table: 'routes', delete: { pk: 'a', sk: '1' } },
      { table: 'routes', delete: { pk: 'a', sk: '2' } },
    ];
    const unprocessed = await client.batchWriteOnce(writes);
    expect(unprocessed).toHaveLength(2);
    expect(unprocessed[0]).toBe(writes[1]);
    expect(unprocessed[1]).toBe(writes[2]);
    expect(requests).toHaveLength(1);
    expect(valuesOf(metrics)).toEqual({
      'shoal_dynamodb_calls_total inbox BatchWriteItem': 1,
      'shoal_dynamodb_calls_total routes BatchWriteItem': 1,
      'shoal_dynamodb_units_total inbox write': 3,
      'shoal_dynamodb_units_total routes write': 1,
    });
    client.close();
  });

  it.each([
    ['throttled', { status: 400, type: 'ProvisionedThroughputExceededException' }, DynamoUnavailable],
    ['unavailable', { status: 500, type: 'InternalServerError' }, DynamoUnavailable],
    ['misconfigured', { status: 400, type: 'ResourceNotFoundException' }, DynamoMisconfigured],
    ['rejected', { status: 400, type: 'ValidationException' }, DynamoRejected],
  ] as [string, Answer, new (...a: never[]) => Error][])(
    'one attempt that is %s is counted so',
    async (kind, answer, type) => {
      const metrics = new Metrics();
      const client = await broken([answer], { metrics });
      await expect(client.batchWriteOnce([{ table: 'inbox', delete: key }])).rejects.toThrow(type);
      expect(requests).toHaveLength(1);
      expect(valuesOf(metrics)[`shoal_dynamodb_errors_total inbox BatchWriteItem ${kind}`]).toBe(1);
      client.close();
    },
  );

  it('a deadline ends silence and retries alike', async () => {
    for (const answer of ['silence', { status: 500, type: 'InternalServerError' }] as Answer[]) {
      const client = await broken([answer], { requestTimeoutMs: 60_000 });
      const startedAtMs = performance.now();
      const update = { update: 'SET a = :a', values: { ':a': 1 }, maxAttempts: 1000, deadlineMs: 150 };
      await expect(client.update('sessions', key, update)).rejects.toThrow(DynamoUnavailable);
      expect(performance.now() - startedAtMs).toBeLessThan(10_000);
      client.close();
      server!.closeAllConnections();
      server!.close();
    }
  });

  it('unprocessed keys of a batch are asked for again, alone', async () => {
    const left = { 'x-inbox': { Keys: [{ pk: { S: 'a' }, sk: { S: '7' } }] } };
    const found = (sk: string): object => ({ 'x-inbox': [{ pk: { S: 'a' }, sk: { S: sk } }] });
    const client = await broken([
      { status: 200, body: { Responses: found('6'), UnprocessedKeys: left } },
      { status: 200, body: { Responses: found('7'), UnprocessedKeys: {} } },
    ]);
    const keys = ['6', '7'].map((sk) => ({ pk: 'a', sk }));
    expect(await client.batchGet('inbox', keys)).toEqual(keys);
    expect(requests[1]!.body['RequestItems']).toEqual(left);
    client.close();
  });
});

function valuesOf(metrics: Metrics): Record<string, number> {
  const entries = [...metrics.samples()].map(({ name, labels, value }) => [
    [name, ...Object.values(labels)].join(' '),
    value,
  ]);
  return Object.fromEntries(entries) as Record<string, number>;
}
