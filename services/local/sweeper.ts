/**
 * Removes what has expired from the tables of one machine, as DynamoDB does in AWS. It looks at every item once in a round
 * and rests between pages, so that a large table takes longer and not more: at most some percent of the database's time.
 */
import { type Dynamo, removeExpired } from '../dynamo/dynamo.js';
import type { Cancel, Clock, Log } from '../kernel/kernel.js';

/** From the end of one round to the beginning of the next. */
const restMs = 60_000;
/** 200 items are looked at in between: a million take four minutes. */
const pauseMs = 50;

export class Sweeper {
  readonly #dynamo: Dynamo;
  readonly #clock: Clock;
  readonly #log: Log;
  #stopping = false;
  #cancelRest: Cancel;
  #round: Promise<void> = Promise.resolve();
  #endPause: (() => void) | undefined;

  constructor(dynamo: Dynamo, clock: Clock, log: Log) {
    this.#dynamo = dynamo;
    this.#clock = clock;
    this.#log = log;
    this.#cancelRest = this.#rest();
  }

  #rest(): Cancel {
    return this.#clock.after(restMs, () => {
      this.#round = this.#sweep();
    });
  }

  async #sweep(): Promise<void> {
    try {
      const nowSeconds = Math.floor(this.#clock.nowMs() / 1000);
      const removed = await removeExpired(this.#dynamo, { nowSeconds, pause: () => this.#pause() });
      if (removed > 0) this.#log.debug({ removed }, 'expired items were removed');
    } catch (error) {
      this.#log.warn({ error }, 'expired items could not be removed, trying again in a minute');
    }
    if (!this.#stopping) this.#cancelRest = this.#rest();
  }

  #pause(): Promise<boolean> {
    if (this.#stopping) return Promise.resolve(false);
    return new Promise((resolve) => {
      const cancel = this.#clock.after(pauseMs, () => resolve(true));
      this.#endPause = () => {
        cancel();
        resolve(false);
      };
    });
  }

  /** Resolves when nothing more is asked of the database. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#cancelRest();
    this.#endPause?.();
    await this.#round;
  }
}
