/**
 * Reading the retained messages of one tenant for its subscribers: a bite at a time, and a bounded number of bites at
 * once, whatever its clients ask for (G7). Whose bite it is, and how far they have come, is known to their sessions
 * (`session/owed-retained`); nothing is held here between two bites.
 */
import type { RetainedRead, RetainedStore } from './ports.js';

/** Of one tenant: each holds a page of at most 1 MB while it is read, and one of the connections to DynamoDB. */
export const readsAtOnceMax = 8;

export class RetainedReads {
  readonly #store: RetainedStore;
  #free = readsAtOnceMax;
  /** First come, first served. A session has at most one read, so there are no more than connections. */
  readonly #waiting: (() => void)[] = [];

  readonly #turn: () => Promise<void>;

  /** `turn`: resolves when it is the tenant's turn on the broker's thread. */
  constructor(store: RetainedStore, turn: () => Promise<void>) {
    this.#store = store;
    this.#turn = turn;
  }

  /** Waits for its turn, and reads nothing when nobody wants it any more by then. */
  async read(filter: string, read: RetainedRead): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await this.#turn();
      if (read.isWanted()) await this.#store.read(filter, read);
    } finally {
      this.#over();
    }
  }

  /** Whether there may be messages that match. One short look; true when it is not this one's turn or the look fails. */
  async mayMatch(filter: string): Promise<boolean> {
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

  /** The turn goes to the next in line. */
  #over(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free++;
  }
}
