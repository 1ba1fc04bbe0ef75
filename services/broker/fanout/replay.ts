/**
 * Reading the retained messages of one tenant for its subscribers: a bite at a time, and a bounded number of bites at
 * once, whatever its clients ask for (G7). Whose bite it is, and how far they have come, is known to their sessions
 * (`session/owed-retained`); nothing is held here between two bites.
 *
 * Those who wait for the same bite (a fleet comes back, and each device subscribes to `+/cfg`) get it together: they begin in
 * one moment, and the store asks the table once. Each takes it in a turn of its own.
 */
import { SparseMap } from '../../kernel/kernel.js';
import type { RetainedRead, RetainedStore } from './ports.js';

/** Of one tenant: each holds a page of at most 1 MB while it is read, and one of the connections to DynamoDB. */
export const readsAtOnceMax = 8;
/** Subscribers that share one of them, and are done when all of them have taken it. */
export const sharersMax = 32;

interface Waiting {
  readonly read: RetainedRead;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

interface Bite {
  readonly filter: string;
  readonly waiting: Waiting[];
}

export class RetainedReads {
  readonly #store: RetainedStore;
  readonly #turn: () => Promise<void>;
  #free = readsAtOnceMax;
  /**
   * By filter and where they have come to; the first to wait is the first to be served. A session has at most one read, so
   * there are no more of them than connections.
   */
  readonly #bites = new SparseMap<string, Bite>();

  /** `turn`: resolves when it is the tenant's turn on the broker's thread. */
  constructor(store: RetainedStore, turn: () => Promise<void>) {
    this.#store = store;
    this.#turn = turn;
  }

  /** Waits for its turn, and reads nothing when nobody wants it any more by then. */
  read(filter: string, read: RetainedRead): Promise<void> {
    return new Promise((done, failed) => {
      const key = `${filter}\0${read.after}`;
      const bite = this.#bites.get(key);
      if (bite) bite.waiting.push({ read, done, failed });
      else this.#bites.set(key, { filter, waiting: [{ read, done, failed }] });
      this.#serve();
    });
  }

  /** Whether there may be messages that match. One short look; true when it is not this one's turn or the look fails. */
  async mayMatch(filter: string): Promise<boolean> {
    // One topic is looked for together with others: that takes nobody's place.
    if (!/[+#]/.test(filter)) return await this.#store.mayMatch(filter).catch(() => true);
    if (this.#free === 0) return true;
    this.#free--;
    try {
      return await this.#store.mayMatch(filter);
    } catch {
      return true;
    } finally {
      this.#over();
    }
  }

  #serve(): void {
    while (this.#free > 0) {
      const [first] = this.#bites;
      if (!first) return;
      const [key, { filter, waiting }] = first;
      this.#free--;
      this.#bites.delete(key);
      const sharers = waiting.splice(0, sharersMax);
      if (waiting.length > 0) this.#bites.set(key, { filter, waiting }); // Behind the others.
      void this.#share(filter, sharers);
    }
  }

  async #share(filter: string, sharers: readonly Waiting[]): Promise<void> {
    await this.#turn();
    // Whatever one of them throws is told to that one; the place is given back in any case.
    await Promise.all(sharers.map(({ read, done, failed }) => this.#read(filter, read).then(done, failed)));
    this.#over();
  }

  async #read(filter: string, read: RetainedRead): Promise<void> {
    if (read.isWanted()) await this.#store.read(filter, { ...read, turn: this.#turn });
  }

  #over(): void {
    this.#free++;
    this.#serve();
  }
}
