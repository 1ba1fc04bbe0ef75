/**
 * The memory side of one session's stored messages: what is stored, what has to be, what may be deleted, and where
 * reading goes on. It decides; the commit log writes. Who calls it: the session's outbound half, and the commit log.
 *
 *      accept -> fresh -> writing -> stored -> done -> item deleted when all of it are
 *                  \_________\_________\____ acknowledged by the client
 *
 * A message is *safe*, and its publisher told so, as soon as it is stored or done, whichever comes first (G1).
 *
 * Items are keyed `m`, epoch, counter: in order, never used twice, and those of a later owner behind those of an
 * earlier one. Messages are written in the order in which they came; several QoS 1 messages share an item, a QoS 2
 * message has one of its own, which is written again when its state changes (packet identifier, PUBREC).
 *
 * What does not fit into memory is *spilled*: stored, forgotten, and read again page by page (G7). Crash points and
 * interleavings looked after:
 *  - crash before a commit is confirmed: the publisher has no acknowledgement and sends again;
 *  - crash after it, before the client's acknowledgement or the delete: delivered again (QoS 1), or completed under
 *    the stored packet identifier (QoS 2);
 *  - acknowledged while the write is under way: the delete follows in a later commit, never in the same;
 *  - a page that is read while a commit is under way: nothing above the last confirmed key is taken from it, what is
 *    above is still in memory;
 *  - a write whose answer is lost is repeated with the same key and content;
 *  - an item of an earlier life of the client id has an epoch below `born` and is not read.
 */
import { BoundedFifo } from '../../kernel/kernel.js';
import type { Message, PendingReceipt } from '../message/message.js';
import { before, Bookmark, keyOf } from './bookmark.js';
import type { CommitLog, CommitSource, StoredMessage, StoredOrigin, Write } from './commit.js';
import { type Delivery, newDelivery, newStoredItem } from './delivery.js';

/** What waits in all inboxes of a tenant. */
export interface Backlog {
  messages: number;
  /** One more inbox has the message in memory, stored or not. */
  hold(message: Message): void;
  letGo(message: Message): void;
}

/** What the session is told. */
export interface InboxOwner {
  /** How the item of a QoS 2 message says: it may be sent under its packet identifier, or be released. */
  onStored(delivery: Delivery): void;
  /** One that owed its safety does so no more; 0x80 and above: it could not be stored. */
  onSafe(delivery: Delivery, reasonCode: number): void;
  /** Everything that came so far is stored or done. */
  onAllStored(): void;
  /** As the stored terms say, with whatever of them only memory knows (the shared subscription's members). */
  restore(stored: StoredMessage): StoredMessage;
}

/** Small enough that a page of some items is a bounded bite of memory, large enough to share the price of an item. */
const itemBytesMax = 32 << 10;
const itemMessagesMax = 500;

/** A write under way, with what it stores or with who waits for the delete. */
interface Writing {
  readonly write: Write;
  readonly deliveries: readonly Delivery[];
  readonly gone?: PendingReceipt | undefined;
}

const unbounded = { itemsMax: Infinity, bytesMax: Infinity };
const sizeOf = (delivery: Delivery): number => delivery.message.heldBytes;

const isDone = ({ stage }: Delivery): boolean => stage === 'done';

