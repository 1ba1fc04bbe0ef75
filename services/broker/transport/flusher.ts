/**
 * Enqueue now, flush once: outboxes that got something in this tick are written together at its end, so that a
 * message to a thousand subscribers, or a thousand messages to one, cost one write a socket.
 */
import type { SendQueue } from './send-queue.js';

export class Flusher {
  #dirty: SendQueue[] = [];
  readonly #flush = (): void => {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const queue of dirty) queue.flush();
  };

  add(queue: SendQueue): void {
    // After the poll phase: everything that all sockets brought in this turn of the event loop has been handled by then.
    if (this.#dirty.push(queue) === 1) setImmediate(this.#flush);
  }
}
