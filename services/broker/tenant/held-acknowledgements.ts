/** Sessions of a tenant that hold back acknowledgements (`session/held-back.ts`), looked at by one timer while there are any. */
import { type Clock, SparseSet } from '../../kernel/kernel.js';
import type { Session } from '../session/session.js';

const lookEveryMs = 50;

export class HeldAcknowledgements {
  readonly #clock: Clock;
  readonly #sessions = new SparseSet<Session>();
  #isArmed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(session: Session): void {
    this.#sessions.add(session);
    this.#lookLater();
  }

  #lookLater(): void {
    if (this.#isArmed || this.#sessions.size === 0) return;
    this.#isArmed = true;
    this.#clock.after(lookEveryMs, () => {
      this.#isArmed = false;
      for (const session of this.#sessions)
        try {
          if (!session.lookAtHeld(this.#clock.nowMs())) this.#sessions.delete(session);
        } catch (error) {
          session.failed(error);
        }
      this.#lookLater();
    });
  }
}
