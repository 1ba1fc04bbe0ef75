/** Every fault of the proxy as the real client meets it, and what it has left in a real engine behind it. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Dynamo, DynamoMisconfigured, DynamoUnavailable } from '../../../services/dynamo/dynamo.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { FaultProxy, type Outage } from '../../support/fault-proxy.js';
import { type Fault, faultOn, noFaults, randomFaults } from '../../support/faults.js';
import { until } from '../../support/until.js';

let engine: Dynalite;
let proxy: FaultProxy;
/** Straight to the engine: what was really written. */
let behind: Dynamo;
/** Through the proxy, one attempt, not patient. */
let client: Dynamo;

beforeAll(async () => {
  engine = await startDynalite();
  proxy = await FaultProxy.start(engine.endpoint);
  behind = await engine.open();
  client = new Dynamo({
    endpoint: proxy.endpoint,
    region: 'eu-central-1',
    tablePrefix: behind.tableName('inbox').replace('inbox', ''),
    requestTimeoutMs: 300,
    maxAttempts: 1,
  });
});

afterEach(async () => {
  proxy.choose = noFaults;
  await proxy.endOutage();
});

afterAll(async () => {
  client.close();
  await proxy.close();
  await engine.stop();
});

let keys = 0;
const freshKey = () => ({ pk: `key-${keys++}`, sk: 'x' });
const isWritten = async (key: { pk: string; sk: string }): Promise<boolean> =>
  (await behind.get('inbox', key, { consistent: true })) !== undefined;

test('passes requests and answers through, and counts them', async () => {
  const key = freshKey();
  const before = proxy.requests.get('PutItem') ?? 0;
  await client.put('inbox', { ...key, text: 'ä' });
  expect(await client.get('inbox', key)).toEqual({ ...key, text: 'ä' });
  expect(proxy.requests.get('PutItem')).toBe(before + 1);
});

/** Faults of a write, and whether the write has happened all the same. */
const faults: readonly (readonly [Fault, applied: boolean])[] = [
  [{ kind: 'internalError' }, false],
  [{ kind: 'throttle' }, false],
  [{ kind: 'reset' }, false],
  [{ kind: 'lostAnswer' }, true],
  [{ kind: 'delay', delayMs: 600 }, true],
];

test.each(faults)('%o fails the call; the write was done: %s', async (fault, applied) => {
  const key = freshKey();
  proxy.choose = faultOn('PutItem', fault);
  const before = proxy.faults.get(fault.kind) ?? 0;
  const failure: unknown = await client.put('inbox', key).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(DynamoUnavailable);
  expect((failure as DynamoUnavailable).throttled).toBe(fault.kind === 'throttle');
  expect(await isWritten(key)).toBe(applied);
  expect(proxy.faults.get(fault.kind)).toBe(before + 1);
});

test('a short delay is only slow', async () => {
  proxy.choose = faultOn('PutItem', { kind: 'delay', delayMs: 100 });
  const startedMs = performance.now();
  await client.put('inbox', freshKey());
  expect(performance.now() - startedMs).toBeGreaterThan(90);
});

test('a late write happens after its client has given up', async () => {
  const key = freshKey();
  proxy.choose = faultOn('PutItem', { kind: 'lateWrite', delayMs: 600 });
  await expect(client.put('inbox', key)).rejects.toBeInstanceOf(DynamoUnavailable);
  expect(await isWritten(key)).toBe(false);
  await until(() => isWritten(key), 'the late write');
});

test('refused access is told as such', async () => {
  const key = freshKey();
  proxy.choose = faultOn('PutItem', { kind: 'accessDenied' });
  await expect(client.put('inbox', key)).rejects.toBeInstanceOf(DynamoMisconfigured);
  expect(await isWritten(key)).toBe(false);
});

test('a partial batch does some writes and hands the others back, which then succeed', async () => {
  const items = Array.from({ length: 10 }, freshKey);
  proxy.choose = faultOn('BatchWriteItem', { kind: 'partialBatch', share: 0.3 });
  const before = proxy.requests.get('BatchWriteItem') ?? 0;
  await client.batchWrite('inbox', items);
  expect(proxy.requests.get('BatchWriteItem')).toBe(before + 2);
  for (const item of items) expect(await isWritten(item)).toBe(true);

  proxy.choose = faultOn('BatchWriteItem', { kind: 'partialBatch', share: 0 }, 3);
  await client.batchWrite('inbox', [], items);
  for (const item of items) expect(await isWritten(item)).toBe(false);
  expect(proxy.requests.get('BatchWriteItem')).toBe(before + 6);
});

test.each<Outage>(['refuse', 'reset', 'hang'])(
  'an outage (%s) ends every call, and is over when it ends',
  async (how) => {
    const key = freshKey();
    await client.put('inbox', freshKey()); // so that a connection is open
    await proxy.beginOutage(how);
    await expect(client.put('inbox', key)).rejects.toBeInstanceOf(DynamoUnavailable);
    await expect(client.get('inbox', key)).rejects.toBeInstanceOf(DynamoUnavailable);
    expect(await isWritten(key)).toBe(false);
    await proxy.endOutage();
    // A connection that nobody used meanwhile has ended with it, and the client may not have seen that yet.
    await client.put('inbox', key).catch(() => client.put('inbox', key));
    expect(await isWritten(key)).toBe(true);
  },
);

test('random faults come at their rates, and again with the same seed', () => {
  const draw = (seed: number) => {
    const choose = randomFaults(seed, { throttle: 0.1, reset: 0.2 }, 50);
    return Array.from({ length: 5000 }, () => choose('PutItem'));
  };
  const share = (kind: string) => draw(7).filter((fault) => fault?.kind === kind).length / 5000;
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
  expect(share('throttle')).toBeCloseTo(0.1, 1);
  expect(share('reset')).toBeCloseTo(0.2, 1);
});
