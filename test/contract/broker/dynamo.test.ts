/** What every user of the DynamoDB client relies on, against each server that it may meet. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConditionFailed, type Dynamo, type TableWrite } from '../../../services/dynamo/dynamo.js';
import { Metrics } from '../../../services/kernel/kernel.js';
import { scopeOfPartition } from '../../../services/tenancy/tenancy.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { type DynamoServer, dynamoServers } from './servers.js';

function dynamoContract({ name, start }: DynamoServer): void {
  describe(`the DynamoDB client over ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    const metrics = new Metrics();
    const bills = new Map<string, number>();
    const count = (metric: string, labels: Record<string, string>): number => metrics.counter(metric, '', labels).value;

    beforeAll(async () => {
      server = await start();
      dynamo = await server.open({
        metrics,
        tenantOf: (table, pk) => (table === 'cluster' ? undefined : scopeOfPartition(pk)),
        charge: (tenant, units) => void bills.set(tenant, (bills.get(tenant) ?? 0) + units),
      });
    }, 90_000);
    afterAll(async () => await server?.stop());

    it('checks the tables that it creates, and leaves nothing behind by trying what it may do', async () => {
      const actions = [
        'GetItem',
        'BatchGetItem',
        'Query',
        'PutItem',
        'UpdateItem',
        'DeleteItem',
        'BatchWriteItem',
      ] as const;
      await dynamo.check({ sessions: actions, inbox: actions });
      for (const table of ['sessions', 'inbox'] as const)
        expect(await dynamo.get(table, { pk: '#check', sk: '#check' }, { consistent: true })).toBeUndefined();
    });

    it('keeps every kind of value, and removes what is undefined', async () => {
      const item = {
        pk: 'kinds',
        sk: 'ä',
        n: 1.5,
        no: null,
        flag: true,
        bytes: new Uint8Array([0, 255]),
        list: [{ x: 1 }],
      };
      await dynamo.put('routes', { ...item, ids: new Set(['a']), gone: undefined });
      expect(await dynamo.get('routes', item, { consistent: true })).toEqual({ ...item, ids: new Set(['a']) });
    });

    it('lets one of many conditional writers win', async () => {
      const key = { pk: 'race', sk: 'one' };
      const attempts = Array.from({ length: 20 }, (_, writer) =>
        dynamo.put('sessions', { ...key, writer }, { condition: 'attribute_not_exists(pk)' }),
      );
      const outcomes = await Promise.allSettled(attempts);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(ConditionFailed);
    });

    it('gives every update of one item an old item of its own', async () => {
      const key = { pk: 'epochs', sk: 'client' };
      const claim = { update: 'ADD epoch :one', values: { ':one': 1 }, returns: 'old' } as const;
      const old = await Promise.all(Array.from({ length: 20 }, () => dynamo.update('sessions', key, claim)));
      expect(old.map((item) => (item?.['epoch'] as number | undefined) ?? 0).sort((a, b) => a - b)).toEqual(
        Array.from({ length: 20 }, (_, i) => i),
      );
    });

    it.runIf(name !== 'dynalite')('tells the item that failed a condition', async () => {
      const item = { pk: 'told', sk: 'x', epoch: 3 };
      await dynamo.put('sessions', item);
      const refused = dynamo.delete('sessions', item, { condition: 'epoch = :e', values: { ':e': 2 } });
      expect(await refused.catch((error: ConditionFailed) => error.item)).toEqual(item);
    });

    it('pages a query in order, however large the items are', async () => {
      const pk = 'large';
      const items = Array.from({ length: 12 }, (_, i) => ({
        pk,
        sk: String(i).padStart(3, '0'),
        text: 'x'.repeat(300_000),
      }));
      await dynamo.batchWrite('inbox', items);
      const pages: string[][] = [];
      for await (const page of dynamo.queryAll('inbox', { pk, consistent: true }))
        pages.push(page.map(({ sk }) => sk as string));
      expect(pages.length).toBeGreaterThan(2); // A page is at most 1 MB.
      expect(pages.flat()).toEqual(items.map(({ sk }) => sk));
      const after = await dynamo.query('inbox', { pk, sk: { after: '009' }, limit: 1 });
      expect(after.items[0]!['sk']).toBe('010');
    }, 30_000);

    it('writes and deletes over several tables in one call', async () => {
      await dynamo.put('inbox', { pk: 'once', sk: 'old' });
      const before = count('shoal_dynamodb_calls_total', { table: 'inbox', action: 'BatchWriteItem' });
      const writes: TableWrite[] = [
        { table: 'inbox', put: { pk: 'once', sk: 'new', bytes: Buffer.from('m') } },
        { table: 'inbox', delete: { pk: 'once', sk: 'old' } },
        { table: 'routes', put: { pk: 'once', sk: 'a/#' } },
      ];
      expect(await dynamo.batchWriteOnce(writes, { deadlineMs: 10_000 })).toEqual([]);
      expect((await dynamo.query('inbox', { pk: 'once' })).items.map(({ sk }) => sk)).toEqual(['new']);
      expect(await dynamo.get('routes', { pk: 'once', sk: 'a/#' })).toBeDefined();
      for (const table of ['inbox', 'routes'])
        expect(count('shoal_dynamodb_calls_total', { table, action: 'BatchWriteItem' })).toBeGreaterThan(
          table === 'inbox' ? before : 0,
        );
      await expect(dynamo.batchWriteOnce(Array(26).fill(writes[0]))).rejects.toThrow(RangeError);
    });

    it('reads any number of keys at once, those that exist', async () => {
      const items = Array.from({ length: 230 }, (_, i) => ({ pk: 'many', sk: `s${i}`, n: i }));
      await dynamo.batchWrite('usage', items);
      const found = await dynamo.batchGet('usage', [...items, { pk: 'many', sk: 'none' }], { consistent: true });
      expect(found.sort((a, b) => (a['n'] as number) - (b['n'] as number))).toEqual(items);
      expect(await dynamo.batchGet('usage', [])).toEqual([]);
    });

    it('looks for some attributes of several keys, and charges the tenant for all that was read', async () => {
      await dynamo.batchWrite('inbox', [
        { pk: 'looks#c', sk: 'a', n: 1, m: Buffer.alloc(9000) },
        { pk: 'looks#c', sk: 'b', m: Buffer.alloc(10) },
      ]);
      bills.clear();
      const keys = ['a', 'b', 'none'].map((sk) => ({ pk: 'looks#c', sk }));
      const { items, isPart } = await dynamo.look('inbox', keys, ['sk', 'n'], { deadlineMs: 10_000 });
      expect(isPart).toBe(false);
      expect([...items].sort((a, b) => (a['sk'] as string).localeCompare(b['sk'] as string))).toEqual([
        { sk: 'a', n: 1 },
        { sk: 'b' },
      ]);
      expect(bills.get('looks')).toBeGreaterThanOrEqual(0.8); // Four read units, three of them for what was not asked for.
    });

    it('charges each tenant with what its calls have taken, its share of a batch, too', async () => {
      bills.clear();
      const bill = (tenant: string): number => bills.get(tenant) ?? 0;
      const large = { pk: 'large#c', sk: 'm', m: Buffer.alloc(9000) };
      const small = { pk: 'small#c', sk: 'm', m: Buffer.alloc(10) };
      await dynamo.batchWriteOnce([
        { table: 'inbox', put: large },
        { table: 'inbox', put: small },
        { table: 'routes', put: { pk: 'small#c', sk: 'a' } },
      ]);
      expect([bill('large'), bill('small')]).toEqual([9, 2]);
      await dynamo.batchWrite('inbox', [], [large]);
      await dynamo.query('inbox', { pk: small.pk, consistent: true });
      await dynamo.put('sessions', { pk: 'small#00', sk: 'c', epoch: 1 });
      await dynamo
        .delete('sessions', { pk: 'small#00', sk: 'c' }, { condition: 'epoch = :e', values: { ':e': 2 } })
        .catch(() => undefined);
      expect([bill('large'), bill('small')]).toEqual([18, 2 + 0.2 + 1 + 1]);
    });

    it('counts the units that reads and writes consumed', async () => {
      const write = { table: 'retained', kind: 'write' };
      const read = { table: 'retained', kind: 'read' };
      await dynamo.put('retained', { pk: 'acme', sk: 'a', payload: Buffer.alloc(3000) });
      expect(count('shoal_dynamodb_units_total', write)).toBe(3);
      await dynamo.get('retained', { pk: 'acme', sk: 'a' }, { consistent: true });
      expect(count('shoal_dynamodb_units_total', read)).toBe(1);
      await dynamo.query('retained', { pk: 'acme' });
      expect(count('shoal_dynamodb_units_total', read)).toBe(1.5);
      expect(count('shoal_dynamodb_calls_total', { table: 'retained', action: 'Query' })).toBe(1);
    });
  });
}

for (const server of dynamoServers) dynamoContract(server);
