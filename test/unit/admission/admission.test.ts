/** Who comes in, who takes over, what happens when a client leaves; with the interleavings that a socket test cannot force. */
import { hashSecret } from '../../../services/tenancy/tenancy.js';
import { describe, expect, it } from 'vitest';
import { compileAccess } from '../../../services/tenancy/tenancy.js';
import { Message, type Receipt } from '../../../services/broker/message/message.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import { until } from '../../support/until.js';
import { acme, type FakeConnection, id, World } from './world.js';

const reason = (name: keyof typeof reasons) => expect.objectContaining({ reason: reasons[name] }) as Error;
const goodbye = (connection: FakeConnection): void => connection.end('goodbye', { publishWill: false });
const lost = (connection: FakeConnection): void => connection.end('lost', { publishWill: true });
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the door', () => {
  it.each([
    ['a wrong password', { secret: 'wrong' }, 'badUserNameOrPassword'],
    ['an unknown name', { user: 'nobody@acme' }, 'badUserNameOrPassword'],
    ['an unknown tenant', { user: 'device@other' }, 'badUserNameOrPassword'],
    ['a name without tenant', { user: 'device' }, 'badUserNameOrPassword'],
    ['an authentication method', { more: { authenticationMethod: 'SCRAM' } }, 'badAuthenticationMethod'],
    ['a client id that cannot be stored', { clientId: 'x'.repeat(2000) }, 'clientIdentifierNotValid'],
  ] as const)('refuses %s', async (_what, wish, name) => {
    const world = new World();
    const { connection, done } = world.connect({ clientId: 'c', ...wish });
    await expect(done).rejects.toThrow(reason(name));
    expect([connection.said(), world.records.log]).toEqual([[], []]);
  });

  it('refuses a suspended tenant, a deleted one, and everybody while the accounts are out of reach', async () => {
    const world = new World();
    const wish = { clientId: 'c' };
    const active = world.tenant!;
    world.accounts.fault = () => new Error('the database is away');
    await expect(world.admit(wish)).rejects.toThrow(reason('serverUnavailable'));
    world.accounts.fault = undefined;
    world.tenant = { ...active, status: 'suspended' };
    await expect(world.admit(wish)).rejects.toThrow(reason('notAuthorized'));
    await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'suspended' }, world.clock.nowMs());
    world.tenant = { ...active, status: 'deleting' };
    await expect(world.admit(wish)).rejects.toThrow(reason('badUserNameOrPassword'));
  });

  it('gives a name to those who have none, and says what it grants', async () => {
    const world = new World({ sessionExpirySecondsMax: 100 });
    const connection = await world.admit({ clientId: '', expiry: 1000 });
    const [connack] = connection.take();
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
    expect((connack as { properties?: object }).properties).toMatchObject({
      sessionExpiryInterval: 100,
      assignedClientIdentifier: expect.stringMatching(/^auto-/) as string,
    });
  });

  it('refuses a will on a topic that its client may not publish to', async () => {
    const world = new World();
    world.credential = { ...world.credential!, grants: [{ effect: 'allow', action: 'publish', topic: 'mine/#' }] };
    const will = { topic: 'yours', payload: 'x' };
    await expect(world.admit({ clientId: 'c', will })).rejects.toThrow(reason('notAuthorized'));
    expect(compileAccess(world.credential.grants, { clientId: 'c', username: 'device' }).mayPublish('mine/x')).toBe(
      true,
    );
    await world.admit({ clientId: 'c', will: { ...will, topic: 'mine/x' } });
  });
});

it.each([
  ['levels', 'a/'.repeat(128), /at most 128 levels, and this one has 129/],
  ['bytes', 'a'.repeat(1025), /at most 1024 bytes/],
])('a will topic has a limit of its %s', async (_what, topic, words) => {
  const world = new World();
  const refused = world.admit({ clientId: 'c', will: { topic, payload: 'x' } });
  await expect(refused).rejects.toThrow(reason('willTopicTooLong'));
  await expect(refused).rejects.toThrow(words);
  await world.admit({ clientId: 'c', will: { topic: topic.slice(1, -1), payload: 'x' } });
});

