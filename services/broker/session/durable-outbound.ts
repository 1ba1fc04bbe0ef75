/**
 * Messages on their way to a client whose session outlives its connection: as `Outbound`, with an inbox behind it.
 *
 *      deliver -> (held back) -> inbox (order, storage) -> queue (bounded memory) -> in flight -> PUBACK / PUBCOMP -> inbox.done
 *
 * QoS 1 is sent at once and stored only if the client does not acknowledge within the delay, is away, or the queue in
 * memory is full. A QoS 2 message is sent only when its item says under which packet identifier, and PUBREL follows
 * PUBREC only when the item says that: whatever the client has seen of an exchange is known after a crash (G4).
 *
 * Packet identifiers of QoS 2 are of the upper half, those of QoS 1 of the lower: after a crash those of QoS 1 are given
 * out anew, and must not meet a stored one that has not been read yet.
 *
 * Overflow (G7): while the client reads, a message that finds half of `queuedMessagesPerSession` waiting slows its
 * publisher (`held-back.ts`); one that finds all of it is dropped and counted; QoS 0 is dropped when the client is away.
 * Memory is bounded by the queue: what does not fit is read again from the inbox.
 */
import { BoundedFifo, unattended } from '../../kernel/kernel.js';
import {
  type Bookmark,
  type CommitLog,
  type Delivery,
  Inbox,
  type InboxOwner,
  moveOn,
  newDelivery,
  type StoredMessage,
} from '../inbox/inbox.js';
import { type DeliveryTerms, type Message, type QoS, type Receipt, settled } from '../message/message.js';
import { type AckType, packetType } from '../wire/wire.js';
import type { Channel } from './channel.js';
import type { Session } from './client-session.js';
import { answerAgain, type Stage, stepFor } from './exchange.js';
import { freeBelowHalf, type HalfQueue, HeldBack } from './held-back.js';
import { InFlight } from './in-flight.js';
import { Listeners } from './listeners.js';
import type { Outbound } from './outbound.js';
import type { SessionHost } from './ports.js';
import { deliver0 } from './qos0.js';
import { hasPlace, Resend } from './window.js';

/** What of a queue is in memory: some round trips of the largest window. */
const memoryMessagesMax = 1000;
const memoryBytesMax = 1 << 20;

const inMemory = { itemsMax: memoryMessagesMax, bytesMax: memoryBytesMax };
const unbounded = { itemsMax: Infinity, bytesMax: Infinity };
const sizeOf = (delivery: Delivery): number => delivery.message.heldBytes;
const noSize = (): number => 0;

/** Memory may let it go: it is stored, and of QoS 2 also how far it has come. */
function isKnownToItem({ stage, qos, packetId, storedPacketId, released, storedReleased }: Delivery): boolean {
  if (stage === 'done') return true;
  return stage === 'stored' && (qos === 1 || (packetId === storedPacketId && released === storedReleased));
}

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

export class DurableOutbound implements Outbound, InboxOwner, HalfQueue<Delivery> {
  readonly inbox: Inbox;
  readonly #mark: Bookmark;
  readonly #session: Session;
  readonly #host: SessionHost;
  readonly #inFlight = new InFlight<Delivery>();
  /** Next to be sent; everything behind it is in the inbox only while `#behind`. */
  readonly #queue = new BoundedFifo<Delivery>(inMemory, sizeOf);
  #behind: boolean;
  #held: HeldBack<Delivery> | undefined;
  #refilling = false;
  #refilled: Promise<void> | undefined;
  /** Of messages that others have got from here and have not made safe. */
  #moving: Set<Receipt> | undefined;
  readonly #resend = new Resend<Delivery>();
  /** QoS 2 messages of this connection that wait for their items, in order; `dup`: the client may have seen them. */
  readonly #unsent = new BoundedFifo<Unsent>(unbounded, noSize);
  readonly #roomListeners = new Listeners();
  readonly #readyListeners = new Listeners();
  /** The session has let it go, and may have another one. */
  #isLetGo = false;

