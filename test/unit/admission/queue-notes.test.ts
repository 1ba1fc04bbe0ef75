/** Queue depths and drops in the records that the API reads: what is written, how often, and when a client comes back. */
import { describe, expect, it, vi } from 'vitest';
import { Message } from '../../../services/broker/message/message.js';
import { acme, type FakeConnection, id, World } from './world.js';

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const durable = (clientId: string) => ({ clientId, clean: false, expiry: 1000 });

async function subscribed(world: World, clientId: string): Promise<FakeConnection> {
  const connection = await world.admit(durable(clientId));
  const { session, channel } = connection.in!;
  const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  const packet = {
    type: 'subscribe',
    packetId: 1,
    subscriptions: [{ filter: 't', ...options }],
    properties: {},
  } as const;
  session.receiveSubscribe(packet, channel);
  await settle();
  return connection;
}

const leave = async (connection: FakeConnection): Promise<void> => {
  connection.end('lost', { publishWill: true });
  await settle();
};

async function publish(connection: FakeConnection, count: number, nowMs: number): Promise<void> {
  const topic = { text: 't', bytes: Buffer.from('t') };
  const { tenant } = connection.in!;
  // As what a client sends, in time of the tenant.
  tenant.time.charge(() => {
    for (let n = 0; n < count; n++)
      tenant.publish(Message.of({ topic, payload: Buffer.from('x'), qos: 1, retain: false }), nowMs);
  });
  await settle();
}

const depth = (world: World, clientId = 'c'): unknown[] => {
  const { queuedMessages, droppedMessages, connected } = world.records.stored.get(clientId)!;
  return [queuedMessages, droppedMessages, connected];
};

const pass = async (world: World, ms: number): Promise<void> => {
  for (let leftMs = ms; leftMs > 0; leftMs -= 1000) {
    world.clock.advance(Math.min(leftMs, 1000));
    await settle();
  }
};

