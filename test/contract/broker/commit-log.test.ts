/** What every commit log does for its sources: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommitLog, Write } from '../../../services/broker/inbox/inbox.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { until } from '../../support/until.js';
import { groupCommitOver, keyAt, messagesAt, payloads, Source, tooLarge } from './commits.js';
import { dynamoServers } from './servers.js';

interface Opened {
  readonly log: CommitLog;
  /** Time goes on. */
  pass(ms: number): void;
}

interface Subject {
  readonly name: string;
  start(): Promise<{ open(): Opened; stop(): Promise<void> }>;
}

const persistDelayMs = 50;

const inMemory: Subject = {
  name: 'memory',
  start: () =>
    Promise.resolve({
      open: () => {
        const log = new MemoryCommitLog({ nowMs: () => 0, prompt: true });
        return { log, pass: (ms) => ms >= persistDelayMs && log.delayOver() };
      },
      stop: () => Promise.resolve(),
    }),
};

const overDynamo: Subject[] = dynamoServers.map(({ name, start }) => ({
  name,
  start: async () => {
    const server = await start();
    const dynamo = await server.open();
    return {
      open: () => {
        const clock = new ManualClock();
        return { log: groupCommitOver(dynamo, { clock, persistDelayMs }), pass: (ms) => clock.advance(ms) };
      },
      stop: () => server.stop(),
    };
  },
}));

function commitLogContract({ name, start }: Subject): void {
  describe(`a commit log in ${name}`, () => {
    let subject: Awaited<ReturnType<Subject['start']>>;
    let partitions = 0;
    beforeAll(async () => {
      subject = await start();
    }, 90_000);
    afterAll(async () => await subject?.stop());

    function open() {
      const { log, pass } = subject.open();
      const lanes = new Set<string>();
      const sourceOf = (writes: readonly Write[], partition = `acme#${++partitions}`, lane = partition) =>
        new Source(log, lanes, partition, writes, lane);
      const done = (...sources: Source[]) =>
        until(() => {
          pass(1);
          return sources.every((source) => source.isDone);
        }, 'the commits');
      return { log, pass, sourceOf, done };
    }

    it('writes all that a source has, however much', async () => {
      const { log, sourceOf, done } = open();
      const numbers = Array.from({ length: 60 }, (_, i) => i);
      const source = sourceOf(numbers.map((n) => messagesAt(n, String(n))));
      log.request(source);
      log.request(source);
      await done(source);
      expect(source.commits).toBeGreaterThan(2); // At most 25 at a time.
      expect(await payloads(log, source.partition)).toEqual(numbers.map(String));
    });

    it('keeps the order of a source: one commit at a time, the last write of a key stays', async () => {
      const { log, sourceOf, done } = open();
      const source = sourceOf(Array.from({ length: 20 }, (_, i) => messagesAt(1, String(i))));
      source.left.push(messagesAt(2, 'x'), { kind: 'delete', key: keyAt(2) });
      source.perTake = 1;
      log.request(source);
      await done(source);
      expect(source.commits).toBe(22);
      expect(await payloads(log, source.partition)).toEqual(['19']);
    });

    it('lets the sources of a lane take turns', async () => {
      const { log, sourceOf, done } = open();
      const partition = `acme#${++partitions}`;
      const sources = [1, 2, 3].map((n) =>
        sourceOf(
          Array.from({ length: 5 }, (_, i) => messagesAt(n * 10 + i, `${n}${i}`)),
          partition,
          'lane',
        ),
      );
      for (const source of sources) {
        source.perTake = 2;
        log.request(source);
      }
      await done(...sources);
      expect(sources.map(({ commits }) => commits)).toEqual([3, 3, 3]);
      expect(await payloads(log, partition)).toHaveLength(15);
    });

    it('serves any number of sources at once', async () => {
      const { log, sourceOf, done } = open();
      const sources = Array.from({ length: 300 }, (_, i) => sourceOf([messagesAt(1, String(i))]));
      for (const source of sources) log.request(source);
      await done(...sources);
      expect(new Set(sources.map(({ commits }) => commits))).toEqual(new Set([1]));
      expect(await payloads(log, sources[0]!.partition)).toEqual(['0']);
      expect(await payloads(log, sources[299]!.partition)).toEqual(['299']);
    });

    it('asks a source that was not due again when that asks again', async () => {
      const { log, pass, sourceOf, done } = open();
      const source = sourceOf([]);
      log.request(source);
      await until(() => {
        pass(1);
        return source.takes === 1;
      });
      source.left.push(messagesAt(1, 'late'));
      log.request(source);
      await done(source);
      expect(await payloads(log, source.partition)).toEqual(['late']);
    });

    it('asks a source when the delay is over, if it wants that', async () => {
      const { log, pass, sourceOf, done } = open();
      const source = sourceOf([messagesAt(1, 'x')]);
      log.requestLater(source);
      log.requestLater(source);
      pass(log.persistDelayMs / 5);
      await Promise.resolve();
      expect(source.takes).toBe(0);
      pass(log.persistDelayMs * 1.5);
      await done(source);
      expect(source.commits).toBe(1);
    });

    it('gives up what the store never takes: its source alone is told, when all its other writes are made', async () => {
      const { log, sourceOf, done } = open();
      const sources = Array.from({ length: 8 }, (_, i) =>
        sourceOf([messagesAt(1, `${i} a`), ...(i === 3 ? [tooLarge(2)] : []), messagesAt(3, `${i} b`)]),
      );
      for (const source of sources) log.request(source);
      await done(...sources);
      for (const [i, source] of sources.entries()) {
        expect(source.refused).toHaveLength(i === 3 ? 1 : 0);
        expect(source.commits).toBe(1);
        expect(await payloads(log, source.partition)).toEqual([`${i} a`, `${i} b`]);
      }
      const culprit = sources[3]!;
      expect(culprit.refused).toMatchObject([{ kind: 'messages', key: keyAt(2) }]);
      culprit.left.push(messagesAt(4, 'goes on'));
      log.request(culprit);
      await done(culprit);
      expect(await payloads(log, culprit.partition)).toEqual(['3 a', '3 b', 'goes on']);
    });

    it('reads what lies above one key and up to another, of one partition', async () => {
      const { log, sourceOf, done } = open();
      const [one, other] = [1, 2].map(() => sourceOf([1, 2, 3, 4].map((n) => messagesAt(n, String(n)))));
      for (const source of [one!, other!]) log.request(source);
      await done(one!, other!);
      const page = await log.read(one!.partition, keyAt(1), keyAt(3));
      expect(page.items.map(({ key }) => key)).toEqual([keyAt(2), keyAt(3)]);
      expect(page.more).toBe(false);
      expect(await log.read(one!.partition, keyAt(4), keyAt(9))).toMatchObject({ items: [], more: false });
      expect(await log.read('acme#nobody', keyAt(0), keyAt(9))).toMatchObject({ items: [], more: false });
    });
  });
}

for (const subject of [inMemory, ...overDynamo]) commitLogContract(subject);
