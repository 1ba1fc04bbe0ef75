/**
 * Rates of many, each by its key: `burst` at once, and then one every `everyMs`. A key costs one number, the time at which
 * its burst is whole again; who has been quiet until then is forgotten. At most `keysMax` are remembered: the one that was
 * not heard of for longest is forgotten first, and begins anew.
 */
import { SparseMap } from './sparse.js';

export interface PacesOptions {
  readonly everyMs: number;
  readonly burst: number;
  readonly keysMax: number;
}

export class Paces {
  readonly #options: PacesOptions;
  /** In the order in which they were spent last. */
  readonly #wholeAtMs = new SparseMap<string, number>();

  constructor(options: PacesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#wholeAtMs.size;
  }

  /** Milliseconds until one more may be spent; 0 when it may be at once. */
  waitMs(key: string, nowMs: number): number {
    const { everyMs, burst } = this.#options;
    return Math.max(0, (this.#wholeAtMs.get(key) ?? 0) - (burst - 1) * everyMs - nowMs);
  }

  spend(key: string, nowMs: number): void {
    const wholeAtMs = Math.max(this.#wholeAtMs.get(key) ?? 0, nowMs) + this.#options.everyMs;
    this.#wholeAtMs.delete(key);
    this.#forget(nowMs);
    this.#wholeAtMs.set(key, wholeAtMs);
  }

  /** What was spent turned out to be due to nobody. */
  giveBack(key: string): void {
    const wholeAtMs = this.#wholeAtMs.get(key);
    if (wholeAtMs !== undefined) this.#wholeAtMs.set(key, wholeAtMs - this.#options.everyMs);
  }

  /** Those that are whole again, as far as they stand first, and the first when there are too many. */
  #forget(nowMs: number): void {
    for (const [key, wholeAtMs] of this.#wholeAtMs) {
      if (wholeAtMs > nowMs && this.#wholeAtMs.size < this.#options.keysMax) return;
      this.#wholeAtMs.delete(key);
    }
  }
}
