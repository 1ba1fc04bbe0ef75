/**
 * The messages of one shared subscription that came while none of its members was connected: stored once, for all
 * members whose sessions outlive their connections, and given to whichever of them comes first. (MQTT 5.0 section
 * 4.8.2 leaves open who gets them.)
 *
 *      no member is there -> inbox (a partition of its own) -> page -> a member that can send at once -> its inbox
 *
 * What has been given to a member is that member's until it is acknowledged or its session ends (`moving.ts` says how a
 * message changes hands). While something waits here, new messages line up behind it. Not more than one page is in
 * memory (G7); a queue that holds `queuedMessagesPerSession` drops what is new, which is counted.
 *
 * Interleavings and crash points looked after:
 *  - the publisher is answered when the message is stored here, or safe with the member that got it first (G1);
 *  - a member goes while a page is in memory: what nobody took is forgotten, and read again later;
 *  - a crash while a message changes hands: both have it. `restore` is told which of its items members have, too;
 *  - a publisher repeats a QoS 2 message after a crash: it is looked for here and with all members;
 *  - the last member whose session is stored goes: what is left goes to members that are connected, or is removed;
 *  - a queue of that name is made again: its epoch is higher, and what is left of the earlier one is not read.
 */
import { BoundedFifo, unattended } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, Meters, Receipt } from '../message/message.js';
import type { CommitLog, StoredMessage, StoredOrigin } from './commit.js';
import { type Delivery, newDelivery } from './delivery.js';
import { moveOn } from './moving.js';
import { type Backlog, Inbox, type InboxOwner } from './session-inbox.js';

/** The members of the shared subscription, as its queue sees them. */
export interface SharedMembers {
  /** Whether one is connected whose session is stored. */
  readonly isKeeperThere: boolean;
  /** Gives it to one of these that can send it at once; false when there is none. */
  giveToKeeper(message: Message, nowMs: number): boolean;
  /** Gives it to anybody who is connected. */
  giveToAnyone(message: Message, nowMs: number): boolean;
  /** Calls back when a keeper that is connected can send again; the same listener twice is one. */
  whenKeeperReady(listener: () => void): void;
}

/** The tenant, as its queues see it; see `SessionHost`. */
export interface QueueHost {
  readonly limits: { readonly queuedMessagesPerSession: number };
  readonly meters: Meters;
  readonly backlog: Backlog;
  owe(message: Message): void;
  pay(message: Message, reasonCode: number): void;
  spendStored(bytes: number, nowMs: number): void;
  nowMs(): number;
  settlementOf(origin: StoredOrigin): Receipt;
  readFailed(reader: { pump(nowMs: number): void }, error: unknown): void;
}

/** Messages wait on the terms of the member that gets them one day. */
const noTerms: DeliveryTerms = { qos: 2, retainAsPublished: true, subscriptionIds: [] };

export class SharedQueue implements InboxOwner {
  readonly #inbox: Inbox;
  readonly #host: QueueHost;
  readonly #members: SharedMembers;
  /** Next to be given away. */
  readonly #page = new BoundedFifo<Delivery>({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
  /** Given to members that have not made them safe yet. */
  #moving = 0;
  #reading = false;
  /** A member that takes a message may call back at once. */
  #giving = false;
  /** Called when nothing is left that it could give away; set when the queue ends. */
  #whenOver: (() => void) | undefined;
  readonly #wake = (): void => this.wake();

  constructor(partition: string, log: CommitLog, host: QueueHost, members: SharedMembers) {
    this.#inbox = new Inbox(partition, log, this, host.backlog);
    this.#host = host;
    this.#members = members;
  }

  /** What it stores from now on carries that epoch: above that of anything stored in the partition. */
  renew(epoch: number): void {
    this.#inbox.renew(epoch);
  }

  /** After a restart: so many messages are stored, those of these origins (QoS 2) among them. */
  restoreInbox(messages: number, origins: readonly StoredOrigin[]): void {
    this.#inbox.restore(0, messages, origins);
  }

  get isWaiting(): boolean {
    return this.#inbox.unfinished > this.#moving;
  }

  hasStored(message: Message): boolean {
    return this.#inbox.hasStored(message, undefined);
  }

