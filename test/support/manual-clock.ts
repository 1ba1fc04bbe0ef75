/** A clock that stands until a test moves it. Timers run in the order of their time, each at the time it asked for. */
import type { Cancel, Clock } from '../../services/kernel/kernel.js';

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #monotonicMs = 0;
  readonly #epochMs: number;
  #timers: Timer[] = [];

  constructor(epochMs = Date.UTC(2026, 0, 1)) {
    this.#epochMs = epochMs;
  }

  nowMs(): number {
    return this.#epochMs + this.#monotonicMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  after(delayMs: number, run: () => void): Cancel {
    const timer = { atMs: this.#monotonicMs + delayMs, run };
    this.#timers.push(timer);
    return () => (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  get timers(): number {
    return this.#timers.length;
  }

  advance(byMs: number): void {
    const untilMs = this.#monotonicMs + byMs;
    for (;;) {
      // The earliest; among equals the one that was set first.
      const due = this.#timers.reduce<Timer | undefined>(
        (first, timer) => (timer.atMs <= untilMs && (!first || timer.atMs < first.atMs) ? timer : first),
        undefined,
      );
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#monotonicMs = due.atMs;
      due.run();
    }
    this.#monotonicMs = untilMs;
  }
}
