/** Leases of several brokers over a real database: who serves, who waits how long, and what a broker may say meanwhile. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { DeadBroker } from '../../../services/broker/store/lease-serving.js';
import { LeaseEnds } from '../../../services/broker/store/lease-ends.js';
import { LeaseLost, StartAborted } from '../../../services/broker/store/membership.js';
import type { BrokerId } from '../../../services/kernel/kernel.js';
import { brokerLeaseKey, leaseEndKey, servingLockKey } from '../../../services/tenancy/tenancy.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { heardFaults } from '../../support/heard-faults.js';
import { type LeaseBroker, LeaseWorld } from '../../support/lease-world.js';
import { until } from '../../support/until.js';
import { type DynamoServer, dynamoServers } from './servers.js';

interface Start {
  readonly broker: LeaseBroker;
  dead?: readonly DeadBroker[];
  error?: unknown;
}

/** Resolves when it serves, with the deaths it has been told of by then. */
async function served({ membership, deaths }: LeaseBroker): Promise<readonly DeadBroker[]> {
  await membership.start();
  return [...deaths];
}

function starting(broker: LeaseBroker): Start {
  const start: Start = { broker };
  served(broker).then(
    (dead) => (start.dead = dead),
    (error: unknown) => (start.error = error),
  );
  return start;
}

const ids = (dead: readonly DeadBroker[] | undefined): string[] | undefined =>
  dead?.map(({ brokerId }) => brokerId).sort();

/** A call that waits until the test lets it go. */
function heldBack(broker: LeaseBroker, isThis: (call: { action: string; args: readonly unknown[] }) => boolean) {
  const held = { has: false, go: (): void => {} };
  broker.line.before = async (call) => {
    if (held.has || !isThis(call)) return;
    held.has = true;
    // To the world it looks as if it had been answered: time may go on.
    broker.line.inFlight--;
    await new Promise<void>((resolve) => (held.go = resolve));
    broker.line.inFlight++;
  };
  return held;
}

const isMoveOfLock = ({ action, args }: { action: string; args: readonly unknown[] }): boolean =>
  action === 'put' && (args[1] as { pk: string }).pk === servingLockKey.pk;
const isTake = ({ action, args }: { action: string; args: readonly unknown[] }): boolean =>
  action === 'update' && (args[2] as { update: string }).update.includes('takenBy');

