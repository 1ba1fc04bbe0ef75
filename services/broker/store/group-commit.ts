/**
 * Where everything that sessions store is written: what all of them have to write within a few milliseconds goes out
 * together, 25 writes a call, several calls under way. A lane has at most one commit under way, so its writes stay in
 * order; calls of different lanes pass each other.
 *
 *      request -> dirty -> (collected for `collectMs`, or 25) -> call -> committed, once all its writes are
 *                            \_ left undone -> waits for its time, without a place among the calls -> call
 *
 * To make a call is work for the thread, which others wait for: one is made at once, the next at the end of the turn of the
 * event loop, and `callBytesMax` (`commit-work.ts`) bounds each to about a millisecond. What 10 000 sessions have to store at the same moment
 * is thousands of such steps, and between any two of them everybody else is served. The tenants whose writes are in it pay for the
 * time that it takes, each for its part.
 *
 * What is left undone is written again until it succeeds, with jitter, for as long as DynamoDB takes: the publishers wait
 * for their acknowledgements meanwhile, and what they may have unacknowledged is bounded. Writes are puts and deletes of
 * whole items, so that one whose answer was lost may simply be repeated.
 *
 *      throttled or unprocessed    of these writes alone: they wait, up to a second, and their lanes with them; the place of
 *                                  the call is free for others
 *      out of reach                once: these writes wait. Again, with nothing that succeeded in between: all wait, up to a
 *                                  second, then one call goes and tells whether it is over
 *      lease not held              as an outage; nothing is sent
 *      rejected                    each write of the call goes alone, and the culprit is given up
 *      closed                      nothing is sent any more, what waits included
 *      `settled()` meanwhile       what waits for its time is waited for
 *
 * How a call is filled from what the sources of all tenants have to write is in `commit-work.ts`, how many go and when they pause in
 * `commit-pace.ts`.
 */
import { type Clock, type Counter, type Log, type Metrics, type TenantScope } from '../../kernel/kernel.js';
import { type Dynamo, DynamoRejected, DynamoUnavailable, type TableWrite } from '../../dynamo/dynamo.js';
import type { CommitLog, CommitSource, StoredPage } from '../inbox/inbox.js';
import { commitCallsMax, CommitPace, pauseMs } from './commit-pace.js';
import type { Part, TenantWork } from './commit-turns.js';
import { type Call, CommitWork } from './commit-work.js';
import { StoredPages } from './stored-pages.js';

export { commitCallsMax };

const collectMs = 4;
/** One attempt; DynamoDB answers in 10 ms. */
const deadlineMs = 3000;
/** Others may be held back for less long than the first. */
const heldBackMsMax = 250;

export interface GroupCommitOptions {
  /** For commits, and for nothing that could hold them up. */
  readonly dynamo: Dynamo;
  readonly reads: Dynamo;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly persistDelayMs: number;
  /** How long a tenant's commits have to wait, because it has used more of the database than it may. */
  readonly waitMs: (tenant: TenantScope) => number;
  /** Takes time of the thread, in milliseconds, from the tenant's account. Default: nobody pays. */
  readonly pay?: (tenant: TenantScope, ms: number) => void;
  /** Nothing is written by a broker whose lease is over. */
  readonly isHeld: () => boolean;
  /** Runs something at the end of this turn of the event loop. */
  readonly defer?: (run: () => void) => void;
}

export class GroupCommit implements CommitLog {
  readonly persistDelayMs: number;
  readonly #options: GroupCommitOptions;
  readonly #work = new CommitWork((source) => this.request(source));
  readonly #pace: CommitPace;
  readonly #pages: StoredPages;
  #later = new Set<CommitSource>();
  #laterArmed = false;
  #armed = false;
  #callsInFlight = 0;
  /** A call has been made in this turn of the event loop; at its end comes the next. */
  #hasHadTurn = false;
  readonly #defer: (run: () => void) => void;
  /** There are tenants that are held back, and a timer. */
  #isLookedAtAgain = false;
  readonly #calls: Counter;
  readonly #writes: Counter;
  readonly #failures: Counter;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.persistDelayMs = options.persistDelayMs;
    this.#defer = options.defer ?? setImmediate;
    const { reads, clock, log, metrics } = options;
    this.#pace = new CommitPace(clock, log, () => this.#send());
    this.#pages = new StoredPages(reads, log, metrics);
    this.#calls = metrics.counter('shoal_commits_total', 'Calls that stored messages, subscriptions and states');
    this.#writes = metrics.counter('shoal_commit_writes_total', 'Items written or deleted by them');
    this.#failures = metrics.counter('shoal_commit_failures_total', 'Calls of these that failed and were repeated');
    metrics.gauge('shoal_commits_waiting', 'Sessions that wait for something to be stored', () => this.#work.waiting);
  }

  request(source: CommitSource): void {
    if (!this.#work.add(source) || this.#armed) return;
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
    if (this.#work.waiting === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#send();
    });
  }

