/**
 * How fast the group commit goes, by what has become of its calls: how many are under way, how much is in one, and
 * whether it waits before the next. It also says so in the log, once a cause.
 *
 *      answered                all as it should be: calls get larger again
 *      out of reach, once      may be one connection that was lost: the next calls are half as large, nothing waits
 *      out of reach, again     with nothing that succeeded in between: all wait, up to a second, then one call tells
 *                              whether it is over
 *      lease not held          as an outage
 */
import type { Clock, Log } from '../../kernel/kernel.js';
import { DynamoUnavailable } from '../../dynamo/dynamo.js';

const writesMax = 25;
/** A tenant gets half of them at most, which hides the way to DynamoDB and back at about 1000 calls a second. */
export const commitCallsMax = 16;
const retryMsMax = 1000;
/** Throttling comes and goes with every call. */
const tellThrottledEveryMs = 60_000;

/** By chance, so that what failed together does not come back together. */
export const pauseMs = (tries: number): number => Math.random() * Math.min(retryMsMax, 25 * 2 ** Math.min(tries, 10));

export class CommitPace {
  /** Nothing is sent. */
  isPaused = false;
  /** Writes of a call: fewer after failures, for what is too much to arrive in time would be too much for ever. */
  callSize = writesMax;
  /** Calls that were sent before the last failure tell nothing new by failing, too. */
  round = 0;
  /** Rounds of calls that failed, one after the other. */
  #failed = 0;
  #failing: string | undefined;
  #toldThrottledAtMs = -Infinity;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #goOn: () => void;

  /** `goOn`: a pause is over. */
  constructor(clock: Clock, log: Log, goOn: () => void) {
    this.#clock = clock;
    this.#log = log;
    this.#goOn = goOn;
  }

  /** One tells whether an outage is over. */
  get callsMax(): number {
    return this.#failed > 1 ? 1 : commitCallsMax;
  }

  succeeded(): void {
    this.#failing = undefined;
    this.#failed = 0;
    this.callSize = Math.min(writesMax, this.callSize * 2);
  }

  /** DynamoDB is there, though it did not do it. */
  wasAnswered(): void {
    this.#failed = 0;
  }

  notHeld(): void {
    this.#pause(++this.#failed);
  }

  /** `round`: when the call was made. */
  outOfReach(round: number): void {
    if (round !== this.round) return;
    this.round++;
    this.#failed++;
    this.callSize = Math.max(1, this.callSize >> 1);
    if (this.#failed > 1) this.#pause(this.#failed);
  }

  #pause(tries: number): void {
    if (this.isPaused) return;
    this.isPaused = true;
    this.#clock.after(pauseMs(tries), () => {
      this.isPaused = false;
      this.#goOn();
    });
  }

  /**
   * Once per cause, however often it is tried again. The first failure of a batch (`isFirst`) is no trouble yet: it is what a
   * connection that was lost while nothing was sent looks like, and the next attempt has another.
   */
  tell(error: unknown, isFirst: boolean): void {
    const cause = error instanceof Error ? error.message : String(error);
    if (error instanceof DynamoUnavailable && error.isUnreachable && this.#failed === 0 && isFirst) {
      this.#log.info({ reason: cause }, 'messages were not stored at once, trying again');
      return;
    }
    if (this.#failing === cause) return;
    if (error instanceof DynamoUnavailable && error.throttled) {
      if (this.#clock.monotonicMs() - this.#toldThrottledAtMs < tellThrottledEveryMs) return;
      this.#toldThrottledAtMs = this.#clock.monotonicMs();
    }
    this.#failing = cause;
    this.#log.error({ error }, 'messages cannot be stored, trying again; publishers wait');
  }
}
