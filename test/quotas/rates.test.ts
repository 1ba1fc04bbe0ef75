/**
 * The quotas that are rates. Time is only ever bounded from below, by half of what the rate asks for, and from above by
 * a bound that no rate in force would keep.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LiveClient } from '../support/live-client.js';
import { heard, Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));
const payloads = (client: LiveClient): string[] => client.received.map(({ payload }) => payload);

/** All at once: each waits for its acknowledgement, none for another. */
const publishAll = (client: LiveClient, count: number, padding = ''): Promise<unknown> =>
  Promise.all(numbers(count).map((i) => client.publish({ topic: 't', qos: 1, payload: i + padding })));

async function took(work: Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work;
  return performance.now() - startedMs;
}

test('publishPerSecond: publishers are slowed down and nothing is lost', async () => {
  const tenant = await stack.tenant({ publishPerSecond: 100 });
  const [subscriber, publisher] = [await tenant.client(), await tenant.client()];
  await subscriber.subscribe('t');
  // A second's worth may be saved up; the other 200 take two seconds.
  expect(await took(publishAll(publisher, 300))).toBeGreaterThan(1000);
  await subscriber.receivedCount(300);
  expect(payloads(subscriber)).toEqual(numbers(300));
});

test('publishPerSecond: also for QoS 0, where the connection is read no faster', async () => {
  const tenant = await stack.tenant({ publishPerSecond: 100 });
  const [subscriber, publisher] = [await tenant.client(), await tenant.client()];
  await subscriber.subscribe('t');
  for (const payload of numbers(300)) publisher.packets.sendPublish({ topic: 't', payload });
  // An answer that does not wait with the messages: the publisher is slowed down, and the broker is there.
  await publisher.ping();
  expect(subscriber.received.length).toBeLessThan(300);
  expect(await took(subscriber.receivedCount(300))).toBeGreaterThan(1000);
  expect(payloads(subscriber)).toEqual(numbers(300));
});

test('publishPerSecond: a publisher that waits hears of a new rate', async () => {
  const tenant = await stack.tenant({ publishPerSecond: 1 });
  const publisher = await tenant.client();
  let isDone = false;
  void publishAll(publisher, 1000).then(() => (isDone = true));
  await tenant.setQuotas({ publishPerSecond: null });
  // Two seconds to hear of it, and the last look at the old rate; 1000 seconds at the old one.
  await until(() => isDone, 'all messages', 4_000);
});

test('deliverPerSecond: QoS 0 is dropped and counted', async () => {
  const tenant = await stack.tenant({ deliverPerSecond: 50 });
  const [subscriber, publisher] = [await tenant.client(), await tenant.client()];
  await subscriber.subscribe('t');
  for (const payload of numbers(500)) publisher.packets.sendPublish({ topic: 't', payload });
  await publisher.ping();
  await subscriber.ping();
  const received = subscriber.received.length;
  expect(received).toBeGreaterThanOrEqual(50);
  expect(received).toBeLessThan(400);
  await tenant.setQuotas({ deliverPerSecond: null });
  await heard(async () => {
    const before = subscriber.received.length;
    for (const payload of numbers(200)) publisher.packets.sendPublish({ topic: 'u', payload });
    await subscriber.subscribe('u');
    for (const payload of numbers(200)) publisher.packets.sendPublish({ topic: 'u', payload });
    await publisher.ping();
    await subscriber.ping();
    return subscriber.received.length - before >= 200;
  }, 'the new rate');
  expect(await tenant.systemNumber('publish/messages/dropped')).toBeGreaterThanOrEqual(500 - received);
});

test('deliverPerSecond: QoS 1 is delayed and complete', async () => {
  const tenant = await stack.tenant({ deliverPerSecond: 100 });
  const [subscriber, publisher] = [await tenant.client(), await tenant.client()];
  await subscriber.subscribe('t');
  const startedMs = performance.now();
  await publishAll(publisher, 300);
  await subscriber.receivedCount(300, 10_000);
  expect(performance.now() - startedMs).toBeGreaterThan(1000);
  expect(payloads(subscriber)).toEqual(numbers(300));
});

test('bytesPerSecond: in both directions, and nothing of QoS 1 is lost', async () => {
  const tenant = await stack.tenant({ bytesPerSecond: 100_000 });
  const [subscriber, publisher] = [await tenant.client(), await tenant.client()];
  await subscriber.subscribe('t');
  const padding = ' '.repeat(10_000);
  expect(await took(publishAll(publisher, 30, padding))).toBeGreaterThan(1000);
  await subscriber.receivedCount(30, 10_000);
  expect(payloads(subscriber)).toEqual(numbers(30).map((i) => i + padding));
});

test('bytesPerSecond: what one publisher sends to many counts for each', async () => {
  const tenant = await stack.tenant({ bytesPerSecond: 100_000 });
  const subscribers = await Promise.all(numbers(5).map(() => tenant.client()));
  for (const subscriber of subscribers) await subscriber.subscribe('t');
  const publisher = await tenant.client();
  const padding = ' '.repeat(10_000);
  const startedMs = performance.now();
  await publishAll(publisher, 8, padding);
  for (const subscriber of subscribers) await subscriber.receivedCount(8, 15_000);
  expect(performance.now() - startedMs).toBeGreaterThan(1000);
  for (const subscriber of subscribers) expect(payloads(subscriber)).toEqual(numbers(8).map((i) => i + padding));
});
