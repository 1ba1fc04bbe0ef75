/** How the group commit shares DynamoDB among tenants, and what becomes of what it leaves undone: with a clock that stands. */
import { describe, expect, it } from 'vitest';
import type { Write } from '../../../services/broker/inbox/inbox.js';
import { type Dynamo, DynamoRejected, DynamoUnavailable, type TableWrite } from '../../../services/dynamo/dynamo.js';
import { groupCommitOver, keyAt, messagesAt, Source } from '../../contract/broker/commits.js';
import { Chance } from '../../support/chance.js';
import { ManualClock } from '../../support/manual-clock.js';
import { seedsOf } from '../../support/seeds.js';

const pkOf = (write: TableWrite): string => ('put' in write ? write.put : write.delete).pk;
const throttled = (): DynamoUnavailable => new DynamoUnavailable('throttled', { throttled: true });
const unreachable = (): DynamoUnavailable => new DynamoUnavailable('nobody there', { isUnreachable: true });
const erase = (n: number): Write => ({ kind: 'delete', key: keyAt(n) });

/** As one does that has little else to do. */
const turnsPerMs = 8;

/** What DynamoDB does with a call: an error, or the writes that it leaves undone. */
type Answer = (writes: readonly TableWrite[]) => Error | readonly TableWrite[];

class Site {
  readonly clock = new ManualClock();
  answer: Answer = () => [];
  /** A call takes so long. */
  tookMs: (writes: readonly TableWrite[]) => number = () => 5;
  isHeld = true;
  /** What the thread has spent beside the clock, and who has paid how much of it. */
  spentMs = 0;
  readonly paid = new Map<string, number>();
  /** Tenants that owe units of the database. */
  readonly indebted = new Set<string>();
  readonly calls: (readonly TableWrite[])[] = [];
  readonly made: TableWrite[] = [];
  /** What is to be done at the end of this turn of the event loop. */
  #deferred: (() => void)[] = [];
  readonly #lanes = new Set<string>();
  readonly log = groupCommitOver(
    {
      batchWriteOnce: (writes: readonly TableWrite[]) =>
        new Promise<readonly TableWrite[]>((resolve, reject) => {
          this.calls.push(writes);
          this.clock.after(this.tookMs(writes), () => {
            const answer = this.answer(writes);
            if (answer instanceof Error) return reject(answer);
            this.made.push(...writes.filter((write) => !answer.includes(write)));
            resolve(answer);
          });
        }),
    } as unknown as Dynamo,
    {
      clock: {
        nowMs: () => this.clock.nowMs(),
        monotonicMs: () => this.clock.monotonicMs() + this.spentMs,
        after: (ms, run) => this.clock.after(ms, run),
      },
      pay: (tenant, ms) => void this.paid.set(tenant, (this.paid.get(tenant) ?? 0) + ms),
      isHeld: () => this.isHeld,
      defer: (run) => void this.#deferred.push(run),
      waitMs: (tenant) => (this.indebted.has(tenant) ? 1000 : 0),
    },
  );

  source(partition: string, ...writes: Write[]): Source {
    return new Source(this.log, this.#lanes, partition, writes.length > 0 ? writes : [erase(1)]);
  }

  request(...sources: Source[]): void {
    for (const source of sources) this.log.request(source);
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed++) {
      this.clock.advance(1);
      for (let turn = 0; turn < turnsPerMs; turn++) await this.turn();
    }
  }

