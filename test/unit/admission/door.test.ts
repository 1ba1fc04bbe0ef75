/**
 * What becomes of a CONNECT that has to wait, cell by cell of the table in `arrival.ts`; and that no tenant holds the door
 * for the others.
 */
import { describe, expect, it } from 'vitest';
import type { TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import { until } from '../../support/until.js';
import { acme, type ConnectWish, type FakeConnection, id, World } from './world.js';

const lost = (connection: FakeConnection): void => connection.end('lost', { publishWill: true });
const settle = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

type Attempt = ReturnType<World['connect']> & { outcome: () => string };

/** A CONNECT whose outcome can be asked for: `in`, the name of the reason why it is not, or `waits`. */
function attempt(world: World, wish: Partial<ConnectWish> = {}): Attempt {
  const started = world.connect({ clientId: 'c', ...wish });
  let outcome = 'waits';
  started.done.then(
    () => (outcome = 'in'),
    (error: { reason: { name: string } }) => (outcome = error.reason.name),
  );
  return { ...started, outcome: () => outcome };
}
const outcomes = (attempts: Attempt[]): string[] => attempts.map(({ outcome }) => outcome());

/** A tenant `good` beside `acme`. */
function withNeighbour(world: World): World {
  world.accounts.tenants.set('good' as TenantId, { ...world.tenant!, id: 'good' as TenantId, quotaOverrides: {} });
  world.accounts.put({ ...world.credential!, scope: 'good' as string as TenantScope });
  return world;
}

describe('the door for other tenants', () => {
  it('stays open while one tenant has thousands of CONNECTs under way, of one client id or of many', async () => {
    for (const clientIds of [1, 5000]) {
      const world = withNeighbour(new World({ connections: null, connectsPerSecond: null }));
      await world.admit({ clientId: 'first' });
      world.records.holding = true;
      for (let i = 0; i < 5000; i++) world.connect({ clientId: `hostile ${i % clientIds}` });
      await settle();
      world.records.holding = false;
      await world.admit({ clientId: 'x', user: 'device@good', address: '198.51.100.1' });
      expect(world.gauge('shoal_connects_under_way')).toBeLessThan(700);
      world.records.open();
    }
  });

  it('stays open while strangers with wrong names wait for the database', async () => {
    const world = withNeighbour(new World());
    await world.admit({ clientId: 'x', user: 'device@good', address: '198.51.100.1' });
    const slow: (() => void)[] = [];
    const tenant = world.accounts.tenant.bind(world.accounts);
    world.accounts.tenant = async (name) => {
      if (name !== 'good') await new Promise<void>((resolve) => slow.push(resolve));
      return tenant(name);
    };
    const strangers = Array.from({ length: 5000 }, (_, i) => attempt(world, { user: `device@nobody-${i}` }));
    await settle();
    await world.admit({ clientId: 'y', user: 'device@good', address: '198.51.100.1' });
    await until(() => outcomes(strangers).includes('server-busy'), 'refusals');
    expect(new Set(outcomes(strangers))).toEqual(new Set(['waits', 'server-busy']));
    for (const answer of slow) answer();
    await settle();
    expect(world.gauge('shoal_connects_under_way')).toBe(0);
  });
});

describe('the CONNECTs of one client id', () => {
  it('are one at work and the latest of those that wait', async () => {
    const world = new World();
    world.records.holding = true;
    const first = attempt(world);
    await until(() => world.records.waiting === 1);
    const later = [attempt(world), attempt(world), attempt(world)];
    await settle();
    expect(outcomes([first, ...later])).toEqual(['waits', 'session-taken-over', 'session-taken-over', 'waits']);
    world.records.holding = false;
    world.records.open();
    await settle();
    expect(outcomes([first, ...later])).toEqual(['in', 'session-taken-over', 'session-taken-over', 'in']);
    expect(first.connection.closedBy).toBe('session-taken-over');
    expect(world.records.log.filter((line) => line.startsWith('claim'))).toHaveLength(2);
  });

  it('of a client that has left neither end the live connection nor claim the record', async () => {
    const world = new World();
    world.records.holding = true;
    const live = attempt(world);
    await until(() => world.records.waiting === 1);
    const gone = attempt(world);
    await settle();
    lost(gone.connection);
    world.records.holding = false;
    world.records.open();
    await settle();
    expect(outcomes([live, gone])).toEqual(['in', 'connection-lost']);
    expect([live.connection.closed, world.records.log]).toEqual([false, ['claim c 1']]);
  });

  it('wait for what an earlier connection has left behind, for four seconds', async () => {
    const world = new World();
    const wish = { clean: false, expiry: 1000 };
    const watcher = await world.admit({ clientId: 'watcher' });
    expect(watcher.in).toBeDefined();
    lost(await world.admit({ clientId: 'c', ...wish, will: { topic: 't', payload: 'dead' } }));
    await settle();
    world.clock.advance(1);
    const again = await world.admit({ clientId: 'c', ...wish, will: { topic: 't', payload: 'dead again' } });
    world.lease.state = 'lapsed'; // Nothing is safe now: the next will is not either.
    lost(again);
    const waiting = attempt(world, wish);
    await settle();
    world.clock.advance(3999);
    await settle();
    expect(waiting.outcome()).toBe('waits');
    world.clock.advance(1);
    await settle();
    expect(waiting.outcome()).toBe('server-unavailable');
    const next = attempt(world, wish);
    world.lease.become('held');
    await settle();
    expect(next.outcome()).toBe('in');
  });

  it('that begin anew wait as long for the session that they end, and begin when it has ended', async () => {
    const world = new World();
    const first = await world.admit({ clientId: 'c', expiry: 1000, will: { topic: 't', payload: 'dead', delay: 60 } });
    world.lease.state = 'lapsed';
    world.clock.advance(1);
    const early = attempt(world, { clean: true });
    await settle();
    expect([first.closedBy, early.outcome()]).toEqual(['session-taken-over', 'waits']);
    world.clock.advance(4000);
    await settle();
    expect([early.outcome(), world.gauge('shoal_connects_under_way')]).toEqual(['server-unavailable', 0]);
    const next = attempt(world, { clean: true });
    world.lease.become('held');
    await settle();
    expect(next.outcome()).toBe('in');
    expect(world.records.log.filter((line) => line.startsWith('claim'))).toHaveLength(2);
  });

  it('come ten at once, and then one a second: the latest of those that wait', async () => {
    const world = new World();
    for (let i = 0; i < 10; i++) await world.admit({ clientId: 'c' });
    const [older, newer] = [attempt(world), attempt(world)];
    await settle();
    expect(outcomes([older, newer])).toEqual(['session-taken-over', 'waits']);
    await world.admit({ clientId: 'another' });
    world.clock.advance(999);
    await settle();
    expect(newer.outcome()).toBe('waits');
    world.clock.advance(1);
    await settle();
    expect(newer.outcome()).toBe('in');
  });
});

describe('the quota of connections', () => {
  it('counts those that are on their way in, and a client that comes again once', async () => {
    const world = new World({ connections: 2 });
    const first = await world.admit({ clientId: 'a' });
    world.records.holding = true;
    const all = ['a', 'a', 'b', 'c'].map((clientId) => attempt(world, { clientId }));
    await until(() => world.records.waiting === 2);
    await settle();
    expect(outcomes(all)).toEqual(['waits', 'waits', 'waits', 'quota-exceeded']);
    expect(first.closedBy).toBe('session-taken-over');
    expect(attempt(world, { clientId: 'd' }).connection.in).toBeUndefined();
    world.records.holding = false;
    world.records.open();
    await settle();
    expect(outcomes(all)).toEqual(['in', 'in', 'in', 'quota-exceeded']);
    expect(world.gauge('shoal_connections')).toBe(2);
    lost(all[2]!.connection);
    await world.admit({ clientId: 'c' });
  });

  it('of sessions counts those that are on their way in as well', async () => {
    const world = new World({ connections: 2 }); // Twenty sessions.
    for (let i = 0; i < 19; i++) lost(await world.admit({ clientId: `away ${i}`, expiry: 1000 }));
    world.records.holding = true;
    const all = ['new', 'another', 'away 1'].map((clientId) => attempt(world, { clientId, expiry: 1000 }));
    await until(() => world.records.waiting === 2);
    await settle();
    expect(outcomes(all)).toEqual(['waits', 'quota-exceeded', 'waits']);
    world.records.holding = false;
    world.records.open();
    await settle();
    expect(outcomes(all)).toEqual(['in', 'quota-exceeded', 'in']);
    expect(world.gauge('shoal_sessions')).toBe(20);
  });
});

describe('the rate of CONNECTs', () => {
  it('is kept: some wait in their order, the others are refused at once', async () => {
    const world = new World({ connectsPerSecond: 2 });
    const all = Array.from({ length: 8 }, (_, i) => attempt(world, { clientId: `c${i}` }));
    await settle();
    const refused = ['connection-rate-exceeded', 'connection-rate-exceeded'];
    expect(outcomes(all)).toEqual(['in', 'in', 'waits', 'waits', 'waits', 'waits', ...refused]);
    const timers = world.clock.timers;
    world.clock.advance(500);
    await settle();
    expect(outcomes(all)).toEqual(['in', 'in', 'in', 'waits', 'waits', 'waits', ...refused]);
    expect(world.clock.timers).toBe(timers); // One for the line.
    world.clock.advance(1500);
    await settle();
    expect(outcomes(all)).toEqual(['in', 'in', 'in', 'in', 'in', 'in', ...refused]);
  });

  it('is not used up by clients that have left meanwhile', async () => {
    const world = new World({ connectsPerSecond: 2 });
    const all = Array.from({ length: 6 }, (_, i) => attempt(world, { clientId: `c${i}` }));
    await settle();
    for (const { connection } of all.slice(2, 5)) lost(connection);
    const later = attempt(world, { clientId: 'later' }); // Their places in the line are free.
    world.clock.advance(500);
    await settle();
    const gone = ['connection-lost', 'connection-lost', 'connection-lost'];
    expect(outcomes(all)).toEqual(['in', 'in', ...gone, 'in']);
    world.clock.advance(500);
    await settle();
    expect(later.outcome()).toBe('in');
  });

  it('holds nobody back for longer than two seconds, and nobody of another tenant', async () => {
    const world = withNeighbour(new World({ connectsPerSecond: 1 }));
    const all = Array.from({ length: 3 }, (_, i) => attempt(world, { clientId: `c${i}` }));
    await settle();
    await world.admit({ clientId: 'x', user: 'device@good' });
    world.tenant = { ...world.tenant!, quotaOverrides: { connectsPerSecond: 1 } };
    world.clock.advance(2000);
    await settle();
    expect(outcomes(all)).toEqual(['in', 'in', 'in']);
  });

  it.each([
    ['the broker drains', (world: World) => world.admission.drain(0), 'server-unavailable'],
    [
      'its tenant is deleted',
      async (world: World) => {
        world.tenant = undefined;
        await world.admission.apply({ type: 'tenant-changed', tenant: acme, change: 'deleted' }, world.clock.nowMs());
      },
      'server-unavailable',
    ],
    ['its socket closes', (_: World, { connection }: Attempt) => lost(connection), 'connection-lost'],
  ])('lets nobody claim who waits for it while %s', async (_, happens, outcome) => {
    const world = new World({ connectsPerSecond: 1 });
    await world.admit({ clientId: 'first' });
    const waiting = attempt(world);
    await settle();
    expect(waiting.outcome()).toBe('waits');
    await Promise.resolve(happens(world, waiting));
    world.clock.advance(1000);
    await settle();
    expect([waiting.outcome(), world.records.log.filter((line) => line.startsWith('claim c'))]).toEqual([outcome, []]);
  });

  it('is forgotten with nothing left of it: the tenant is not dropped while somebody waits', async () => {
    const world = new World({ connectsPerSecond: 1 });
    const first = await world.admit({ clientId: 'first' });
    const waiting = attempt(world);
    await settle();
    first.end('goodbye', { publishWill: false });
    await settle();
    expect(first.in!.tenant.isEmpty).toBe(false);
    world.clock.advance(1000);
    await settle();
    expect([waiting.outcome(), waiting.connection.in!.tenant]).toEqual(['in', first.in!.tenant]);
  });
});

describe('wills', () => {
  const will = (bytes: number) => ({ topic: 't', payload: 'x'.repeat(bytes) });

  it('that CONNECTs bring come no faster than bytesPerSecond; who has none does not wait', async () => {
    const world = new World({ bytesPerSecond: 1000 });
    const all = [3000, 1000, 0].map((bytes, i) =>
      attempt(world, { clientId: `c${i}`, ...(bytes > 0 && { will: will(bytes) }) }),
    );
    await settle();
    expect(outcomes(all)).toEqual(['in', 'waits', 'in']);
    world.clock.advance(1900);
    await settle();
    expect(outcomes(all)).toEqual(['in', 'waits', 'in']);
    world.clock.advance(100);
    await settle();
    // Its time was over before the bytes were paid.
    expect(outcomes(all)).toEqual(['in', 'connection-rate-exceeded', 'in']);
    world.clock.advance(1000);
    expect(await world.admit({ clientId: 'c1', will: will(1000) })).toBeDefined();
  });

  it('count as messages when they are published', async () => {
    const world = new World({ publishPerSecond: 2, bytesPerSecond: 1000 });
    const dying = await world.admit({ clientId: 'a', will: will(3000) });
    const { tenant } = dying.in!;
    const waitMs = (): number => tenant.rates.publishWaitMs(world.clock.nowMs());
    expect(waitMs()).toBe(0);
    lost(dying);
    expect(waitMs()).toBeGreaterThan(1900);
    world.clock.advance(4000);
    for (let i = 0; i < 4; i++) lost(await world.admit({ clientId: `b${i}`, will: will(1) }));
    expect(waitMs()).toBe(1000); // Two messages too many.
    expect(tenant.residences.has(id('a'))).toBe(false);
  });
});
