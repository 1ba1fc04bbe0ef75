/**
 * Removed messages leave an item behind (`removalToItem`), which outlives every write that may still be on its way and
 * is deleted then. The time to live of the table would do it, too, but takes days, and until then every
 * subscriber's read would pass over it: this is the fast way, of which nothing depends.
 */
import { type Clock, type TenantScope, unattended } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';

/** No request of ours is under way for longer: attempts end after seconds, and so do connections. */
const keptMs = 60_000;
/** Of one tenant, a few MB; of more the oldest are left to the time to live. */
const removalsMax = 10_000;

interface Removal {
  readonly publishedAtMs: number;
  readonly dueAtMs: number;
}

export class RetainedRemovals {
  readonly #dynamo: Dynamo;
  readonly #scope: TenantScope;
  readonly #clock: Clock;
  /** By topic, the oldest first. */
  readonly #removals = new Map<string, Removal>();
  #isArmed = false;

  constructor(dynamo: Dynamo, scope: TenantScope, clock: Clock) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#clock = clock;
  }

  add(topic: string, publishedAtMs: number): void {
    this.#removals.delete(topic);
    this.#removals.set(topic, { publishedAtMs, dueAtMs: this.#clock.monotonicMs() + keptMs });
    if (this.#removals.size > removalsMax) this.#removals.delete(this.#removals.keys().next().value!);
    this.#arm();
  }

  close(): void {
    this.#removals.clear();
  }

  #arm(): void {
    const next = this.#removals.values().next().value;
    if (this.#isArmed || !next) return;
    this.#isArmed = true;
    this.#clock.after(Math.max(0, next.dueAtMs - this.#clock.monotonicMs()), () =>
      unattended('retained', this.#deleteDue()),
    );
  }

  async #deleteDue(): Promise<void> {
    for (const [topic, { publishedAtMs, dueAtMs }] of this.#removals) {
      if (dueAtMs > this.#clock.monotonicMs()) break;
      this.#removals.delete(topic);
      // A newer message may have taken its place; and if DynamoDB is away, there is the time to live.
      await this.#dynamo
        .delete(
          'retained',
          { pk: this.#scope, sk: topic },
          {
            condition: 'publishedAtMs = :at AND expiresAtMs = :removed',
            values: { ':at': publishedAtMs, ':removed': 0 },
          },
        )
        .catch(() => undefined);
    }
    this.#isArmed = false;
    this.#arm();
  }
}
