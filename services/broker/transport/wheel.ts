/**
 * Deadlines of many connections on one timer. A connection is looked at when its slot comes up and put into a later
 * slot if it has been heard of meanwhile, so that traffic costs the wheel nothing.
 */
import { caught, guarded as guard } from '../../kernel/kernel.js';

/** How late a deadline may be noticed, in milliseconds. */
export const wheelTickMs = 250;

/** Those whose deadline comes up at one tick. */
interface Slot {
  readonly tick: number;
  readonly members: Set<Guarded>;
}

export interface Guarded {
  /** Where it sits; kept by the wheel. */
  slot: Slot | undefined;
  /** Milliseconds until it wants to be looked at again; 0 or less when its deadline has passed and it has been dealt with. */
  checkDeadline(nowMs: number): number;
  /** It cannot be watched any more: ends it, without a word and at once. */
  destroy(): void;
}

export class DeadlineWheel {
  readonly #slots = new Map<number, Slot>();
  #tick = 0;
  readonly #timer: NodeJS.Timeout;

  constructor(nowMs: () => number) {
    this.#tick = Math.floor(nowMs() / wheelTickMs);
    this.#timer = setInterval(() => this.#turn(nowMs()), wheelTickMs);
    this.#timer.unref();
  }

  /** Looks at `guarded` in `delayMs`, and not at the time that was chosen before. */
  watch(guarded: Guarded, nowMs: number, delayMs: number): void {
    this.forget(guarded);
    const tick = Math.max(this.#tick + 1, Math.ceil((nowMs + delayMs) / wheelTickMs));
    let slot = this.#slots.get(tick);
    if (!slot) this.#slots.set(tick, (slot = { tick, members: new Set() }));
    slot.members.add(guarded);
    guarded.slot = slot;
  }

  /** The last one of a slot takes it along: a deadline may be a day away, and whoever had it may have gone at once. */
  forget(guarded: Guarded): void {
    const { slot } = guarded;
    if (!slot) return;
    guarded.slot = undefined;
    slot.members.delete(guarded);
    if (slot.members.size === 0) this.#slots.delete(slot.tick);
  }

  /** How many ticks somebody waits for. */
  get slots(): number {
    return this.#slots.size;
  }

  #turn(nowMs: number): void {
    const now = Math.floor(nowMs / wheelTickMs);
    while (this.#tick < now) {
      this.#tick++;
      const due = this.#slots.get(this.#tick);
      if (!due) continue;
      this.#slots.delete(this.#tick);
      for (const guarded of due.members) {
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
