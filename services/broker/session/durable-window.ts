/**
 * What is under way to the client of a stored session: the exchanges that have a packet identifier, and how far each may go. Owned by
 * `DurableOutbound`, which decides what is sent next; it never looks at what waits behind the window, and never calls `pump`: it says
 * whether a place has become free.
 *
 * A QoS 2 message is sent only when its item says under which packet identifier, and PUBREL follows PUBREC only when the item says
 * that: whatever the client has seen of an exchange is known after a crash (G4).
 *
 *      start -> QoS 1 -----------------------------------> PUBLISH -> PUBACK -> done
 *            -> QoS 2 -> unsent -> (item: identifier) ----> PUBLISH -> PUBREC -> (item: released) -> PUBREL -> PUBCOMP -> done
 *
 * Packet identifiers of QoS 2 are of the upper half, those of QoS 1 of the lower: after a crash those of QoS 1 are given
 * out anew, and must not meet a stored one that has not been read yet.
 */
import { BoundedFifo } from '../../kernel/kernel.js';
import type { Delivery, Inbox } from '../inbox/inbox.js';
import { type AckType, packetType } from '../wire/wire.js';
import type { Channel } from './channel.js';
import type { Session } from './client-session.js';
import { answerAgain, type Stage, stepFor } from './exchange.js';
import { InFlight } from './in-flight.js';
import type { SessionHost } from './ports.js';
import { hasPlace, Resend } from './window.js';

const unbounded = { itemsMax: Infinity, bytesMax: Infinity };
const noSize = (): number => 0;

/** What the client may know of it: one whose item does not say its identifier yet has never been sent under it. */
function stageOf(delivery: Delivery | undefined): Stage {
  if (delivery === undefined) return 'unused';
  if (delivery.qos === 1) return 'sent1';
  if (delivery.storedPacketId !== delivery.packetId) return 'unused';
  if (!delivery.released) return 'sent2';
  return delivery.storedReleased ? 'released' : 'received';
}

interface Unsent {
  readonly delivery: Delivery;
  readonly dup: boolean;
}

export class DurableWindow {
  readonly #session: Session;
  readonly #host: SessionHost;
  readonly #inbox: Inbox;
  readonly #inFlight = new InFlight<Delivery>();
  readonly #resend = new Resend<Delivery>();
  /** QoS 2 messages of this connection that wait for their items, in order; `dup`: the client may have seen them. */
  readonly #unsent = new BoundedFifo<Unsent>(unbounded, noSize);

  constructor(session: Session, host: SessionHost, inbox: Inbox) {
    this.#session = session;
    this.#host = host;
    this.#inbox = inbox;
  }

  get size(): number {
    return this.#inFlight.size;
  }

  get isIdle(): boolean {
    return this.#inFlight.size + this.#unsent.length === 0;
  }

  /** Nothing new is sent before it is over. */
  get isResending(): boolean {
    return this.#resend.length > 0;
  }

  hasPlace(channel: Channel): boolean {
    return hasPlace(this.#inFlight, channel);
  }

  /** In the order of sending. */
  inOrder(): Delivery[] {
    return this.#inFlight.inOrder();
  }

  /** It goes elsewhere, or memory lets it go: this is not its end. */
  leave(delivery: Delivery): void {
    this.#inFlight.delete(delivery.packetId);
  }

  /** Takes a place in the window: QoS 1 is sent, QoS 2 when its item says so. */
  start(channel: Channel, delivery: Delivery, nowMs: number): void {
    const known = delivery.packetId !== 0;
    if (!delivery.released && delivery.message.expiresAtMs <= nowMs && !known) {
      this.#host.meters.expiredMessages++; // [MQTT-3.3.2-5]
      return this.#inbox.done(delivery);
    }
    if (!known) delivery.packetId = this.#inFlight.nextPacketId(delivery.qos === 2 ? 'upper' : 'lower');
    this.#inFlight.add(delivery);
    if (delivery.qos === 1)
      this.#send(channel, delivery, known || delivery.dup, nowMs); // [MQTT-3.3.1-1]
    else {
      // Stored as far as memory knew before it let the message go, or `onStored` goes on when it is.
      const isStored = delivery.storedPacketId === delivery.packetId && delivery.storedReleased === delivery.released;
      this.#unsent.push({ delivery, dup: known });
      if (isStored) this.#sendStored(channel, nowMs);
      else this.#inbox.rewrite(delivery);
    }
  }

  #send(channel: Channel, delivery: Delivery, dup: boolean, nowMs: number): void {
    const { message, terms, qos, packetId } = delivery;
    // [MQTT-3.1.2-25] A message the client cannot take counts as delivered.
    if (channel.publish(message, terms, qos, packetId, dup, nowMs) === 'too-large') return this.#end(delivery);
    const { meters } = this.#host;
    meters.messagesSent++;
    meters.bytesSent += message.payloadEnd - message.payloadStart;
  }