  /** `mark`: where an earlier one has left off. */
  constructor(session: Session, host: SessionHost, partition: string, log: CommitLog, mark: Bookmark) {
    this.#session = session;
    this.#host = host;
    this.#mark = mark;
    this.inbox = new Inbox(partition, log, this, host.backlog, mark);
    this.#behind = this.inbox.hasUnread;
  }

  /** Memory has nothing that would be lost with this. */
  get isIdle(): boolean {
    if (this.#session.channel !== undefined || this.#refilling || this.#moving?.size) return false;
    const waiting = this.#inFlight.size + this.#queue.length + this.#unsent.length + (this.#held?.length ?? 0);
    return waiting === 0 && this.inbox.isIdle;
  }

  /** The commit log may know it for a while yet. */
  letGo(): void {
    this.#isLetGo = true;
  }

  get queuedMessages(): number {
    return this.inbox.unfinished - this.#inFlight.size + (this.#held?.length ?? 0);
  }

  /** What counts against the queue: those under way do not while they may be acknowledged any moment. */
  get #waiting(): number {
    return this.inbox.unfinished - (this.#session.channel === undefined ? 0 : this.#inFlight.size);
  }

  get #isFull(): boolean {
    return this.#mark.isFull(this.#waiting, this.#host.limits.queuedMessagesPerSession) && !this.windowOpen;
  }

  get isBelowHalf(): boolean {
    const waiting = this.#waiting;
    return waiting === 0 || waiting < this.#host.limits.queuedMessagesPerSession / 2;
  }

  get inFlightMessages(): number {
    return this.#inFlight.size;
  }

