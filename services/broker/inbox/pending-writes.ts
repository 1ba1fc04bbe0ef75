/**
 * What is to be written for one inbox: messages that no item has yet, items that have to say something else, items to be
 * deleted; and what is under way. Written in the order in which it came, but for deletes, which go first and cost least. Its
 * inbox decides what it is and hears what became of it (`session-inbox.ts`); the commit log says when, and how much at once.
 */
import { BoundedFifo } from '../../kernel/kernel.js';
import type { PendingReceipt } from '../message/message.js';
import { type Bookmark, keyOf } from './bookmark.js';
import type { CommitLog, CommitSource, Write } from './commit.js';
import { type Delivery, newStoredItem } from './delivery.js';

/** Small enough that a page of some items is a bounded bite of memory, large enough to share the price of an item. */
const itemBytesMax = 32 << 10;
const itemMessagesMax = 500;

/** A write under way, with what it stores or with who waits for the delete. */
export interface Writing {
  readonly write: Write;
  readonly deliveries: readonly Delivery[];
  readonly gone?: PendingReceipt | undefined;
}

const unbounded = { itemsMax: Infinity, bytesMax: Infinity };
const sizeOf = (delivery: Delivery): number => delivery.message.heldBytes;

export class PendingWrites {
  readonly #mark: Bookmark;
  readonly #log: CommitLog;
  readonly #source: CommitSource;
  /** Not given to the log yet, in order; those done meanwhile are skipped when their turn comes. */
  readonly #fresh = new BoundedFifo<Delivery>(unbounded, sizeOf);
  /** Of these, those that are not done. */
  #open = 0;
  #urgent = false;
  #writing: readonly Writing[] = [];
  #rewrites: Set<Delivery> | undefined;
  /** Items to be deleted, with who waits for that. */
  #deletes: Map<string, PendingReceipt | undefined> | undefined;

  /** `source`: the inbox, as the log knows it. */
  constructor(mark: Bookmark, log: CommitLog, source: CommitSource) {
    this.#mark = mark;
    this.#log = log;
    this.#source = source;
  }

  /** No message waits to be written, and nothing is under way. */
  get isQuiet(): boolean {
    return this.#open === 0 && this.#writing.length === 0;
  }

  get isEmpty(): boolean {
    return this.isQuiet && !this.#rewrites?.size && !this.#deletes?.size;
  }

  /** Messages that are in no item yet, as far as that is confirmed. */
  get hasUnstored(): boolean {
    return this.#open > 0 || this.#writing.some(({ write }) => write.kind === 'messages');
  }

  /** How many of these are not done. */
  get unstored(): number {
    let count = this.#open;
    for (const { deliveries } of this.#writing) count += deliveries.filter(({ stage }) => stage === 'writing').length;
    return count;
  }

  get isAllTaken(): boolean {
    return this.#open === 0;
  }

  /** In the order in which they came. */
  *deliveries(): Iterable<Delivery> {
    for (const { deliveries } of this.#writing) yield* deliveries;
    yield* this.#fresh;
  }

  add(delivery: Delivery, urgent: boolean): void {
    this.#open++;
    this.#fresh.push(delivery);
    if (urgent) this.storeNow();
    else this.#log.requestLater(this.#source);
  }

  storeNow(): void {
    this.#urgent = true;
    this.#log.request(this.#source);
  }

  /** With the next commit, whoever asks for it. */
  rewrite(delivery: Delivery): void {
    (this.#rewrites ??= new Set()).add(delivery);
  }

  request(): void {
    this.#log.request(this.#source);
  }

  delete(key: string, gone: PendingReceipt | undefined): void {
    (this.#deletes ??= new Map()).set(key, gone);
    this.#log.request(this.#source);
  }

  /** One that was fresh is done. */
  freshDone(): void {
    this.#open--;
    while (this.#fresh.peek()?.stage === 'done') this.#fresh.shift();
  }

  /** The item need not say anything new of it. */
  noRewrite(delivery: Delivery): void {
    this.#rewrites?.delete(delivery);
  }

  /** The session has ended. */
  end(): void {
    this.#rewrites = undefined;
  }

  /** What was under way, and is no more. */
  written(): readonly Writing[] {
    const written = this.#writing;
    this.#writing = [];
    return written;
  }

  /** For what is left. */
  requestMore(): void {
    const hasMore = !!this.#deletes?.size || !!this.#rewrites?.size || (this.#urgent && this.#open > 0);
    if (hasMore) this.#log.request(this.#source);
    else if (this.#open > 0) this.#log.requestLater(this.#source);
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
    if (this.#open === 0) this.#urgent = false;
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
      this.#open--;
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
}