  /** Nothing more is written. */
  close(): void {
    this.#closed = true;
  }

  #send(): void {
    const { isPaused, callsMax } = this.#pace;
    if (!this.#closed && !isPaused && !this.#hasHadTurn && this.#callsInFlight < callsMax) this.#step();
    if (this.#work.waiting === 0) for (const listener of this.#idle.splice(0)) listener();
  }

  #step(): void {
    const startedMs = this.#options.clock.monotonicMs();
    const free = commitCallsMax - this.#callsInFlight;
    const call = this.#work.fill({
      writesMax: this.#pace.callSize,
      nowMs: this.#options.clock.nowMs(),
      mayGo: (tenant) => tenant.calls < free && !this.#isHeldBack(tenant),
    });
    if (call.writes.length === 0) return;
    this.#hasHadTurn = true;
    this.#defer(this.#nextTurn);
    // Nothing in it may throw: lanes whose writes nobody knows anything of would stay busy. If it does, the process ends.
    void this.#call(call);
    this.#charge(call, startedMs);
  }

  /** For what has been done since then. */
  #charge({ prices }: Call, startedMs: number): void {
    const { pay, clock } = this.#options;
    if (!pay) return;
    const ms = clock.monotonicMs() - startedMs;
    let whole = 0;
    for (const price of prices.values()) whole += price;
    for (const [{ name }, price] of prices) pay(name, (ms * price) / whole);
  }

  readonly #nextTurn = (): void => {
    this.#hasHadTurn = false;
    this.#send();
  };

  /** Not by a stop, which waits for all that is left. */
  #isHeldBack({ name }: TenantWork): boolean {
    const { waitMs, clock } = this.#options;
    const ms = this.#idle.length > 0 ? 0 : waitMs(name);
    if (ms > 0 && !this.#isLookedAtAgain) {
      this.#isLookedAtAgain = true;
      clock.after(Math.min(ms, heldBackMsMax), () => {
        this.#isLookedAtAgain = false;
        this.#send();
      });
    }
    return ms > 0;
  }

  async #call(call: Call): Promise<void> {
    this.#callsInFlight++;
    this.#work.begin(call);
    try {
      await this.#attempt(call);
    } finally {
      this.#callsInFlight--;
      this.#work.end(call);
    }
    this.#send();
  }

  async #attempt(call: Call): Promise<void> {
    const { writes, parts } = call;
    const all = [...parts.values()];
    const { round } = this.#pace;
    if (!this.#options.isHeld()) {
      this.#pace.notHeld();
      return this.#work.ready(all);
    }
    let unprocessed: ReadonlySet<TableWrite>;
    this.#calls.add();
    try {
      unprocessed = new Set(await this.#options.dynamo.batchWriteOnce(writes, { deadlineMs }));
    } catch (error) {
      this.#failures.add();
      const isRejected = error instanceof DynamoRejected;
      const isAnswer = isRejected || (error instanceof DynamoUnavailable && error.throttled);
      if (isAnswer) this.#pace.wasAnswered();
      if (isRejected) return this.#refused(all, error);
      this.#pace.tell(error, all[0]!.tries === 0);
      if (isAnswer) return this.#again(all);
      this.#pace.outOfReach(round);
      return this.#pace.isPaused ? this.#work.ready(all) : this.#again(all);
    }
    // What comes of it here is none of DynamoDB's business: it must not be taken for a call that failed.
    const startedMs = this.#options.clock.monotonicMs();
    this.#pace.succeeded();
    const left: Part[] = [];
    for (const [write, part] of parts)
      if (unprocessed.has(write)) left.push(part);
      else this.#work.over(part);
    this.#writes.add(all.length - left.length);
    this.#again(left);
    this.#charge(call, startedMs);
  }

  /** One write that DynamoDB will never take must not hold up the others: each alone, and the culprit is given up. */
  #refused(parts: readonly Part[], error: DynamoRejected): void {
    if (parts.length > 1) {
      for (const part of parts) part.isAlone = true;
      return this.#work.ready(parts);
    }
    this.#options.log.error({ error }, 'DynamoDB rejected an item, which was not stored');
    const [part] = parts;
    part!.share.refused.push(part!.write);
    this.#work.over(part!);
  }

  /** Left undone: each tenant's wait for a time of their own, which is longer from try to try. */
  #again(parts: readonly Part[]): void {
    const byTenant = new Map<TenantWork, Part[]>();
    for (const part of parts) {
      part.tries++;
      const { tenant } = part.share;
      const others = byTenant.get(tenant);
      if (others) others.push(part);
      else byTenant.set(tenant, [part]);
    }
    for (const ofTenant of byTenant.values()) {
      const tries = ofTenant.reduce((most, part) => Math.max(most, part.tries), 0);
      this.#options.clock.after(pauseMs(tries), () => {
        this.#work.ready(ofTenant);
        this.#send();
      });
    }
  }

  read(partition: string, after: string, upTo: string): Promise<StoredPage> {
    return this.#pages.read(partition, after, upTo);
  }
}
