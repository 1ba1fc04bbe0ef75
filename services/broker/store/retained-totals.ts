/**
 * How much a tenant retains, for its quotas and its `$SYS` numbers. The totals are an item, so that opening a tenant does not read all
 * that it retains:
 *
 *      retained | tenant#totals | totals | messages, bytes, countedAtMs, firstExpiryMs, writers
 *
 * `writers` names whoever may have written what is not in the item yet. It is entered before the first write and leaves with
 * the totals when the tenant is not used any more (`rest`). So what is found says whether it can be believed:
 *
 *  | found when opened            | means                                  | then                                        |
 *  | ---------------------------- | -------------------------------------- | ------------------------------------------- |
 *  | totals, no writer            | the last one has left in good order    | believed: one read, one write               |
 *  | totals, another's name       | it has ended without saying            | counted from the table                      |
 *  | nothing                      | never counted                          | counted from the table                      |
 *  | any, and no quota to keep    | nobody asks                            | our name is entered without a look, and stays |
 *
 * Crash points: before our name is entered nothing has been written. After it, until `rest` is stored, the name stays and the
 * next one counts. An answer of `rest` that is lost: its repetition finds the name gone, and does nothing.
 *
 * Expired messages and removals do not count. Expiry changes the totals unseen, so one that says "full" is counted again before it
 * refuses anything: at most once a minute where something has expired, else once an hour. Whoever only wants to know waits for an
 * expiry, and at least an hour. Writes of one moment do not see each other: a quota may be exceeded by as many messages as are written at once.
 */
import { randomBytes } from 'node:crypto';
import type { Clock, TenantScope } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, type Item, type TableKey } from '../../dynamo/dynamo.js';
import { retainedTotalsKey } from '../../tenancy/tenancy.js';
import type { RetainedCount } from '../fanout/fanout.js';
import type { RetainedLimits } from './retained.js';

const version = 1;
/** A write whose answer is lost is counted wrong by one: totals are counted anew now and then, whatever is in the item. */
const believedMs = 30 * 86_400_000;
/** Of a tenant that is not used, or whose item was written while it was deleted. */
const ttlMs = 2 * believedMs;
const recountAfterMs = 60_000;
/** For those who only want to know: to count is to read everything. */
const toldAfterMs = 3_600_000;

/** What a message has to replace when there is no room for one more: something counted, of at least `bytes`. */
export interface Replaceable {
  readonly bytes: number;
  readonly expiringAfterMs: number;
}

export class RetainedTotals implements RetainedCount {
  readonly #dynamo: Dynamo;
  readonly #scope: TenantScope;
  readonly #clock: Clock;
  readonly #key: TableKey;
  /** In `writers`; of this object alone, so that it is never taken for the one before it in the same process. */
  readonly #writer = randomBytes(9).toString('base64url');
  readonly #us = new Set([this.#writer]);
  messages = 0;
  bytes = 0;
  /** The totals are those of the table. */
  #isCounted = false;
  /** What the item says of them. */
  #stored = { messages: 0, bytes: 0 };
  /** Our name is in the item. */
  #isEntered = false;
  /** By the wall clock: what had expired then is not in the totals. */
  #countedAtMs = 0;
  /** At the earliest something that is counted expires. */
  #firstExpiryMs = Infinity;
  /** When it was last counted, and when the totals were last counted or read. */
  #lastCountMs = -Infinity;
  #knownAtMs = -Infinity;
  #isClosed = false;
  #steps: Promise<unknown> = Promise.resolve();

