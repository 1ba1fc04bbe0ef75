/**
 * What of one inbox is in the table and not in memory: from where on, and reading it again, page by page (G7). A page that is
 * read while commits are under way may hold what is in memory, and what is deleted meanwhile: neither is taken from it.
 */
import type { Message } from '../message/message.js';
import { before, type Bookmark } from './bookmark.js';
import type { CommitLog, StoredMessage } from './commit.js';
import { type Delivery, newDelivery, newStoredItem } from './delivery.js';

export interface UnreadHost {
  hold(message: Message): void;
  /** As the stored terms say, with whatever of them only memory knows (the shared subscription's members). */
  restore(stored: StoredMessage): StoredMessage;
  /** So many that were counted cannot be read. */
  unreadable(count: number): void;
  /** All of the table has been read: what is not known now has been removed there, when it had expired. */
  allRead(): void;
}

export class Unread {
  readonly #partition: string;
  readonly #mark: Bookmark;
  readonly #log: CommitLog;
  readonly #host: UnreadHost;
  #reading = false;
  /** Items that nobody needs, and that may still be in the table. */
  #gone: Set<string> | undefined;
  /** Deletes under way: a page read meanwhile may still hold them. */
  #deletedWhileReading: Set<string> | undefined;

  constructor(partition: string, mark: Bookmark, log: CommitLog, host: UnreadHost) {
    this.#partition = partition;
    this.#mark = mark;
    this.#log = log;
    this.#host = host;
  }

  /** Nothing is read, and no item is to be deleted that could be. */
  get isIdle(): boolean {
    return !this.#reading && !this.#gone?.size;
  }

  /** Nobody needs the item: it will be deleted. */
  leaves(key: string): void {
    (this.#gone ??= new Set()).add(key);
  }

  deleted(key: string): void {
    this.#gone?.delete(key);
    if (this.#reading) (this.#deletedWhileReading ??= new Set()).add(key);
  }

  /** Something of this item is in the table and not in memory. */
  letGo({ item, message: { origin } }: Delivery): void {
    const { key } = item!;
    const mark = this.#mark;
    if (origin && origin.settled.reasonCode === undefined && !mark.unsettled?.has(key)) {
      (mark.unsettled ??= new Map()).set(key, origin.settled);
      origin.settled.whenSettled(() => mark.unsettled!.delete(key));
    }
    if (mark.unreadAfter === undefined || key <= mark.unreadAfter) mark.unreadAfter = before(key);
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
        this.#host.allRead();
        return [];
      }
      const page = await this.#log.read(this.#partition, after, upTo);
      const found: Delivery[] = [];
      for (const { key, messages } of page.items) found.push(...this.#readItem(key, messages, nowMs()));
      this.#host.unreadable(page.unreadable);
      const last = page.items.at(-1)?.key;
      if (page.more) mark.unreadAfter = last ?? after;
      else if (mark.confirmedKey > upTo) mark.unreadAfter = upTo;
      else {
        mark.unreadAfter = undefined;
        this.#host.allRead();
      }
      return found;
    } finally {
      this.#reading = false;
      this.#deletedWhileReading = undefined;
    }
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
      this.#host.hold(stored.message);
      const { message, terms, qos, packetId, released, sent } = this.#host.restore(stored);
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
