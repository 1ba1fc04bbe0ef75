/**
 * Enqueue now, flush once: outboxes that got something in this tick are written together at its end, so that a
 * message to a thousand subscribers, or a thousand messages to one, cost one write a socket. The gate is asked once for all.
 *
 * Tenants take turns, some outboxes each: a thousand writes take longer than anybody is to wait for them. What is left when
 * the time is over is written at the end of the next tick. Writes are paid for by the tenant whose clients they go to.
 */
import { caught, type Clock } from '../../kernel/kernel.js';
import type { AcknowledgementGate, Payer } from './ports.js';
import type { SendQueue } from './send-queue.js';

/** Of one tenant before it is another one's turn, and between two looks at the clock: half a millisecond. */
const turnQueues = 32;
/** Of writes before the sockets are looked at again. */
const flushMs = 2;
/** A write to a socket, which is a system call; with TLS twice as much. */
const writeMs = 0.01;

export class Flusher {
  /** By who pays for it; undefined for those who are not in yet. */
  readonly #dirty = new Map<Payer | undefined, SendQueue[]>();
  readonly #gate: AcknowledgementGate;
  readonly #clock: Clock;
  #isArmed = false;
  readonly #atEnd = (): void => {
    this.#isArmed = false;
    this.flush();
  };

  constructor(gate: AcknowledgementGate, clock: Clock) {
    this.#gate = gate;
    this.#clock = clock;
    gate.onLapsed(() => {
      for (const queues of this.#dirty.values()) for (const queue of queues) queue.outdate();
    });
  }

  /** At the end of the tick, or before: what has been handed to it so far, as far as the time allows. */
  flush(): void {
    if (this.#dirty.size === 0) return;
    const leave = this.#gate.leave(); // First: it may find out just now that a time has ended.
    let untilMs: number | undefined;
    // Who has more than its turn comes behind the others, and up again.
    for (const [payer, queues] of this.#dirty) {
      this.#dirty.delete(payer);
      const some = queues.length > turnQueues ? queues.splice(0, turnQueues) : queues;
      if (some !== queues) this.#dirty.set(payer, queues);
      payer?.spend(some.length * writeMs);
      for (const queue of some) flushOne(queue, leave);
      if (this.#dirty.size === 0) return;
      const nowMs = this.#clock.monotonicMs();
      untilMs ??= nowMs + flushMs;
      if (nowMs >= untilMs) break;
    }
    this.#arm();
  }

  leave(): 'all' | 'new' | 'none' {
    return this.#gate.leave();
  }

  add(queue: SendQueue): void {
    const queues = this.#dirty.get(queue.payer);
    if (queues) queues.push(queue);
    else this.#dirty.set(queue.payer, [queue]);
    this.#arm();
  }

  /** After the poll phase: everything that all sockets brought in this turn of the event loop has been handled by then. */
  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    setImmediate(this.#atEnd);
  }
}

function flushOne(queue: SendQueue, leave: 'all' | 'new' | 'none'): void {
  try {
    queue.flush(leave);
  } catch (error) {
    caught('flush', error);
    queue.abandon();
  }
}
