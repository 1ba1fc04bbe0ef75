/**
 * Messages to a connected client that have found half of its queue taken: their publishers are faster than it is. They
 * wait here for a place in the lower half, and the publishers' acknowledgements wait with them, so that a publisher sends
 * no faster than its slowest subscriber reads. Reading its connection does not stop for that: it may be a subscriber, too,
 * and what it acknowledges makes the room that it waits for.
 *
 *      deliver -> queue below half -> queue, acknowledged
 *              -> held back ---------> queue, acknowledged         a place in the lower half has become free
 *                           ---------> queue or dropped, acknowledged     the time is up, or the client has gone
 *
 * The time is `SHOAL_HOLD_BACK_MS` for a message that one subscriber gets, and the n-th part of it for one that n get: who
 * shares a publisher with many may slow it less. When it is up the client counts as too slow, and nothing is held back for
 * it, until less than half of its queue is taken again: a client that has stalled costs its publishers that time once.
 *
 * What is held is bounded by what publishers may have unacknowledged, and by what a tenant may have that is not safe
 * (`SessionHost.owe`, G7). Nothing here has a timer: the host looks in every now and then while something is held.
 */
import { BoundedFifo } from '../../kernel/kernel.js';
import type { Message } from '../message/message.js';

interface Waiting {
  readonly message: Message;
  readonly arrivedAtMs: number;
}

/** What is waited for. */
export interface HalfQueue<T> {
  /** Nothing is in it, or less than half of what it may have. */
  readonly isBelowHalf: boolean;
  readonly queuedMessages: number;
  /** Takes one, or drops and counts it when it is full; lets the publisher have its acknowledgement as soon as that is true. */
  admit(delivery: T): void;
}

/** How many more a queue takes before one has to be held back. */
export function freeBelowHalf(
  queue: Pick<HalfQueue<never>, 'isBelowHalf' | 'queuedMessages'>,
  queueMax: number,
): number {
  return Math.max(queue.isBelowHalf ? 1 : 0, Math.ceil(queueMax / 2) - queue.queuedMessages);
}

export class HeldBack<T extends Waiting> {
  readonly #queue: HalfQueue<T>;
  readonly #holdMs: number;
  readonly #waiting = new BoundedFifo<T>({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
  /** No time is up before that. */
  #dueMs = Infinity;
  #lastMs = 0;
  /** A time was up, and the queue has not been below its half since. */
  #isTooSlow = false;

  constructor(queue: HalfQueue<T>, holdMs: number) {
    this.#queue = queue;
    this.#holdMs = holdMs;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Whether a message that cannot be sent now has to wait. */
  get isNeeded(): boolean {
    if (this.#waiting.length > 0) return true; // Behind those that wait.
    if (this.#queue.isBelowHalf) this.#isTooSlow = false;
    else if (this.#holdMs > 0) return !this.#isTooSlow;
    return false;
  }

  /** Returns how many wait now. */
  add(delivery: T): number {
    this.#waiting.push(delivery);
    this.#lastMs = delivery.arrivedAtMs;
    this.#dueMs = Math.min(this.#dueMs, this.#dueOf(delivery));
    return this.#waiting.length;
  }

  #dueOf({ message, arrivedAtMs }: T): number {
    return arrivedAtMs + this.#holdMs / message.subscribers;
  }

  /** Takes the next without asking the queue. */
  take(): T | undefined {
    return this.#waiting.shift();
  }

  /** Those for which there are places go on; whether there were any. */
  admitSome(): boolean {
    if (!this.#queue.isBelowHalf) return false;
    this.#isTooSlow = false;
    const before = this.#waiting.length;
    while (this.#waiting.length > 0 && this.#queue.isBelowHalf) this.#queue.admit(this.#waiting.shift()!);
    return this.#waiting.length < before;
  }

  /** When the time of one is up all go on, in order. */
  giveUpIfLate(nowMs: number): void {
    if (!this.#isLate(nowMs)) return;
    this.#isTooSlow = true;
    for (let next = this.take(); next; next = this.take()) this.#queue.admit(next);
  }

  #isLate(nowMs: number): boolean {
    if (this.#waiting.length === 0) return false;
    if (nowMs < this.#lastMs) return true; // The clock has been set back.
    if (nowMs < this.#dueMs) return false;
    this.#dueMs = Infinity;
    for (const delivery of this.#waiting) this.#dueMs = Math.min(this.#dueMs, this.#dueOf(delivery));
    return nowMs >= this.#dueMs;
  }
}
