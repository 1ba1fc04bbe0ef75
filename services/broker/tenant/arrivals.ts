/**
 * Messages of a tenant that other brokers have accepted. The thread that their delivery takes is the tenant's: while it has time left they
 * are delivered as they come, otherwise they wait for its turn, in order, like the packets of its connections.
 *
 * What waits is bounded: of QoS 1 and 2 by what the other brokers may have under way for this one (`cluster/shares.ts`), of QoS 0 here.
 */
import { BoundedFifo, caught, type Clock, guarded } from '../../kernel/kernel.js';
import { handedOn, type Message, type Meters, PendingReceipt, type Receipt } from '../message/message.js';
import type { Routing } from '../fanout/fanout.js';
import type { Job, TimeAccount } from './thread.js';

/** Of QoS 0: what a client's connection may have waiting, too. */
const volatileBytesMax = 1 << 20;

/** Between two looks at the clock: some tens of microseconds, unless they have many subscribers. */
const messagesALook = 32;

interface Waiting {
  readonly message: Message;
  readonly receipt: PendingReceipt;
}

/** The tenant, as far as it has a part in this. */
interface Receiver {
  readonly routing: Routing;
  readonly time: TimeAccount;
  readonly meters: Meters;
}

export class Arrivals implements Job {
  readonly #receiver: Receiver;
  readonly #clock: Clock;
  readonly #waiting = new BoundedFifo<Waiting>({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
  #volatileBytes = 0;
  /** A slice has begun. */
  #isServed = false;
  #nowMs = 0;
  #untilLook = 0;
  #delivered = 0;
  /** In order. */
  readonly #passing: { readonly behind: number; readonly then: () => void }[] = [];

  constructor(receiver: Receiver, clock: Clock) {
    this.#receiver = receiver;
    this.#clock = clock;
  }

  /** Some messages come; `end` follows in the same turn. */
  begin(): void {
    this.#isServed = this.#waiting.length === 0 && this.#receiver.time.begin();
    this.#nowMs = this.#clock.nowMs();
    this.#untilLook = messagesALook;
  }

  take(message: Message): Receipt {
    if (!this.#isServed) return this.#wait(message);
    if (this.#untilLook-- === 0) {
      this.#untilLook = messagesALook;
      if (this.#receiver.time.isOver) {
        this.end(); // The others wait for the next slice.
        return this.#wait(message);
      }
    }
    return this.#receiver.routing.deliver(message, this.#nowMs);
  }

  end(): void {
    if (!this.#isServed) return;
    this.#isServed = false;
    this.#receiver.time.end();
  }

  #wait(message: Message): Receipt {
    if (message.qos === 0) {
      if (this.#volatileBytes >= volatileBytesMax) {
        this.#receiver.meters.droppedOverQuota++;
        return handedOn;
      }
      this.#volatileBytes += message.heldBytes;
    }
    const waiting = { message: message.keep(), receipt: new PendingReceipt() };
    this.#waiting.push(waiting);
    if (this.#waiting.length === 1) this.#receiver.time.add(this);
    return waiting.receipt;
  }

  /** Calls back when those that wait now have been delivered. */
  whenPassed(then: () => void): void {
    if (this.#waiting.length === 0) then();
    else this.#passing.push({ behind: this.#delivered + this.#waiting.length, then });
  }

  /** Called by the thread. */
  step(): boolean {
    const { message, receipt } = this.#waiting.shift()!;
    if (message.qos === 0) this.#volatileBytes -= message.heldBytes;
    try {
      const delivered = this.#receiver.routing.deliver(message, this.#clock.nowMs());
      delivered.whenSettled(() => receipt.settle(delivered.reasonCode!));
    } catch (error) {
      receipt.settle(0x80); // Unspecified error
      caught('fan-out', error);
    }
    this.#delivered++;
    while (this.#passing.length > 0 && this.#passing[0]!.behind <= this.#delivered)
      guarded('fan-out', this.#passing.shift()!.then);
    return this.#waiting.length > 0;
  }
}
