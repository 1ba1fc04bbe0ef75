/** Brokers that serve together, over a real database: who inherits what when some of them die, and what is left of those. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import type { BrokerId, TenantScope } from '../../../services/kernel/kernel.js';
import {
  brokerLeaseKey,
  brokerLeaseToItem,
  leaseEndKey,
  leaseEndToItem,
  servingLockKey,
  sessionBuckets,
  slotCount,
  slotOf,
} from '../../../services/tenancy/tenancy.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { type LeaseBroker, LeaseWorld } from '../../support/lease-world.js';
import { until } from '../../support/until.js';
import { type DynamoServer, dynamoServers } from './servers.js';

const acme = 'acme' as TenantScope;
/** A partition key for each slot. */
const keys: string[] = [];
for (let i = 0; keys.filter(Boolean).length < slotCount; i++) keys[slotOf(`t${i}#00`)] ??= `t${i}#00`;

function successionContract({ name, start: startServer }: DynamoServer): void {
  describe(`brokers that serve together over ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    let world: LeaseWorld;
    beforeAll(async () => {
      server = await startServer();
    }, 90_000);
    afterAll(async () => await server?.stop());

    const item = (id: string) => dynamo.get('cluster', brokerLeaseKey(id as BrokerId), { consistent: true });
    const end = (id: string) => dynamo.get('cluster', leaseEndKey(id as BrokerId), { consistent: true });
    const lock = () => dynamo.get('cluster', servingLockKey, { consistent: true });

    async function open(): Promise<void> {
      dynamo = await server.open();
      world = new LeaseWorld(dynamo);
    }

    async function serving(id: string, isTogether = true): Promise<LeaseBroker> {
      const broker = world.broker(id, false, isTogether);
      await broker.membership.start();
      return broker;
    }

    /** Brokers of a world of their own, that serve. */
    async function cluster(...ids: string[]): Promise<LeaseBroker[]> {
      await open();
      const brokers: LeaseBroker[] = [];
      for (const id of ids) brokers.push(await serving(id));
      return brokers;
    }

    /** As adoptions do it: all that is due to it now. Returns of whom. */
    async function adopt({ succession }: LeaseBroker): Promise<string[]> {
      const owners: string[] = [];
      for (const due of [...succession.due.values()]) {
        owners.push(due.owner);
        if (await succession.adopted(due)) await succession.clear(due.owner);
      }
      return owners.sort();
    }

    const dueTo = ({ succession }: LeaseBroker, owner: string): number[] =>
      [...(succession.due.get(owner as BrokerId)?.slots ?? [])].sort((a, b) => a - b);

    /** For each slot of the owner the brokers that take its records for their own; all others say it is not theirs. */
    async function heirsOf(owner: string, brokers: readonly LeaseBroker[]): Promise<string[]> {
      const heirs: string[] = [];
      for (const pk of keys) {
        const mine: string[] = [];
        for (const { id, succession } of brokers)
          if ((await succession.whose(owner as BrokerId, pk)) === 'mine') mine.push(id);
        heirs.push(mine.join('+'));
      }
      return heirs;
    }

    it('all serve at once, and one dies: the others have equal shares, and nothing of each other', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      expect(await lock()).toMatchObject({ brokerId: 'a', isTogether: true });
      await world.kill(c!);
      await world.elapse(9000);
      const shares = [dueTo(a!, 'c'), dueTo(b!, 'c')];
      expect(shares.map(({ length }) => length)).toEqual([32, 32]);
      expect(shares.flat().sort((x, y) => x - y)).toEqual(Array.from({ length: slotCount }, (_, slot) => slot));
      const heirs = await heirsOf('c', [a!, b!]);
      expect(new Set(heirs)).toEqual(new Set(['a', 'b']));
      expect(heirs.flatMap((heir, slot) => (heir === 'a' ? [slot] : []))).toEqual(shares[0]);
      expect(await a!.succession.whose('b' as BrokerId, keys[0]!)).toBe('others');
      expect([a!.gate.state, b!.gate.state, a!.dues.length, b!.dues.length]).toEqual(['held', 'held', 1, 1]);
    });

    it('the last heir that is done clears away, and the shares are kept', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      await world.kill(c!);
      await world.elapse(9000);
      const { shares } = (await item('c'))!;
      let isAdopted = false;
      void a!.succession.whenAdopted('c' as BrokerId, acme).then(() => (isAdopted = true));
      expect(await adopt(a!)).toEqual(['c']);
      await world.elapse(5000);
      expect([dueTo(a!, 'c'), dueTo(b!, 'c').length, isAdopted]).toEqual([[], 32, false]);
      expect(await item('c')).toMatchObject({ takenBy: expect.any(String) });
      expect(await adopt(b!)).toEqual(['c']);
      await world.elapse(3000);
      expect([await item('c'), (await end('c'))!['shares'], isAdopted]).toEqual([undefined, shares, true]);
      expect(new Set(await heirsOf('c', [a!, b!]))).toEqual(new Set(['a', 'b']));
      expect([a!.dues.length, b!.dues.length]).toEqual([1, 1]);
    });

    it('two heirs that are done at once leave nothing behind', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      await world.kill(c!);
      await world.elapse(9000);
      await Promise.all([adopt(a!), adopt(b!)]);
      await world.elapse(5000);
      expect([await item('c'), (await end('c'))!['shares']]).toEqual([undefined, expect.any(String)]);
    });

    it('a heir that dies is followed with its shares, adopted or not', async () => {
      const [a, b, c, d] = await cluster('a', 'b', 'c', 'd');
      await world.kill(d!);
      await world.elapse(9000);
      const ofC = dueTo(c!, 'd');
      expect([await adopt(a!), await adopt(b!)]).toEqual([['d'], ['d']]);
      await world.kill(c!); // It has adopted nothing.
      await world.elapse(9000);
      expect([...dueTo(a!, 'd'), ...dueTo(b!, 'd')].sort((x, y) => x - y)).toEqual(ofC);
      expect(new Set(await heirsOf('d', [a!, b!]))).toEqual(new Set(['a', 'b']));
      expect([await adopt(a!), await adopt(b!)]).toEqual([
        ['c', 'd'],
        ['c', 'd'],
      ]);
      await world.elapse(3000);
      expect([await item('c'), await item('d')]).toEqual([undefined, undefined]);
      await world.kill(b!);
      await world.elapse(9000);
      expect(await heirsOf('d', [a!])).toEqual(Array.from({ length: slotCount }, () => 'a'));
      expect(dueTo(a!, 'b')).toHaveLength(slotCount);
    });

    it('what a heir said before it got more is not taken for the rest', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      await world.kill(c!);
      await world.elapse(9000);
      await adopt(a!); // Of c, what is its own.
      const left = dueTo(b!, 'c');
      await world.kill(b!);
      await world.elapse(9000);
      expect(dueTo(a!, 'c')).toEqual(left);
      expect(a!.dues.filter(({ owner }) => owner === 'c').map(({ slots }) => slots.size)).toEqual([32, 32]);
    });

    it('who has marked may die at once, and the last two of three one after the other', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      await world.kill(c!);
      await world.elapseUntil(() => a!.dues.length + b!.dues.length > 0);
      const [marker, other] = a!.dues.length > 0 ? [a!, b!] : [b!, a!];
      await world.kill(marker);
      await world.elapse(9000);
      expect([dueTo(other, 'c').length, dueTo(other, marker.id).length]).toEqual([slotCount, slotCount]);
      await world.kill(other);
      const d = await serving('d'); // Before the lease of the last one is over.
      expect(d.dues).toEqual([]);
      await world.elapse(9000);
      expect(['a', 'b', 'c'].map((id) => dueTo(d, id).length)).toEqual([64, 64, 64]);
    });

    it('all may die, and start in any order: the first has everything, and whoever is second nothing', async () => {
      const all = await cluster('a', 'b', 'c');
      for (const broker of all) await world.kill(broker);
      await world.elapse(10_000);
      const d = await serving('d');
      const e = await serving('e');
      await world.elapse(5000);
      for (const id of ['a', 'b', 'c']) {
        expect([dueTo(d, id).length, dueTo(e, id).length]).toEqual([slotCount, 0]);
        expect(await heirsOf(id, [d, e])).toEqual(Array.from({ length: slotCount }, () => 'd'));
      }
    });

    it('one that stops is followed at once, also if it has never served', async () => {
      const [a, b] = await cluster('a', 'b');
      const c = world.broker('c', false, true);
      c.line.before = ({ action, args }) => {
        const isLock = action === 'get' && (args[1] as { pk: string }).pk === servingLockKey.pk;
        if (isLock) void c.membership.stop();
      };
      await c.membership.start().catch(() => undefined);
      await until(async () => (await item('c'))?.['givenUp'] === true, 'the end of its lease');
      await b!.membership.stop();
      await world.elapse(3000);
      expect([dueTo(a!, 'b').length, dueTo(a!, 'c').length, await lock()]).toEqual([
        ...[slotCount, slotCount],
        expect.objectContaining({ brokerId: 'a' }),
      ]);
    });

    it('one that was frozen and marked is lost, and its late mark is met', async () => {
      const [a, b, c] = await cluster('a', 'b', 'c');
      await world.kill(c!);
      let go = (): void => {};
      let isHeld = false;
      b!.line.before = async ({ action, args }) => {
        if (isHeld || action !== 'update' || !(args[2] as { update: string }).update.includes('takenBy')) return;
        isHeld = true;
        b!.line.inFlight--;
        await new Promise<void>((resolve) => (go = resolve));
        b!.line.inFlight++;
      };
      a!.isDead = true; // It stands still: b looks first.
      await world.elapseUntil(() => isHeld);
      a!.isDead = false;
      b!.isDead = true;
      await world.elapse(9000);
      expect(dueTo(a!, 'b')).toHaveLength(slotCount);
      go();
      await world.elapse(3000);
      expect(dueTo(a!, 'c')).toHaveLength(slotCount);
    });

    it('shares that lead in a circle go to the living', async () => {
      const [a] = await cluster('a');
      const mark = (brokerId: string, to: string) => ({
        ...{ brokerId: brokerId as BrokerId, leaseUntilMs: 1, startedAtMs: 0, takenBy: to as BrokerId },
        shares: Array.from({ length: slotCount }, (_, slot) => (slot === 5 ? 'a' : to) as BrokerId),
      });
      await dynamo.put('cluster', brokerLeaseToItem(mark('x', 'y')));
      await dynamo.put('cluster', brokerLeaseToItem(mark('y', 'x')));
      const b = await serving('b');
      await world.elapse(5000);
      for (const id of ['x', 'y']) {
        const heirs = await heirsOf(id, [a!, b]);
        expect(new Set(heirs)).toEqual(new Set(['a', 'b']));
        expect(heirs[5]).toBe('a');
      }
      expect(new Set([...dueTo(a!, 'x'), ...dueTo(b, 'x')]).size).toBe(slotCount);
    });

    it('a long way of marks is made short, and leads where it led', async () => {
      await open();
      const generations = Array.from({ length: 12 }, (_, i) => `g${i}` as BrokerId);
      for (const [i, brokerId] of generations.entries()) {
        const next = generations[i + 1] ?? ('a' as BrokerId);
        const shares = Array.from({ length: slotCount }, (_, slot) => (slot % 2 === 0 ? next : ('a' as BrokerId)));
        await dynamo.put('cluster', leaseEndToItem({ brokerId, endedAtMs: 1, shares }));
      }
      const [a, b] = [await serving('a'), await serving('b')];
      const before = (await end('g0'))!['shares'];
      const heirs = await heirsOf('g0', [a, b]);
      expect(new Set(heirs)).toEqual(new Set(['a']));
      await until(async () => (await end('g0'))!['shares'] !== before, 'the shares in its place');
      await world.quiet();
      const c = await serving('c');
      expect(await heirsOf('g0', [a, b, c])).toEqual(heirs);
      let reads = 0;
      c.line.before = () => void reads++;
      await c.succession.whose('g0' as BrokerId, keys[0]!);
      expect(reads).toBe(0);
    });

    it('of a broker that nobody knows nothing is decided; of one that is late, not yet', async () => {
      const [a, b] = await cluster('a', 'b');
      const [pk] = sessionBuckets(acme);
      expect(await a!.succession.whose('gone' as BrokerId, pk!)).toBe('nobodys');
      await dynamo.put('cluster', leaseEndToItem({ brokerId: 'older' as BrokerId, endedAtMs: 1 }));
      expect(await a!.succession.whose('older' as BrokerId, pk!)).toBe('nobodys');
      await world.kill(b!);
      await world.elapse(3000);
      expect(await a!.succession.whose('b' as BrokerId, pk!)).toBe('others');
      a!.clock.suspend(2000);
      expect(await a!.succession.whose('b' as BrokerId, pk!)).toBe('undecided');
    });

    it('who asks for what is true now sees a mark that its last look has not seen', async () => {
      const [a] = await cluster('a');
      await world.elapse(700);
      const [b, c] = [await serving('b'), await serving('c')];
      await world.kill(c);
      await world.elapseUntil(() => a!.dues.length + b.dues.length > 0);
      const late = a!.dues.length > 0 ? b : a!;
      const whose = async (isFresh: boolean): Promise<string[]> => {
        const all: string[] = [];
        for (const pk of keys) all.push(await late.succession.whose('c' as BrokerId, pk, isFresh));
        return all;
      };
      expect(new Set(await whose(false))).toEqual(new Set(['undecided']));
      expect(new Set(await whose(true))).toEqual(new Set(['mine', 'others']));
      expect(late.dues).toEqual([]);
    });

    it('nobody serves alone beside brokers that serve together, and the other way round', async () => {
      const [a, b] = await cluster('a', 'b');
      const alone = world.broker('alone');
      let serves = false;
      void alone.membership.start().then(() => (serves = true));
      await world.elapse(9000);
      await world.kill(a!); // It has the lock.
      await world.elapse(12_000);
      expect([serves, (await lock())!['brokerId']]).toEqual([false, 'a']);
      await b!.membership.stop();
      await world.elapse(3000);
      expect([serves, await lock()]).toEqual([true, expect.not.objectContaining({ isTogether: true })]);
      expect(alone.deaths.map(({ brokerId }) => brokerId).sort()).toEqual(['a', 'b']);
      const c = world.broker('c', false, true);
      let follows = false;
      void c.membership.start().then(() => (follows = true));
      await world.elapse(9000);
      expect(follows).toBe(false);
      await world.kill(alone);
      await world.elapse(9000);
      expect([follows, dueTo(c, 'alone').length]).toEqual([true, slotCount]);
    });
  });
}

for (const server of dynamoServers) successionContract(server);
