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

/** A rate, as all that have one share it: what it is of, mostly a tenant's, is an argument. */
export interface RateKind<T, Of> {
  /** For how long nobody can go on. */
  waitMs(of: Of, nowMs: number): number;
  /** How much the rate allows now, in what each takes one of. */
  available(of: Of, nowMs: number): number;
  /** May take up to `grant`, and join `queue` again. Must not throw. */
  goOn(waiter: T, queue: RateQueue<T>, nowMs: number): void;
}

export class RateQueue<T, Of = unknown> implements Job {
  readonly #kind: RateKind<T, Of>;
  readonly #of: Of;
  readonly #time: TimeAccount;
  readonly #clock: Clock;
  #waiters: Set<T> | undefined;
  #cancel: Cancel | undefined;
  /** It has a turn, or waits for one. */
  #isAwake = false;
  /** Somebody has been told to go on, and may take what it has been granted. */
  isServing = false;
  #grant = 0;

  constructor(kind: RateKind<T, Of>, of: Of, time: TimeAccount, clock: Clock) {
    this.#kind = kind;
    this.#of = of;
    this.#time = time;
    this.#clock = clock;
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

  /** Takes of what the rate allows; whether there is to be another, before others have had their turn. */
  took(count = 1): boolean {
    if (this.isServing) this.#grant -= count;
    return this.size === 0 || (this.isServing && this.#grant > 0);
  }

  /** Whoever is served now has had its part. */
  get isSpent(): boolean {
    return this.isServing && this.#grant <= 0;
  }

  /** More may be allowed than was to be expected: looks at it, never before this call returns. */
  wake(): void {
    if (this.size === 0 || this.#isAwake) return;
    this.#awake();
    this.#time.add(this);
  }

  step(): boolean {
    const [first] = this.#waiters ?? [];
    const nowMs = this.#clock.nowMs();
    if (first === undefined || this.#kind.waitMs(this.#of, nowMs) > 0) return this.#sleep();
    const granted = Math.max(1, Math.floor(this.#kind.available(this.#of, nowMs) / this.size));
    this.#grant = granted;
    this.#waiters!.delete(first);
    this.isServing = true;
    this.#kind.goOn(first, this, nowMs);
    this.isServing = false;
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
    const ms = Math.min(Math.max(this.#kind.waitMs(this.#of, this.#clock.nowMs()), waitMsMin), waitMsMax);
    this.#cancel = this.#clock.after(ms, () => {
      this.#awake();
      this.#time.start(this);
    });
  }
}
