/** Memory is a quota: who is refused above it, what is dropped, what goes to the store, and that all of it is given back. */
import { describe, expect, it } from 'vitest';
import { plans, type Quotas } from '../../../services/tenancy/tenancy.js';
import type { Receipt } from '../../../services/broker/message/message.js';
import { message } from '../session/world.js';
import { type FakeConnection, World } from '../admission/world.js';

const mib = 1 << 20;
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

async function meet(quotas: Partial<Quotas> = { memoryBytes: mib }) {
  const world = new World(quotas);
  const first = await world.admit({ clientId: 'first' });
  const { tenant } = first.in!;
  const subscribe = (connection: FakeConnection, ...filters: string[]): void => {
    const { session, channel } = connection.in!;
    session.receiveSubscribe(
      {
        ...{ type: 'subscribe', packetId: 1, properties: {} },
        subscriptions: filters.map((filter) => ({
          ...{ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 2 },
        })),
      } as never,
      channel,
    );
  };
  const publish = (topic: string, bytes = 10, qos: 0 | 1 = 1): Receipt =>
    tenant.publish(message(topic, 'x'.repeat(bytes), qos), world.clock.nowMs());
  return { world, first, tenant, subscribe, publish };
}

const codes = (connection: FakeConnection): unknown[] =>
  connection.take().flatMap((packet) => (packet.cmd === 'suback' ? packet.granted : []));

describe('a tenant that has used up its memory', () => {
  it('gets no new session, and those it has come back', async () => {
    const { world, tenant } = await meet();
    const stored = await world.admit({ clientId: 'stored', clean: false, expiry: 100 });
    stored.end('gone', { publishWill: false });
    let refused = '';
    for (let i = 0; i < 40 && refused === ''; i++)
      await world.admit({ clientId: `c${i}` }).catch((error: Error) => (refused = error.message));
    expect(refused).toMatch(/quota of memory/);
    expect(tenant.memory.bytes).toBeLessThan(mib);
    const back = await world.admit({ clientId: 'stored', clean: false, expiry: 100 });
    expect([back.closed, tenant.meters.refusedOverMemory]).toEqual([false, 1]);
    expect(world.gauge('shoal_memory_refusals_total')).toBe(1);
    expect(world.gauge('shoal_tenant_memory_bytes')).toBe(tenant.memory.bytes);
  });

  it('gets no new subscription, but may replace those it has', async () => {
    const { first, tenant, subscribe } = await meet({ memoryBytes: mib, subscriptionsPerSession: null });
    const filters = Array.from({ length: 2000 }, (_, i) => `a/${i}`);
    subscribe(first, ...filters);
    const answers = codes(first);
    const granted = answers.filter((code) => code === 1).length;
    expect([new Set(answers), granted < 2000, granted > 500]).toEqual([new Set([1, 0x97]), true, true]);
    expect(tenant.memory.bytes).toBeLessThan(mib);
    subscribe(first, 'a/0', 'b');
    expect(codes(first)).toEqual([1, 0x97]);
  });

  it('loses what only memory would keep, counted, and nothing that is stored', async () => {
    const { world, tenant, subscribe, publish } = await meet();
    const clean = await world.admit({ clientId: 'clean', more: { receiveMaximum: 1 } });
    const stored = await world.admit({ clientId: 'stored', clean: false, expiry: 100, more: { receiveMaximum: 1 } });
    subscribe(clean, 'all');
    subscribe(stored, 'all');
    await settle();
    tenant.memory.outboxBytes = mib;
    const receipts = Array.from({ length: 5 }, () => publish('all'));
    await settle();
    expect([tenant.meters.droppedOverQuota, receipts.map(({ reasonCode }) => reasonCode)]).toEqual([
      5,
      [0, 0, 0, 0, 0],
    ]);
    expect(stored.in!.session.queuedMessages).toBe(5);
    // One after the other it gets them all, though memory is as full as before.
    const got: string[] = [];
    for (let i = 0; i < 10; i++) {
      for (const packet of stored.take())
        if (packet.cmd === 'publish') {
          got.push(packet.topic);
          stored.in!.session.receiveAck(4, packet.messageId!, 0, world.clock.nowMs());
        }
      await settle();
    }
    expect([got.length, stored.in!.session.queuedMessages]).toEqual([5, 0]);
  });

  it('sends QoS 0 to clients that read, and to no others', async () => {
    const { first, tenant, subscribe, publish } = await meet();
    subscribe(first, 'all');
    tenant.memory.outboxBytes = mib;
    publish('all', 10, 0);
    expect(tenant.meters.droppedOverQuota).toBe(0);
    first.waitingBytes = 100_000;
    publish('all', 10, 0);
    expect([tenant.meters.droppedOverQuota, tenant.meters.messagesSent]).toEqual([1, 1]);
  });
});

