/**
 * Until when the last renewal counts, by both clocks. The monotonic one cannot be set back by anybody, but stands while
 * a machine is suspended; the wall clock goes on. Whichever ends first decides.
 */
import type { Clock } from '../../kernel/kernel.js';

export class Term {
  #untilMonotonicMs = -Infinity;
  #untilWallMs = -Infinity;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Asked for every message: two clocks, two comparisons. */
  get lasts(): boolean {
    return this.#clock.monotonicMs() < this.#untilMonotonicMs && this.#clock.nowMs() < this.#untilWallMs;
  }

  begin(since: Moment, lastsMs: number): void {
    this.#untilMonotonicMs = since.monotonicMs + lastsMs;
    this.#untilWallMs = since.wallMs + lastsMs;
  }

  end(): void {
    this.#untilMonotonicMs = -Infinity;
    this.#untilWallMs = -Infinity;
  }
}

export interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export const momentOf = (clock: Clock): Moment => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() });
