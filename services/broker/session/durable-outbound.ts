/**
 * Messages on their way to a client whose session outlives its connection: all of it is in the inbox until it is done. Made and called
 * by the session, as `Outbound` says, and told by the inbox what has been stored. It decides who gets in and what is sent next.
 *
 *      deliver -> (held back) -> inbox (order, storage) -> queue (bounded memory) -> window -> PUBACK / PUBCOMP -> inbox.done
 *                 held-back.ts   inbox/session-inbox.ts    durable-queue.ts          durable-window.ts
 *
 * QoS 1 is sent at once and stored only if the client does not acknowledge within the delay, is away, or the queue in
 * memory is full. It never writes by itself, and drops nothing for want of memory: what does not fit is read again from the inbox.
 * What counts against `queuedMessagesPerSession` is what the inbox has, in memory or not.
 */
import {
  type Bookmark,
  type CommitLog,
  type Delivery,
  Inbox,
  type InboxOwner,
  newDelivery,
  type StoredMessage,
} from '../inbox/inbox.js';
import type { DeliveryTerms, Message, QoS } from '../message/message.js';
import type { AckType } from '../wire/wire.js';
import type { Channel } from './channel.js';
import type { Session } from './client-session.js';
import { DurableQueue, memoryMessagesMax } from './durable-queue.js';
import { DurableWindow } from './durable-window.js';
import { EarlyArrivals } from './early-arrivals.js';
import { freeBelowHalf, type HalfQueue, HeldBack } from './held-back.js';
import { Listeners } from './listeners.js';
import type { Outbound } from './outbound.js';
import { PassedOn } from './passed-on.js';
import type { SessionHost } from './ports.js';
import { deliver0 } from './qos0.js';

export class DurableOutbound implements Outbound, InboxOwner, HalfQueue<Delivery> {
  readonly inbox: Inbox;
  readonly #mark: Bookmark;
  readonly #session: Session;
  readonly #host: SessionHost;
  readonly #window: DurableWindow;
  readonly #queue: DurableQueue;
  #held: HeldBack<Delivery> | undefined;
  #passedOn: PassedOn | undefined;
  readonly #roomListeners = new Listeners();
  readonly #readyListeners = new Listeners();
  /** The session has let it go, and may have another one. */
  #isLetGo = false;
  #early: EarlyArrivals | undefined;

  /** `mark`: where an earlier one has left off. */
  constructor(session: Session, host: SessionHost, partition: string, log: CommitLog, mark: Bookmark) {
    this.#session = session;
    this.#host = host;
    this.#mark = mark;
    this.inbox = new Inbox(partition, log, this, host.backlog, mark);
    this.#window = new DurableWindow(session, host, this.inbox);
    this.#queue = new DurableQueue(session, host, this.inbox, mark, this.#window, this);
  }

