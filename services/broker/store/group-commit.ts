/**
 * Where everything that sessions store is written: what all of them have to write within a few milliseconds goes out
 * together, 25 writes a call, several calls under way. A lane has at most one commit under way, so its writes stay in
 * order; calls of different lanes pass each other.
 *
 *      request -> dirty -> (collected for `collectMs`, or 25) -> call -> committed, once all its writes are
 *
 * A call that fails is made again until it succeeds, with jitter, for as long as DynamoDB takes: the publishers wait
 * for their acknowledgements meanwhile, and what they may have unacknowledged is bounded. Writes are puts and deletes of
 * whole items, so that one whose answer was lost may simply be repeated.
 *
 * One source must not cost another anything, for the sources are of all tenants. So what is theirs (`take`, `committed`) is
 * called guarded, one by one, and never where a failure would count as one of DynamoDB:
 *
 *      take throws               it has nothing under way, its lane is free; the others of the call go out
 *      a write is no item        given up, as one that DynamoDB will never take; the source's other writes are made
 *      committed throws          what was made is made; the lane goes on, the others are told
 *      a write is over twice     the second time is nothing: the source would take what it has under way now for made
 */
import { caught, type Clock, type Counter, type Log, type Metrics } from '../../kernel/kernel.js';
import { type Dynamo, DynamoRejected, DynamoUnavailable, type TableWrite } from '../../dynamo/dynamo.js';
import type { CommitLog, CommitSource, StoredPage, Write } from '../inbox/inbox.js';
import { itemOf, messagesFromItem } from './inbox-item.js';

const collectMs = 4;
const writesMax = 25;
/** Hides the way to DynamoDB and back at about 1000 calls a second. */
const callsInFlightMax = 8;
/** One attempt; DynamoDB answers in 10 ms. */
const deadlineMs = 3000;
const retryMsMax = 1000;
/** At most 1 MB in any case: DynamoDB's own limit for a page. */
const readItemsMax = 16;

/** What one source has in calls under way. */
interface Share {
  readonly source: CommitSource;
  left: number;
  readonly refused: Write[];
}

/** One write of a call, and whose it is. */
interface Part {
  readonly write: Write;
  readonly share: Share;
  /** Made or given up. */
  isOver: boolean;
}

type Parts = ReadonlyMap<TableWrite, Part>;

export interface GroupCommitOptions {
  readonly dynamo: Dynamo;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly persistDelayMs: number;
  /** Nothing is written by a broker whose lease is over. */
  readonly isHeld: () => boolean;
}

