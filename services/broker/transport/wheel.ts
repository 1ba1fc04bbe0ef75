/**
 * Deadlines of many connections on one timer. A connection is looked at when its slot comes up and put into a later
 * slot if it has been heard of meanwhile, so that traffic costs the wheel nothing.
 */
import { caught, guarded as guard } from '../../kernel/kernel.js';

/** How late a deadline may be noticed, in milliseconds. */
export const wheelTickMs = 250;

export interface Guarded {
  /** Where it sits; kept by the wheel. */
  slot: Set<Guarded> | undefined;
  /** Milliseconds until it wants to be looked at again; 0 or less when its deadline has passed and it has been dealt with. */
  checkDeadline(nowMs: number): number;
  /** It cannot be watched any more: ends it, without a word and at once. */
  destroy(): void;
}

export class DeadlineWheel {
  readonly #slots = new Map<number, Set<Guarded>>();
  #tick = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(nowMs: () => number) {
    this.#tick = Math.floor(nowMs() / wheelTickMs);
    this.#timer = setInterval(() => this.#turn(nowMs()), wheelTickMs);
    this.#timer.unref();
  }

  /** Looks at `guarded` in `delayMs`, and not at the time that was chosen before. */
  watch(guarded: Guarded, nowMs: number, delayMs: number): void {
    guarded.slot?.delete(guarded);
    const slot = Math.max(this.#tick + 1, Math.ceil((nowMs + delayMs) / wheelTickMs));
    let members = this.#slots.get(slot);
    if (!members) this.#slots.set(slot, (members = new Set()));
    members.add(guarded);
    guarded.slot = members;
  }

  forget(guarded: Guarded): void {
    guarded.slot?.delete(guarded);
    guarded.slot = undefined;
  }

  #turn(nowMs: number): void {
    const now = Math.floor(nowMs / wheelTickMs);
    while (this.#tick < now) {
      this.#tick++;
      const due = this.#slots.get(this.#tick);
      if (!due) continue;
      this.#slots.delete(this.#tick);
      for (const guarded of due) {
        guarded.slot = undefined;
        try {
          const againMs = guarded.checkDeadline(nowMs);
          if (againMs > 0) this.watch(guarded, nowMs, againMs);
        } catch (error) {
          caught('deadlines', error);
          guard('deadlines', () => guarded.destroy());
        }
      }
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#slots.clear();
  }
}
