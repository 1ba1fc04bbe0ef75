/**
 * How long the process has listened: time in which its event loop stood still, or was busy with others, is not counted.
 * Peers are held to this clock before they are known. In a storm of reconnections bytes wait in the kernel while the
 * handshakes of others are reckoned; nobody would get in if all were late for that. Called by `doorstep.ts`.
 */
import type { Cancel, Clock } from '../../kernel/kernel.js';

const stepMs = 250;
/** What one turn of the event loop may take and still count in full. */
const turnMsMax = 2 * stepMs;

export class Attention {
  readonly #clock: Clock;
  #listenedMs = 0;
  #steppedAtMs: number;
  #cancel: Cancel = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#steppedAtMs = clock.monotonicMs();
    this.#arm();
  }

  /** Milliseconds from an arbitrary start. */
  listenedMs(): number {
    return this.#listenedMs + Math.min(this.#clock.monotonicMs() - this.#steppedAtMs, turnMsMax);
  }

  #arm(): void {
    this.#cancel = this.#clock.after(stepMs, () => {
      this.#arm();
      this.#listenedMs = this.listenedMs();
      this.#steppedAtMs = this.#clock.monotonicMs();
    });
  }

  stop(): void {
    this.#cancel();
  }
}
