/**
 * When the lease of a broker ended, for records that name it still: their clients, if they were connected, have been away since.
 * A record that nobody had to write may name a broker that died many brokers ago, so the end outlives the lease: `Membership`
 * writes it before it removes the lease. Whoever asks reads the lease first, and finds one of the two.
 */
import type { BrokerId } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { RecordUnreadable } from '../../tenancy/tenancy.js';
import { LeaseRecords } from './lease-records.js';

/** 100 KB. A tenant's records name a few brokers. */
const knownMax = 1000;

export class LeaseEnds {
  readonly #records: LeaseRecords;
  readonly #known = new Map<BrokerId, Promise<number | undefined>>();

  constructor(dynamo: Dynamo) {
    this.#records = new LeaseRecords(dynamo);
  }

  /** In milliseconds since the epoch; for a broker that is dead, by what its lease said last. Undefined when nobody knows. */
  of(owner: BrokerId): Promise<number | undefined> {
    let end = this.#known.get(owner);
    if (end) return end;
    if (this.#known.size >= knownMax) this.#known.clear();
    end = this.#read(owner);
    this.#known.set(owner, end);
    end.catch(() => this.#known.delete(owner));
    return end;
  }

  async #read(owner: BrokerId): Promise<number | undefined> {
    try {
      const lease = await this.#records.find(owner);
      if (!lease) return (await this.#records.endOf(owner))?.endedAtMs;
      if (!lease.takenBy && !lease.givenUp) this.#known.delete(owner); // It may be renewed: this broker's own, above all.
      return lease.leaseUntilMs;
    } catch (error) {
      if (error instanceof RecordUnreadable) return undefined; // It costs no session.
      throw error;
    }
  }
}
