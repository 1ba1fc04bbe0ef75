/**
 * Shared subscriptions whose members have sessions that outlive their connections: through a broker and a database as
 * `npm start` starts them. (That nothing is lost or comes twice when the broker is killed is shown in `test/crash`.)
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { ClientId } from '../../services/kernel/kernel.js';
import { clientPartition, sharedPartition } from '../../services/tenancy/tenancy.js';
import type { LiveClient } from '../support/live-client.js';
import { scopeOfName } from '../support/scope.js';
import { heard, Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';
import { databaseOf, storedMessages } from './database.js';

const filter = '$share/workers/jobs/#';
let stack: Stack;
let dynamo: Dynamo;

beforeAll(async () => {
  stack = await Stack.start();
  dynamo = databaseOf(stack.endpoints.pids.broker);
}, 60_000);
afterEach(() => stack.endClients());
afterAll(async () => {
  dynamo?.close();
  await stack?.close();
});

const ofGroup = async (tenant: TestTenant): Promise<number> =>
  storedMessages(dynamo, sharedPartition(await scopeOfName(dynamo, tenant.id), filter));
const ofClient = async (tenant: TestTenant, clientId: string): Promise<number> =>
  storedMessages(dynamo, clientPartition(await scopeOfName(dynamo, tenant.id), clientId as ClientId));

interface Wish {
  readonly receiveMaximum?: number;
  readonly clean?: boolean;
  readonly expirySeconds?: number;
}

const worker = (tenant: TestTenant, clientId: string, wish: Wish = {}): Promise<LiveClient> => {
  const { receiveMaximum, clean = false, expirySeconds: sessionExpiryInterval = 3600 } = wish;
  return tenant.client({
    clientId,
    clean,
    properties: { sessionExpiryInterval, ...(receiveMaximum && { receiveMaximum }) },
  });
};

/** Members that have subscribed, and gone. */
async function awayMembers(tenant: TestTenant, ...clientIds: string[]): Promise<void> {
  for (const clientId of clientIds) {
    const member = await worker(tenant, clientId);
    expect(await member.subscribe({ filter, qos: 2 })).toEqual([2]);
    await member.disconnect();
  }
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

async function publish(tenant: TestTenant, from: number, to: number, qosOf = (n: number): 1 | 2 => (n % 5 ? 1 : 2)) {
  const publisher = await tenant.client({
    clientId: 'publisher',
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  });
  const under = 50; // At once, below any Receive Maximum.
  for (let first = from; first <= to; first += under)
    await Promise.all(
      numbers(first, Math.min(first + under - 1, to)).map((payload) =>
        publisher.publish({ topic: 'jobs/a', payload, qos: qosOf(Number(payload)) }),
      ),
    );
  await publisher.disconnect();
}

const payloads = (...clients: LiveClient[]): string[] =>
  clients.flatMap(({ received }) => received.map(({ payload }) => payload));

/** Those that are sent and never acknowledged. */
function stopAcknowledging(client: LiveClient): void {
  client.packets.sendAck = () => undefined;
}

test('what comes while no member is connected is stored once, and goes to whoever comes first, in order', async () => {
  const tenant = await stack.tenant();
  await awayMembers(tenant, 'a', 'b', 'c');
  await publish(tenant, 1, 300);
  expect(await ofGroup(tenant)).toBe(300);
  expect(await Promise.all(['a', 'b', 'c'].map((clientId) => ofClient(tenant, clientId)))).toEqual([0, 0, 0]);

  const b = await worker(tenant, 'b', { receiveMaximum: 7 });
  await b.receivedCount(300);
  // QoS 2 is stored for the member before it is sent, and QoS 1 passes it meanwhile: order is kept for each of them.
  for (const qos of [1, 2]) {
    const came = b.received.filter((message) => message.qos === qos).map(({ payload }) => Number(payload));
    expect(came).toEqual([...came].sort((x, y) => x - y));
  }
  expect(new Set(payloads(b)).size).toBe(300);
  await until(async () => (await ofGroup(tenant)) + (await ofClient(tenant, 'b')) === 0, 'empty inboxes');
  const a = await worker(tenant, 'a');
  await publish(tenant, 301, 320);
  await until(() => payloads(a, b).length === 320, 'the rest');
  expect(payloads(a).length).toBeGreaterThan(0);
  expect(await ofGroup(tenant)).toBe(0);
});

test('new messages line up behind what waits, and several members share it', async () => {
  const tenant = await stack.tenant();
  await awayMembers(tenant, 'a', 'b');
  await publish(tenant, 1, 400);
  const publishing = publish(tenant, 401, 600);
  const members = await Promise.all(['a', 'b'].map((clientId) => worker(tenant, clientId, { receiveMaximum: 5 })));
  await publishing;
  await until(() => payloads(...members).length >= 600, 'all messages');
  expect(
    payloads(...members)
      .map(Number)
      .sort((x, y) => x - y),
  ).toEqual(numbers(1, 600).map(Number));
  for (const member of members) expect(payloads(member).length).toBeGreaterThan(50);
});

test('what a member leaves when its session ends goes to the others, QoS 2 that it has seen excepted', async () => {
  const tenant = await stack.tenant();
  const a = await worker(tenant, 'a', { receiveMaximum: 10 });
  await a.subscribe({ filter, qos: 2 });
  stopAcknowledging(a);
  await publish(tenant, 1, 100, () => 1);
  await publish(tenant, 101, 130, () => 2);
  expect(a.received).toHaveLength(10);
  await awayMembers(tenant, 'b');
  await a.disconnect();
  // All of it is stored for `a`, and stays there as long as its session lives.
  expect([await ofClient(tenant, 'a'), await ofGroup(tenant)]).toEqual([130, 0]);
  await tenant.api('/sessions/a', { method: 'DELETE' });
  await heard(async () => (await ofClient(tenant, 'a')) === 0, 'the end of the session');
  expect(await ofGroup(tenant)).toBe(130);
  const b = await worker(tenant, 'b');
  await b.receivedCount(130);
  expect(payloads(b)).toEqual(numbers(1, 130));
});

test('a clean start gives up what waited for the client to the others', async () => {
  const tenant = await stack.tenant();
  const a = await worker(tenant, 'a', { receiveMaximum: 1 });
  await a.subscribe({ filter, qos: 2 });
  stopAcknowledging(a);
  await publish(tenant, 1, 50);
  await awayMembers(tenant, 'b');
  await a.disconnect();
  const again = await worker(tenant, 'a', { clean: true });
  const b = await worker(tenant, 'b');
  await b.receivedCount(50);
  expect(
    payloads(b)
      .map(Number)
      .sort((x, y) => x - y),
  ).toEqual(numbers(1, 50).map(Number));
  expect(again.received).toEqual([]);
});

test('with the last member that keeps messages goes what waits, to a clean one if there is one', async () => {
  const tenant = await stack.tenant();
  await awayMembers(tenant, 'a');
  await publish(tenant, 1, 30, () => 1);
  const clean = await worker(tenant, 'clean', { expirySeconds: 0, clean: true });
  await clean.subscribe({ filter, qos: 1 });
  const a = await worker(tenant, 'a', { receiveMaximum: 3 });
  stopAcknowledging(a);
  await a.receivedCount(3);
  await a.unsubscribe(filter);
  await until(() => new Set(payloads(a, clean)).size === 30, 'the rest');
  expect(payloads(a).length + clean.received.length).toBe(30);
  await clean.disconnect();
  await until(async () => (await ofGroup(tenant)) === 0, 'nothing stored');

  await awayMembers(tenant, 'b');
  await publish(tenant, 31, 40);
  expect(await ofGroup(tenant)).toBe(10);
  await tenant.api('/sessions/b', { method: 'DELETE' });
  await heard(async () => (await ofGroup(tenant)) === 0, 'an empty inbox');
  await awayMembers(tenant, 'b');
  const b = await worker(tenant, 'b');
  await publish(tenant, 41, 41);
  await b.receivedCount(1);
  expect(payloads(b)).toEqual(['41']);
});

test('a full queue of the group drops what is new, which is counted', async () => {
  const tenant = await stack.tenant({ queuedMessagesPerSession: 20 });
  await awayMembers(tenant, 'a', 'b');
  const before = await stack.metric('shoal_messages_dropped_over_quota_total');
  await publish(tenant, 1, 25, () => 1);
  expect(await stack.metric('shoal_messages_dropped_over_quota_total')).toBe(before + 5);
  const a = await worker(tenant, 'a');
  await a.receivedCount(20);
  expect(payloads(a)).toEqual(numbers(1, 20));
});