describe('two connections of one client id', () => {
  it('take turns: the later one takes over, the session lives on', async () => {
    const world = new World();
    const first = await world.admit({ clientId: 'c', clean: false, expiry: 100 });
    const second = await world.admit({ clientId: 'c', clean: false, expiry: 100 });
    expect(first.closedBy).toBe('session-taken-over');
    expect(second.take()).toMatchObject([{ cmd: 'connack', sessionPresent: true }]);
    expect(second.in!.session).toBe(first.in!.session);
    expect(world.gauge('shoal_connections')).toBe(1);
    await settle();
    expect(world.records.stored.get('c')).toMatchObject({ connected: true, epoch: 2 });
  });

  it('take turns even when both arrive while the records are slow', async () => {
    const world = new World();
    world.records.holding = true;
    const all = [1, 2, 3].map(() => world.connect({ clientId: 'c' }));
    await until(() => world.records.waiting === 1);
    world.records.holding = false;
    world.records.open();
    await Promise.allSettled(all.map(({ done }) => done));
    // The second had given up its wait for the third.
    await expect(all[1]!.done).rejects.toThrow(reason('sessionTakenOver'));
    expect(all.map(({ connection }) => connection.closedBy)).toEqual(['session-taken-over', undefined, undefined]);
    expect([world.gauge('shoal_connections'), world.gauge('shoal_sessions')]).toEqual([1, 1]);
    await settle();
    expect(world.records.stored.get('c')).toMatchObject({ connected: true, epoch: 2 });
    goodbye(all[2]!.connection);
    await settle();
    expect([world.records.stored.size, world.gauge('shoal_connections'), world.gauge('shoal_sessions')]).toEqual([
      0, 0, 0,
    ]);
  });
});

describe('while the claim waits', () => {
  const waiting = async (world: World, wish = { clientId: 'c' } as Parameters<World['connect']>[0]) => {
    world.records.holding = true;
    const attempt = world.connect(wish);
    await until(() => world.records.waiting === 1);
    world.records.holding = false;
    return attempt;
  };

  it('a socket that closes leaves nothing behind', async () => {
    const world = new World();
    const { connection, done } = await waiting(world);
    lost(connection);
    world.records.open();
    await expect(done).rejects.toThrow(reason('connectionLost'));
    expect([connection.said(), world.records.stored.size, world.gauge('shoal_sessions')]).toEqual([[], 0, 0]);
  });

  it('a socket that closes leaves the session that was there, under the new claim', async () => {
    const world = new World();
    goodbye(await world.admit({ clientId: 'c', clean: false, expiry: 500 }));
    const { connection, done } = await waiting(world, { clientId: 'c', clean: true });
    lost(connection);
    world.records.open();
    await expect(done).rejects.toThrow();
    expect(world.records.stored.get('c')).toMatchObject({ connected: false, epoch: 2, expirySeconds: 500 });
    const again = await world.admit({ clientId: 'c', clean: false });
    expect(again.take()).toMatchObject([{ sessionPresent: true }]);
  });

  it.each([
    ['rotated', { revision: 2 }],
    ['deleted', undefined],
  ] as const)('a credential that is %s does not let in', async (change, changed) => {
    const world = new World();
    const { done } = await waiting(world);
    world.credential = changed && { ...world.credential!, ...changed };
    await world.admission.apply(
      { type: 'credential-changed', tenant: acme, name: 'device', change },
      world.clock.nowMs(),
    );
    world.records.open();
    await expect(done).rejects.toThrow(reason('serverUnavailable'));
    expect([world.records.stored.size, world.gauge('shoal_connections')]).toEqual([0, 0]);
  });

  it('a tenant that is suspended does not let in', async () => {
    const world = new World();
    const { done } = await waiting(world);
    world.tenant = { ...world.tenant!, status: 'suspended' };
    await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'suspended' }, world.clock.nowMs());
    world.records.open();
    await expect(done).rejects.toThrow();
    expect(world.records.stored.size).toBe(0);
  });

  it('a broker that stops does not let in', async () => {
    const world = new World();
    const { done } = await waiting(world);
    const stopped = world.admission.stop();
    world.records.open();
    await stopped;
    await expect(done).rejects.toThrow();
    expect(world.records.stored.size).toBe(0);
  });
});

describe('the quota of connections', () => {
  it('counts those who are on their way in', async () => {
    const world = new World({ connections: 2 });
    world.records.holding = true;
    const attempts = ['a', 'b', 'c', 'd'].map((clientId) => world.connect({ clientId }));
    await until(() => world.records.waiting === 2);
    world.records.open();
    const results = await Promise.allSettled(attempts.map(({ done }) => done));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(world.gauge('shoal_connections')).toBe(2);
  });

  it('lets a client come back to its own place', async () => {
    const world = new World({ connections: 1 });
    await world.admit({ clientId: 'a' });
    await expect(world.admit({ clientId: 'b' })).rejects.toThrow(reason('quotaExceeded'));
    const again = await world.admit({ clientId: 'a' });
    goodbye(again);
    await world.admit({ clientId: 'b' });
    expect(world.gauge('shoal_connections')).toBe(1);
  });
});