it('everything is given back when sessions end', async () => {
  const { world, tenant, first, subscribe, publish } = await meet({});
  const wish = { clean: false, expiry: 100, will: { topic: 'will', payload: 'x'.repeat(1000), delay: 10 } };
  const clients: FakeConnection[] = [];
  for (let i = 0; i < 10; i++) clients.push(await world.admit({ clientId: `c${i}`, ...(i % 2 === 0 ? wish : {}) }));
  clients.forEach((client, i) => subscribe(client, 'all', `to/${i}`, '#'));
  await settle();
  for (let i = 0; i < 50; i++) publish(i % 2 === 0 ? 'all' : `to/${i % 10}`, 100);
  const busy = tenant.memory.bytes;
  await settle();
  clients.forEach((client) => client.end('gone', { publishWill: true }));
  publish('all');
  await settle();
  expect(tenant.memory.willBytes).toBeGreaterThan(5 * 1000);
  world.clock.advance(200_000);
  await settle();
  first.end('gone', { publishWill: true });
  await settle();
  const { heldBytes, unsafeBytes, lineBytes } = tenant.ledger;
  expect([heldBytes, unsafeBytes, lineBytes, tenant.memory.willBytes, tenant.memory.outboxBytes]).toEqual([
    0, 0, 0, 0, 0,
  ]);
  expect([busy > 400_000, tenant.residences.size, tenant.memory.bytes - tenant.routing.planBytes]).toEqual([
    true,
    0,
    0,
  ]);
});

it('it is full as soon as anything that counts has filled it, or the quota has become less, and no longer', async () => {
  const { tenant, world, subscribe, first } = await meet({ memoryBytes: 40 * mib });
  const { memory, limits } = tenant;
  const seen: boolean[] = [];
  const look = (): void => {
    seen.push(memory.isFull);
    expect(memory.isFull).toBe(memory.bytes >= limits.memoryBytes);
  };
  const set = (mibs: number): void =>
    limits.set({ ...world.tenant!, quotaOverrides: { memoryBytes: mibs * mib } }, world.clock.nowMs());
  const held = message('t', 'x'.repeat(mib), 1);
  const steps: (() => void)[] = [
    () => (memory.outboxBytes += 40 * mib),
    () => (memory.outboxBytes -= 40 * mib),
    () => (memory.willBytes += 40 * mib),
    () => (memory.willBytes -= 40 * mib),
    () => tenant.ledger.hold(held),
    () => set(1),
    () => tenant.ledger.letGo(held),
    () => subscribe(first, 'x'.repeat(1000)),
    () => set(40),
  ];
  look();
  for (const step of steps) {
    step();
    look();
  }
  expect(seen).toEqual([false, true, false, true, false, false, true, false, false, false]);
});

it('the free plan has room for what its other quotas allow to be away', () => {
  const { connections, memoryBytes } = plans.free.quotas;
  expect(connections! * 10 * 1000 + connections! * 42_000).toBeLessThan(memoryBytes! / 2);
});
