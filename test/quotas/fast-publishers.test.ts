/**
 * Publishers that are together faster than their subscriber: it loses nothing while it reads, whatever its queue holds,
 * and one that has stopped reading holds nobody up for long.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

const publishers = 100;
const messages = 20;
/** Of each publisher. */
const unacknowledged = 10;
/** A tenth of what is under way from all publishers. */
const queueMax = 100;

test.each([
  ['clean', 5, 1],
  ['clean', 4, 1],
  ['clean', 5, 2],
  ['stored', 5, 1],
] as const)(
  '100 publishers to one reader: %s session, MQTT %i, QoS %i',
  { timeout: 60_000 },
  async (kind, version, qos) => {
    const tenant = await stack.tenant({
      queuedMessagesPerSession: queueMax,
      publishPerSecond: null,
      deliverPerSecond: null,
    });
    const subscriber = await tenant.client({
      version,
      clientId: 'reader',
      ...(version === 5 && {
        properties: { receiveMaximum: 20, ...(kind === 'stored' && { sessionExpiryInterval: 600 }) },
      }),
    });
    const got = new Map<string, number[]>();
    subscriber.onMessage = ({ topic, payload }) => {
      const of = got.get(topic!) ?? [];
      got.set(topic!, of);
      of.push(Number(String(payload)));
    };
    await subscriber.subscribe({ filter: 'from/#', qos });
    const clients = await Promise.all(Array.from({ length: publishers }, () => tenant.client({ version })));
    const publishAll = async (client: (typeof clients)[number], topic: string): Promise<void> => {
      let next = 0;
      const one = async (): Promise<void> => {
        while (next < messages) await client.publish({ topic, qos, payload: String(next++) });
      };
      await Promise.all(Array.from({ length: unacknowledged }, one));
    };
    await Promise.all(clients.map((client, i) => publishAll(client, `from/${i}`)));
    const count = (): number => [...got.values()].reduce((sum, { length }) => sum + length, 0);
    await until(() => count() >= publishers * messages, 'everything', 20_000);
    const inOrder = Array.from({ length: messages }, (_, i) => i);
    for (const of of got.values()) expect(of).toEqual(inOrder);
    expect(got.size).toBe(publishers);
    expect(await tenant.systemNumber('publish/messages/dropped')).toBe(0);
  },
);

test('a subscriber that has stopped reading costs its publishers the time once', { timeout: 60_000 }, async () => {
  const tenant = await stack.tenant({ queuedMessagesPerSession: 20, publishPerSecond: null });
  const stalled = await tenant.client({ properties: { receiveMaximum: 1 } });
  await stalled.subscribe({ filter: 't', qos: 1 });
  stalled.packets.stopReading();
  const publisher = await tenant.client();
  const startedMs = performance.now();
  const publishSome = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 50 }, (_, i) => publisher.publish({ topic: 't', qos: 1, payload: String(i) })));
  await publishSome();
  const heldMs = performance.now() - startedMs;
  // The default of SHOAL_HOLD_BACK_MS is 5 s.
  expect(heldMs).toBeGreaterThan(2500);
  for (let i = 0; i < 20; i++) await publishSome();
  // Twenty times as many: the time of none of them.
  expect(performance.now() - startedMs - heldMs).toBeLessThan(20 * 2500);
  expect(await tenant.systemNumber('publish/messages/dropped')).toBeGreaterThanOrEqual(21 * 50 - 21);
});