  wake(): void {
    this.pump(this.#host.nowMs());
  }

  /** One more message, of QoS 1 or 2. */
  accept(message: Message, nowMs: number): void {
    if (this.#inbox.unfinished >= this.#host.limits.queuedMessagesPerSession) {
      this.#host.meters.droppedOverQuota++;
      return;
    }
    const delivery = newDelivery(message.keep(), noTerms, message.qos === 2 ? 2 : 1, nowMs);
    delivery.spilled = true;
    this.#host.owe(delivery.message);
    this.#host.spendStored(message.payloadBytes, nowMs);
    this.#inbox.accept(delivery, true);
    this.pump(nowMs);
  }

  /** Gives away what can be given. */
  pump(nowMs: number): void {
    if (this.#whenOver || this.#giving) return;
    if (!this.#members.isKeeperThere) return this.#park();
    const isAllGiven = this.#giveAway((message) => this.#members.giveToKeeper(message, nowMs), nowMs);
    if (this.#whenOver)
      this.#beginScatter(); // It has ended meanwhile.
    else if (!isAllGiven) this.#members.whenKeeperReady(this.#wake);
    else if (this.isWaiting && !this.#reading) unattended('shared-queue', this.#read());
  }

  /** Of what is in memory; false when there is more than anybody takes. */
  #giveAway(give: (message: Message) => boolean, nowMs: number): boolean {
    this.#giving = true;
    try {
      return this.#giveEach(give, nowMs);
    } finally {
      this.#giving = false;
    }
  }

  #giveEach(give: (message: Message) => boolean, nowMs: number): boolean {
    for (let next = this.#page.peek(); next; next = this.#page.peek()) {
      if (next.message.expiresAtMs <= nowMs) {
        this.#page.shift();
        this.#host.meters.expiredMessages++; // [MQTT-3.3.2-5]
        this.#inbox.done(next);
        continue;
      }
      const safe = moveOn(this.#inbox, next, give);
      if (!safe) return false;
      this.#page.shift();
      this.#moving++;
      safe.whenSettled(() => this.#moving--);
    }
    return true;
  }

  async #read(): Promise<void> {
    this.#reading = true;
    let found = false;
    try {
      if (this.#inbox.hasUnread) {
        for (const delivery of await this.#inbox.read(() => this.#host.nowMs())) this.#page.push(delivery);
        found = true;
      } else
        this.#inbox.unspill((delivery) => {
          found = true;
          return this.#page.push(delivery);
        });
    } catch (error) {
      this.#host.readFailed(this, error);
    } finally {
      this.#reading = false;
    }
    if (this.#whenOver) this.#beginScatter();
    else if (found) this.pump(this.#host.nowMs());
  }

  /** Nobody is there: memory lets go what it has read. */
  #park(): void {
    for (let next = this.#page.shift(); next; next = this.#page.shift()) this.#inbox.forget(next);
  }

  /** No member is left whose session is stored. `over` is called when the rest has been given to whoever is connected. */
  end(over: () => void): void {
    this.#whenOver = over;
    if (!this.#reading && !this.#giving) this.#beginScatter();
  }

  #beginScatter(): void {
    unattended('shared-queue', this.#scatter());
  }

  async #scatter(): Promise<void> {
    const nowMs = this.#host.nowMs();
    const give = (message: Message): boolean => this.#members.giveToAnyone(message, nowMs);
    this.#inbox.unspill((delivery) => this.#page.push(delivery));
    try {
      while (this.#giveAway(give, nowMs) && this.#inbox.hasUnread)
        for (const delivery of await this.#inbox.read(() => nowMs)) this.#page.push(delivery);
    } catch (error) {
      this.#host.readFailed({ pump: () => this.#beginScatter() }, error);
      return;
    }
    for (let next = this.#page.shift(); next; next = this.#page.shift()) this.#inbox.done(next);
    this.#inbox.end();
    this.#whenOver!();
  }

  onSafe(delivery: Delivery, reasonCode: number): void {
    this.#host.pay(delivery.message, reasonCode);
  }

  onStored(): void {
    // It never sends anything itself.
  }

  onAllStored(): void {
    // What is stored is forgotten at once: all of it is spilled.
  }

  restore(stored: StoredMessage): StoredMessage {
    const { message, origin } = stored;
    if (origin) message.origin = { ...origin, again: undefined, settled: this.#host.settlementOf(origin) };
    return stored;
  }
}
