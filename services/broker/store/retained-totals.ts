/**
 * How much a tenant retains, for its quotas: counted once from the table, then kept up to date with what each write
 * says it has replaced. Expired messages and removals do not count. Other brokers and expiry change it, too, so a total
 * that says "full" is counted again before it refuses anything, at most once a minute. Writes of one moment do not
 * see each other: a quota may be exceeded by as many messages as are written at once.
 */
import type { Clock, TenantScope } from '../../kernel/kernel.js';
import type { Dynamo, Item } from '../../dynamo/dynamo.js';
import type { RetainedCount } from '../fanout/fanout.js';
import type { RetainedLimits } from './retained.js';

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
  messages = 0;
  bytes = 0;
  #countedAtMs = -Infinity;
  /** By the wall clock: what had expired then is not in the totals. */
  #countedNowMs = 0;
  #counting: Promise<void> | undefined;

  constructor(dynamo: Dynamo, scope: TenantScope, clock: Clock) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#clock = clock;
  }

  /** Counts unless that was done not long ago. */
  async counted(): Promise<RetainedCount> {
    if (this.#clock.monotonicMs() - this.#countedAtMs > toldAfterMs) await (this.#counting ??= this.#count());
    return this;
  }

  /** Undefined when a new message of `bytes` fits, otherwise what it may replace. */
  async replaceable(bytes: number, limits: RetainedLimits): Promise<Replaceable | undefined> {
    if (limits.retainedMessages === Infinity && limits.retainedBytes === Infinity) return undefined;
    const exceeds = (): boolean =>
      this.messages >= limits.retainedMessages || this.bytes + bytes > limits.retainedBytes;
    if (
      this.#countedAtMs === -Infinity ||
      (exceeds() && this.#clock.monotonicMs() - this.#countedAtMs > recountAfterMs)
    )
      await (this.#counting ??= this.#count());
    if (!exceeds()) return undefined;
    return { bytes: Math.max(1, this.bytes + bytes - limits.retainedBytes), expiringAfterMs: this.#countedNowMs };
  }

  /** A write has put `bytes` (0: nothing) in the place of `old`. */
  replaced(old: Item | undefined, bytes: number): void {
    const oldBytes = old && expiryOf(old) > this.#countedNowMs ? (old['bytes'] as number) : 0;
    this.messages += (bytes > 0 ? 1 : 0) - (oldBytes > 0 ? 1 : 0);
    this.bytes += bytes - oldBytes;
  }

  async #count(): Promise<void> {
    try {
      const nowMs = this.#clock.nowMs();
      let messages = 0;
      let bytes = 0;
      for await (const items of this.#dynamo.queryAll('retained', {
        pk: this.#scope,
        attributes: ['bytes', 'expiresAtMs'],
        consistent: true,
      }))
        for (const item of items) {
          if (expiryOf(item) <= nowMs) continue;
          messages++;
          bytes += item['bytes'] as number;
        }
      this.messages = messages;
      this.bytes = bytes;
      this.#countedAtMs = this.#clock.monotonicMs();
      this.#countedNowMs = nowMs;
    } finally {
      this.#counting = undefined;
    }
  }
}

const expiryOf = (item: Item): number => (item['expiresAtMs'] as number | undefined) ?? Infinity;
