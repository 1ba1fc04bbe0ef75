/** What the group commit in DynamoDB adds to the contract of a commit log: few calls, and all of it made in any trouble. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Write } from '../../../services/broker/inbox/inbox.js';
import { type Dynamo, DynamoUnavailable } from '../../../services/dynamo/dynamo.js';
import { type Message } from '../../../services/broker/message/message.js';
import { type Clock, type Log, Metrics, silentLog, systemClock } from '../../../services/kernel/kernel.js';
import type { FaultProxy } from '../../support/fault-proxy.js';
import { type Fault, type FaultKind, faultOn, noFaults, randomFaults } from '../../support/faults.js';
import { seedsOf } from '../../support/seeds.js';
import { heardFaults, type HeardFaults } from '../../support/heard-faults.js';
import { until } from '../../support/until.js';
import { connect, FakeHost, nowMs, publish, terms } from '../../unit/session/world.js';
import { groupCommitOver, messagesAt, payloads, Source, tooLarge } from './commits.js';
import { type DynamoServer, dynamoServers, type FaultyServer, startFaulty } from './servers.js';

interface Wish {
  clock?: Clock;
  log?: Log;
  isHeld?: () => boolean;
}

function groupCommitInTrouble(behind: DynamoServer): void {
  describe(`the group commit in ${behind.name}`, () => {
    let server: FaultyServer;
    let proxy: FaultProxy;
    let dynamo: Dynamo;
    let partitions = 0;
    beforeAll(async () => {
      server = await startFaulty(behind);
      ({ proxy, dynamo } = server);
    }, 90_000);
    afterEach(() => {
      proxy.choose = noFaults;
      vi.restoreAllMocks();
    });
    afterAll(async () => await server?.stop());

    function open(wish: Wish = {}) {
      const metrics = new Metrics();
      const log = groupCommitOver(dynamo, { ...wish, metrics });
      const lanes = new Set<string>();
      const sourceOf = (...writes: Write[]) => new Source(log, lanes, `acme#${++partitions}`, writes);
      const sources = (count: number) => Array.from({ length: count }, (_, i) => sourceOf(messagesAt(1, String(i))));
      const request = (...all: Source[]) => all.forEach((source) => log.request(source));
      const done = (...all: Source[]) => until(() => all.every(({ isDone }) => isDone), 'the commits', 15_000);
      return { log, metrics, sourceOf, sources, request, done };
    }
    const calls = (): number => proxy.requests.get('BatchWriteItem') ?? 0;
    const failed = (kind: FaultKind): number => proxy.faults.get(kind) ?? 0;

    it('writes what comes together in one call, 25 at most', async () => {
      const { sources, request, done } = open();
      const before = calls();
      const few = sources(25);
      request(...few);
      await done(...few);
      expect(calls() - before).toBe(1);
      const many = sources(60);
      request(...many);
      await done(...many);
      expect(calls() - before).toBe(4);
    });

    it('leaves out what it cannot read, and says how many messages that is', async () => {
      const { log, metrics, sourceOf, request, done } = open();
      const source = sourceOf(messagesAt(1, 'x'), messagesAt(3, 'z'));
      request(source);
      await done(source);
      const [key] = (await log.read(source.partition, 'm', 'n')).items.map((item) => item.key);
      const later = `${key!.slice(0, -1)}2`;
      await dynamo.put('inbox', { pk: source.partition, sk: later, v: 99, n: 7, other: 'of a later release' });
      const page = await log.read(source.partition, 'm', 'n');
      expect(page.items.map(({ messages }) => messages.map(({ message }) => String(message.payload)))).toEqual([
        ['x'],
        [],
        ['z'],
      ]);
      expect(page.unreadable).toBe(7);
      const counted = [...metrics.samples()].find(({ name }) => name === 'shoal_records_unreadable_total');
      expect(counted?.value).toBe(1);
    });

    it('has several calls under way, and not more than eight', async () => {
      const { sources, request, done } = open();
      let [underWay, most] = [0, 0];
      let answer = (): void => undefined;
      const answered = new Promise<void>((resolve) => (answer = resolve));
      const real = dynamo.batchWriteOnce.bind(dynamo);
      vi.spyOn(dynamo, 'batchWriteOnce').mockImplementation(async (...args) => {
        most = Math.max(most, ++underWay);
        await answered;
        return await real(...args).finally(() => underWay--);
      });
      const many = sources(500);
      request(...many);
      await until(() => most === 8, 'eight calls');
      for (let turns = 0; turns < 8; turns++) await new Promise(setImmediate);
      answer();
      await done(...many);
      expect(most).toBe(8);
    });

    it('repeats what DynamoDB has left unprocessed, and confirms a source when all of its own is written', async () => {
      const { log, sourceOf, request, done } = open();
      const [one, two] = [1, 2].map(() => sourceOf(...Array.from({ length: 10 }, (_, i) => messagesAt(i, String(i)))));
      const before = calls();
      proxy.choose = faultOn('BatchWriteItem', { kind: 'partialBatch', share: 0.7 }, 2);
      request(one!, two!);
      await until(() => one!.isDone);
      expect(await payloads(log, one!.partition)).toHaveLength(10);
      await done(two!);
      expect([one!.commits, two!.commits, calls() - before]).toEqual([1, 1, 3]);
      expect(await payloads(log, two!.partition)).toHaveLength(10);
    });

    it.each<Fault>([
      { kind: 'internalError' },
      { kind: 'throttle' },
      { kind: 'reset' },
      { kind: 'lostAnswer' },
      { kind: 'accessDenied' },
    ])('repeats a call until it succeeds ($kind), says so once, and confirms nothing before', async (fault) => {
      const told: string[] = [];
      const tell = (_: object, text: string) => void told.push(text);
      const { log, sourceOf, request, done } = open({ log: { ...silentLog, error: tell, warn: tell } });
      const source = sourceOf(messagesAt(1, 'x'));
      const before = failed(fault.kind);
      proxy.choose = () => fault;
      request(source);
      await until(() => failed(fault.kind) >= before + 4, 'attempts that fail');
      expect([source.takes, source.commits]).toEqual([1, 0]);
      proxy.choose = noFaults;
      await done(source);
      expect(await payloads(log, source.partition)).toEqual(['x']);
      expect(source.refused).toEqual([]);
      expect(told).toHaveLength(1);
    });

    it('makes smaller calls when one is too much to be made in time', async () => {
      const { sources, request, done } = open();
      const real = dynamo.batchWriteOnce.bind(dynamo);
      vi.spyOn(dynamo, 'batchWriteOnce').mockImplementation(async (writes, options) => {
        if (writes.length > 3) throw new DynamoUnavailable('timed out');
        return await real(writes, options);
      });
      const many = sources(60);
      request(...many);
      await done(...many);
    });

    it('waits longer from attempt to attempt, by chance, and a second at most', async () => {
      const waits: number[] = [];
      let isTrouble = true;
      /** Nobody waits; what was asked for is noted. */
      const after = (ms: number, run: () => void) => {
        if (isTrouble) waits.push(ms);
        return systemClock.after(0, run);
      };
      const { sourceOf, request, done } = open({ clock: { ...systemClock, after } });
      const source = sourceOf(messagesAt(1, 'x'));
      proxy.choose = () => ({ kind: 'throttle' });
      request(source);
      await until(() => waits.length > 40, 'attempts');
      isTrouble = false;
      proxy.choose = noFaults;
      await done(source);
      const pauses = waits.slice(1); // The first was for collecting.
      for (const [i, ms] of pauses.entries()) expect(ms).toBeLessThanOrEqual(Math.min(1000, 50 * 2 ** i));
      expect(Math.max(...pauses)).toBeGreaterThan(500);
      expect(new Set(pauses).size).toBe(pauses.length);
    });

    it.each(seedsOf('commits'))(
      'keeps the order of each source in any trouble, and loses nothing (seed %i)',
      async (seed) => {
        // Its pauses add up to ten seconds and more of real time, in which nothing happens that this is about.
        const after = (ms: number, run: () => void) => systemClock.after(Math.min(ms, 5), run);
        const { log, sourceOf, request, done } = open({ clock: { ...systemClock, after } });
        const all = Array.from({ length: 30 }, () =>
          sourceOf(...Array.from({ length: 9 }, (_, i) => messagesAt(1 + (i % 3), String(i)))),
        );
        for (const [i, source] of all.entries()) source.perTake = 1 + (i % 3);
        const rates = {
          internalError: 0.15,
          throttle: 0.15,
          lostAnswer: 0.15,
          reset: 0.05,
          partialBatch: 0.2,
          delay: 0.1,
        };
        proxy.choose = randomFaults(seed, rates, 20);
        request(...all);
        await done(...all);
        proxy.choose = noFaults;
        for (const source of all) {
          expect(await payloads(log, source.partition)).toEqual(['6', '7', '8']);
          expect(source.refused).toEqual([]);
        }
      },
    );

    it('gives up alone what DynamoDB refuses, also when others of the call had to be repeated', async () => {
      const { log, sourceOf, request, done } = open();
      const all = Array.from({ length: 6 }, (_, i) =>
        sourceOf(messagesAt(1, 'a'), ...(i % 2 ? [tooLarge(2)] : []), messagesAt(3, 'b')),
      );
      // The first call is refused, then each write goes alone: some of these fail at first.
      let requests = 0;
      proxy.choose = (action) =>
        action === 'BatchWriteItem' && ++requests > 1 && requests % 3 === 0 ? { kind: 'throttle' } : undefined;
      request(...all);
      await done(...all);
      for (const [i, source] of all.entries()) {
        expect(source.refused).toHaveLength(i % 2);
        expect(source.commits).toBe(1);
        expect(await payloads(log, source.partition)).toEqual(['a', 'b']);
      }
    });

    it('writes nothing while the lease is not held, neither at first nor again', async () => {
      let isHeld = false;
      const { log, sourceOf, request, done } = open({ isHeld: () => isHeld });
      const source = sourceOf(messagesAt(1, '1'));
      const before = calls();
      request(source);
      await until(() => source.isUnderWay);
      await dynamo.get('inbox', { pk: 'x', sk: 'x' }); // A way there and back.
      expect(calls()).toBe(before);
      isHeld = true;
      await done(source);
      expect(await payloads(log, source.partition)).toEqual(['1']);

      source.left.push(messagesAt(1, '2'));
      proxy.choose = () => {
        isHeld = false; // While the call is under way, which fails.
        return { kind: 'throttle' };
      };
      const again = calls();
      request(source);
      await until(() => !isHeld);
      proxy.choose = noFaults;
      await dynamo.get('inbox', { pk: 'x', sk: 'x' });
      expect(await payloads(log, source.partition)).toEqual(['1']);
      expect([calls() - again, source.commits]).toEqual([1, 1]);
      isHeld = true;
      await done(source);
      expect(await payloads(log, source.partition)).toEqual(['2']);
    });

    it('is settled when all is written, what was asked for later, too', async () => {
      const { log, sources, sourceOf, request } = open();
      await log.settled();
      const many = sources(100);
      request(...many);
      const later = sourceOf(messagesAt(1, 'later'));
      log.requestLater(later);
      proxy.choose = faultOn('BatchWriteItem', { kind: 'throttle' }, 3);
      await log.settled();
      expect([...many, later].filter((source) => source.commits !== 1)).toEqual([]);
    });

    it('writes nothing more once it is closed, what had failed included', async () => {
      let timers = 0;
      const after = (ms: number, run: () => void) => {
        timers++;
        return systemClock.after(ms, () => {
          timers--;
          run();
        });
      };
      const { log, metrics, sourceOf, sources, request } = open({ clock: { ...systemClock, after } });
      const source = sourceOf(messagesAt(1, 'x'));
      proxy.choose = () => ({ kind: 'throttle' });
      const failures = metrics.counter('shoal_commit_failures_total', '');
      request(source);
      await until(() => failures.value >= 1);
      log.close();
      await until(() => timers === 0, 'the end of the attempt under way and of its pause');
      proxy.choose = noFaults;
      const before = calls();
      const others = sources(3);
      request(...others);
      await until(() => timers === 0);
      await dynamo.get('inbox', { pk: 'x', sk: 'x' }); // A way there and back.
      expect(calls()).toBe(before);
      expect([source, ...others].map(({ commits }) => commits)).toEqual([0, 0, 0, 0]);
      expect(await payloads(log, source.partition)).toEqual([]);
    });
  });
}

