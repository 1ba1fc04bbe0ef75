/** Retained messages against a real DynamoDB: coalesced, read as written, within the quotas, and safe over an outage. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Message, type QoS, type Receipt } from '../../../services/broker/message/message.js';
import { DynamoRetained } from '../../../services/broker/store/store.js';
import { Dynamo } from '../../../services/dynamo/dynamo.js';
import { type ClientId, silentLog, systemClock, type TenantId } from '../../../services/kernel/kernel.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { until } from '../../support/until.js';

let dynalite: Dynalite;
let dynamo: Dynamo;
let tenants = 0;
const nowMs = Date.now();

beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
});
afterAll(async () => await dynalite.stop());
afterEach(() => void vi.restoreAllMocks());

const unlimited = { retainedMessages: Infinity, retainedBytes: Infinity };

function open(limits = unlimited, over = dynamo, tenant = `tenant-${++tenants}` as TenantId) {
  const store = new DynamoRetained(over, tenant, limits, systemClock, silentLog);
  const put = (topic: string, payload: string, atMs = nowMs): Receipt => store.put(message(topic, payload), atMs);
  return {
    store,
    put,
    tenant,
    save: (topic: string, payload: string, atMs?: number) => settled(put(topic, payload, atMs)),
  };
}

function message(
  topic: string,
  payload: string,
  more: { qos?: QoS; properties?: Buffer; expiresAtMs?: number; publisher?: ClientId } = {},
): Message {
  const name = { text: topic, bytes: Buffer.from(topic) };
  return Message.of({ topic: name, payload: Buffer.from(payload), qos: more.qos ?? 1, retain: true, ...more });
}

const settled = (receipt: Receipt): Promise<number> =>
  new Promise((resolve) => receipt.whenSettled(() => resolve(receipt.reasonCode!)));

async function read(store: DynamoRetained, filter: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const page of store.read(filter))
    for (const one of page.messages) {
      expect(found[one.topic.text]).toBeUndefined(); // Each topic once.
      if (!page.isStale(one)) found[one.topic.text] = one.payload.toString();
    }
  return found;
}

describe('a retained message', () => {
  it('comes back as it was, on any broker', async () => {
    const { store, tenant } = open();
    const original = message('a/ä', 'x', {
      qos: 2,
      properties: Buffer.from('0300026161', 'hex'),
      expiresAtMs: nowMs + 60_000,
      publisher: 'me' as ClientId,
    });
    expect(await settled(store.put(original, nowMs))).toBe(0);
    const other = open(unlimited, dynamo, tenant);
    const found: Message[] = [];
    for await (const page of other.store.read('a/+')) found.push(...page.messages);
    expect(found).toHaveLength(1);
    for (const field of ['topic', 'payload', 'qos', 'retain', 'properties', 'expiresAtMs', 'publisher'] as const)
      expect(found[0]![field]).toEqual(original[field]);
    expect(await read(open().store, '#')).toEqual({}); // Of another tenant.
  });

  it('is replaced by the next and removed by an empty one', async () => {
    const { store, save } = open();
    await save('a', '1');
    await save('a', '2');
    expect(await read(store, 'a')).toEqual({ a: '2' });
    await save('a', '');
    expect(await read(store, 'a')).toEqual({});
  });

  it.each([
    ['a', ['a']],
    ['a/#', ['a', 'a/b', 'a/b/c']],
    ['a/+', ['a/b']],
    ['+', ['a', 'ab']],
    ['#', ['a', 'a/b', 'a/b/c', 'ab']],
    ['$x/#', ['$x/y']],
    ['+/y', []],
    ['none', []],
  ])('%s reads what it matches', async (filter, topics) => {
    const { store, save } = open();
    await Promise.all(['a', 'a/b', 'a/b/c', 'ab', '$x/y'].map((topic) => save(topic, '1')));
    expect(Object.keys(await read(store, filter)).sort()).toEqual(topics);
  });
});

describe('writes', () => {
  it('of one topic are coalesced, all are answered, and the last one stays', async () => {
    const { store, put } = open();
    const puts = vi.spyOn(dynamo, 'put');
    const receipts = Array.from({ length: 200 }, (_, i) => put('busy', String(i)));
    expect(await Promise.all(receipts.map(settled))).toEqual(Array(200).fill(0));
    expect(puts.mock.calls.length).toBeLessThanOrEqual(3);
    expect(await read(store, 'busy')).toEqual({ busy: '199' });
  });

  it('of one topic that come during a write share one receipt, so that a flood takes no memory', async () => {
    const { put } = open();
    const first = put('flood', '0');
    const receipts = new Set(Array.from({ length: 1000 }, (_, i) => put('flood', String(i + 1))));
    expect(receipts.size).toBe(1);
    expect(receipts.has(first)).toBe(false);
    expect(await settled([...receipts][0]!)).toBe(0);
  });

  it('are seen by readers before they are stored', async () => {
    const { store, put, save } = open();
    await save('a', 'old');
    await save('gone', 'old');
    const receipts = [put('a', 'new'), put('gone', ''), put('fresh', '1')];
    expect(await read(store, '#')).toEqual({ a: 'new', fresh: '1' });
    await Promise.all(receipts.map(settled));
    expect(await read(store, '#')).toEqual({ a: 'new', fresh: '1' });
  });

  it('during a read make what it has found stale', async () => {
    const { store, put, save } = open();
    await save('a', 'old');
    await save('b', 'old');
    const found: string[] = [];
    for await (const page of store.read('#')) {
      const receipt = put('a', 'new'); // The subscriber has got this one live.
      for (const one of page.messages) if (!page.isStale(one)) found.push(one.topic.text);
      await settled(receipt);
    }
    expect(found).toEqual(['b']);
  });

  it('of a broker whose clock is behind lose against newer ones', async () => {
    const { store, save, tenant } = open();
    await save('a', 'newer', nowMs + 1000);
    const other = open(unlimited, dynamo, tenant);
    expect(await other.save('a', 'older', nowMs)).toBe(0);
    expect(await other.save('a', '', nowMs)).toBe(0);
    expect(await read(store, 'a')).toEqual({ a: 'newer' });
  });

  it('of one broker win in the order of their coming, whatever its clock does', async () => {
    const { store, save } = open();
    await save('a', '1', nowMs);
    await save('a', '2', nowMs - 60_000);
    expect(await read(store, 'a')).toEqual({ a: '2' });
  });
});

describe('quotas', () => {
  it('refuse one message too many, and take replacements and room that was made', async () => {
    const { store, save, tenant } = open({ retainedMessages: 2, retainedBytes: Infinity });
    expect([await save('a', '11'), await save('b', '1'), await save('c', '1')]).toEqual([0, 0, 0x97]);
    expect(await save('a', '2')).toBe(0);
    expect(await save('b', '')).toBe(0);
    expect(await save('c', '1')).toBe(0);
    expect(await read(store, '#')).toEqual({ a: '2', c: '1' });
    const other = open({ retainedMessages: 2, retainedBytes: Infinity }, dynamo, tenant);
    expect(await other.save('d', '1')).toBe(0x97); // Counted from the table.
  });

  it('count bytes with topics', async () => {
    const { save } = open({ retainedMessages: Infinity, retainedBytes: 10 });
    expect([await save('abc', '1234567'), await save('d', ''), await save('e', '1')]).toEqual([0, 0, 0x97]);
    expect(await save('abc', '12')).toBe(0);
    expect(await save('e', '1')).toBe(0);
  });
});

describe('an outage of DynamoDB', () => {
  it('delays acknowledgements and loses nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'shoal-test-'));
    let server = await startDynalite(folder);
    try {
      const port = Number(new URL(server.endpoint).port);
      const tables = await server.open();
      const client = new Dynamo({
        endpoint: server.endpoint,
        region: 'eu-central-1',
        tablePrefix: tables.tableName('retained').replace('retained', ''),
        requestTimeoutMs: 2000,
      });
      const { store, put, save } = open(unlimited, client);
      await save('a', 'before');
      await server.stop();
      const receipts = [put('a', 'during 1'), put('b', 'during'), put('a', 'during 2')];
      await until(() => receipts.every(({ reasonCode }) => reasonCode === undefined));
      const reading = read(store, '#');
      server = await startDynalite(folder, port);
      expect(await Promise.all(receipts.map(settled))).toEqual([0, 0, 0]);
      await reading;
      await store.settled();
      expect(await read(open(unlimited, client, 'tenant-none' as TenantId).store, '#')).toEqual({});
      expect(await read(store, '#')).toEqual({ a: 'during 2', b: 'during' });
      client.close();
    } finally {
      await server.stop();
      rmSync(folder, { recursive: true });
    }
  });
});

it('a closed store writes nothing more', async () => {
  const { store, save, put } = open();
  await save('a', '1');
  store.close();
  expect(put('a', '2').reasonCode).toBe(0);
  expect(await read(store, '#')).toEqual({ a: '1' });
});