describe('wills', () => {
  const will = { topic: 'status', payload: 'gone' };

  it.each([
    ['a lost connection', lost, ['status gone']],
    ['a goodbye', goodbye, []],
  ] as const)('after %s', async (_what, end, published) => {
    const world = new World();
    end(await world.admit({ clientId: 'c', will }));
    expect(world.retained.puts).toEqual(published);
  });

  it('wait for their delay, and are cancelled by a client that comes back', async () => {
    const world = new World();
    const delayed = { clientId: 'c', clean: false, expiry: 100, will: { ...will, delay: 10 } };
    lost(await world.admit(delayed));
    world.clock.advance(9_999);
    expect(world.retained.puts).toEqual([]);
    const again = await world.admit(delayed);
    world.clock.advance(60_000);
    expect(world.retained.puts).toEqual([]);
    lost(again);
    world.clock.advance(10_000);
    expect(world.retained.puts).toEqual(['status gone']);
    world.clock.advance(1_000_000);
    expect(world.retained.puts).toHaveLength(1);
  });

  it('are due when the session ends before their delay', async () => {
    const world = new World();
    lost(await world.admit({ clientId: 'c', clean: false, expiry: 5, will: { ...will, delay: 10 } }));
    world.clock.advance(5000);
    expect(world.retained.puts).toEqual(['status gone']);
    expect(world.gauge('shoal_sessions')).toBe(0);
  });

  it('are due when another connection starts afresh', async () => {
    const world = new World();
    lost(await world.admit({ clientId: 'c', clean: false, expiry: 100, will: { ...will, delay: 10 } }));
    await world.admit({ clientId: 'c', clean: true });
    expect(world.retained.puts).toEqual(['status gone']);
  });

  it('of a client that is taken over are published, with delay only when nobody continues the session', async () => {
    const world = new World();
    await world.admit({ clientId: 'c', clean: false, expiry: 100, will });
    await world.admit({ clientId: 'c', clean: false, expiry: 100, will: { ...will, delay: 10 } });
    expect(world.retained.puts).toEqual(['status gone']);
    await world.admit({ clientId: 'c', clean: false, expiry: 100 });
    world.clock.advance(100_000);
    expect(world.retained.puts).toHaveLength(1);
  });
});

describe('sessions', () => {
  it('end when they have expired, and not before', async () => {
    const world = new World();
    goodbye(await world.admit({ clientId: 'c', clean: false, expiry: 60 }));
    world.clock.advance(59_999);
    expect(world.gauge('shoal_sessions')).toBe(1);
    const back = await world.admit({ clientId: 'c', clean: false, expiry: 60 });
    expect(back.take()).toMatchObject([{ sessionPresent: true }]);
    world.clock.advance(1_000_000);
    expect(world.gauge('shoal_sessions')).toBe(1);
    goodbye(back);
    world.clock.advance(60_000);
    expect(world.gauge('shoal_sessions')).toBe(0);
    expect((await world.admit({ clientId: 'c', clean: false })).take()).toMatchObject([{ sessionPresent: false }]);
  });

  it('follow the expiry of the last DISCONNECT', async () => {
    const world = new World();
    const connection = await world.admit({ clientId: 'c', clean: false, expiry: 60 });
    connection.end('goodbye', { publishWill: false, expirySeconds: 0 });
    await settle();
    expect([world.gauge('shoal_sessions'), world.records.stored.size]).toEqual([0, 0]);
  });

  it('that their tenant removes are gone, connected or not', async () => {
    const world = new World();
    const here = await world.admit({ clientId: 'here', clean: false, expiry: 60 });
    goodbye(await world.admit({ clientId: 'away', clean: false, expiry: 60 }));
    for (const clientId of ['here', 'away', 'unknown'])
      await world.admission.apply({ type: 'session-kick', tenant: acme, clientId: id(clientId) }, world.clock.nowMs());
    await settle();
    expect(here.closedBy).toBe('administrative-action');
    expect([world.gauge('shoal_sessions'), world.records.stored.size]).toEqual([0, 0]);
  });
});