describe('the depth of a queue', () => {
  it('is noted within seconds while the client is away, and once', async () => {
    const world = new World({ queuedMessagesPerSession: 2 });
    const client = await subscribed(world, 'c');
    await leave(client);
    await publish(client, 5, world.clock.nowMs());
    const note = vi.spyOn(world.records, 'note');
    await pass(world, 10_000);
    expect([depth(world), note.mock.calls.length]).toEqual([[2, 3, false], 1]);
    await pass(world, 120_000);
    expect(note).toHaveBeenCalledTimes(1);
  });

  it('is noted once a minute while the client is connected, and only when it has changed', async () => {
    const world = new World();
    const client = await subscribed(world, 'c');
    const note = vi.spyOn(world.records, 'note');
    await pass(world, 300_000);
    expect(note).not.toHaveBeenCalled();
    await publish(client, 3, world.clock.nowMs());
    await pass(world, 5000);
    expect(depth(world)).toEqual([3, 0, true]);
    for (let n = 1; n <= 11; n++) {
      await publish(client, 1, world.clock.nowMs());
      await pass(world, 5000);
    }
    expect([depth(world), note.mock.calls.length]).toEqual([[3, 0, true], 1]);
    await pass(world, 5000);
    expect([depth(world), note.mock.calls.length]).toEqual([[14, 0, true], 2]);
  });

  it('and what was dropped are those of the session when its client comes back, and nothing when it begins anew', async () => {
    const world = new World({ queuedMessagesPerSession: 2 });
    const client = await subscribed(world, 'c');
    await leave(client);
    await publish(client, 5, world.clock.nowMs());
    await leave(await world.admit(durable('c'))); // Before the depth is noted.
    await world.admit(durable('c'));
    expect(depth(world)).toEqual([2, 3, true]);
    await world.admit({ ...durable('c'), clean: true });
    expect(depth(world)).toEqual([0, 0, true]);
  });

  it('is noted for 500 sessions in a sweep, then for those that waited longer', async () => {
    const world = new World({ connections: null, connectsPerSecond: null, queuedMessagesPerSession: 10 });
    const clients: FakeConnection[] = [];
    for (let n = 0; n < 600; n++) clients.push(await subscribed(world, `c${n}`));
    for (const client of clients) client.end('lost', { publishWill: true });
    await settle();
    const notes = vi.spyOn(world.records, 'note');
    const noted = (): number => notes.mock.calls.splice(0).length;
    await pass(world, 5000);
    noted();
    await publish(clients[0]!, 1, world.clock.nowMs());
    await pass(world, 5000);
    expect(noted()).toBe(500);
    await publish(clients[0]!, 1, world.clock.nowMs());
    await pass(world, 5000);
    const second = notes.mock.calls.slice(0, 100).map(([record]) => record.queuedMessages);
    expect([noted(), new Set(second)]).toEqual([500, new Set([2])]);
    expect([...world.records.stored.values()].filter(({ queuedMessages }) => queuedMessages === 0)).toEqual([]);
  });

  it('is looked for in slices of the time of a tenant with many sessions', async () => {
    const world = new World({ connections: null, connectsPerSecond: null });
    const clients: FakeConnection[] = [];
    for (let n = 0; n < 300; n++) clients.push(await subscribed(world, `c${n}`));
    for (const client of clients) client.end('lost', { publishWill: true });
    await settle();
    await pass(world, 4999);
    await publish(clients[0]!, 1, world.clock.nowMs());
    const startedMs = world.clock.monotonicMs();
    let looks = 0;
    vi.spyOn(world.clock, 'monotonicMs').mockImplementation(() => startedMs + looks / 50); // 20 us each.
    for (const { in: entered } of clients)
      vi.spyOn(entered!.session, 'queuedMessages', 'get').mockImplementation(() => (looks++, 1));
    const note = vi.spyOn(world.records, 'note');
    world.clock.advance(1);
    expect(looks).toBeLessThan(100);
    for (let turns = 0; turns < 20; turns++) await settle();
    expect(note).toHaveBeenCalledTimes(300);
  });

  it('is noted again when the store did not take it', async () => {
    const world = new World();
    const client = await subscribed(world, 'c');
    await leave(client);
    await publish(client, 1, world.clock.nowMs());
    const note = vi.spyOn(world.records, 'note').mockRejectedValue(new Error('away'));
    await pass(world, 20_000);
    expect([depth(world), note.mock.calls.length]).toEqual([[0, 0, false], 4]);
    note.mockRestore();
    await pass(world, 5000);
    expect(depth(world)).toEqual([1, 0, false]);
  });

  it('is noted again when the store failed long after it was asked, and nothing else has happened', async () => {
    const world = new World();
    const client = await subscribed(world, 'c');
    await leave(client);
    await publish(client, 1, world.clock.nowMs());
    let fail = (): void => undefined;
    const failing = new Promise<never>((_, reject) => (fail = () => reject(new Error('away'))));
    const note = vi.spyOn(world.records, 'note').mockReturnValueOnce(failing);
    await pass(world, 20_000);
    expect([depth(world), note.mock.calls.length]).toEqual([[0, 0, false], 1]);
    fail();
    await pass(world, 5000);
    expect(depth(world)).toEqual([1, 0, false]);
  });

  it('is noted at a clean stop with a bounded number of calls at once, whatever becomes of them', async () => {
    const world = new World({ connections: null, connectsPerSecond: null });
    const clients: FakeConnection[] = [];
    for (let n = 0; n < 150; n++) clients.push(await subscribed(world, `c${n}`));
    for (const client of clients) client.end('lost', { publishWill: true });
    await settle();
    await publish(clients[0]!, 1, world.clock.nowMs());
    let [underWay, most] = [0, 0];
    const note = vi.spyOn(world.records, 'note').mockImplementation(async () => {
      most = Math.max(most, ++underWay);
      await settle();
      underWay--;
      throw new Error('away');
    });
    await world.admission.noteQueues();
    expect([note.mock.calls.length, underWay, most]).toEqual([150, 0, 64]);
  });

  it('is noted at a clean stop', async () => {
    const world = new World();
    const [away, here] = [await subscribed(world, 'away'), await subscribed(world, 'here')];
    await leave(away);
    await publish(here, 2, world.clock.nowMs());
    await world.admission.stop();
    await world.admission.noteQueues();
    expect([depth(world, 'away'), depth(world, 'here')]).toEqual([
      [2, 0, false],
      [2, 0, false],
    ]);
  });

  it('does not bring a session back that has ended', async () => {
    const world = new World();
    const client = await subscribed(world, 'c');
    await leave(client);
    await publish(client, 1, world.clock.nowMs());
    const kick = { type: 'session-kick', tenant: acme, clientId: id('c') } as const;
    await world.admission.apply(kick, world.clock.nowMs());
    await pass(world, 20_000);
    expect(world.records.stored.size).toBe(0);
  });
});
