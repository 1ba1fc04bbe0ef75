/**
 * Those of a tenant that wait for one of its rates: in one queue, with one timer, one after the other. A thousand that wait
 * cost what one does. Who goes on gets its part of what the rate allows by then, and comes behind the others for more.
 */
import type { Cancel, Clock } from '../../kernel/kernel.js';
import type { Job, TimeAccount } from './thread.js';

/** Less is not worth a timer; what the rate allows meanwhile is not lost. */
const waitMsMin = 4;
/** Whatever the rate says, it is looked at again: it may have been changed. */
const waitMsMax = 1000;

export interface RateQueueOptions<T> {
  readonly clock: Clock;
  readonly time: TimeAccount;
  /** For how long nobody can go on. */
  readonly waitMs: (nowMs: number) => number;
  /** How much the rate allows now, in what each takes one of. */
  readonly available: (nowMs: number) => number;
  /** May take up to `grant`, and join again. Must not throw. */
  readonly goOn: (waiter: T, nowMs: number) => void;
}

export class RateQueue<T> implements Job {
  readonly #options: RateQueueOptions<T>;
  #waiters: Set<T> | undefined;
  #cancel: Cancel | undefined;
  /** It has a turn, or waits for one. */
  #isAwake = false;
  #isServing = false;
  #grant = 0;

  constructor(options: RateQueueOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiters?.size ?? 0;
  }

  join(waiter: T): void {
    (this.#waiters ??= new Set()).add(waiter);
    if (!this.#isAwake && !this.#cancel) this.#arm();
  }

  leave(waiter: T): void {
    this.#waiters?.delete(waiter);
  }

  /** Takes one of what the rate allows; whether there is to be another, before others have had their turn. */
  takeOne(): boolean {
    if (this.#isServing) this.#grant--;
    return this.size === 0 || (this.#isServing && this.#grant > 0);
  }

  /** Whoever is served now has had its part. */
  get isSpent(): boolean {
    return this.#isServing && this.#grant <= 0;
  }

  /** More may be allowed than was to be expected: looks at it, never before this call returns. */
  wake(): void {
    if (this.size === 0 || this.#isAwake) return;
    this.#awake();
    this.#options.time.add(this);
  }

  step(): boolean {
    const [first] = this.#waiters ?? [];
    const { clock, waitMs, available, goOn } = this.#options;
    const nowMs = clock.nowMs();
    if (first === undefined || waitMs(nowMs) > 0) return this.#sleep();
    const granted = Math.max(1, Math.floor(available(nowMs) / this.size));
    this.#grant = granted;
    this.#waiters!.delete(first);
    this.#isServing = true;
    goOn(first, nowMs);
    this.#isServing = false;
    // One that could take nothing, and waits again, would be served for ever.
    return this.#grant === granted && this.#waiters!.has(first) ? this.#sleep() : true;
  }

  #sleep(): false {
    this.#isAwake = false;
    if (this.size > 0) this.#arm();
    return false;
  }

  #awake(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#isAwake = true;
  }

  #arm(): void {
    const { clock, time, waitMs } = this.#options;
    const ms = Math.min(Math.max(waitMs(clock.nowMs()), waitMsMin), waitMsMax);
    this.#cancel = clock.after(ms, () => {
      this.#awake();
      time.start(this);
    });
  }
}