  get windowOpen(): boolean {
    const channel = this.#session.channel;
    return (
      channel !== undefined &&
      !this.#behind &&
      this.#queue.length === 0 &&
      !this.#held?.length &&
      this.#resend.length === 0 &&
      hasPlace(this.#inFlight, channel) &&
      !channel.congested
    );
  }

  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    const qos = Math.min(message.qos, terms.qos) as QoS; // [MQTT-3.8.4-8]
    const channel = this.#session.channel;
    if (qos === 0) return deliver0(this.#host, channel, message, terms, nowMs);
    if (message.origin?.again && this.inbox.hasStored(message, terms.group?.name)) return; // [MQTT-4.3.3-10] Over a crash, too.
    if (channel !== undefined && !this.windowOpen) {
      this.#held ??= new HeldBack(this, this.#host.holdBackMs);
      if (this.#held.isNeeded) return this.#holdBack(this.#held, newDelivery(message.keep(), terms, qos, nowMs));
    }
    if (this.#isFull) return this.#drop();
    const delivery = newDelivery(message.keep(), terms, qos, nowMs);
    this.#host.owe(delivery.message);
    this.#accept(delivery, nowMs);
    if (this.#queue.length === 1) this.pump(nowMs);
  }

  #holdBack(held: HeldBack<Delivery>, delivery: Delivery): void {
    this.#host.owe(delivery.message);
    this.#host.meters.heldBack++;
    if (held.add(delivery) === 1) this.#host.holdsBack(this.#session);
  }

  admit(delivery: Delivery): void {
    if (this.#isFull) {
      this.#drop();
      return this.#host.pay(delivery.message, 0);
    }
    delivery.arrivedAtMs = this.#host.nowMs();
    this.#accept(delivery, delivery.arrivedAtMs);
  }

  lookAtHeld(nowMs: number): boolean {
    this.pump(nowMs);
    this.#held?.giveUpIfLate(nowMs);
    return this.#held !== undefined && this.#held.length > 0;
  }

  #drop(): void {
    this.#mark.dropped++;
    this.#host.meters.droppedOverQuota++;
  }

  /** From now on it is in order, and will be stored or acknowledged. */
  #accept(delivery: Delivery, nowMs: number): void {
    const isKept = this.#session.channel !== undefined && !this.#behind && !this.#host.memory.isFull;
    if (!isKept || !this.#queue.fits(sizeOf(delivery))) {
      this.#host.spendStored(delivery.message.payloadBytes, nowMs);
      this.#behind = true;
      delivery.spilled = true;
      return this.inbox.accept(delivery, true);
    }
    this.inbox.accept(delivery, delivery.qos === 2);
    this.#queue.push(delivery);
  }

  pump(nowMs: number): void {
    const channel = this.#session.channel;
    if (channel === undefined) return;
    this.#resendSome(channel, nowMs);
    do this.#sendQueued(channel, nowMs);
    while (this.#held?.admitSome() && this.#session.channel === channel);
    if (this.#behind && !this.#refilling && this.#isLow) {
      this.#refilled = this.#refill();
      unattended('session', this.#refilled);
    }
    if (this.hasRoom) this.#roomListeners.call();
    if (this.windowOpen) this.#readyListeners.call();
  }

  #sendQueued(channel: Channel, nowMs: number): void {
    while (this.#resend.length === 0 && this.#queue.length > 0) {
      if (!hasPlace(this.#inFlight, channel) || channel.congested) return;
      const next = this.#queue.peek()!;
      if (next.stage !== 'done' && !this.#host.takeDelivery(next.message.payloadBytes, nowMs))
        return this.#host.pumpLater(this.#session);
      this.#queue.shift();
      if (next.stage !== 'done') this.#start(channel, next, nowMs);
    }
  }

  /** Takes a place in the window: QoS 1 is sent, QoS 2 when its item says so. */
  #start(channel: Channel, delivery: Delivery, nowMs: number): void {
    const known = delivery.packetId !== 0;
    if (!delivery.released && delivery.message.expiresAtMs <= nowMs && !known) {
      this.#host.meters.expiredMessages++; // [MQTT-3.3.2-5]
      return this.inbox.done(delivery);
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
      else this.inbox.rewrite(delivery);
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

  // The inbox calls these while it goes through what has been stored: nothing that they throw may end that.

  onStored(delivery: Delivery): void {
    try {
      this.#goOn(delivery);
    } catch (error) {
      this.#session.failed(error);
    }
  }

  #goOn(delivery: Delivery): void {
    const channel = this.#session.channel;
    if (!channel || this.#inFlight.get(delivery.packetId) !== delivery || this.#resend.awaits(delivery)) return;
    const nowMs = this.#host.nowMs();
    const underWay = this.#inFlight.size;
    const unsent = this.#unsent.peek()?.delivery; // The oldest: all that were sent later than it wait, too.
    if (unsent && delivery.sequence >= unsent.sequence) this.#sendStored(channel, nowMs);
    else if (delivery.released) this.#advance(channel, delivery, false, nowMs);
    if (this.#inFlight.size < underWay) this.#pumpIfMore(nowMs);
  }

  onSafe(delivery: Delivery, reasonCode: number): void {
    this.#host.pay(delivery.message, reasonCode);
    if (reasonCode < 0x80 || delivery.qos === 1 || this.#inFlight.get(delivery.packetId) !== delivery) return;
    this.#inFlight.delete(delivery.packetId); // It waited for its item, and will never be sent.
    if (this.#session.channel) this.#pumpOrPark();
  }

  onAllStored(): void {
    if (this.#isLetGo) return;
    if (this.#session.channel === undefined || this.#behind) this.#pumpOrPark();
  }

  #pumpOrPark(): void {
    try {
      if (this.#session.channel) this.pump(this.#host.nowMs());
      else {
        if (this.inbox.allStored) this.#park();
        this.#session.rest();
      }
    } catch (error) {
      this.#session.failed(error);
    }
  }

  /** Nobody is there and everything is stored: memory lets it go. */
  #park(): void {
    if (this.#refilling) return; // What is being read comes first, see `#refill`.
    const inFlight = this.#inFlight.inOrder();
    if (inFlight.length === 0 && this.#queue.length === 0) return;
    if (![...inFlight, ...this.#queue].every(isKnownToItem)) return;
    for (const delivery of inFlight) {
      this.#remember(delivery);
      this.#inFlight.delete(delivery.packetId);
      this.inbox.forget(delivery);
    }
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      this.#remember(next);
      if (next.stage !== 'done') this.inbox.forget(next);
    }
    this.#behind = true;
  }

  /** [MQTT-4.4.0-1] It will be sent again under the same identifier, though its item does not say which. */
  #remember({ item, index, packetId, qos, stage }: Delivery): void {
    if (qos !== 1 || packetId === 0 || stage !== 'stored') return;
    const remembered = (this.#mark.packetIds ??= new Map());
    let packetIds = remembered.get(item!.key);
    if (!packetIds) remembered.set(item!.key, (packetIds = new Uint16Array(item!.size)));
    packetIds[index] = packetId;
  }

  /** So little is left in the queue that the largest message fits: a refill always gets on. Nothing, if memory is short. */
  get #isLow(): boolean {
    if (this.#host.memory.isFull) return this.#queue.length + this.#inFlight.size === 0;
    return this.#queue.length < memoryMessagesMax / 4 && this.#queue.bytes < memoryBytesMax / 8;
  }

  /** The next part of what is not in memory: from the table, then what has not been stored yet. */
  async #refill(): Promise<void> {
    this.#refilling = true;
    try {
      while (this.#behind && this.#isLow && this.#session.channel) {
        if (!this.inbox.hasUnread) {
          const all = this.inbox.unspill((delivery) => this.#queue.push(delivery));
          if (all === 'all') this.#behind = false;
          break;
        }
        // A page is in memory whatever the queue's bound says: it has one of its own.
        const page = await this.inbox.read(() => this.#host.nowMs());
        this.#queue.itemsMax = this.#queue.bytesMax = Infinity;
        for (const delivery of page) this.#queue.push(this.#recall(delivery));
        for (const { item } of page) this.#mark.packetIds?.delete(item!.key);
        this.#queue.itemsMax = memoryMessagesMax;
        this.#queue.bytesMax = memoryBytesMax;
      }
    } catch (error) {
      if (this.#session.channel) return this.#host.readFailed(this.#session, error);
    } finally {
      this.#refilling = false;
    }
    this.#pumpOrPark();
  }

  #recall(delivery: Delivery): Delivery {
    if (delivery.qos === 1) delivery.packetId = this.#mark.packetIds?.get(delivery.item!.key)?.[delivery.index] ?? 0;
    return delivery;
  }

  restore(stored: StoredMessage): StoredMessage {
    const { message, origin } = stored;
    // Until the publisher's own state knows the message it may come again.
    if (origin) message.origin = { ...origin, again: undefined, settled: this.#host.settlementOf(origin) };
    if (stored.shared === undefined) return stored;
    const group = this.#host.sharedGroup(stored.shared);
    return group ? { ...stored, terms: { ...stored.terms, group } } : stored;
  }

  startResending(): void {
    this.#resend.start(this.#inFlight);
  }

  #resendSome(channel: Channel, nowMs: number): void {
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

  onAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    const delivery = this.#inFlight.get(packetId);
    const step = stepFor(stageOf(delivery), type, packetId, reasonCode);
    if (step === 'done') {
      this.#end(delivery!);
      this.#pumpIfMore(nowMs);
    } else if (step === 'release') {
      delivery!.released = true;
      this.inbox.rewrite(delivery!); // PUBREL leaves when the item says so.
    } else answerAgain(this.#session.channel, step, packetId);
  }

  /** Its place is free. Who calls goes on with what waits: here it would be one call within the other for each that is too large. */
  #end(delivery: Delivery): void {
    this.#inFlight.delete(delivery.packetId);
    this.inbox.done(delivery);
  }

  #pumpIfMore(nowMs: number): void {
    const { any: isRoomWanted } = this.#roomListeners;
    const isMore = this.#queue.length > 0 || this.#behind || this.#resend.length > 0;
    if (isMore || isRoomWanted || this.#readyListeners.any) this.pump(nowMs);
  }

  get hasRoom(): boolean {
    const channel = this.#session.channel;
    if (channel === undefined || channel.congested || this.#behind || this.freeMessages === 0) return false;
    const waitingMax = Math.min(memoryMessagesMax, this.#host.limits.queuedMessagesPerSession) / 4;
    return this.queuedMessages <= waitingMax && this.#queue.bytes <= memoryBytesMax / 2;
  }

  get freeMessages(): number {
    if (this.#session.channel === undefined || this.#held?.length) return 0;
    return this.windowOpen ? Infinity : freeBelowHalf(this, this.#host.limits.queuedMessagesPerSession);
  }

  whenRoom(listener: () => void): void {
    if (this.hasRoom || this.#session.channel === undefined) listener();
    else this.#roomListeners.add(listener);
  }

  /** Calls back when a message would be sent at once; not when the client goes before that. */
  whenReady(listener: () => void): void {
    this.#readyListeners.add(listener);
  }

  /** Nobody acknowledges any more: what is not stored is stored now. */
  onDetached(): void {
    this.#resend.stop();
    this.#unsent.clear();
    this.#roomListeners.call();
    this.#readyListeners.forget();
    if (!this.inbox.isIdle) this.inbox.storeNow();
  }

  /**
   * The client has gone, the session lives on: members that can send at once get the QoS 1 messages of shared
   * subscriptions. Those of QoS 2 stay: they are stored for this session, sent or not. [MQTT-4.8.2-5]
   */
  handOnShared(nowMs: number): void {
    const moves = (delivery: Delivery): boolean =>
      delivery.qos === 1 && this.#moveOn(delivery, false, nowMs) !== undefined;
    for (const delivery of this.#inFlight.inOrder()) if (moves(delivery)) this.#inFlight.delete(delivery.packetId);
    this.#queue.extract(moves);
    this.#letHeldGo(false, nowMs);
  }

  /** They were never in the inbox: another member gets them as they are, or they take their places behind the others. */
  #letHeldGo(sessionEnds: boolean, nowMs: number): void {
    const leaver = { clientId: this.#session.clientId, isDurable: true, sessionEnds };
    for (let held = this.#held?.take(); held; held = this.#held!.take()) {
      const isGone = held.terms.group?.handOn(held.message, leaver, nowMs) || sessionEnds;
      if (isGone) this.#host.pay(held.message, 0);
      else this.admit(held);
    }
  }

  /**
   * The session has ended: its messages of shared subscriptions go to other members, but QoS 2 ones that have been sent.
   * Resolves when they are safe there; with `isShared` also those that have to be read from the table.
   */
  async end(nowMs: number, isShared: boolean): Promise<void> {
    const end = (delivery: Delivery): boolean => {
      if (!this.#moveOn(delivery, true, nowMs)) this.inbox.done(delivery);
      return true;
    };
    for (const delivery of this.#inFlight.inOrder()) {
      this.#inFlight.delete(delivery.packetId);
      end(delivery);
    }
    this.#queue.extract(end);
    this.#letHeldGo(true, nowMs);
    this.inbox.unspill(end);
    this.inbox.end();
    if (isShared && this.#refilling) {
      await this.#refilled;
      this.#queue.extract(end);
    }
    while (isShared && this.inbox.hasUnread) for (const delivery of await this.#read(nowMs)) end(delivery);
    await Promise.all([...(this.#moving ?? [])].map(settled));
    await this.inbox.quiet();
  }

  /** Tried until DynamoDB answers. */
  async #read(nowMs: number): Promise<readonly Delivery[]> {
    for (;;)
      try {
        return await this.inbox.read(() => nowMs);
      } catch (error) {
        await new Promise<void>((resolve) => this.#host.readFailed({ pump: () => resolve() }, error));
      }
  }

  #moveOn(delivery: Delivery, sessionEnds: boolean, nowMs: number): Receipt | undefined {
    const { terms, qos, packetId, stage } = delivery;
    if (!terms.group || stage === 'done' || (qos === 2 && packetId !== 0)) return undefined;
    const leaver = { clientId: this.#session.clientId, isDurable: true, sessionEnds };
    const safe = moveOn(this.inbox, delivery, (copy) => terms.group!.handOn(copy, leaver, nowMs));
    if (safe) {
      const moving = (this.#moving ??= new Set<Receipt>());
      moving.add(safe);
      safe.whenSettled(() => moving.delete(safe));
    }
    return safe;
  }
}