  /** One turn of the event loop, from what has been done in it to its end. */
  async turn(): Promise<void> {
    for (let i = 0; i < 6; i++) await Promise.resolve();
    for (const run of this.#deferred.splice(0)) run();
    for (let i = 0; i < 6; i++) await Promise.resolve();
  }

  /** Milliseconds until all are done, of `mostMs`. */
  async done(mostMs: number, ...sources: Source[]): Promise<number> {
    for (let ms = 0; ms < mostMs; ms++) {
      if (sources.every(({ isDone }) => isDone)) return ms;
      await this.pass(1);
    }
    return Infinity;
  }
}

const many = (count: number, make: (i: number) => Source): Source[] => Array.from({ length: count }, (_, i) => make(i));

describe('tenants in the group commit', () => {
  it.each([
    ['left undone', (writes) => writes.filter((write) => pkOf(write).startsWith('evil'))],
    ['throttled', (writes) => (pkOf(writes[0]!).startsWith('evil') ? throttled() : [])],
  ] satisfies [string, Answer][])(
    'do not wait for one whose writes are %s, however many sessions it has',
    async (_, answer) => {
      const site = new Site();
      site.answer = answer;
      for (const source of many(8, (i) => site.source(`evil#${i}`))) {
        site.request(source);
        await site.pass(12);
      }
      site.request(...many(400, (i) => site.source(`evil#more${i}`)));
      await site.pass(500);
      const took: number[] = [];
      for (let i = 0; i < 10; i++) {
        const good = site.source(`good#${i}`);
        site.request(good);
        took.push(await site.done(1000, good));
      }
      expect(Math.max(...took)).toBeLessThan(30);
    },
  );

  it('do not stand behind ten thousand sessions of another', async () => {
    const site = new Site();
    site.request(...many(10_000, (i) => site.source(`evil#${i}`)));
    const good = site.source('good#1');
    site.request(good);
    expect(await site.done(1000, good)).toBeLessThan(20);
  });

  it('have places of their own while the calls of others take for ever', async () => {
    const site = new Site();
    site.tookMs = (writes) => (pkOf(writes[0]!).startsWith('good') ? 5 : 3000);
    for (const tenant of ['evil', 'wicked', 'vile']) site.request(...many(500, (i) => site.source(`${tenant}#${i}`)));
    await site.pass(100);
    const good = site.source('good#1');
    site.request(good);
    expect(await site.done(1000, good)).toBeLessThan(20);
    expect(site.calls.length).toBeLessThanOrEqual(16);
  });

  it('pay for the time of the thread that their writes take, each for its part', async () => {
    const site = new Site();
    site.answer = (writes) => {
      site.spentMs += writes.length; // What is done with the answer comes later.
      return [];
    };
    const slow = (source: Source): Source => {
      const take = source.take.bind(source);
      source.take = (max) => ((site.spentMs += 1), take(max));
      return source;
    };
    const sources = [...many(15, (i) => site.source(`much#${i}`)), ...many(5, (i) => site.source(`little#${i}`))];
    site.request(...sources.map(slow));
    expect(await site.done(100, ...sources)).toBeLessThan(20);
    expect(site.calls.map((writes) => writes.length)).toEqual([20]);
    expect([site.paid.get('much'), site.paid.get('little')]).toEqual([15, 5]);
  });

  it('get as much as each other, whatever the size of what they write', async () => {
    const site = new Site();
    const large = Buffer.alloc(100 << 10);
    const sources = (tenant: string, write: Write) => many(400, (i) => site.source(`${tenant}#${i}`, write));
    const small = sources('small', erase(1));
    site.request(...sources('large', messagesAt(1, large)), ...small);
    expect(await site.done(200, ...small)).toBeLessThan(60);
    // 400 small writes are worth some 16 large ones; those of calls under way come on top.
    expect(site.made.filter((write) => 'put' in write).length).toBeLessThan(150);
  });

  it('wait while they have used more of the database than they may, alone, and not when the broker stops', async () => {
    const site = new Site();
    site.indebted.add('evil');
    const evil = many(3, (i) => site.source(`evil#${i}`));
    const good = site.source('good#1');
    site.request(...evil, good);
    expect(await site.done(100, good)).toBeLessThan(15);
    await site.pass(3000);
    expect([site.calls.length, site.clock.timers]).toEqual([1, 1]);
    site.indebted.clear();
    expect(await site.done(1000, ...evil)).toBeLessThan(300);
    site.indebted.add('evil');
    const last = site.source('evil#last');
    site.request(last);
    await site.pass(100);
    expect(last.commits).toBe(0);
    void site.log.settled();
    expect(await site.done(100, last)).toBeLessThan(10);
  });

  it('share a call: as many as have something to write', async () => {
    const site = new Site();
    const all = many(25, (i) => site.source(`tenant${i}#1`));
    site.request(...all);
    expect(await site.done(100, ...all)).toBeLessThan(20);
    expect(site.calls).toHaveLength(1);
  });
});

describe('the thread, which others wait for', () => {
  const messagesOf = (writes: readonly TableWrite[]): number =>
    writes.reduce((sum, write) => sum + ('put' in write ? (write.put['n'] as number) : 0), 0);
  /** As a session that is away has it, after a fan-out. */
  const manyMessages = (key: number): Write => {
    const one = messagesAt(key, Buffer.alloc(64)) as Extract<Write, { kind: 'messages' }>;
    return { ...one, messages: Array.from({ length: 200 }, () => one.messages[0]!) };
  };

  it('is given back after some hundred messages, and another tenant is among the first that are served', async () => {
    const site = new Site();
    site.request(...many(1000, (i) => site.source(`evil#${i}`, manyMessages(1))));
    const good = site.source('good#1', messagesAt(1, 'x'));
    site.request(good);
    site.clock.advance(4);
    expect(site.calls).toHaveLength(1); // At once, and not eight of them.
    for (let turns = 1; turns <= 8; turns++) {
      const before = site.calls.length;
      await site.turn();
      expect(site.calls.length - before).toBeLessThanOrEqual(1);
    }
    expect(site.calls).toHaveLength(8);
    expect(Math.max(...site.calls.map(messagesOf))).toBeLessThan(1200);
    expect(site.calls.findIndex((writes) => writes.some((write) => pkOf(write) === 'good#1'))).toBeLessThan(2);
  });

  it('is asked for a call at once by one who is alone, call after call', async () => {
    const site = new Site();
    for (let n = 0; n < 3; n++) {
      const source = site.source('good#1', messagesAt(n, 'x'));
      site.request(source);
      site.clock.advance(4);
      expect(site.calls).toHaveLength(n + 1);
      expect(await site.done(10, source)).toBe(5); // As long as the call takes.
    }
  });
});

/** Each event, and what comes of the writes, of the other tenants and of the calls that are made. */
describe('what the group commit cannot write at once', () => {
  it('throttled and unprocessed writes wait for their time, and no other write of the call does', async () => {
    const site = new Site();
    let isShort = true;
    site.answer = (writes) => (isShort ? writes.filter((write) => pkOf(write) === 'one#a') : []);
    const [short, other] = [site.source('one#a'), site.source('one#b')];
    site.request(short, other);
    expect(await site.done(100, other)).toBeLessThan(15);
    await site.pass(5000);
    expect([short.commits, site.made.length]).toEqual([0, 1]);
    expect(site.calls.length).toBeLessThan(60); // Up to a second between the attempts.
    isShort = false;
    expect(await site.done(2000, short)).toBeLessThan(1100);
    expect([short.takes, short.commits, other.commits]).toEqual([1, 1, 1]);
  });

  it('a call that is rejected is made again write by write, at once, and only the culprit is given up', async () => {
    const site = new Site();
    site.answer = (writes) => (writes.some((w) => pkOf(w) === 'evil#1') ? new DynamoRejected('no', 'no') : []);
    const culprit = site.source('evil#1');
    const others = many(24, (i) => site.source(`good#${i}`));
    site.request(culprit, ...others);
    expect(await site.done(200, culprit, ...others)).toBeLessThan(60);
    expect([culprit.refused.length, ...others.map(({ refused }) => refused.length)]).toEqual([
      1,
      ...others.map(() => 0),
    ]);
    expect(site.calls).toHaveLength(26);
  });

  it('a connection that was lost holds up nobody else', async () => {
    const site = new Site();
    let isFirst = true;
    site.answer = () => {
      if (!isFirst) return [];
      isFirst = false;
      return unreachable();
    };
    const unlucky = site.source('one#1');
    site.request(unlucky);
    await site.pass(9);
    const next = site.source('two#1');
    site.request(next);
    expect(await site.done(100, next)).toBeLessThan(15);
    expect(await site.done(200, unlucky)).toBeLessThan(100);
  });

  it('an outage is tried with one call at a time, ever more rarely, and over at once when that succeeds', async () => {
    const site = new Site();
    site.answer = unreachable;
    const all = many(400, (i) => site.source(`tenant${i % 40}#${i}`));
    site.request(...all);
    await site.pass(2000);
    const before = site.calls.length;
    await site.pass(20_000);
    expect(site.calls.length - before).toBeLessThan(120); // 40 expected: half a second on average.
    expect(site.calls.length - before).toBeGreaterThan(15);
    expect(site.made).toEqual([]);
    site.answer = () => [];
    expect(await site.done(5000, ...all)).toBeLessThan(1200);
    expect(all.every(({ takes, commits }) => takes <= 1 && commits === 1)).toBe(true);
  });

  it('without the lease nothing is sent; what waited goes when it is held again', async () => {
    const site = new Site();
    site.answer = (writes) => writes;
    const source = site.source('one#1');
    site.request(source);
    await site.pass(50);
    site.isHeld = false;
    site.answer = () => [];
    await site.pass(10);
    const before = site.calls.length;
    await site.pass(10_000);
    expect(site.calls.length).toBe(before);
    site.isHeld = true;
    expect(await site.done(2000, source)).toBeLessThan(1100);
  });

  it('closed, what waits is not sent any more, and no timer is left', async () => {
    const site = new Site();
    site.answer = (writes) => writes;
    const source = site.source('one#1');
    site.request(source);
    await site.pass(50);
    site.log.close();
    await site.pass(10);
    const before = site.calls.length;
    await site.pass(3000);
    expect([site.calls.length, site.clock.timers, source.commits]).toEqual([before, 0, 0]);
  });

  it('is waited for by a stop', async () => {
    const site = new Site();
    site.answer = (writes) => writes.filter((write) => pkOf(write) === 'one#1');
    const [short, other] = [site.source('one#1'), site.source('two#1')];
    site.request(short, other);
    let isSettled = false;
    void site.log.settled().then(() => (isSettled = true));
    await site.pass(3000);
    expect([isSettled, other.commits]).toEqual([false, 1]);
    site.answer = () => [];
    await site.pass(1100);
    expect([isSettled, short.commits]).toEqual([true, 1]);
  });

  it.each(seedsOf('commits'))('all of it is made once and told once, whatever happens (seed %i)', async (seed) => {
    const chance = new Chance(seed);
    const site = new Site();
    const poisoned = new Set<string>();
    site.tookMs = () => chance.between(1, 30);
    site.answer = (writes) => {
      if (writes.some((write) => poisoned.has(pkOf(write)))) return new DynamoRejected('no', 'no');
      if (chance.happens(0.1)) return unreachable();
      if (chance.happens(0.1)) return throttled();
      return chance.happens(0.2) ? writes.filter(() => chance.happens(0.5)) : [];
    };
    const all: Source[] = [];
    for (let step = 0; step < 400; step++) {
      if (chance.happens(0.4)) {
        const partition = `tenant${chance.between(1, 6)}#${step}`;
        if (chance.happens(0.05)) poisoned.add(partition);
        const source = site.source(partition, ...Array.from({ length: chance.between(1, 9) }, (_, n) => erase(n)));
        source.perTake = chance.between(1, 4);
        all.push(source);
        site.request(source);
      }
      if (chance.happens(0.3) && all.length > 0) site.request(all[chance.between(0, all.length - 1)]!);
      if (chance.happens(0.02)) site.isHeld = !site.isHeld;
      await site.pass(chance.between(0, 20));
    }
    site.isHeld = true;
    const settled = site.log.settled();
    expect(await site.done(60_000, ...all)).toBeLessThan(60_000);
    await settled;
    const made = site.made.map((write) => `${pkOf(write)} ${'delete' in write ? write.delete.sk : ''}`);
    expect(new Set(made).size).toBe(made.length);
    expect(all.filter(({ refused }) => refused.length > 0).every(({ partition }) => poisoned.has(partition))).toBe(
      true,
    );
    expect(site.clock.timers).toBeLessThanOrEqual(1);
  });
});
