/**
 * This broker's lease: an item that says it is alive until some moment, renewed long before. Whoever reads a session
 * record counts it as connected only while the lease of its owner holds.
 */
import { type BrokerId, type Cancel, type Clock, type Log } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { brokerLeaseKey, brokerLeaseToItem } from '../../tenancy/tenancy.js';

const renewMs = 2000;
const validMs = 6000;

export class Lease {
  readonly #dynamo: Dynamo;
  readonly #brokerId: BrokerId;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #startedAtMs: number;
  #cancel: Cancel | undefined;
  #stopped = false;

  constructor(dynamo: Dynamo, brokerId: BrokerId, clock: Clock, log: Log) {
    this.#dynamo = dynamo;
    this.#brokerId = brokerId;
    this.#clock = clock;
    this.#log = log;
    this.#startedAtMs = clock.nowMs();
  }

  /** Resolves when the lease is held for the first time; then renews it until `stop`. */
  async start(): Promise<void> {
    await this.#renew();
    this.#renewLater();
  }

  #renewLater(): void {
    this.#cancel = this.#clock.after(renewMs, () => {
      this.#renew()
        .catch((error: unknown) => this.#log.warn({ error }, 'the lease could not be renewed, trying again'))
        .finally(() => {
          if (!this.#stopped) this.#renewLater();
        });
    });
  }

  async #renew(): Promise<void> {
    const leaseUntilMs = this.#clock.nowMs() + validMs;
    await this.#dynamo.put(
      'cluster',
      brokerLeaseToItem({ brokerId: this.#brokerId, leaseUntilMs, startedAtMs: this.#startedAtMs }),
    );
  }

  /** Gives the lease up at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#dynamo.delete('cluster', brokerLeaseKey(this.#brokerId));
  }
}
