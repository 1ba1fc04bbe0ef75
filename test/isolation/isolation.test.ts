/**
 * Two tenants whose clients have the same client ids and use the same topics, $share groups, retained topics and wills:
 * nothing of one reaches the other. Every payload names the tenant it belongs to, so that whatever crosses is seen.
 * `test/support/seeds.ts` says how to run a case again.
 */
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { LiveClient } from '../support/live-client.js';
import { runsOf, seedsOf } from '../support/seeds.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';

const runs = runsOf(25);

let stack: Stack;
let tenants: [TestTenant, TestTenant];
beforeAll(async () => {
  stack = await Stack.start();
  tenants = [await stack.tenant(), await stack.tenant()];
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

const side = fc.constantFrom<(0 | 1)[]>(0, 1);
const name = fc.constantFrom('one', 'two', 'three');
const topic = fc.constantFrom('t', 't/u', 't/u/v', 'w');
const filter = fc.constantFrom('#', 't/#', 't/+', 't/u', '+', '$share/g/#', '$share/g/t/#', '$share/h/t/u');
const qos = fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2);

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('connect' as const), side, name, clean: fc.boolean(), will: topic }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), side, name }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('subscribe' as const), side, name, filter, qos }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('publish' as const), side, name, topic, qos, retain: fc.boolean() }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const topics = ['t', 't/u', 't/u/v', 'w'];

/** Both tenants' clients by name, and what they did and got in one scenario. */
class World {
  readonly clients = [new Map<string, LiveClient>(), new Map<string, LiveClient>()] as const;
  /** Also those that have been replaced or dropped. */
  readonly all: { side: 0 | 1; client: LiveClient }[] = [];
  published = 0;

  async play(step: Step): Promise<void> {
    const { side } = step;
    const client = this.clients[side].get(step.name);
    const mark = `of ${side}`;
    switch (step.do) {
      case 'connect': {
        const properties = { sessionExpiryInterval: step.clean ? 0 : 300 };
        const will = { topic: step.will, payload: `will ${mark}`, qos: 1, retain: true };
        const fields = { clientId: step.name, clean: step.clean, properties, will };
        const others = [...this.clients[1 - side]!.values()];
        const opened = await tenants[side].client(fields);
        // A take-over in one tenant does nothing to the client of the same name in the other.
        expect(others.filter(({ ended }) => ended)).toEqual([]);
        this.clients[side].set(step.name, opened);
        this.all.push({ side, client: opened });
        return;
      }
      case 'drop':
        this.clients[side].delete(step.name);
        return client?.drop();
      case 'subscribe':
        await client?.subscribe({ filter: step.filter, qos: step.qos });
        return;
      case 'publish':
        await client?.publish({ ...step, payload: `message ${mark}` });
        if (client) this.published++;
    }
  }

  /** Everything has arrived, and everybody has gone without leaving anything. */
  async end(): Promise<void> {
    for (const { client } of this.all) if (!client.ended) await client.ping();
    for (const side of [0, 1] as const) {
      for (const clientId of ['one', 'two', 'three'])
        await (await tenants[side].client({ clientId, clean: true })).disconnect();
      const cleaner = await tenants[side].client();
      for (const topic of topics) await cleaner.publish({ topic, qos: 1, retain: true, payload: '' });
      await cleaner.disconnect();
    }
  }
}

test.each(seedsOf('isolation'))(`${runs} scenarios with seed %i`, { timeout: 60_000 + runs * 15_000 }, async (seed) => {
  let delivered = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60, size: 'max' }), async (steps) => {
      const world = new World();
      try {
        for (const step of steps) await world.play(step);
      } finally {
        await world.end();
      }
      for (const { side, client } of world.all) {
        const foreign = client.received.filter(({ payload }) => payload !== '' && !payload.endsWith(` of ${side}`));
        expect(foreign).toEqual([]);
        delivered += client.received.length;
      }
    }),
    { seed, numRuns: runs },
  );
  // It was not quiet for want of messages.
  expect(delivered).toBeGreaterThan(runs * 3);
});

test('$SYS tells each tenant its own numbers only', async () => {
  const [busy, quiet] = [await stack.tenant(), await stack.tenant()];
  const clients = await Promise.all(['a', 'b', 'c'].map((clientId) => busy.client({ clientId })));
  for (const client of clients) await client.subscribe('x', 'y');
  for (let i = 0; i < 20; i++) await clients[0]!.publish({ topic: 'x', qos: 1, payload: 'busy' });
  const numbers = async (tenant: TestTenant): Promise<number[]> => [
    await tenant.systemNumber('clients/connected'),
    await tenant.systemNumber('publish/messages/received'),
    await tenant.systemNumber('subscriptions/count'),
  ];
  // The client that asks is one more, and so is its subscription.
  await until(async () => (await busy.systemNumber('clients/connected')) === 4, 'the numbers of the busy one');
  const [, received, subscriptions] = await numbers(busy);
  expect(received).toBe(20);
  expect(subscriptions).toBeGreaterThanOrEqual(7);
  await until(async () => (await quiet.systemNumber('clients/total')) === 1, 'the numbers of the quiet one');
  expect(await quiet.systemNumber('publish/messages/received')).toBe(0);
  const spy = await quiet.client();
  await spy.subscribe('$SYS/#', '#');
  await spy.ping();
  const told = spy.received.map(({ payload }) => payload).join();
  expect(told).not.toContain('busy');
});

test('a tenant that floods beyond its quota does not stop another', { timeout: 40_000 }, async () => {
  const [flooding, calm] = [
    await stack.tenant({ publishPerSecond: 50, deliverPerSecond: 50, bytesPerSecond: 100_000 }),
    await stack.tenant(),
  ];
  const sink = await flooding.client();
  sink.onMessage = () => undefined;
  await sink.subscribe('#');
  const flood = await Promise.all(Array.from({ length: 10 }, () => flooding.client()));
  const payload = Buffer.alloc(10_000);
  // 4 MB that will take the flooding tenant forty seconds.
  for (const client of flood) for (let i = 0; i < 40; i++) client.packets.sendPublish({ topic: 'f', payload });
  const [subscriber, publisher] = [await calm.client(), await calm.client()];
  await subscriber.subscribe('f');
  for (let i = 0; i < 500; i++) await publisher.publish({ topic: 'f', qos: 1, payload: String(i) });
  await subscriber.receivedCount(500);
  expect(subscriber.received.map(({ payload }) => payload)).toEqual(Array.from({ length: 500 }, (_, i) => String(i)));
  // All of it was done while the flood was still held back.
  expect(await flooding.systemNumber('publish/messages/received')).toBeLessThan(400);
});