  constructor(dynamo: Dynamo, scope: TenantScope, clock: Clock) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#key = retainedTotalsKey(scope);
    this.#clock = clock;
  }

  /** Reads the item, or counts where it cannot be believed, or where something has expired since. */
  async counted(): Promise<RetainedCount> {
    if (!this.#isCounted) await this.#alone(() => this.#know());
    const isLong = this.#clock.monotonicMs() - this.#lastCountMs > toldAfterMs;
    if (isLong && this.#firstExpiryMs <= this.#clock.nowMs()) await this.#alone(() => this.#count());
    return this;
  }

  /**
   * Called before each write. Undefined when a new message of `bytes` fits (a removal has 0 and always fits), otherwise
   * what it may replace.
   */
  async replaceable(bytes: number, limits: RetainedLimits): Promise<Replaceable | undefined> {
    const isLimited = bytes > 0 && (limits.retainedMessages < Infinity || limits.retainedBytes < Infinity);
    if (!this.#isEntered || (isLimited && !this.#isCounted)) await this.#alone(() => this.#enter(isLimited));
    if (!isLimited) return undefined;
    const exceeds = (): boolean =>
      this.messages >= limits.retainedMessages || this.bytes + bytes > limits.retainedBytes;
    if (exceeds() && this.#mayHaveShrunk())
      await this.#alone(() => (this.#mayHaveShrunk() ? this.#count() : Promise.resolve()));
    if (!exceeds()) return undefined;
    return { bytes: Math.max(1, this.bytes + bytes - limits.retainedBytes), expiringAfterMs: this.#countedAtMs };
  }

  /** Something has expired since it was counted, or perhaps another broker has removed something. */
  #mayHaveShrunk(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const hasExpired = this.#firstExpiryMs <= this.#clock.nowMs();
    return hasExpired ? nowMs - this.#lastCountMs > recountAfterMs : nowMs - this.#knownAtMs > toldAfterMs;
  }

  /** A write has put `item` (with 0 bytes: nothing) in the place of `old`. */
  replaced(old: Item | undefined, item: Item): void {
    const bytes = item['bytes'] as number;
    const oldBytes = old && expiryOf(old) > this.#countedAtMs ? (old['bytes'] as number) : 0;
    this.messages += (bytes > 0 ? 1 : 0) - (oldBytes > 0 ? 1 : 0);
    this.bytes += bytes - oldBytes;
    if (bytes > 0) this.#firstExpiryMs = Math.min(this.#firstExpiryMs, expiryOf(item));
  }

  /** Nothing is being written, and nothing will be for a while: the next one can believe the item. */
  rest(): Promise<void> {
    return this.#alone(() => this.#rest());
  }

  /** The tenant has been deleted: nothing more is written. */
  close(): void {
    this.#isClosed = true;
  }

  async #rest(): Promise<void> {
    if (!this.#isEntered || !this.#isCounted || this.#isClosed) return;
    const hasExpiry = this.#firstExpiryMs < Infinity;
    await this.#dynamo
      .update('retained', this.#key, {
        update:
          `SET countedAtMs = :at, #ttl = :ttl${hasExpiry ? ', firstExpiryMs = :first' : ''} ` +
          'ADD messages :messages, #bytes :bytes DELETE writers :us',
        condition: 'contains(writers, :writer)',
        names: { '#bytes': 'bytes', '#ttl': 'ttl' },
        values: {
          ':at': this.#countedAtMs,
          ':ttl': this.#ttl(),
          ...(hasExpiry && { ':first': this.#firstExpiryMs }),
          ':messages': this.messages - this.#stored.messages,
          ':bytes': this.bytes - this.#stored.bytes,
          ':us': this.#us,
          ':writer': this.#writer,
        },
      })
      .catch((error: unknown) => {
        if (!(error instanceof ConditionFailed)) throw error; // Done by an attempt whose answer was lost.
      });
    this.#isEntered = false;
    this.#isCounted = false;
  }

  /** One step at a time, in the order of the calls. */
  #alone<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#steps.then(step);
    this.#steps = done.catch(() => undefined);
    return done;
  }

  /** `isCounted`: the totals must be known, too. */
  async #enter(isCounted: boolean): Promise<void> {
    if (isCounted) await this.#know();
    if (this.#isEntered || this.#isClosed) return;
    await this.#dynamo.update('retained', this.#key, {
      update: 'SET v = :v, #ttl = :ttl ADD writers :us',
      names: { '#ttl': 'ttl' },
      values: { ':v': version, ':ttl': this.#ttl(), ':us': this.#us },
    });
    this.#isEntered = true;
  }

  async #know(): Promise<void> {
    if (this.#isCounted) return;
    const item = this.#isEntered ? undefined : await this.#dynamo.get('retained', this.#key, { consistent: true });
    const totals = item && totalsOf(item, this.#clock.nowMs());
    if (!totals) return await this.#count();
    ({ messages: this.messages, bytes: this.bytes } = totals);
    this.#stored = { messages: this.messages, bytes: this.bytes };
    this.#countedAtMs = totals.countedAtMs;
    this.#knownAtMs = this.#clock.monotonicMs();
    this.#firstExpiryMs = totals.firstExpiryMs ?? Infinity;
    this.#isCounted = true;
  }

  async #count(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    let [messages, bytes, firstExpiryMs] = [0, 0, Infinity];
    for await (const items of this.#dynamo.queryAll('retained', {
      pk: this.#scope,
      attributes: ['bytes', 'expiresAtMs'],
      consistent: true,
    }))
      for (const item of items) {
        if (expiryOf(item) <= nowMs) continue;
        messages++;
        bytes += item['bytes'] as number;
        firstExpiryMs = Math.min(firstExpiryMs, expiryOf(item));
      }
    if (this.#isClosed) return;
    await this.#dynamo.put('retained', {
      ...this.#key,
      v: version,
      messages,
      bytes,
      countedAtMs: nowMs,
      ...(firstExpiryMs < Infinity && { firstExpiryMs }),
      writers: this.#us,
      ttl: this.#ttl(),
    });
    this.#stored = { messages, bytes };
    ({ messages: this.messages, bytes: this.bytes } = this.#stored);
    this.#firstExpiryMs = firstExpiryMs;
    this.#countedAtMs = nowMs;
    this.#lastCountMs = this.#knownAtMs = this.#clock.monotonicMs();
    this.#isCounted = true;
    this.#isEntered = true;
  }

  #ttl(): number {
    return Math.ceil((this.#clock.nowMs() + ttlMs) / 1000);
  }
}

interface StoredTotals extends RetainedCount {
  readonly countedAtMs: number;
  readonly firstExpiryMs?: number;
}

/** Undefined when they cannot be believed. */
function totalsOf(item: Item, nowMs: number): StoredTotals | undefined {
  const { v, messages, bytes, countedAtMs, firstExpiryMs, writers } = item;
  if (v !== version || writers !== undefined) return undefined;
  if (typeof messages !== 'number' || typeof bytes !== 'number' || typeof countedAtMs !== 'number') return undefined;
  if (countedAtMs < nowMs - believedMs) return undefined;
  return { messages, bytes, countedAtMs, ...(typeof firstExpiryMs === 'number' && { firstExpiryMs }) };
}

const expiryOf = (item: Item): number => (item['expiresAtMs'] as number | undefined) ?? Infinity;