export class Inbox implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  /** What is left of it when it has nothing to do. */
  readonly #mark: Bookmark;
  #backlog: { messages: number };
  readonly #memory: Pick<Backlog, 'hold' | 'letGo'>;
  readonly #log: CommitLog;
  readonly #owner: InboxOwner;
  /** Not given to the log yet, in order; those done meanwhile are skipped when their turn comes. */
  readonly #fresh = new BoundedFifo<Delivery>(unbounded, sizeOf);
  #freshOpen = 0;
  #urgent = false;
  #writing: readonly Writing[] = [];
  #rewrites: Set<Delivery> | undefined;
  /** Items to be deleted, with who waits for that. */
  #deletes: Map<string, PendingReceipt | undefined> | undefined;
  #quiet: (() => void)[] | undefined;
  #reading = false;
  /** Items that nobody needs, and that may still be in the table. */
  #gone: Set<string> | undefined;
  /** Deletes under way: a page read meanwhile may still hold them. */
  #deletedWhileReading: Set<string> | undefined;

  /** `backlog`: what the inboxes of a tenant come to. */
  constructor(partition: string, log: CommitLog, owner: InboxOwner, backlog: Backlog, mark = new Bookmark()) {
    this.#mark = mark;
    this.#backlog = backlog;
    this.#memory = backlog;
    this.partition = partition;
    this.lane = `messages ${partition}`;
    this.#log = log;
    this.#owner = owner;
  }

  /** Messages accepted and not done, in memory or not. */
  get unfinished(): number {
    return this.#mark.unfinished;
  }

  set unfinished(count: number) {
    this.#backlog.messages += count - this.#mark.unfinished;
    this.#mark.unfinished = count;
  }

  /** See `Bookmark`. */
  renew(epoch: number): void {
    this.#mark.renew(epoch);
  }

  restore(born: number, count: number, origins: readonly StoredOrigin[]): void {
    this.#mark.restore(born, count);
    this.#mark.know(count, origins);
    this.#backlog.messages += count;
  }

  hasStored(message: Message, shared: string | undefined): boolean {
    return this.#mark.hasStored(message, shared);
  }

  left(message: Message, shared: string | undefined): void {
    this.#mark.inherited?.left(message, shared);
  }

  /** Nothing of it is in memory but what the bookmark says, and nothing is to be written or read. */
  get isIdle(): boolean {
    if (!this.#isQuiet || this.#reading) return false;
    const waiting = (this.#rewrites?.size ?? 0) + (this.#deletes?.size ?? 0) + (this.#gone?.size ?? 0);
    if (waiting > 0) return false;
    for (const { held } of this.#mark.items?.values() ?? []) if (held.size > 0) return false;
    return true;
  }

  /** Whether messages wait outside memory, or would have to. */
  get hasUnread(): boolean {
    return this.#mark.unreadAfter !== undefined;
  }

  get allStored(): boolean {
    return this.#freshOpen === 0 && this.#writing.every(({ write }) => write.kind !== 'messages');
  }

  /** `urgent`: to be stored now, not after the delay. */
  accept(delivery: Delivery, urgent: boolean): void {
    this.unfinished++;
    this.#freshOpen++;
    if (!delivery.spilled) this.#memory.hold(delivery.message);
    this.#fresh.push(delivery);
    if (urgent) this.storeNow();
    else this.#log.requestLater(this);
  }

  storeNow(): void {
    this.#urgent = true;
    this.#log.request(this);
  }

  /** The item of a QoS 2 message has to say what has changed; `onStored` follows. */
  rewrite(delivery: Delivery): void {
    if (delivery.stage === 'fresh') return this.storeNow();
    (this.#rewrites ??= new Set()).add(delivery);
    this.#log.request(this);
  }

  /** The client has it, or it need not have it any more. */
  done(delivery: Delivery): void {
    const { stage } = delivery;
    if (stage === 'done') return;
    delivery.stage = 'done';
    this.unfinished--;
    if (!delivery.spilled) this.#memory.letGo(delivery.message);
    this.#rewrites?.delete(delivery);
    if (stage === 'fresh') {
      this.#freshOpen--;
      while (this.#fresh.peek()?.stage === 'done') this.#fresh.shift();
    }
    if (stage === 'stored') return this.#doneInItem(delivery);
    if (stage === 'fresh') delivery.movedOn?.settle(0);
    this.#owner.onSafe(delivery, 0);
  }

  /** The session ends: nobody is owed anything any more. */
  end(): void {
    for (const delivery of [...this.#fresh, ...this.#writing.flatMap(({ deliveries }) => deliveries)])
      if (!delivery.movedOn) this.done(delivery); // Those are done when they are safe where they are now.
    this.#rewrites = undefined;
    // What is left in the table is removed, and is nobody's any more.
    this.#backlog.messages -= this.#mark.unfinished;
    this.#backlog = { messages: this.#mark.unfinished };
  }

  /** After `end`: resolves when nothing is under way that would be left in the table. */
  quiet(): Promise<void> {
    return this.#isQuiet ? Promise.resolve() : new Promise((resolve) => (this.#quiet ??= []).push(resolve));
  }

  get #isQuiet(): boolean {
    return this.#freshOpen === 0 && this.#writing.length === 0;
  }

  #doneInItem({ item, index, qos, terms, message: { origin }, movedOn }: Delivery): void {
    const { key, done, held, size } = item!;
    done.add(index);
    held.delete(index);
    if (done.size < size) return;
    this.#mark.items?.delete(key);
    (this.#gone ??= new Set()).add(key);
    const remove = (): void => {
      (this.#deletes ??= new Map()).set(key, movedOn);
      this.#log.request(this);
    };
    // Whoever publishes it again after a crash must find it here until its own state knows it. One that was promised at least once
    // waits for nobody: its publisher may not have been told of it (`residence/unread.ts`), and would never know it.
    const isExactlyOnce = qos === 2 || terms.group !== undefined;
    if (origin && isExactlyOnce && !movedOn) origin.settled.whenSettled(remove);
    else remove();
  }

  take(max: number, nowMs: number, bytesMax: number): readonly Write[] {
    const taken: Writing[] = [];
    let bytes = 0;
    for (const [key, gone] of this.#deletes ?? []) {
      if (taken.length >= max) break;
      this.#deletes!.delete(key);
      taken.push({ write: { kind: 'delete', key }, deliveries: [], gone });
    }
    for (const delivery of this.#rewrites ?? []) {
      if (taken.length >= max || bytes >= bytesMax) break;
      if (delivery.stage !== 'stored') continue; // Its first write is under way.
      this.#rewrites!.delete(delivery);
      taken.push(this.#pack(delivery.item!.key, [delivery]));
      if (!delivery.released) bytes += delivery.message.storedBytes;
    }
    const dueMs = this.#urgent ? Infinity : nowMs - this.#log.persistDelayMs;
    while (taken.length < max && bytes < bytesMax) {
      const deliveries = this.#takeFresh(dueMs);
      if (deliveries.length === 0) break;
      const key = keyOf(this.#mark.epoch, ++this.#mark.counter);
      const item = newStoredItem(key, deliveries.length);
      deliveries.forEach((delivery, index) => {
        delivery.stage = 'writing';
        delivery.item = item;
        delivery.index = index;
        bytes += delivery.message.storedBytes;
      });
      taken.push(this.#pack(key, deliveries));
    }
    if (this.#freshOpen === 0) this.#urgent = false;
    this.#writing = taken;
    return taken.map(({ write }) => write);
  }

  /** The next that share an item. */
  #takeFresh(dueMs: number): Delivery[] {
    const taken: Delivery[] = [];
    let bytes = 0;
    for (let next = this.#fresh.peek(); next; next = this.#fresh.peek()) {
      if (next.stage === 'done') {
        this.#fresh.shift();
        continue;
      }
      const first = taken[0];
      if (next.arrivedAtMs > dueMs) break;
      if (first && (next.qos === 2 || first.qos === 2 || next.spilled !== first.spilled)) break;
      if (first && (bytes + next.message.storedBytes > itemBytesMax || taken.length >= itemMessagesMax)) break;
      bytes += next.message.storedBytes;
      taken.push(next);
      this.#fresh.shift();
      this.#freshOpen--;
    }
    return taken;
  }

  #pack(key: string, deliveries: readonly Delivery[]): Writing {
    const messages = deliveries.map(({ message, terms, qos, packetId, released }) => ({
      message,
      terms,
      qos,
      packetId: qos === 2 ? packetId : 0, // That of QoS 1 is given anew after a crash.
      sent: qos === 1 && packetId !== 0,
      released,
      shared: terms.group?.name,
    }));
    return { write: { kind: 'messages', key, messages }, deliveries };
  }

  committed(refused: readonly Write[]): void {
    const written = this.#writing;
    this.#writing = [];
    for (const { write, deliveries, gone } of written) {
      if (refused.includes(write)) this.#refused(deliveries);
      else if (write.kind === 'messages') this.#stored(write, deliveries);
      if (write.kind === 'delete') {
        this.#gone?.delete(write.key);
        if (this.#reading) (this.#deletedWhileReading ??= new Set()).add(write.key);
      }
      gone?.settle(0);
    }
    if (this.#hasMore) this.#log.request(this);
    else if (this.#freshOpen > 0) this.#log.requestLater(this);
    if (this.#freshOpen === 0) this.#owner.onAllStored();
    if (this.#quiet && this.#isQuiet) for (const resolve of this.#quiet.splice(0)) resolve();
  }

  get #hasMore(): boolean {
    return !!this.#deletes?.size || !!this.#rewrites?.size || (this.#urgent && this.#freshOpen > 0);
  }

  #stored(write: Extract<Write, { kind: 'messages' }>, deliveries: readonly Delivery[]): void {
    const item = deliveries[0]!.item!;
    if (item.key > this.#mark.confirmedKey) this.#mark.confirmedKey = item.key;
    const forgotten = deliveries.every(({ spilled, stage }) => spilled && stage === 'writing');
    if (!forgotten) (this.#mark.items ??= new Map()).set(item.key, item);
    deliveries.forEach((delivery, i) => {
      const { packetId, released } = write.messages[i]!;
      delivery.storedPacketId = packetId;
      delivery.storedReleased = released;
      const { stage } = delivery;
      if (stage === 'writing') {
        delivery.stage = 'stored';
        this.#owner.onSafe(delivery, 0);
      } else if (stage === 'done') return this.#doneInItem(delivery);
      if (delivery.spilled) return this.#letGo(delivery);
      item.held.add(delivery.index);
      if (delivery.qos === 1) return; // It shares its item with others, which is never written again.
      if (delivery.packetId !== packetId || delivery.released !== released)
        (this.#rewrites ??= new Set()).add(delivery);
      else this.#owner.onStored(delivery);
    });
  }

  /** Something of this item is in the table and not in memory. */
  #letGo({ item, message: { origin } }: Delivery): void {
    const { key } = item!;
    const mark = this.#mark;
    if (origin && origin.settled.reasonCode === undefined && !mark.unsettled?.has(key)) {
      (mark.unsettled ??= new Map()).set(key, origin.settled);
      origin.settled.whenSettled(() => mark.unsettled!.delete(key));
    }
    if (mark.unreadAfter === undefined || key <= mark.unreadAfter) mark.unreadAfter = before(key);
  }

  #refused(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries)
      if (delivery.stage === 'writing') {
        delivery.stage = 'done';
        this.unfinished--;
        if (!delivery.spilled) this.#memory.letGo(delivery.message);
        this.#rewrites?.delete(delivery);
        delivery.movedOn?.settle(0); // There is no item that anybody would have to wait for.
        this.#owner.onSafe(delivery, 0x83); // Implementation specific error
      }
  }

  /** A delivery that is stored leaves memory. */
  forget(delivery: Delivery): void {
    if (!delivery.spilled && delivery.stage !== 'done') this.#memory.letGo(delivery.message);
    delivery.spilled = true;
    this.#rewrites?.delete(delivery);
    if (delivery.stage !== 'stored') return;
    const { key, held, done } = delivery.item!;
    held.delete(delivery.index);
    // Of one that is done in part the table does not say which part.
    if (held.size === 0 && done.size === 0) this.#mark.items?.delete(key);
    this.#letGo(delivery);
  }

  /** Those accepted that are not stored yet and that nobody but the inbox holds come back, in order, as far as `fits`. */
  unspill(fits: (delivery: Delivery) => boolean): 'all' | 'some' {
    const writing = this.#writing.flatMap(({ deliveries }) => deliveries);
    for (const delivery of [...writing, ...this.#fresh]) {
      if (!delivery.spilled || (delivery.stage !== 'writing' && delivery.stage !== 'fresh')) continue;
      if (!fits(delivery)) return 'some';
      if (!isDone(delivery)) this.#memory.hold(delivery.message);
      delivery.spilled = false;
    }
    return 'all';
  }

  /** The next stored messages that are not in memory, as deliveries that are stored. One call at a time. */
  async read(nowMs: () => number): Promise<Delivery[]> {
    const mark = this.#mark;
    if (this.#reading || mark.unreadAfter === undefined) return [];
    this.#reading = true;
    const after = mark.unreadAfter;
    const upTo = mark.confirmedKey;
    try {
      if (upTo <= after) {
        mark.unreadAfter = undefined;
        this.#recount();
        return [];
      }
      const page = await this.#log.read(this.partition, after, upTo);
      const found: Delivery[] = [];
      for (const { key, messages } of page.items) found.push(...this.#readItem(key, messages, nowMs()));
      this.unfinished -= page.unreadable;
      const last = page.items.at(-1)?.key;
      if (page.more) mark.unreadAfter = last ?? after;
      else if (mark.confirmedKey > upTo) mark.unreadAfter = upTo;
      else {
        mark.unreadAfter = undefined;
        this.#recount();
      }
      return found;
    } finally {
      this.#reading = false;
      this.#deletedWhileReading = undefined;
    }
  }

  /** All of the table has been read: what is not known now has been removed there, when it had expired. */
  #recount(): void {
    let known = this.#freshOpen;
    for (const { deliveries } of this.#writing) known += deliveries.filter(({ stage }) => stage === 'writing').length;
    for (const { held } of this.#mark.items?.values() ?? []) known += held.size;
    this.unfinished = known;
  }

  #readItem(key: string, messages: readonly StoredMessage[], nowMs: number): Delivery[] {
    if (messages.length === 0 || this.#gone?.has(key) || this.#deletedWhileReading?.has(key)) return [];
    const items = (this.#mark.items ??= new Map());
    let item = items.get(key);
    if (!item) items.set(key, (item = newStoredItem(key, messages.length)));
    const found: Delivery[] = [];
    messages.forEach((stored, index) => {
      if (item.done.has(index) || item.held.has(index)) return;
      item.held.add(index);
      this.#memory.hold(stored.message);
      const { message, terms, qos, packetId, released, sent } = this.#owner.restore(stored);
      const settled = this.#mark.unsettled?.get(key);
      if (message.origin && settled) message.origin = { ...message.origin, settled };
      found.push({
        ...newDelivery(message, terms, qos, nowMs),
        released,
        dup: sent === true || packetId !== 0,
        packetId,
        stage: 'stored',
        item,
        index,
        storedPacketId: packetId,
        storedReleased: released,
      });
    });
    return found;
  }
}
