/**
 * How long leases last, and until when the last renewal counts for the broker itself: by both of its clocks. The monotonic
 * one cannot be set back by anybody, but stands while a machine is suspended; the wall clock goes on. Whichever ends
 * first decides.
 */
import type { Clock } from '../../kernel/kernel.js';

/** Decision 34 says what a shorter one would cost. */
export const renewMs = 1000;
/** For others. Two renewals may fail before a third would be late. */
export const validMs = 4000;
/** The clocks of two brokers may differ by one second. */
const clockMarginMs = 1000;
/** For this broker's acknowledgements to be gone. */
export const ownMs = validMs - clockMarginMs;
/** What was acknowledged while the lease was held gets this long to the socket: many times a turn of the event loop. */
export const leavingMs = 250;
/** A renewal that hangs leaves time for another one. */
export const requestMs = 700;
/** Between a renewal that failed and the next. */
export const retryMsMin = 100;
export const retryMsMax = 400;
/** A failed renewal tells that this process is awake, for as long as the next one takes at most, and half a second. */
export const awakeMs = requestMs + retryMsMax + requestMs + 500;
/** When DynamoDB is back after an outage, every broker that lives has renewed its lease within this time. */
export const recoveryMs = retryMsMax + requestMs + 500;

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