function leaseContract({ name, start: startServer }: DynamoServer): void {
  describe(`leases over ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    let world: LeaseWorld;
    beforeAll(async () => {
      server = await startServer();
    }, 90_000);
    afterAll(async () => await server?.stop());

    const item = (broker: LeaseBroker) => dynamo.get('cluster', brokerLeaseKey(broker.id), { consistent: true });
    const lockHolder = async () => (await dynamo.get('cluster', servingLockKey, { consistent: true }))?.['brokerId'];

    /** A broker that serves, in a world of its own. */
    async function serving(): Promise<LeaseBroker> {
      dynamo = await server.open();
      world = new LeaseWorld(dynamo);
      const a = world.broker('a');
      expect(await served(a)).toEqual([]);
      return a;
    }

    it('the first broker serves at once, and goes on', async () => {
      const a = await serving();
      expect([a.gate.state, a.gate.leave(), await lockHolder()]).toEqual(['held', 'all', 'a']);
      await world.elapse(30_000);
      expect([a.gate.state, a.events]).toEqual(['held', []]);
      expect(a.metrics.counter('shoal_lease_renewals_total', '', { result: 'renewed' }).value).toBeGreaterThan(14);
      expect((await item(a))!['leaseUntilMs']).toBeGreaterThan(a.clock.nowMs() + 2900);
    });

    it('a broker tells of itself with each renewal, and that goes with it', async () => {
      const a = await serving();
      const created = await item(a);
      expect(created).toMatchObject({ version: '1.2.3', connections: 0, sessions: 0, startedAtMs: a.clock.nowMs() });
      Object.assign(a.load, { connections: 7, sessions: 9 });
      await world.elapse(3000);
      expect(await item(a)).toMatchObject({
        ...created,
        connections: 7,
        sessions: 9,
        leaseUntilMs: expect.any(Number),
      });
      await a.membership.stop();
      expect(await item(a)).toMatchObject({ givenUp: true, version: '1.2.3', connections: 7 });
    });

    it('a broker that cannot tell of itself keeps its lease all the same', async () => {
      const a = await serving();
      a.load.connections = 7;
      await world.elapse(2000);
      const faults = heardFaults();
      onTestFinished(() => faults.stop());
      const planted = (): never => {
        throw new Error('planted');
      };
      Object.defineProperty(a.load, 'connections', { enumerable: true, get: planted });
      await world.elapse(10_000);
      expect([a.gate.state, a.events, Object.keys(faults.counts)]).toEqual(['held', [], ['lease']]);
      expect(await item(a)).toMatchObject({ connections: 7 });
      expect((await item(a))!['leaseUntilMs']).toBeGreaterThan(a.clock.nowMs() + 2900);
    });

    it('a broker with links says where it is dialled, and reads who there is, serving or not', async () => {
      dynamo = await server.open();
      world = new LeaseWorld(dynamo);
      const [a, b, c] = [world.broker('a', true), world.broker('b', true), world.broker('c')];
      await served(a);
      for (const one of [b, c]) void one.membership.start().catch(() => undefined);
      // Its own lease first, then those of all.
      await world.elapseUntil(() => b.leases.reads === 1);
      expect(b.leases.read).toMatchObject({ a: false, b: false });
      Object.assign(b.links, { up: 1, expected: 2 });
      await world.elapse(3000);
      expect(await item(b)).toMatchObject({ address: 'b:1', linksUp: 1, linksExpected: 2 });
      expect(await item(c)).not.toHaveProperty('address');
      expect([a.leases.read, b.leases.read]).toEqual(Array(2).fill({ a: false, b: false, c: false }));
      expect(c.leases.reads).toBe(0); // It has nobody to tell.
      // Whoever has no more lease is known to both: at once where it was marked, with the next read elsewhere.
      await world.kill(c);
      await world.elapseUntil(() => a.leases.read['c'] === true);
      await world.elapse(2500);
      expect(b.leases.read['c']).toBe(true);
      const reads = b.leases.reads;
      await world.elapse(20_000);
      expect(b.leases.reads - reads).toBeLessThanOrEqual(10);
      await a.membership.stop();
      await world.elapseUntil(() => b.leases.read['a'] === true);
      expect(b.deaths.map(({ brokerId }) => brokerId)).toContain('a'); // It serves now.
    });

    it('after a clean stop the next one need not wait', async () => {
      const a = await serving();
      const stoppedAtMs = a.clock.nowMs();
      await a.membership.stop();
      expect([a.gate.isHeld(), a.gate.leave(), await lockHolder()]).toEqual([false, 'none', undefined]);
      const b = world.broker('b');
      expect(await served(b)).toEqual([{ brokerId: 'a', leaseUntilMs: stoppedAtMs }]); // No time has passed.
      expect(await item(a)).toMatchObject({ takenBy: 'b', givenUp: true });
      expect(await item(a)).not.toHaveProperty('ttl');
      const ends = new LeaseEnds(dynamo);
      expect(await ends.of(a.id)).toBe(stoppedAtMs);
      await b.membership.adopted(a.id);
      expect(await item(a)).toBeUndefined();
      await b.membership.adopted(a.id); // Once more, after an answer that was lost.
      expect([await ends.of(a.id), await new LeaseEnds(dynamo).of(a.id)]).toEqual([stoppedAtMs, stoppedAtMs]);
      expect(await ends.of('nobody' as BrokerId)).toBeUndefined();
    });

    it('an end that cannot be read is not known, and one that is out of reach is asked for again', async () => {
      const a = await serving();
      const ends = new LeaseEnds(a.line.dynamo);
      await dynamo.put('cluster', { ...leaseEndKey('b' as BrokerId), v: 99 });
      expect(await ends.of('b' as BrokerId)).toBeUndefined();
      a.line.isCut = true;
      await expect(ends.of(a.id)).rejects.toThrow();
      a.line.isCut = false;
      const { leaseUntilMs } = (await item(a)) as { leaseUntilMs: number };
      expect(await ends.of(a.id)).toBeGreaterThanOrEqual(leaseUntilMs);
      await world.elapse(2000); // It is renewed, and what was read is not kept.
      expect(await ends.of(a.id)).toBeGreaterThan(leaseUntilMs);
    });

    it('after a crash the next one waits as long as the lease, and says so once', async () => {
      const a = await serving();
      await world.elapse(3000);
      await world.kill(a);
      const { leaseUntilMs } = (await item(a)) as { leaseUntilMs: number };
      const b = world.broker('b');
      const start = starting(b);
      await world.elapseUntil(() => start.dead !== undefined);
      expect(b.clock.nowMs()).toBeGreaterThanOrEqual(leaseUntilMs);
      expect(b.clock.nowMs()).toBeLessThanOrEqual(leaseUntilMs + 200);
      expect(start.dead).toEqual([{ brokerId: 'a', leaseUntilMs }]);
      expect(b.lines).toEqual(['another broker is serving, standing by']);
    });

    it('a living broker is waited for, and followed soon after it stops', async () => {
      const a = await serving();
      const start = starting(world.broker('b'));
      await world.elapse(30_000);
      expect([start.dead, a.gate.state]).toEqual([undefined, 'held']);
      await a.membership.stop();
      expect(await world.elapseUntil(() => start.dead !== undefined)).toBeLessThanOrEqual(700);
      expect(ids(start.dead)).toEqual(['a']);
    });

    it('one of many who wait serves, and the others are not among the dead', async () => {
      const a = await serving();
      const starts = ['b', 'c', 'd', 'e'].map((each) => starting(world.broker(each)));
      await world.elapse(1000);
      await world.kill(a);
      await world.elapseUntil(() => starts.some(({ dead }) => dead !== undefined));
      await world.elapse(10_000);
      const serves = starts.filter(({ dead }) => dead !== undefined);
      expect(serves).toHaveLength(1);
      expect(ids(serves[0]!.dead)).toEqual(['a']);
      expect(await lockHolder()).toBe(serves[0]!.broker.id);
      expect(starts.map(({ broker }) => broker.gate.state)).toEqual(Array(4).fill('held'));
    });

    it('a renewal that comes between looking and taking wins', async () => {
      const a = await serving();
      const b = world.broker('b');
      const take = heldBack(b, isTake);
      a.isDead = true;
      const start = starting(b);
      await world.elapseUntil(() => take.has);
      a.clock.freeze(4000);
      a.isDead = false;
      expect(a.gate.isHeld()).toBe(false); // Woken: it renews at once.
      await until(() => a.gate.isHeld(), 'the renewal');
      take.go();
      await world.elapse(10_000);
      expect([start.dead, a.gate.state, a.events]).toEqual([undefined, 'held', ['lapsed', 'renewed']]);
      expect(await item(a)).not.toHaveProperty('takenBy');
    });

    it('a broker that was taken while it was frozen says nothing more and is lost', async () => {
      const a = await serving();
      const start = starting(world.broker('b'));
      await world.freeze(a, 8000);
      expect(ids(start.dead)).toEqual(['a']);
      const leaves = [a.gate.leave(), a.gate.state];
      expect([...leaves, a.events]).toEqual(['none', 'lapsed', ['lapsed']]);
      await until(() => a.events.includes('lost'), 'the loss');
      expect([a.gate.state, a.gate.leave(), a.gate.isHeld(), a.events]).toEqual([
        ...['lost', 'none', false],
        ['lapsed', 'lost'],
      ]);
      await world.elapse(10_000);
      await a.membership.stop();
      expect([a.events.length, await lockHolder(), (await item(a))!['takenBy']]).toEqual([2, 'b', 'b']);
    });

    it('a broker that was frozen and missed by nobody goes on once DynamoDB has said so', async () => {
      const a = await serving();
      await world.freeze(a, 60_000);
      const told: string[] = [];
      a.gate.whenAwake(() => told.push('held'));
      expect([a.gate.state, told]).toEqual(['lapsed', []]);
      await world.quiet();
      expect([a.gate.state, told, a.events]).toEqual(['held', ['held'], ['lapsed', 'renewed']]);
      a.gate.whenAwake(() => told.push('at once'));
      expect(told).toEqual(['held', 'at once']);
    });

    it('a machine that was suspended has lost its time, whatever its monotonic clock says', async () => {
      const a = await serving();
      a.clock.suspend(5000);
      expect([a.gate.leave(), a.gate.state]).toEqual(['none', 'lapsed']);
      a.clock.suspend(-5000);
      expect(a.gate.isHeld()).toBe(false); // Only a renewal helps.
      await world.quiet();
      expect(a.gate.isHeld()).toBe(true);
    });

    it('without DynamoDB it is in an outage as soon as the lease ends, and recovers', async () => {
      const a = await serving();
      a.line.isCut = true;
      await world.elapse(2700);
      expect([a.gate.state, a.events]).toEqual(['held', []]);
      await world.elapse(100);
      expect([a.gate.state, a.gate.leave(), a.events]).toEqual(['outage', 'all', ['lapsed', 'outage']]);
      await world.elapse(60_000);
      expect([a.gate.state, a.gate.leave(), a.events]).toEqual(['outage', 'new', ['lapsed', 'outage']]);
      a.line.isCut = false;
      await world.elapse(1000);
      expect([a.gate.state, a.events]).toEqual(['held', ['lapsed', 'outage', 'renewed']]);
      const count = (result: string) => a.metrics.counter('shoal_lease_renewals_total', '', { result }).value;
      expect(count('failed')).toBeGreaterThan(60);
      expect(count('taken')).toBe(0);
    });

    it('frozen in an outage, it knows nothing until it has tried again', async () => {
      const a = await serving();
      a.line.isCut = true;
      await world.elapse(10_000);
      await world.freeze(a, 5000);
      const told: string[] = [];
      a.gate.whenAwake(() => told.push('awake'));
      expect([a.gate.state, a.gate.leave(), told]).toEqual(['lapsed', 'none', []]);
      await world.elapse(2000); // Two attempts, the second at most a second after the first.
      expect([a.gate.state, a.gate.leave(), told]).toEqual(['outage', 'new', ['awake']]);
      a.gate.whenAwake(() => told.push('at once'));
      a.line.isCut = false;
      await world.elapse(2000);
      expect([a.gate.state, told]).toEqual(['held', ['awake', 'at once']]);
    });

    it('who crashed between marking and moving the lock is followed, and both are adopted', async () => {
      const a = await serving();
      await world.kill(a);
      const b = world.broker('b');
      const move = heldBack(b, isMoveOfLock);
      starting(b);
      await world.elapseUntil(() => move.has);
      expect([(await item(a))!['takenBy'], await lockHolder()]).toEqual(['b', 'a']);
      await world.kill(b);
      const c = world.broker('c');
      expect(ids(await served(c))).toEqual(['a']); // b may be alive, for all c knows; a is dead.
      await c.membership.stop();
      await world.elapse(6000);
      expect(ids(await served(world.broker('d')))).toEqual(['a', 'b', 'c']);
    });

    it('who was frozen between marking and moving the lock finds that somebody else serves', async () => {
      const a = await serving();
      await world.kill(a);
      const b = world.broker('b');
      const move = heldBack(b, isMoveOfLock);
      const startB = starting(b);
      await world.elapseUntil(() => move.has);
      expect(ids(await served(world.broker('c')))).toEqual(['a']);
      move.go();
      await world.elapse(5000);
      expect([startB.dead, startB.error, b.gate.state, await lockHolder()]).toEqual([
        undefined,
        undefined,
        'held',
        'c',
      ]);
    });

    it('what nobody has finished adopting is handed on', async () => {
      await world.kill(await serving());
      const b = world.broker('b');
      const startB = starting(b);
      await world.elapseUntil(() => startB.dead !== undefined);
      await world.kill(b);
      const startC = starting(world.broker('c'));
      await world.elapseUntil(() => startC.dead !== undefined);
      expect(ids(startC.dead)).toEqual(['a', 'b']);
    });

    it('one who waited, frozen until it counted as dead, does not start', async () => {
      const a = await serving();
      const b = world.broker('b');
      const start = starting(b);
      await world.elapse(1000);
      b.isDead = true;
      await a.membership.stop();
      await world.elapse(7000);
      expect(ids(await served(world.broker('c')))).toEqual(['a', 'b']);
      b.isDead = false;
      b.clock.freeze(7000);
      await world.elapse(1000);
      expect([start.error, b.events.at(-1)]).toEqual([expect.any(LeaseLost), 'lost']);
    });

    it('a stop ends the waiting and leaves nothing behind', async () => {
      const a = await serving();
      const b = world.broker('b');
      const start = starting(b);
      await world.elapse(1000);
      await b.membership.stop();
      await until(() => start.error, 'the end of the start');
      expect([start.error, await item(b), await lockHolder()]).toEqual([expect.any(StartAborted), undefined, 'a']);
      await world.elapse(5000);
      expect([a.gate.state, await item(b)]).toEqual(['held', undefined]);
    });

    it('lost answers change nothing', async () => {
      const a = await serving();
      await world.kill(a);
      const b = world.broker('b');
      b.line.answersToLose = 4; // Its lease, a renewal, the mark, the lock.
      const start = starting(b);
      await world.elapseUntil(() => start.dead !== undefined, 30_000);
      expect([ids(start.dead), b.line.answersToLose]).toEqual([['a'], 0]);
      b.line.answersToLose = 1;
      await world.elapse(4000);
      expect([b.gate.state, b.line.answersToLose, b.events]).toEqual(['held', 0, []]);
      b.line.answersToLose = 2; // Giving up, and the lock.
      const stopped = b.membership.stop().then(() => true);
      let isStopped = false;
      void stopped.then(() => (isStopped = true));
      await world.elapseUntil(() => isStopped);
      expect([await lockHolder(), (await item(b))!['givenUp']]).toEqual([undefined, true]);
    });

    it('who dies while another one serves is told of once, and by the next process again until adopted', async () => {
      const a = await serving();
      const b = world.broker('b');
      starting(b);
      await world.elapse(1000);
      await world.kill(b);
      await world.elapseUntil(() => a.deaths.length > 0);
      await world.elapse(10_000);
      expect([ids(a.deaths), (await item(b))!['takenBy']]).toEqual([['b'], 'a']);
      await world.kill(a);
      const c = world.broker('c');
      const startC = starting(c);
      await world.elapseUntil(() => startC.dead !== undefined);
      expect(ids(startC.dead)).toEqual(['a', 'b']);
      await c.membership.adopted(b.id);
      await world.elapse(5000);
      expect([ids(c.deaths), await item(b)]).toEqual([['a', 'b'], undefined]);
      const d = world.broker('d');
      starting(d);
      await world.elapse(1000);
      await world.kill(d);
      await world.elapse(10_000);
      expect(c.deaths.map(({ brokerId }) => brokerId).at(-1)).toBe('d');
    });

    it('a look that overlaps with an adoption does not tell of the same death again', async () => {
      const a = await serving();
      const b = world.broker('b');
      starting(b);
      await world.elapse(1000);
      await world.kill(b);
      await world.elapseUntil(() => a.deaths.length > 0);
      const isLook = ({ action }: { action: string }): boolean => action === 'query';
      let items: unknown;
      a.line.after = async (call) => {
        if (items || !isLook(call)) return;
        items = await item(b);
        await a.membership.adopted(b.id); // Read by the look, removed before it goes on.
      };
      await world.elapse(10_000);
      expect([items, await item(b), ids(a.deaths)]).toEqual([expect.anything(), undefined, ['b']]);
    });

    it('after an outage nobody counts among the dead who only could not renew', async () => {
      const a = await serving();
      const b = world.broker('b');
      const start = starting(b);
      for (let outage = 0; outage < 8; outage++) {
        await world.elapse(3000 + 250 * outage); // At ever another point between two renewals.
        for (const { line } of [a, b]) line.isCut = true;
        await world.elapse(6000 + 700 * outage);
        for (const { line } of [a, b]) line.isCut = false;
      }
      await world.elapse(10_000);
      expect([a.gate.state, b.gate.state, a.deaths, start.dead, start.error]).toEqual([
        ...['held', 'held', []],
        ...[undefined, undefined],
      ]);
      // One that has died meanwhile is found all the same.
      for (const { line } of [a, b]) line.isCut = true;
      await world.elapse(10_000);
      b.line.isCut = false;
      await world.kill(a);
      await world.elapseUntil(() => start.dead !== undefined);
      expect(ids(start.dead)).toEqual(['a']);
    });

    it('DynamoDB may be away while a broker starts', async () => {
      dynamo = await server.open();
      world = new LeaseWorld(dynamo);
      const a = world.broker('a');
      a.line.isCut = true;
      const start = starting(a);
      await world.elapse(10_000);
      expect([start.dead, start.error]).toEqual([undefined, undefined]);
      a.line.isCut = false;
      await world.elapse(2000);
      expect([start.dead, await lockHolder()]).toEqual([[], 'a']);
    });
  });
}

for (const server of dynamoServers) leaseContract(server);