  /** Memory has nothing that would be lost with this. */
  get isIdle(): boolean {
    if (this.#session.channel !== undefined || this.#early || this.#held?.length) return false;
    if (this.#passedOn?.isIdle === false) return false;
    return this.#window.isIdle && this.#queue.isIdle && this.inbox.isIdle;
  }

  /** The commit log may know it for a while yet. */
  letGo(): void {
    this.#isLetGo = true;
  }

  get queuedMessages(): number {
    return this.inbox.unfinished - this.#window.size + (this.#held?.length ?? 0);
  }

  /** What counts against the queue: those under way do not while they may be acknowledged any moment. */
  get #waiting(): number {
    return this.inbox.unfinished - (this.#session.channel === undefined ? 0 : this.#window.size);
  }

  get #isFull(): boolean {
    return this.#mark.isFull(this.#waiting, this.#host.limits.queuedMessagesPerSession) && !this.windowOpen;
  }

  get isBelowHalf(): boolean {
    const waiting = this.#waiting;
    return waiting === 0 || waiting < this.#host.limits.queuedMessagesPerSession / 2;
  }

  get inFlightMessages(): number {
    return this.#window.size;
  }

  get windowOpen(): boolean {
    const channel = this.#session.channel;
    return (
      channel !== undefined &&
      this.#queue.isEmpty &&
      !this.#held?.length &&
      !this.#window.isResending &&
      this.#window.hasPlace(channel) &&
      !channel.congested
    );
  }

  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    const qos = Math.min(message.qos, terms.qos) as QoS; // [MQTT-3.8.4-8]
    const channel = this.#session.channel;
    if (qos === 0) return deliver0(this.#host, channel, message, terms, nowMs);
    if (this.#early) return this.#early.hold(message.keep(), terms);
    if (this.#mark.knows(message, terms.group?.name)) return; // [MQTT-4.3.3-10] Over a crash, too.
    if (channel !== undefined && !this.windowOpen) {
      this.#held ??= new HeldBack(this, this.#host.holdBackMs);
      if (this.#held.isNeeded) return this.#holdBack(this.#held, newDelivery(message.keep(), terms, qos, nowMs));
    }
    if (this.#isFull) return this.#drop();
    const delivery = newDelivery(message.keep(), terms, qos, nowMs);
    this.#host.owe(delivery.message);
    this.#queue.accept(delivery, nowMs);
    if (this.#queue.inMemory.length === 1) this.pump(nowMs);
  }

  waitForEarlier(): void {
    this.#early = new EarlyArrivals(this.#host);
  }

  earlierAreStored(nowMs: number): void {
    const early = this.#early;
    this.#early = undefined;
    early?.letGo((message, terms) => this.deliver(message, terms, nowMs));
  }

  /** See `Session.stored`. */
  get unstored(): Promise<void> | undefined {
    return this.#passedOn?.isIdle === false ? this.#passedOn.safe() : this.inbox.unstored;
  }

  /** The session is another broker's; all of it is stored. */
  leave(): void {
    this.#queue.park();
    this.inbox.leave();
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
    this.#queue.accept(delivery, delivery.arrivedAtMs);
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

  pump(nowMs: number): void {
    const channel = this.#session.channel;
    if (channel === undefined) return;
    this.#window.resendSome(channel, nowMs);
    do this.#sendQueued(channel, nowMs);
    while (this.#held?.admitSome() && this.#session.channel === channel);
    this.#queue.refillIfLow();
    if (this.hasRoom) this.#roomListeners.call();
    if (this.windowOpen) this.#readyListeners.call();
  }

  #sendQueued(channel: Channel, nowMs: number): void {
    const { inMemory } = this.#queue;
    while (!this.#window.isResending && inMemory.length > 0) {
      if (!this.#window.hasPlace(channel) || channel.congested) return;
      const next = inMemory.peek()!;
      if (next.stage !== 'done' && !this.#host.takeDelivery(next.message.payloadBytes, nowMs))
        return this.#host.pumpLater(this.#session);
      inMemory.shift();
      if (next.stage !== 'done') this.#window.start(channel, next, nowMs);
    }
  }

  // The inbox calls these while it goes through what has been stored: nothing that they throw may end that.

  onStored(delivery: Delivery): void {
    try {
      if (this.#window.goOn(delivery)) this.#pumpIfMore(this.#host.nowMs());
    } catch (error) {
      this.#session.failed(error);
    }
  }

  onSafe(delivery: Delivery, reasonCode: number): void {
    this.#host.pay(delivery.message, reasonCode);
    if (reasonCode >= 0x80 && this.#window.refused(delivery) && this.#session.channel) this.goOn();
  }

  onAllStored(): void {
    if (this.#isLetGo) return;
    if (this.#session.channel === undefined || this.#queue.isBehind) this.goOn();
  }

  goOn(): void {
    try {
      if (this.#session.channel) this.pump(this.#host.nowMs());
      else {
        if (this.inbox.allStored) this.#queue.park();
        this.#session.rest();
      }
    } catch (error) {
      this.#session.failed(error);
    }
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
    this.#window.startResending();
  }

  onAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    if (this.#window.onAck(type, packetId, reasonCode)) this.#pumpIfMore(nowMs);
  }

  #pumpIfMore(nowMs: number): void {
    const { any: isRoomWanted } = this.#roomListeners;
    const isMore = !this.#queue.isEmpty || this.#window.isResending;
    if (isMore || isRoomWanted || this.#readyListeners.any) this.pump(nowMs);
  }

  get hasRoom(): boolean {
    const channel = this.#session.channel;
    if (channel === undefined || channel.congested || !this.#queue.isShort || this.freeMessages === 0) return false;
    const waitingMax = Math.min(memoryMessagesMax, this.#host.limits.queuedMessagesPerSession) / 4;
    return this.queuedMessages <= waitingMax;
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
    this.#window.onDetached();
    this.#roomListeners.call();
    this.#readyListeners.forget();
    if (!this.inbox.isIdle) this.inbox.storeNow();
  }

  /** QoS 2 stays: it is stored for this session, sent or not. */
  handOnShared(nowMs: number): void {
    const moves = (delivery: Delivery): boolean => delivery.qos === 1 && this.#pass(delivery, false, nowMs);
    for (const delivery of this.#window.inOrder()) if (moves(delivery)) this.#window.leave(delivery);
    this.#queue.inMemory.extract(moves);
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

  /** With `isShared` also those that have to be read from the table are passed on. */
  async end(nowMs: number, isShared: boolean): Promise<void> {
    const end = (delivery: Delivery): boolean => {
      if (!this.#pass(delivery, true, nowMs)) this.inbox.done(delivery);
      return true;
    };
    for (const delivery of this.#window.inOrder()) {
      this.#window.leave(delivery);
      end(delivery);
    }
    this.#queue.inMemory.extract(end);
    this.#letHeldGo(true, nowMs);
    this.#early?.letGo(() => undefined);
    this.inbox.unspill(end);
    this.inbox.end();
    if (isShared && this.#queue.refilled) {
      await this.#queue.refilled;
      this.#queue.inMemory.extract(end);
    }
    while (isShared && this.inbox.hasUnread) for (const delivery of await this.#read(nowMs)) end(delivery);
    await this.#passedOn?.safe();
    await this.inbox.quiet();
  }

  #pass(delivery: Delivery, sessionEnds: boolean, nowMs: number): boolean {
    if (!delivery.terms.group) return false;
    return (this.#passedOn ??= new PassedOn(this.#session.clientId, this.inbox)).pass(delivery, sessionEnds, nowMs);
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
}