describe('the control log', () => {
  it('closes the connections of a credential that was rotated, and no others', async () => {
    const world = new World();
    const connection = await world.admit({ clientId: 'c' });
    await world.admission.apply(
      { type: 'credential-changed', tenant: acme, name: 'other', change: 'rotated' },
      world.clock.nowMs(),
    );
    expect(connection.closedBy).toBeUndefined();
    const secretHash = await hashSecret('battery staple', 'generated');
    world.credential = { ...world.credential!, revision: 2, secretHash };
    await world.admission.apply(
      { type: 'credential-changed', tenant: acme, name: 'device', change: 'rotated' },
      world.clock.nowMs(),
    );
    expect(connection.closedBy).toBe('administrative-action');
  });

  it('lets a new password in before the control log tells of it, and does not close it when it does', async () => {
    const world = new World();
    const old = await world.admit({ clientId: 'old' });
    const secretHash = await hashSecret('battery staple', 'generated');
    world.credential = { ...world.credential!, revision: 2, secretHash };
    world.clock.advance(100);
    const young = await world.admit({ clientId: 'young', secret: 'battery staple' });
    expect(young.in).toBeDefined();
    await world.admission.apply(
      { type: 'credential-changed', tenant: acme, name: 'device', change: 'rotated' },
      world.clock.nowMs(),
    );
    expect([old.closedBy, young.closedBy]).toEqual(['administrative-action', undefined]);
  });

  it('renews the access of live sessions; without grants it is everything', async () => {
    const world = new World();
    const { session, channel } = (await world.admit({ clientId: 'c' })).in!;
    const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
    const subscriptions = [
      { filter: 'a', ...options },
      { filter: 'b', ...options },
    ];
    const packet = { type: 'subscribe', packetId: 1, subscriptions, properties: {} } as const;
    session.receiveSubscribe(packet, channel);
    const change = { type: 'credential-changed', tenant: acme, name: 'device', change: 'grants' } as const;
    world.credential = { ...world.credential!, revision: 2, grants: [{ effect: 'allow', action: 'all', topic: 'a' }] };
    await world.admission.apply(change, world.clock.nowMs());
    expect([...session.subscriptions.keys()]).toEqual(['a']);
    const { grants: _none, ...open } = world.credential;
    world.credential = { ...open, revision: 3 };
    await world.admission.apply(change, world.clock.nowMs());
    session.receiveSubscribe(packet, channel);
    expect([...session.subscriptions.keys()]).toEqual(['a', 'b']);
  });

  it('takes a deleted tenant down, wills included, and lets it be made again', async () => {
    const world = new World();
    const connection = await world.admit({
      clientId: 'c',
      clean: false,
      expiry: 60,
      will: { topic: 't', payload: 'x', delay: 5 },
    });
    await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'deleted' }, world.clock.nowMs());
    expect(connection.closedBy).toBe('administrative-action');
    world.clock.advance(100_000);
    expect([world.retained.puts, world.gauge('shoal_sessions')]).toEqual([[], 0]);
    await world.admit({ clientId: 'c' });
  });

  describe('obeyed late, as by a broker that follows one that died,', () => {
    const kick = { type: 'session-kick', tenant: acme, clientId: id('c') } as const;

    it('removes the session that was meant, and none that began later', async () => {
      const world = new World();
      const client = await world.admit({ clientId: 'c', clean: false, expiry: 60 });
      const { born } = client.in!.tenant.residences.get(id('c'))!.record;
      const atMs = world.clock.nowMs() + 60_000; // Whatever the clocks say.
      await world.admission.apply({ ...kick, born: born - 1 }, atMs);
      expect(client.closedBy).toBeUndefined();
      await world.admission.apply({ ...kick, born }, world.clock.nowMs() - 60_000);
      await settle();
      expect([client.closedBy, world.records.stored.size]).toEqual(['administrative-action', 0]);
    });

    it.each([
      ['two seconds before it', 2000, undefined],
      ['as much before it as clocks differ', 1000, 'administrative-action'],
    ])('without saying which session, written %s, closes a connection or not', async (_what, agoMs, closedBy) => {
      const world = new World();
      const client = await world.admit({ clientId: 'c', clean: false, expiry: 60 });
      await world.admission.apply(kick, world.clock.nowMs() - agoMs);
      expect(client.closedBy).toBe(closedBy);
    });

    it('leaves clients of a tenant that is active again', async () => {
      const world = new World();
      const client = await world.admit({ clientId: 'c' });
      const change = { type: 'tenant-changed', tenant: acme, change: 'suspended' } as const;
      await world.admission.apply(change, world.clock.nowMs() - 60_000);
      expect(client.closedBy).toBeUndefined();
      world.tenant = { ...world.tenant!, status: 'suspended' };
      await world.admission.apply(change, world.clock.nowMs() - 60_000);
      expect(client.closedBy).toBe('administrative-action');
    });

    it('leaves clients of a new tenant of the same name, and ends what the old one had', async () => {
      const world = new World();
      const old = await world.admit({ clientId: 'old', clean: false, expiry: 60 });
      const deletedAtMs = world.clock.nowMs() + 100;
      world.clock.advance(5000);
      const young = await world.admit({ clientId: 'young' });
      await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'deleted' }, deletedAtMs);
      expect([old.closedBy, young.closedBy]).toEqual(['administrative-action', undefined]);
      expect([world.gauge('shoal_sessions'), world.gauge('shoal_connections')]).toEqual([1, 1]);
    });
  });

  it('sets new quotas for live tenants', async () => {
    const world = new World({ connections: 1 });
    await world.admit({ clientId: 'a' });
    world.tenant = { ...world.tenant!, quotaOverrides: { connections: 2 } };
    await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'quotas' }, world.clock.nowMs());
    await world.admit({ clientId: 'b' });
    await expect(world.admit({ clientId: 'c' })).rejects.toThrow(reason('quotaExceeded'));
  });
});

