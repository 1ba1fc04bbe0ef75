/** The quotas that are counts and sizes: what happens at the limit, and that a change reaches clients that are connected. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { heard, Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

const quotaExceeded = 0x97;
const serverUnavailable3 = 3;

test('connections: one more is refused, a take-over is not, and who leaves makes room', async () => {
  const tenant = await stack.tenant({ connections: 2 });
  await tenant.client({ clientId: 'first' });
  const second = await tenant.client({ clientId: 'second' });
  expect(await tenant.tryConnect({ clientId: 'third' })).toMatchObject({ reasonCode: quotaExceeded });
  expect(await tenant.tryConnect({ clientId: 'third', version: 4 })).toMatchObject({ reasonCode: serverUnavailable3 });
  const again = await tenant.client({ clientId: 'second' });
  await until(() => second.ended, 'the end of the one before');
  expect(second.farewell).toMatchObject({ reasonCode: 0x8e });
  await again.disconnect();
  await tenant.client({ clientId: 'third' });
  expect(await tenant.tryConnect({ clientId: 'fourth' })).toMatchObject({ reasonCode: quotaExceeded });
  await tenant.setQuotas({ connections: 3 });
  await heard(async () => (await tenant.tryConnect({ clientId: 'fourth' })).reasonCode === 0, 'the new quota');
});

test('messageBytesMax: told in CONNACK, and nothing larger is taken', async () => {
  const tenant = await stack.tenant({ messageBytesMax: 1000 });
  const subscriber = await tenant.client();
  await subscriber.subscribe('t');
  const client = await tenant.client();
  expect(client.connack?.properties.maximumPacketSize).toBe(1000);
  const frameBytes = 2 + 1 + 2 + 't'.length + 2 + 1;
  await client.publish({ topic: 't', qos: 1, payload: Buffer.alloc(1000 - frameBytes) });
  const tooLarge = client.publish({ topic: 't', qos: 1, payload: Buffer.alloc(1001 - frameBytes) });
  await expect(tooLarge).rejects.toThrow();
  expect(client.farewell).toMatchObject({ reasonCode: 0x95 });
  const old = await tenant.client({ version: 4, clientId: 'old' });
  await expect(old.publish({ topic: 't', qos: 1, payload: Buffer.alloc(1001) })).rejects.toThrow();
  await subscriber.ping();
  expect(subscriber.received).toHaveLength(1);

  // Who is connected keeps what CONNACK has promised; who comes now is told the new size.
  const promised = await tenant.client();
  await tenant.setQuotas({ messageBytesMax: 500 });
  const toldOf = async (): Promise<unknown> => (await tenant.client()).connack?.properties.maximumPacketSize;
  await heard(async () => (await toldOf()) === 500, 'the new quota');
  expect(await promised.publish({ topic: 't', qos: 1, payload: Buffer.alloc(900) })).toMatchObject({ reasonCode: 0 });
});

test('subscriptionsPerSession: one more is refused, replacing is not', async () => {
  const tenant = await stack.tenant({ subscriptionsPerSession: 2 });
  const client = await tenant.client();
  expect(await client.subscribe('a', 'b', 'c')).toEqual([2, 2, quotaExceeded]);
  expect(await client.subscribe({ filter: 'a', qos: 1 })).toEqual([1]);
  const old = await tenant.client({ version: 4, clientId: 'old' });
  expect(await old.subscribe('a', 'b', 'c')).toEqual([2, 2, 0x80]);
  await client.unsubscribe('b');
  expect(await client.subscribe('c')).toEqual([2]);
  await tenant.setQuotas({ subscriptionsPerSession: 3 });
  await heard(async () => (await client.subscribe('d'))[0] === 2, 'the new quota');
});

test('subscriptions: one more of any session is refused, replacing is not', async () => {
  const tenant = await stack.tenant({ subscriptions: 3 });
  const one = await tenant.client({ clientId: 'one' });
  const two = await tenant.client({ clientId: 'two', version: 4 });
  expect(await one.subscribe('a', 'b')).toEqual([2, 2]);
  expect(await two.subscribe('a', '$share/g/b')).toEqual([2, 0x80]);
  expect(await one.subscribe('c', { filter: 'a', qos: 1 })).toEqual([quotaExceeded, 1]);
  await one.unsubscribe('b');
  expect(await two.subscribe('$share/g/b')).toEqual([2]);
  await tenant.setQuotas({ subscriptions: 4 });
  await heard(async () => (await one.subscribe('d'))[0] === 2, 'the new quota');
  expect(await two.subscribe('d')).toEqual([0x80]);
  await one.disconnect();
  await heard(async () => (await two.subscribe('d'))[0] === 2, 'room again');
});

test('wildcards: at 500 different sets of levels, and any number of filters for each', async () => {
  const tenant = await stack.tenant({ subscriptionsPerSession: 600 });
  const client = await tenant.client();
  const shape = (n: number, word: string): string =>
    [...n.toString(2).padStart(10, '0')].map((bit) => (bit === '1' ? '+' : word)).join('/');
  const shapes = (count: number, word: string): string[] => Array.from({ length: count }, (_, n) => shape(n + 1, word));
  expect(await client.subscribe(...shapes(500, 'a'))).toEqual(Array(500).fill(2));
  expect(await client.subscribe(...shapes(501, 'b').slice(450))).toEqual([...Array(50).fill(2), quotaExceeded]);
  const other = await tenant.client({ clientId: 'other', version: 4 });
  expect(await other.subscribe(shape(500, 'c'), shape(501, 'c'), 'no/wildcards')).toEqual([2, 0x80, 2]);
  await client.unsubscribe(shape(1, 'a'));
  expect(await other.subscribe(shape(501, 'c'), shape(502, 'c'))).toEqual([2, 0x80]);
  expect(await (await stack.tenant()).client().then((one) => one.subscribe(shape(502, 'c')))).toEqual([2]);
});

test('sessionExpirySecondsMax: told in CONNACK when it is less than was asked for', async () => {
  const tenant = await stack.tenant({ sessionExpirySecondsMax: 60 });
  const asks = async (sessionExpiryInterval: number, clientId: string): Promise<unknown> =>
    (await tenant.client({ clientId, properties: { sessionExpiryInterval } })).connack?.properties
      .sessionExpiryInterval;
  expect(await asks(3600, 'long')).toBe(60);
  expect(await asks(0xffff_ffff, 'for-ever')).toBe(60);
  expect(await asks(30, 'short')).toBeUndefined();
  await tenant.client({ clientId: 'old', version: 4, clean: false });
  const { items } = await tenant.api('/sessions');
  expect(
    Object.fromEntries((items as Record<string, unknown>[]).map((s) => [s['clientId'], s['sessionExpirySeconds']])),
  ).toEqual({ long: 60, 'for-ever': 60, short: 30, old: 60 });
  await tenant.setQuotas({ sessionExpirySecondsMax: 120 });
  await heard(async () => (await asks(3600, 'long')) === 120, 'the new quota');
});

test('queuedMessagesPerSession: what comes when the queue is full is dropped and counted', async () => {
  const tenant = await stack.tenant({ queuedMessagesPerSession: 5 });
  const session = { clientId: 'sleeper', properties: { sessionExpiryInterval: 300 } };
  const sleeper = await tenant.client(session);
  await sleeper.subscribe('t');
  await sleeper.disconnect();
  const publisher = await tenant.client();
  const dropped = await tenant.systemNumber('publish/messages/dropped');
  for (let i = 0; i < 12; i++) await publisher.publish({ topic: 't', qos: 1, payload: String(i) });
  const awake = await tenant.client({ ...session, clean: false });
  await awake.receivedCount(5);
  await awake.ping();
  expect(awake.received.map(({ payload }) => payload)).toEqual(['0', '1', '2', '3', '4']);
  expect((await tenant.systemNumber('publish/messages/dropped')) - dropped).toBe(7);
  await awake.disconnect();
  await tenant.setQuotas({ queuedMessagesPerSession: 1000 });
  let queued = 0;
  await heard(async () => {
    for (let i = 0; i < 10; i++) await publisher.publish({ topic: 't', qos: 1, payload: `later ${queued++}` });
    const now = await tenant.client({ ...session, clean: false });
    await now.receivedCount(5);
    await now.ping();
    await now.disconnect();
    return now.received.length > 5;
  }, 'the new quota');
});

test('retainedMessages: one more is delivered and not retained, replacing and clearing work', async () => {
  const tenant = await stack.tenant({ retainedMessages: 3 });
  const watcher = await tenant.client();
  await watcher.subscribe('r/#');
  const publisher = await tenant.client();
  const retain = async (name: string, payload: string, qos: 1 | 2 = 1): Promise<number | undefined> =>
    (await publisher.publish({ topic: `r/${name}`, payload, qos, retain: true }))?.reasonCode;
  const retained = async (): Promise<string[]> => {
    const late = await tenant.client();
    // Retained messages come after SUBACK and in any order: all are there when the last of three sentinels is.
    await late.subscribe('r/#');
    await late.receivedCount(3);
    await late.ping();
    return late.received.map(({ topic, payload }) => `${topic} ${payload}`).sort();
  };
  for (const name of ['a', 'b', 'c']) expect(await retain(name, 'one')).toBe(0);
  expect(await retain('d', 'one')).toBe(quotaExceeded);
  expect(await retain('d', 'two', 2)).toBe(quotaExceeded);
  expect(await retain('a', 'two')).toBe(0);
  expect(await retained()).toEqual(['r/a two', 'r/b one', 'r/c one']);
  await watcher.receivedCount(6);
  expect(watcher.received.map(({ topic, payload }) => `${topic} ${payload}`)).toContain('r/d one');
  expect(await retain('b', '')).toBe(0);
  expect(await retain('d', 'three')).toBe(0);
  expect(await retain('e', 'one')).toBe(quotaExceeded);
  expect(await retained()).toEqual(['r/a two', 'r/c one', 'r/d three']);
  await tenant.setQuotas({ retainedMessages: 4 });
  await heard(async () => (await retain('e', 'one')) === 0, 'the new quota');
});

test('retainedBytes: topics and payloads together', async () => {
  const tenant = await stack.tenant({ retainedBytes: 1000 });
  const publisher = await tenant.client();
  const retain = async (topic: string, bytes: number): Promise<number | undefined> =>
    (await publisher.publish({ topic, payload: 'x'.repeat(bytes), qos: 1, retain: true }))?.reasonCode;
  expect(await retain('r1', 498)).toBe(0);
  expect(await retain('r2', 499)).toBe(quotaExceeded);
  expect(await retain('r2', 498)).toBe(0);
  expect(await retain('r3', 1)).toBe(quotaExceeded);
  expect(await retain('r1', 499)).toBe(quotaExceeded);
  expect(await retain('r1', 398)).toBe(0);
  expect(await retain('r3', 98)).toBe(0);
  expect(await retain('r4', 1)).toBe(quotaExceeded);
  await tenant.setQuotas({ retainedBytes: 1003 });
  await heard(async () => (await retain('r4', 1)) === 0, 'the new quota');
});
