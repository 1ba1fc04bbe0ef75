/**
 * How much a tenant retains, for its quotas: counted once from the table, then kept up to date with what each write
 * says it has replaced. Other brokers and the table's time to live change it, too, so a total that says "full" is
 * counted again before it refuses anything, at most once a minute.
 */
import type { Clock, TenantId } from '../../kernel/kernel.js';
import type { Dynamo, Item } from '../../dynamo/dynamo.js';
import type { RetainedLimits } from './retained.js';

const recountAfterMs = 60_000;

export class RetainedTotals {
  readonly #dynamo: Dynamo;
  readonly #tenant: TenantId;
  readonly #clock: Clock;
  #messages = 0;
  #bytes = 0;
  #countedAtMs = -Infinity;
  #counting: Promise<void> | undefined;

  constructor(dynamo: Dynamo, tenant: TenantId, clock: Clock) {
    this.#dynamo = dynamo;
    this.#tenant = tenant;
    this.#clock = clock;
  }

  /** Whether a new message of `bytes` would exceed the limits. */
  async isFull(bytes: number, limits: RetainedLimits): Promise<boolean> {
    if (limits.retainedMessages === Infinity && limits.retainedBytes === Infinity) return false;
    const exceeds = (): boolean =>
      this.#messages >= limits.retainedMessages || this.#bytes + bytes > limits.retainedBytes;
    if (
      this.#countedAtMs === -Infinity ||
      (exceeds() && this.#clock.monotonicMs() - this.#countedAtMs > recountAfterMs)
    )
      await (this.#counting ??= this.#count());
    return exceeds();
  }

  /** A write has put `bytes` (0: nothing) in the place of `old`. */
  replaced(old: Item | undefined, bytes: number): void {
    this.#messages += (bytes > 0 ? 1 : 0) - (old ? 1 : 0);
    this.#bytes += bytes - ((old?.['bytes'] as number | undefined) ?? 0);
  }

  async #count(): Promise<void> {
    try {
      let messages = 0;
      let bytes = 0;
      for await (const items of this.#dynamo.queryAll('retained', {
        pk: this.#tenant,
        attributes: ['bytes'],
        consistent: true,
      }))
        for (const item of items) {
          messages++;
          bytes += item['bytes'] as number;
        }
      this.#messages = messages;
      this.#bytes = bytes;
      this.#countedAtMs = this.#clock.monotonicMs();
    } finally {
      this.#counting = undefined;
    }
  }
}
