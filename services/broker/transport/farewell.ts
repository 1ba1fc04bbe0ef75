/**
 * The end of a connection from which nothing more will come: its peer has closed its side or reset it, has said
 * DISCONNECT, or is being sent away. What has come before is handled first, in order and at the tenant's rates, and what
 * is owed for it is answered; then `last` is called, once. Both for a bounded time. Made by `connection.ts` when it begins.
 */
import type { Cancel, Clock } from '../../kernel/kernel.js';

export interface Departing {
  /** Packets that have come wait to be handled: for CONNACK, or for the tenant's rates. */
  readonly isHolding: boolean;
  /** Answers that the peer can still hear are not given yet. */
  readonly owesAnswers: boolean;
  /** The time for what waits is over. */
  handlesNoMore(): void;
}

/** What waits is handled for at most so long, and then answered for at most so long; both together take the longer of the two. */
export interface FarewellTimes {
  readonly handlingMs: number;
  readonly answeringMs: number;
}

const lookMs = 10;

export class Farewell {
  readonly #departing: Departing;
  readonly #clock: Clock;
  readonly #guarded: (step: () => void) => void;
  #last: (() => void) | undefined;
  #handleByMs = Infinity;
  #answerByMs = Infinity;
  #answeringMs = Infinity;
  #cancel: Cancel | undefined;

  /** `guarded`: runs what a timer begins, and keeps what it throws from the timer. */
  constructor(departing: Departing, clock: Clock, guarded: (step: () => void) => void) {
    this.#departing = departing;
    this.#clock = clock;
    this.#guarded = guarded;
  }

  /** Again with another end: the last one counts, and the shorter times. */
  begin(times: FarewellTimes, last: () => void): void {
    this.#last = last;
    this.hurry(times);
  }

  hurry({ handlingMs, answeringMs }: FarewellTimes): void {
    const nowMs = this.#clock.monotonicMs();
    this.#handleByMs = Math.min(this.#handleByMs, nowMs + handlingMs);
    this.#answerByMs = Math.min(this.#answerByMs, nowMs + Math.max(handlingMs, answeringMs));
    this.#answeringMs = Math.min(this.#answeringMs, answeringMs);
    this.look();
  }

  /** Something has been handled, or the peer has gone altogether. */
  look(): void {
    this.#stopWaiting();
    if (!this.#last) return;
    const nowMs = this.#clock.monotonicMs();
    if (this.#departing.isHolding) {
      if (nowMs < this.#handleByMs) return this.#lookIn(this.#handleByMs - nowMs);
      this.#departing.handlesNoMore();
    }
    if (this.#departing.owesAnswers) {
      this.#answerByMs = Math.min(this.#answerByMs, nowMs + this.#answeringMs);
      if (nowMs < this.#answerByMs) return this.#lookIn(lookMs);
    }
    this.finish();
  }

  #lookIn(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => this.#guarded(() => this.look()));
  }

  #stopWaiting(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** At once, whatever is left. */
  finish(): void {
    const last = this.#last;
    this.stop();
    last?.();
  }

  /** The connection has ended otherwise. */
  stop(): void {
    this.#stopWaiting();
    this.#last = undefined;
  }
}
