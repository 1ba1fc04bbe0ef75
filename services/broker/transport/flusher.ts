/**
 * Enqueue now, flush once: outboxes that got something in this tick are written together at its end, so that a
 * message to a thousand subscribers, or a thousand messages to one, cost one write a socket. The gate is asked once for all.
 */
import { caught } from '../../kernel/kernel.js';
import type { AcknowledgementGate } from './ports.js';
import type { SendQueue } from './send-queue.js';

export class Flusher {
  #dirty: SendQueue[] = [];
  readonly #gate: AcknowledgementGate;
  #isArmed = false;
  readonly #atEnd = (): void => {
    this.#isArmed = false;
    this.flush();
  };

  constructor(gate: AcknowledgementGate) {
    this.#gate = gate;
    gate.onLapsed(() => {
      for (const queue of this.#dirty) queue.outdate();
    });
  }

  /** At the end of the tick, or before: what has been handed to it so far. */
  flush(): void {
    if (this.#dirty.length === 0) return;
    const leave = this.#gate.leave(); // First: it may find out just now that a time has ended.
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const queue of dirty)
      try {
        queue.flush(leave);
      } catch (error) {
        caught('flush', error);
        queue.abandon();
      }
  }

  leave(): 'all' | 'new' | 'none' {
    return this.#gate.leave();
  }

  add(queue: SendQueue): void {
    // After the poll phase: everything that all sockets brought in this turn of the event loop has been handled by then.
    this.#dirty.push(queue);
    if (this.#isArmed) return;
    this.#isArmed = true;
    setImmediate(this.#atEnd);
  }
}
