/**
 * Messages on their way to a client whose session ends with its connection: all of it is in memory. Made and called by the
 * session alone, as `Outbound` says. It never stores, and so what a publisher waits for here is a place in the queue, not safety: only
 * messages that are held back owe anything.
 *
 *      deliver -> (held back) -> queue -> (window free, outbox not congested) -> in flight -> PUBACK / PUBCOMP
 *
 * Beside the queue's own bounds (G7) the tenant's memory has one: a message that finds it used up is dropped, so that what was queued
 * first is kept in order. What is held is counted once per message, however many sessions hold it (`SessionHost.hold`).
 */
import { BoundedFifo } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, QoS } from '../message/message.js';
import { type AckType, packetType } from '../wire/wire.js';
import type { Channel } from './channel.js';
import { answerAgain, type Stage, stepFor } from './exchange.js';
import { freeBelowHalf, type HalfQueue, HeldBack } from './held-back.js';
import { InFlight } from './in-flight.js';
import { Listeners } from './listeners.js';
import type { Outbound } from './outbound.js';
import type { SessionHost } from './ports.js';
import { deliver0 } from './qos0.js';
import type { Session } from './client-session.js';
import { hasPlace, Resend } from './window.js';

/** Memory one session's queue may take whatever the quota of messages says. */
export const queueBytesMax = 8 << 20;

interface Delivery {
  readonly message: Message;
  readonly terms: DeliveryTerms;
  readonly qos: 1 | 2;
  readonly arrivedAtMs: number;
  /** PUBREC has come: PUBREL is repeated, not PUBLISH. */
  released: boolean;
  /** 0 until it is sent. */
  packetId: number;
  sequence: number;
}

const sizeOf = (delivery: Delivery): number => delivery.message.heldBytes;

function stageOf(delivery: Delivery | undefined): Stage {
  if (delivery === undefined) return 'unused';
  if (delivery.qos === 1) return 'sent1';
  return delivery.released ? 'released' : 'sent2';
}

export class CleanOutbound implements Outbound, HalfQueue<Delivery> {
  readonly #session: Session;
  readonly #host: SessionHost;
  /** Sent and not finished, by packet identifier, in the order of sending. */
  #inFlight: InFlight<Delivery> | undefined;
  #queue: BoundedFifo<Delivery> | undefined;
  #held: HeldBack<Delivery> | undefined;
  readonly #resend = new Resend<Delivery>();
  readonly #roomListeners = new Listeners();

  constructor(session: Session, host: SessionHost) {
    this.#session = session;
    this.#host = host;
  }