it.each(['held', 'outage'] as const)('withholds receipts while the lease has lapsed, until it is %s', async (state) => {
  const world = new World();
  const { tenant } = (await world.admit({ clientId: 'c' })).in!;
  const topic = { text: 't', bytes: Buffer.from('t') };
  const publish = (): Receipt =>
    tenant.publish(Message.of({ topic, payload: Buffer.from('x'), qos: 1, retain: false }), world.clock.nowMs());
  expect(publish().reasonCode).toBeDefined();
  world.lease.state = 'lapsed';
  world.clock.advance(1);
  const withheld = publish();
  expect(withheld.reasonCode).toBeUndefined();
  world.lease.become(state);
  expect(withheld.reasonCode).toBeDefined();
  world.clock.advance(1);
  expect(publish().reasonCode).toBeDefined();
});

it('a stop tells every client, keeps wills to itself and writes the records', async () => {
  const world = new World();
  const connection = await world.admit({ clientId: 'c', clean: false, expiry: 60, will: { topic: 't', payload: 'x' } });
  await world.admission.stop();
  expect(connection.closedBy).toBe('server-shutting-down');
  expect([world.retained.puts, world.records.stored.get('c')?.connected]).toEqual([[], false]);
  await expect(world.admit({ clientId: 'd' })).rejects.toThrow(reason('serverShuttingDown'));
});

describe('while the broker drains', () => {
  const will = { topic: 't', payload: 'gone' };
  const drainMs = 90_000;
  const kept = { clean: false, expiry: 3600, will };

  it('nobody comes in, and who is there is served', async () => {
    const world = new World();
    const [a, b] = [await world.admit({ clientId: 'a', will }), await world.admit({ clientId: 'b', will })];
    world.admission.drain(world.clock.nowMs() + drainMs);
    await expect(world.admit({ clientId: 'c' })).rejects.toThrow(reason('serverShuttingDown'));
    expect([a.closed, b.closed]).toEqual([false, false]);
    lost(b); // It has died, and nobody has sent it away.
    expect(world.retained.puts).toEqual(['t gone']);
  });

  it.each([
    ['a session that lives on', kept],
    ['one that ends with its connection', { will }],
  ])('the will of a client that is sent away is not published: %s', async (_what, fields) => {
    const world = new World();
    const connection = await world.admit({ clientId: 'c', ...fields });
    world.admission.drain(world.clock.nowMs() + drainMs);
    connection.close(reasons.serverShuttingDown);
    world.clock.advance(10 * drainMs);
    expect(world.retained.puts).toEqual([]);
  });

  it('it is due when the last has been sent away and had time to come back, or when its own delay is over', async () => {
    const world = new World();
    const startMs = world.clock.nowMs();
    const soon = await world.admit({ clientId: 'soon', ...kept });
    const late = await world.admit({ clientId: 'late', ...kept, will: { ...will, delay: 600 } });
    world.admission.drain(startMs + drainMs);
    world.clock.advance(1000);
    for (const connection of [soon, late]) connection.close(reasons.serverShuttingDown);
    await world.admission.stop();
    const dueMs = ['soon', 'late'].map((clientId) => world.records.stored.get(clientId)!.willAtMs! - startMs);
    expect(dueMs).toEqual([drainMs + 30_000, 601_000]);
  });
});

it('an answer that the client is too small for ends what has just begun', async () => {
  const world = new World();
  const connection = await world.admit({ clientId: 'c', clean: false, expiry: 60, more: { maximumPacketSize: 5 } });
  expect(connection.closedBy).toBe('packet-too-large');
  expect(world.gauge('shoal_connections')).toBe(0);
});