export class GroupCommit implements CommitLog {
  readonly persistDelayMs: number;
  readonly #options: GroupCommitOptions;
  #dirty = new Set<CommitSource>();
  /** By lane under way: those of it that have asked meanwhile. */
  readonly #busy = new Map<string, Set<CommitSource>>();
  #later = new Set<CommitSource>();
  #laterArmed = false;
  #armed = false;
  #callsInFlight = 0;
  readonly #calls: Counter;
  readonly #writes: Counter;
  readonly #failures: Counter;
  readonly #unreadable: Counter;
  #failing: string | undefined;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.persistDelayMs = options.persistDelayMs;
    const { metrics } = options;
    this.#calls = metrics.counter('shoal_commits_total', 'Calls that stored messages, subscriptions and states');
    this.#writes = metrics.counter('shoal_commit_writes_total', 'Items written or deleted by them');
    this.#failures = metrics.counter('shoal_commit_failures_total', 'Calls of these that failed and were repeated');
    this.#unreadable = metrics.counter(
      'shoal_records_unreadable_total',
      'Stored records that cannot be read, each counted once',
      { record: 'messages' },
    );
    metrics.gauge('shoal_commits_waiting', 'Sessions that wait for something to be stored', () => this.#waiting);
  }

  get #waiting(): number {
    return this.#dirty.size + this.#busy.size;
  }

  request(source: CommitSource): void {
    const waiting = this.#busy.get(source.lane);
    if (waiting) {
      waiting.add(source);
      return;
    }
    this.#dirty.add(source);
    if (this.#armed) return;
    this.#armed = true;
    this.#options.clock.after(collectMs, () => {
      this.#armed = false;
      this.#send();
    });
  }

  requestLater(source: CommitSource): void {
    this.#later.add(source);
    if (this.#laterArmed) return;
    this.#laterArmed = true;
    // Twice as often as the delay: a message waits one and a half of it at most.
    this.#options.clock.after(Math.max(1, this.persistDelayMs / 2), () => {
      this.#laterArmed = false;
      const sources = this.#later;
      this.#later = new Set();
      for (const waiting of sources) this.request(waiting);
    });
  }

  /** Resolves when nothing is left to be stored. */
  settled(): Promise<void> {
    for (const source of this.#later) this.request(source);
    if (this.#waiting === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Nothing more is written. */
  close(): void {
    this.#closed = true;
  }

  #send(): void {
    const asked = this.#dirty;
    this.#dirty = new Set(); // Whoever asks meanwhile has to wait: one that asks again and again would hold up all others.
    while (this.#callsInFlight < callsInFlightMax && asked.size > 0 && !this.#closed) {
      const writes: TableWrite[] = [];
      const parts = new Map<TableWrite, Part>();
      const nowMs = this.#options.clock.nowMs();
      for (const source of asked) {
        if (writes.length >= writesMax) break;
        asked.delete(source);
        const waiting = this.#busy.get(source.lane);
        if (waiting) waiting.add(source);
        else this.#collect(source, writes, parts, nowMs);
      }
      // Nothing in it may throw: lanes whose writes nobody knows anything of would stay busy. If it does, the process ends.
      if (writes.length > 0) void this.#call(writes, parts);
    }
    if (asked.size > 0) {
      for (const source of this.#dirty) asked.add(source); // Behind those who have waited longer.
      this.#dirty = asked;
    }
    if (this.#waiting === 0) for (const listener of this.#idle.splice(0)) listener();
  }

  /** What the source has to write joins the call. */
  #collect(source: CommitSource, writes: TableWrite[], parts: Map<TableWrite, Part>, nowMs: number): void {
    let taken: readonly Write[];
    try {
      taken = source.take(writesMax - writes.length, nowMs);
    } catch (error) {
      return caught('commit-take', error, { lane: source.lane });
    }
    // Not due yet, or done meanwhile: it asks again as long as it has something.
    if (taken.length === 0) return tellCommitted(source, []);
    this.#busy.set(source.lane, new Set());
    const share: Share = { source, left: taken.length, refused: [] };
    for (const write of taken) {
      const part: Part = { write, share, isOver: false };
      try {
        const tableWrite = itemOf(source.partition, write);
        writes.push(tableWrite);
        parts.set(tableWrite, part);
      } catch (error) {
        caught('commit-item', error, { lane: source.lane });
        share.refused.push(write);
        this.#over(part);
      }
    }
  }

  async #call(all: readonly TableWrite[], parts: Parts): Promise<void> {
    this.#callsInFlight++;
    try {
      await this.#writeAll(all, parts);
    } finally {
      this.#callsInFlight--;
    }
    this.#send();
  }

  async #writeAll(all: readonly TableWrite[], parts: Parts): Promise<void> {
    let left = all;
    let size = all.length;
    for (let tries = 0; left.length > 0;) {
      if (tries > 0) await this.#pause(tries);
      if (this.#closed) return;
      if (!this.#options.isHeld()) {
        tries++;
        continue;
      }
      const undone = await this.#attempt(left.slice(0, size), parts, tries);
      const isNothingDone = undone.length === Math.min(size, left.length);
      left = [...undone, ...left.slice(size)];
      tries = undone.length === 0 ? 0 : tries + 1;
      // Too much to arrive in time would be too much for ever: the next attempt is half as large.
      size = isNothingDone ? Math.max(1, size >> 1) : Math.min(all.length, size * 2);
    }
  }

  /** What is left to be written. */
  async #attempt(writes: readonly TableWrite[], parts: Parts, tries: number): Promise<readonly TableWrite[]> {
    let unprocessed: ReadonlySet<TableWrite>;
    this.#calls.add();
    try {
      unprocessed = new Set(await this.#options.dynamo.batchWriteOnce(writes, { deadlineMs }));
    } catch (error) {
      this.#failures.add();
      if (error instanceof DynamoRejected) return this.#isolate(writes, parts, error, tries);
      this.#tellOnce(error, tries);
      return writes;
    }
    // What comes of it here is none of DynamoDB's business: it must not be taken for a call that failed.
    this.#failing = undefined;
    const left = writes.filter((write) => unprocessed.has(write));
    this.#writes.add(writes.length - left.length);
    for (const write of writes) if (!unprocessed.has(write)) this.#over(parts.get(write)!);
    return left;
  }

  /** One write that DynamoDB will never take must not hold up the others: each alone, and the culprit is given up. */
  async #isolate(
    writes: readonly TableWrite[],
    parts: Parts,
    error: DynamoRejected,
    tries: number,
  ): Promise<readonly TableWrite[]> {
    if (writes.length === 1) {
      this.#options.log.error({ error }, 'something that DynamoDB does not take was not stored');
      const part = parts.get(writes[0]!)!;
      part.share.refused.push(part.write);
      this.#over(part);
      return [];
    }
    const left: TableWrite[] = [];
    for (const write of writes) left.push(...(await this.#attempt([write], parts, tries)));
    return left;
  }

  /** One write has been made or given up; its source is told when that is so for all it has given. */
  #over(part: Part): void {
    if (part.isOver) return;
    part.isOver = true;
    const { share } = part;
    if (--share.left > 0) return;
    const { source, refused } = share;
    tellCommitted(source, refused);
    const waiting = this.#busy.get(source.lane)!;
    this.#busy.delete(source.lane);
    for (const next of waiting) this.request(next);
  }

  async #pause(tries: number): Promise<void> {
    const { clock } = this.#options;
    const maxMs = Math.min(retryMsMax, 25 * 2 ** Math.min(tries, 10));
    await new Promise<void>((resolve) => clock.after(Math.random() * maxMs, resolve));
  }

  /**
   * Once per cause, however often it is tried again. The first failure of a batch is no trouble yet: it is what a connection
   * that was lost while nothing was sent looks like, and the next attempt has another.
   */
  #tellOnce(error: unknown, tries: number): void {
    const cause = error instanceof Error ? error.message : String(error);
    if (tries === 0 && error instanceof DynamoUnavailable && error.isUnreachable) {
      this.#options.log.info({ reason: cause }, 'messages were not stored at once, trying again');
      return;
    }
    if (this.#failing === cause) return;
    this.#failing = cause;
    this.#options.log.error({ error }, 'messages cannot be stored, trying again; publishers wait');
  }

  async read(partition: string, after: string, upTo: string): Promise<StoredPage> {
    const { dynamo } = this.#options;
    // Both ends of BETWEEN belong to it; no key is `after` plus this.
    const page = await dynamo.query('inbox', {
      pk: partition,
      sk: { between: [`${after}!`, upTo] },
      consistent: true,
      limit: readItemsMax,
    });
    let unreadable = 0;
    const items = page.items.map((item) => {
      const key = item['sk'] as string;
      try {
        return { key, messages: messagesFromItem(item) };
      } catch (error) {
        unreadable += typeof item['n'] === 'number' ? item['n'] : 0;
        this.#unreadable.add();
        this.#options.log.error({ partition, key, error }, 'a stored item cannot be read and is left out');
        return { key, messages: [] };
      }
    });
    return { items, more: page.next !== undefined, unreadable };
  }
}

function tellCommitted(source: CommitSource, refused: readonly Write[]): void {
  try {
    source.committed(refused);
  } catch (error) {
    caught('commit-told', error, { lane: source.lane });
  }
}