  get queuedMessages(): number {
    return (this.#queue?.length ?? 0) + (this.#held?.length ?? 0);
  }

  get inFlightMessages(): number {
    return this.#inFlight?.size ?? 0;
  }

  get windowOpen(): boolean {
    const channel = this.#session.channel;
    return (
      channel !== undefined &&
      this.queuedMessages === 0 &&
      this.#resend.length === 0 &&
      hasPlace(this.#inFlight, channel) &&
      !channel.congested
    );
  }

  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    const qos = Math.min(message.qos, terms.qos) as QoS; // [MQTT-3.8.4-8]
    const channel = this.#session.channel;
    if (qos === 0) return deliver0(this.#host, channel, message, terms, nowMs);
    const kept = message.keepBriefly();
    if (!this.#host.hold(kept)) {
      this.#host.meters.droppedOverQuota++;
      return;
    }
    const delivery: Delivery = {
      message: kept,
      terms,
      qos,
      arrivedAtMs: nowMs,
      released: false,
      packetId: 0,
      sequence: 0,
    };
    if (channel === undefined) return this.#enqueue(delivery);
    if (this.windowOpen) {
      if (this.#host.takeDelivery(message.payloadBytes, nowMs)) return this.#send(channel, delivery, nowMs);
      this.#host.pumpLater(this.#session);
    }
    this.#held ??= new HeldBack(this, this.#host.holdBackMs);
    if (!this.#held.isNeeded) return this.#enqueue(delivery);
    this.#host.owe(kept);
    this.#host.meters.heldBack++;
    if (this.#held.add(delivery) === 1) this.#host.holdsBack(this.#session);
  }

  get isBelowHalf(): boolean {
    const queue = this.#queue;
    if (queue === undefined || queue.length === 0) return true;
    return queue.length < this.#host.limits.queuedMessagesPerSession / 2 && queue.bytes < queueBytesMax / 2;
  }

  admit(delivery: Delivery): void {
    this.#enqueue(delivery);
    this.#host.pay(delivery.message, 0);
  }

  lookAtHeld(nowMs: number): boolean {
    this.pump(nowMs);
    this.#held?.giveUpIfLate(nowMs);
    return this.#held !== undefined && this.#held.length > 0;
  }

  #enqueue(delivery: Delivery): void {
    this.#queue ??= new BoundedFifo({ itemsMax: 0, bytesMax: queueBytesMax }, sizeOf);
    this.#queue.itemsMax = this.#host.limits.queuedMessagesPerSession;
    if (this.#queue.push(delivery)) return;
    this.#host.letGo(delivery.message);
    this.#host.meters.droppedOverQuota++;
  }

  pump(nowMs: number): void {
    const channel = this.#session.channel;
    if (channel === undefined) return;
    this.#resendSome(channel, nowMs);
    do this.#sendQueued(channel, nowMs);
    while (this.#held?.admitSome() && this.#session.channel === channel);
    if (this.hasRoom) this.#roomListeners.call();
  }

  #sendQueued(channel: Channel, nowMs: number): void {
    const queue = this.#queue;
    while (this.#resend.length === 0 && queue !== undefined && queue.length > 0) {
      if (!hasPlace(this.#inFlight, channel) || channel.congested) return;
      if (!this.#host.takeDelivery(queue.peek()!.message.payloadBytes, nowMs))
        return this.#host.pumpLater(this.#session);
      this.#send(channel, queue.shift()!, nowMs);
    }
  }

  #send(channel: Channel, delivery: Delivery, nowMs: number): void {
    const { message } = delivery;
    if (message.expiresAtMs <= nowMs) {
      this.#host.meters.expiredMessages++; // [MQTT-3.3.2-5]
      return this.#host.letGo(message);
    }
    const inFlight = (this.#inFlight ??= new InFlight());
    delivery.packetId = inFlight.nextPacketId();
    if (!this.#publish(channel, delivery, false, nowMs)) return this.#host.letGo(message);
    inFlight.add(delivery);
  }

  /** False when the client cannot take it: then it counts as delivered. [MQTT-3.1.2-25] */
  #publish(channel: Channel, { message, terms, qos, packetId }: Delivery, dup: boolean, nowMs: number): boolean {
    if (channel.publish(message, terms, qos, packetId, dup, nowMs) === 'too-large') return false;
    const { meters } = this.#host;
    meters.messagesSent++;
    meters.bytesSent += message.payloadEnd - message.payloadStart;
    return true;
  }

  startResending(): void {
    this.#resend.start(this.#inFlight);
  }

  #resendSome(channel: Channel, nowMs: number): void {
    while (this.#resend.length > 0 && !channel.congested) {
      if (this.inFlightMessages - this.#resend.length >= channel.window) return;
      const delivery = this.#resend.take()!;
      const { packetId } = delivery;
      if (this.#inFlight!.get(packetId) !== delivery) continue;
      if (delivery.released) channel.ack(packetType.pubrel, packetId, 0);
      else if (!this.#publish(channel, delivery, true, nowMs)) this.#forget(packetId, delivery);
    }
  }

  onAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    const delivery = this.#inFlight?.get(packetId);
    const step = stepFor(stageOf(delivery), type, packetId, reasonCode);
    if (step === 'done') return this.#finish(packetId, nowMs);
    if (step === 'release') {
      delivery!.released = true; // [MQTT-4.3.3-4] From now on PUBREL, never PUBLISH again. [MQTT-4.3.3-6]
      this.#session.channel?.ack(packetType.pubrel, packetId, 0);
    } else answerAgain(this.#session.channel, step, packetId);
  }

  #forget(packetId: number, delivery: Delivery): void {
    this.#inFlight!.delete(packetId);
    this.#host.letGo(delivery.message);
  }

  #finish(packetId: number, nowMs: number): void {
    this.#forget(packetId, this.#inFlight!.get(packetId)!);
    if (this.queuedMessages > 0 || this.#resend.length > 0 || this.#roomListeners.any) this.pump(nowMs);
  }

  get hasRoom(): boolean {
    const channel = this.#session.channel;
    return (
      channel !== undefined &&
      !channel.congested &&
      this.freeMessages > 0 &&
      this.queuedMessages <= this.#host.limits.queuedMessagesPerSession / 4
    );
  }

  get freeMessages(): number {
    if (this.#session.channel === undefined || this.#held?.length) return 0;
    return this.windowOpen ? Infinity : freeBelowHalf(this, this.#host.limits.queuedMessagesPerSession);
  }

  whenRoom(listener: () => void): void {
    if (this.hasRoom || this.#session.channel === undefined) listener();
    else this.#roomListeners.add(listener);
  }

  onDetached(): void {
    this.#resend.stop();
    this.#roomListeners.call();
  }

  handOnShared(nowMs: number): void {
    this.#handOn(false, nowMs);
  }

  /** Resolves at once: nothing is stored. */
  end(nowMs: number, _isShared: boolean): Promise<void> {
    this.#handOn(true, nowMs);
    return Promise.resolve();
  }

  #handOn(sessionEnds: boolean, nowMs: number): void {
    const leaver = { clientId: this.#session.clientId, isDurable: false, sessionEnds };
    const handedOn = ({ message, terms }: Delivery): boolean =>
      terms.group !== undefined && terms.group.handOn(message, leaver, nowMs);
    for (const delivery of this.#inFlight?.inOrder() ?? [])
      if ((delivery.qos === 1 && handedOn(delivery)) || sessionEnds) this.#forget(delivery.packetId, delivery);
    const moved = this.#queue?.extract((delivery) => handedOn(delivery) || sessionEnds) ?? [];
    for (const { message } of moved) this.#host.letGo(message);
    for (let held = this.#held?.take(); held; held = this.#held!.take()) {
      const { message } = held;
      if (handedOn(held) || sessionEnds) this.#host.letGo(message);
      else this.#enqueue(held);
      this.#host.pay(message, 0);
    }
  }
}