/** Sources are of all tenants: whatever one of them does, it costs no other anything. */
function groupCommitWithFaults(behind: DynamoServer): void {
  describe(`a source at fault in the group commit in ${behind.name}`, () => {
    let server: FaultyServer;
    let faults: HeardFaults;
    let partitions = 0;
    beforeAll(async () => {
      server = await startFaulty(behind);
    }, 90_000);
    beforeEach(() => {
      faults = heardFaults();
    });
    afterEach(() => {
      faults.stop();
      vi.restoreAllMocks();
    });
    afterAll(async () => await server?.stop());

    function open() {
      const log = groupCommitOver(server.dynamo);
      const lanes = new Set<string>();
      const sourceOf = (...writes: Write[]) => new Source(log, lanes, `acme#${++partitions}`, writes);
      const calls = vi.spyOn(server.dynamo, 'batchWriteOnce');
      return { log, calls, sourceOf, request: (...all: Source[]) => all.forEach((source) => log.request(source)) };
    }
    const done = (...all: Source[]) => until(() => all.every(({ isDone }) => isDone), 'the commits', 15_000);
    const planted = (): never => {
      throw new Error('planted');
    };

    it('does not say what it has to write: the others go out, its lane is free, and it is told nothing', async () => {
      const { log, sourceOf, request } = open();
      const before = sourceOf(messagesAt(1, 'before'));
      const broken = sourceOf(messagesAt(1, 'x'));
      const behind = sourceOf(messagesAt(1, 'behind'));
      vi.spyOn(broken, 'take').mockImplementationOnce(planted);
      request(before, broken, behind);
      await done(before, behind);
      await log.settled();
      expect([before.commits, broken.commits, behind.commits]).toEqual([1, 0, 1]);
      expect(faults.counts).toEqual({ 'commit-take': 1 });
      request(broken);
      await done(broken);
      expect(await payloads(log, broken.partition)).toEqual(['x']);
    });

    it('has a write that is no item: that one is given up, as one that DynamoDB does not take', async () => {
      const { log, sourceOf, request } = open();
      const unreadable: Write = { kind: 'messages', key: 'm00000000010000000002', messages: [undefined as never] };
      const broken = sourceOf(messagesAt(1, 'a'), unreadable, messagesAt(3, 'b'));
      const alone = sourceOf(unreadable);
      const other = sourceOf(messagesAt(1, 'x'));
      request(broken, alone, other);
      await done(broken, alone, other);
      expect([broken.refused, alone.refused, other.refused]).toEqual([[unreadable], [unreadable], []]);
      expect([broken.commits, alone.commits, other.commits]).toEqual([1, 1, 1]);
      expect(await payloads(log, broken.partition)).toEqual(['a', 'b']);
      expect(faults.counts).toEqual({ 'commit-item': 2 });
    });

    it('throws when it is told: the call is made once, the others are told once, and its lane goes on', async () => {
      const { log, calls, sourceOf, request } = open();
      const broken = sourceOf(messagesAt(1, 'x'));
      const others = [sourceOf(messagesAt(1, '1')), sourceOf(messagesAt(1, '2'))];
      const told = broken.committed.bind(broken);
      vi.spyOn(broken, 'committed').mockImplementationOnce((refused) => {
        told(refused);
        planted();
      });
      request(others[0]!, broken, others[1]!);
      await done(broken, ...others);
      await log.settled();
      expect([calls.mock.calls.length, ...others.map(({ commits }) => commits)]).toEqual([1, 1, 1]);
      broken.left.push(messagesAt(2, 'y'));
      request(broken);
      await done(broken);
      expect(await payloads(log, broken.partition)).toEqual(['x', 'y']);
      expect(faults.counts).toEqual({ 'commit-told': 1 });
    });

    it('asks again and again with nothing to write: the others are served', async () => {
      const { log, sourceOf, request } = open();
      const idle = sourceOf();
      let asks = 0;
      vi.spyOn(idle, 'committed').mockImplementation(() => {
        if (++asks < 100_000) log.request(idle);
      });
      const other = sourceOf(messagesAt(1, 'x'));
      request(idle, other);
      await done(other);
      expect(asks).toBeLessThan(10_000);
      log.close();
    });

    it('is told once, also when the store names what has been made long ago', async () => {
      const { log, calls, sourceOf, request } = open();
      const first = sourceOf(messagesAt(1, '1'));
      request(first);
      await done(first);
      const [stale] = calls.mock.calls[0]![0];
      first.left.push(messagesAt(2, '2'));
      const second = sourceOf(messagesAt(1, '2'));
      calls.mockImplementationOnce(() => Promise.resolve([stale!]));
      request(second);
      await done(second);
      await log.settled();
      expect([calls.mock.calls.length, first.commits, second.commits, first.left.length]).toEqual([2, 1, 1, 1]);
      expect(faults.lines).toEqual([]);
    });

    it('is a session whose publisher does not read: closed, and everybody else is stored and told once', async () => {
      const { log, calls, sourceOf, request } = open();
      const host = new FakeHost();
      const partition = `evil#${++partitions}`;
      const stored = connect({ host, clientId: 'stored', keeping: { partitionOf: () => partition, log } });
      stored.session.detach(nowMs);
      host.publish = (message: Message) => {
        stored.session.deliver(message, terms(1), nowMs);
        return message.pending!;
      };
      const publisher = connect({ host, clientId: 'p' });
      publisher.send(publish('t', 'x', 1, 1), publish('t', 'y', 1, 2));
      publisher.outbox.waitingBytes = 3 << 20; // It has not read for a while.
      const other = sourceOf(messagesAt(1, 'x'));
      request(other);
      await done(other);
      await log.settled();
      expect([calls.mock.calls.length, other.commits]).toEqual([1, 1]);
      expect(publisher.outbox.closedBy?.name).toBe('client-too-slow');
      expect(publisher.session.channel).toBeUndefined();
      expect(faults.lines).toEqual([]);
    });
  });
}

for (const server of dynamoServers) {
  groupCommitInTrouble(server);
  groupCommitWithFaults(server);
}
