/**
 * Where everything that sessions store is written: what all of them have to write within a few milliseconds goes out
 * together, 25 writes a call, several calls under way. A lane has at most one commit under way, so its writes stay in
 * order; calls of different lanes pass each other.
 *
 *      request -> dirty -> (collected for `collectMs`, or 25) -> call -> committed, once all its writes are
 *                            \_ left undone -> waits for its time, without a place among the calls -> call
 *
 * To make a call is work for the thread, which others wait for: one is made at once, the next at the end of the turn of the
 * event loop, and `callBytesMax` bounds each to about a millisecond. What 10 000 sessions have to store at the same moment
 * is thousands of such steps, and between any two of them everybody else is served.
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
 * One source must not cost another anything, for the sources are of all tenants. Tenants take turns (`commit-turns.ts`), and what
 * is a source's (`take`, `committed`) is called guarded, one by one, and never where a failure would count as one of DynamoDB:
 *
 *      take throws               it has nothing under way, its lane is free; the others of the call go out
 *      a write is no item        given up, as one that DynamoDB will never take; the source's other writes are made
 *      committed throws          what was made is made; the lane goes on, the others are told
 *      a write is over twice     the second time is nothing: the source would take what it has under way now for made
 */
import { caught, type Clock, type Counter, type Log, type Metrics, type TenantScope } from '../../kernel/kernel.js';
import { type Dynamo, DynamoRejected, DynamoUnavailable, itemBytes, type TableWrite } from '../../dynamo/dynamo.js';
import { scopeOfPartition } from '../../tenancy/tenancy.js';
import type { CommitLog, CommitSource, StoredPage, Write } from '../inbox/inbox.js';
import { CommitTurns, type Part, type Share, type TenantWork } from './commit-turns.js';
import { itemOf, messagesFromItem } from './inbox-item.js';

const collectMs = 4;
const writesMax = 25;
/**
 * Above that, but for the last write. Some hundred messages, and a body that V8 does not have to put among its large objects:
 * twice as large it takes ten times as long. It also arrives in time over a slow line.
 */
const callBytesMax = 1 << 16;
/** A tenant gets half of them at most, which hides the way to DynamoDB and back at about 1000 calls a second. */
export const commitCallsMax = 16;
/** One attempt; DynamoDB answers in 10 ms. */
const deadlineMs = 3000;
const retryMsMax = 1000;
/** Others may be held back for less long than the first. */
const heldBackMsMax = 250;
/** At most 1 MB in any case: DynamoDB's own limit for a page. */
const readItemsMax = 16;
/** Throttling comes and goes with every call. */
const tellThrottledEveryMs = 60_000;

interface Call {
  readonly writes: TableWrite[];
  readonly parts: Map<TableWrite, Part>;
  readonly tenants: Set<TenantWork>;
  bytes: number;
  /** Calls that were sent before the last failure tell nothing new by failing, too. */
  readonly round: number;
}

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
  /** Nothing is written by a broker whose lease is over. */
  readonly isHeld: () => boolean;
  /** Runs something at the end of this turn of the event loop. */
  readonly defer?: (run: () => void) => void;
}