  /** A QoS 2 message goes as far as its item says. [MQTT-4.3.3-4] [MQTT-4.3.3-6] */
  #advance(channel: Channel, delivery: Delivery, dup: boolean, nowMs: number): void {
    if (delivery.released) {
      if (delivery.storedReleased) channel.ack(packetType.pubrel, delivery.packetId, 0);
    } else if (delivery.storedPacketId === delivery.packetId) this.#send(channel, delivery, dup, nowMs);
  }

  /** In order: one whose item does not say enough yet holds back those behind it. */
  #sendStored(channel: Channel, nowMs: number): void {
    for (let next = this.#unsent.peek(); next; next = this.#unsent.peek()) {
      const { delivery, dup } = next;
      const isOver = this.#inFlight.get(delivery.packetId) !== delivery;
      if (!isOver && delivery.storedPacketId !== delivery.packetId) return;
      if (!isOver && delivery.released && !delivery.storedReleased) return;
      this.#unsent.shift();
      if (!isOver) this.#advance(channel, delivery, dup, nowMs);
    }
  }

  /** Its item has been written. Returns whether a place has become free. */
  goOn(delivery: Delivery): boolean {
    const channel = this.#session.channel;
    if (!channel || this.#inFlight.get(delivery.packetId) !== delivery || this.#resend.awaits(delivery)) return false;
    const nowMs = this.#host.nowMs();
    const underWay = this.#inFlight.size;
    const unsent = this.#unsent.peek()?.delivery; // The oldest: all that were sent later than it wait, too.
    if (unsent && delivery.sequence >= unsent.sequence) this.#sendStored(channel, nowMs);
    else if (delivery.released) this.#advance(channel, delivery, false, nowMs);
    return this.#inFlight.size < underWay;
  }

  /** Its item will never be written. Returns whether a place has become free. */
  refused(delivery: Delivery): boolean {
    if (delivery.qos === 1 || this.#inFlight.get(delivery.packetId) !== delivery) return false;
    this.#inFlight.delete(delivery.packetId); // It waited for its item, and will never be sent.
    return true;
  }

  startResending(): void {
    this.#resend.start(this.#inFlight);
  }

  resendSome(channel: Channel, nowMs: number): void {
    while (this.#resend.length > 0 && !channel.congested) {
      if (this.#inFlight.size - this.#resend.length >= channel.window) return;
      const delivery = this.#resend.take()!;
      if (this.#inFlight.get(delivery.packetId) !== delivery) continue;
      if (delivery.qos === 1) this.#send(channel, delivery, true, nowMs);
      else {
        this.#unsent.push({ delivery, dup: true });
        this.#sendStored(channel, nowMs);
      }
    }
  }

  /** Returns whether a place has become free. Throws `PeerFault`. */
  onAck(type: AckType, packetId: number, reasonCode: number): boolean {
    const delivery = this.#inFlight.get(packetId);
    const step = stepFor(stageOf(delivery), type, packetId, reasonCode);
    if (step === 'done') this.#end(delivery!);
    else if (step === 'release') {
      delivery!.released = true;
      this.#inbox.rewrite(delivery!); // PUBREL leaves when the item says so.
    } else answerAgain(this.#session.channel, step, packetId);
    return step === 'done';
  }

  /** Its place is free. Who calls goes on with what waits: here it would be one call within the other for each that is too large. */
  #end(delivery: Delivery): void {
    this.#inFlight.delete(delivery.packetId);
    this.#inbox.done(delivery);
  }

  onDetached(): void {
    this.#resend.stop();
    this.#unsent.clear();
  }
}