export class GroupCommit implements CommitLog {
  readonly persistDelayMs: number;
  readonly #options: GroupCommitOptions;
  readonly #turns = new CommitTurns();
  #dirty = 0;
  /** Who asks while calls are being filled comes after that: one that asks again and again would hold up all others. */
  #askedMeanwhile: CommitSource[] | undefined;
  /** By lane under way: those of it that have asked meanwhile. */
  readonly #busy = new Map<string, Set<CommitSource>>();
  #later = new Set<CommitSource>();
  #laterArmed = false;
  #armed = false;
  #callsInFlight = 0;
  /** Writes of a call: fewer after failures, for what is too much to arrive in time would be too much for ever. */
  #callSize = writesMax;
  /** Rounds of calls that failed, one after the other. */
  #failed = 0;
  #round = 0;
  #isPaused = false;
  /** A call has been made in this turn of the event loop; at its end comes the next. */
  #hasHadTurn = false;
  readonly #defer: (run: () => void) => void;
  /** There are tenants that are held back, and a timer. */
  #isLookedAtAgain = false;
  readonly #calls: Counter;
  readonly #writes: Counter;
  readonly #failures: Counter;
  readonly #unreadable: Counter;
  #failing: string | undefined;
  #toldThrottledAtMs = -Infinity;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
    this.persistDelayMs = options.persistDelayMs;
    this.#defer = options.defer ?? setImmediate;
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
    return this.#dirty + this.#busy.size;
  }

  request(source: CommitSource): void {
    const waiting = this.#busy.get(source.lane);
    if (waiting) {
      waiting.add(source);
      return;
    }
    if (this.#askedMeanwhile) this.#askedMeanwhile.push(source);
    else this.#join(source);
    if (this.#armed) return;
    this.#armed = true;
    this.#options.clock.after(collectMs, () => {
      this.#armed = false;
      this.#send();
    });
  }

  #join(source: CommitSource): void {
    const tenant = this.#turns.of(scopeOfPartition(source.partition));
    if (tenant.dirty.has(source)) return;
    tenant.dirty.add(source);
    this.#dirty++;
    this.#turns.join(tenant);
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
    const mayGo = !this.#closed && !this.#isPaused && this.#callsInFlight < this.#callsMax;
    if (mayGo && !this.#hasHadTurn) this.#step();
    if (this.#waiting === 0) for (const listener of this.#idle.splice(0)) listener();
  }

  #step(): void {
    const asked: CommitSource[] = (this.#askedMeanwhile = []);
    const call = this.#fill();
    this.#askedMeanwhile = undefined;
    for (const source of asked) this.request(source);
    if (call.writes.length === 0) return;
    this.#hasHadTurn = true;
    this.#defer(this.#nextTurn);
    // Nothing in it may throw: lanes whose writes nobody knows anything of would stay busy. If it does, the process ends.
    void this.#call(call);
  }

  readonly #nextTurn = (): void => {
    this.#hasHadTurn = false;
    this.#send();
  };

  /** One tells whether an outage is over. */
  get #callsMax(): number {
    return this.#failed > 1 ? 1 : commitCallsMax;
  }

  #fill(): Call {
    const call: Call = { writes: [], parts: new Map(), tenants: new Set(), bytes: 0, round: this.#round };
    const free = commitCallsMax - this.#callsInFlight;
    const nowMs = this.#options.clock.nowMs();
    while (this.#hasRoom(call)) {
      const tenant = this.#turns.next((one) => one.calls < free && !this.#isHeldBack(one));
      if (!tenant || !this.#take(tenant, call, nowMs)) break;
    }
    return call;
  }

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

  #hasRoom({ writes, bytes }: Call): boolean {
    return writes.length < this.#callSize && bytes < callBytesMax;
  }

  /** Fills the call from the tenant's turn; false when nothing more is to go with it. */
  #take(tenant: TenantWork, call: Call, nowMs: number): boolean {
    while (tenant.credit > 0 && this.#hasRoom(call)) {
      const again = tenant.ready.peek();
      if (again?.isAlone && call.writes.length > 0) return false;
      if (again) {
        tenant.ready.shift();
        this.#add(again, call);
        if (again.isAlone) return false;
        continue;
      }
      const source = tenant.takeDirty();
      if (!source) break;
      this.#dirty--;
      const waiting = this.#busy.get(source.lane);
      if (waiting) waiting.add(source);
      else this.#collect(source, tenant, call, nowMs);
    }
    this.#turns.forget(tenant);
    return true;
  }

  /** What the source has to write joins the call. */
  #collect(source: CommitSource, tenant: TenantWork, call: Call, nowMs: number): void {
    let taken: readonly Write[];
    try {
      taken = source.take(this.#callSize - call.writes.length, nowMs, callBytesMax - call.bytes);
    } catch (error) {
      return caught('commit-take', error, { lane: source.lane });
    }
    // Not due yet, or done meanwhile: it asks again as long as it has something.
    if (taken.length === 0) return tellCommitted(source, []);
    this.#busy.set(source.lane, new Set());
    const share: Share = { source, tenant, left: taken.length, refused: [] };
    tenant.shares++;
    for (const write of taken) this.#add({ write, share, tries: 0, isAlone: false, isOver: false }, call);
  }

  #add(part: Part, call: Call): void {
    const { write, share } = part;
    const { source, tenant } = share;
    try {
      const tableWrite = itemOf(source.partition, write);
      const bytes = 'put' in tableWrite ? itemBytes(tableWrite.put) : 0;
      tenant.spend(bytes);
      call.bytes += bytes;
      call.writes.push(tableWrite);
      call.parts.set(tableWrite, part);
      call.tenants.add(tenant);
    } catch (error) {
      caught('commit-item', error, { lane: source.lane });
      share.refused.push(write);
      this.#over(part);
    }
  }

  async #call(call: Call): Promise<void> {
    this.#callsInFlight++;
    for (const tenant of call.tenants) tenant.calls++;
    try {
      await this.#attempt(call);
    } finally {
      this.#callsInFlight--;
      for (const tenant of call.tenants) {
        tenant.calls--;
        this.#turns.forget(tenant);
      }
    }
    this.#send();
  }

  async #attempt({ writes, parts, round }: Call): Promise<void> {
    const all = [...parts.values()];
    if (!this.#options.isHeld()) {
      this.#pause(++this.#failed);
      return this.#ready(all);
    }
    let unprocessed: ReadonlySet<TableWrite>;
    this.#calls.add();
    try {
      unprocessed = new Set(await this.#options.dynamo.batchWriteOnce(writes, { deadlineMs }));
    } catch (error) {
      this.#failures.add();
      const isRejected = error instanceof DynamoRejected;
      const isAnswer = isRejected || (error instanceof DynamoUnavailable && error.throttled);
      if (isAnswer) this.#failed = 0;
      if (isRejected) return this.#refused(all, error);
      this.#tell(error, all);
      if (isAnswer) return this.#again(all);
      if (round === this.#round) this.#outOfReach();
      return this.#isPaused ? this.#ready(all) : this.#again(all);
    }
    // What comes of it here is none of DynamoDB's business: it must not be taken for a call that failed.
    this.#failing = undefined;
    this.#failed = 0;
    this.#callSize = Math.min(writesMax, this.#callSize * 2);
    const left: Part[] = [];
    for (const [write, part] of parts)
      if (unprocessed.has(write)) left.push(part);
      else this.#over(part);
    this.#writes.add(all.length - left.length);
    this.#again(left);
  }

  /** One write that DynamoDB will never take must not hold up the others: each alone, and the culprit is given up. */
  #refused(parts: readonly Part[], error: DynamoRejected): void {
    if (parts.length > 1) {
      for (const part of parts) part.isAlone = true;
      return this.#ready(parts);
    }
    this.#options.log.error({ error }, 'something that DynamoDB does not take was not stored');
    const [part] = parts;
    part!.share.refused.push(part!.write);
    this.#over(part!);
  }

  #outOfReach(): void {
    this.#round++;
    this.#failed++;
    this.#callSize = Math.max(1, this.#callSize >> 1);
    if (this.#failed > 1) this.#pause(this.#failed);
  }

  #pause(tries: number): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#options.clock.after(waitMs(tries), () => {
      this.#isPaused = false;
      this.#send();
    });
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
      this.#options.clock.after(waitMs(tries), () => {
        this.#ready(ofTenant);
        this.#send();
      });
    }
  }

  #ready(parts: readonly Part[]): void {
    for (const part of parts) {
      const { tenant } = part.share;
      tenant.ready.push(part);
      this.#turns.join(tenant);
    }
  }

  /** One write has been made or given up; its source is told when that is so for all it has given. */
  #over(part: Part): void {
    if (part.isOver) return;
    part.isOver = true;
    const { share } = part;
    if (--share.left > 0) return;
    const { source, tenant, refused } = share;
    tenant.shares--;
    tellCommitted(source, refused);
    const waiting = this.#busy.get(source.lane)!;
    this.#busy.delete(source.lane);
    for (const next of waiting) this.request(next);
  }

  /**
   * Once per cause, however often it is tried again. The first failure of a batch is no trouble yet: it is what a connection
   * that was lost while nothing was sent looks like, and the next attempt has another.
   */
  #tell(error: unknown, parts: readonly Part[]): void {
    const cause = error instanceof Error ? error.message : String(error);
    const { log, clock } = this.#options;
    if (error instanceof DynamoUnavailable && error.isUnreachable && this.#failed === 0 && parts[0]!.tries === 0) {
      log.info({ reason: cause }, 'messages were not stored at once, trying again');
      return;
    }
    if (this.#failing === cause) return;
    if (error instanceof DynamoUnavailable && error.throttled) {
      if (clock.monotonicMs() - this.#toldThrottledAtMs < tellThrottledEveryMs) return;
      this.#toldThrottledAtMs = clock.monotonicMs();
    }
    this.#failing = cause;
    log.error({ error }, 'messages cannot be stored, trying again; publishers wait');
  }

  async read(partition: string, after: string, upTo: string): Promise<StoredPage> {
    // Both ends of BETWEEN belong to it; no key is `after` plus this.
    const page = await this.#options.reads.query('inbox', {
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

/** By chance, so that what failed together does not come back together. */
const waitMs = (tries: number): number => Math.random() * Math.min(retryMsMax, 25 * 2 ** Math.min(tries, 10));

function tellCommitted(source: CommitSource, refused: readonly Write[]): void {
  try {
    source.committed(refused);
  } catch (error) {
    caught('commit-told', error, { lane: source.lane });
  }
}
