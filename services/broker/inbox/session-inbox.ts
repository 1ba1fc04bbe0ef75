/**
 * The memory side of one session's stored messages: what is stored, what has to be (`pending-writes.ts`), what may be deleted,
 * and where reading goes on (`unread.ts`). What is left of it while nothing is to be done, and what an earlier broker has left,
 * is in `bookmark.ts`. It decides; the commit log writes. Who calls it: the session's outbound half, and the commit log.
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
import type { Message } from '../message/message.js';
import { Bookmark } from './bookmark.js';
import type { CommitLog, CommitSource, StoredMessage, StoredOrigin, Write } from './commit.js';
import type { Delivery } from './delivery.js';
import { PendingWrites } from './pending-writes.js';
import { Unread } from './unread.js';

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

const isDone = ({ stage }: Delivery): boolean => stage === 'done';

export class Inbox implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  /** What is left of it when it has nothing to do. */
  readonly #mark: Bookmark;
  #backlog: { messages: number };
  readonly #memory: Pick<Backlog, 'hold' | 'letGo'>;
  readonly #owner: InboxOwner;
  readonly #pending: PendingWrites;
  readonly #unread: Unread;
  #quiet: (() => void)[] | undefined;
  #whenStored: (() => void)[] | undefined;

  /** `backlog`: what the inboxes of a tenant come to. */
  constructor(partition: string, log: CommitLog, owner: InboxOwner, backlog: Backlog, mark = new Bookmark()) {
    this.#mark = mark;
    this.#backlog = backlog;
    this.#memory = backlog;
    this.partition = partition;
    this.lane = `messages ${partition}`;
    this.#owner = owner;
    this.#pending = new PendingWrites(mark, log, this);
    this.#unread = new Unread(partition, mark, log, {
      hold: (message) => backlog.hold(message),
      restore: (stored) => owner.restore(stored),
      unreadable: (count) => (this.unfinished -= count),
      allRead: () => this.#recount(),
    });
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
    if (!this.#pending.isEmpty || !this.#unread.isIdle) return false;
    for (const { held } of this.#mark.items?.values() ?? []) if (held.size > 0) return false;
    return true;
  }

  /** Whether messages wait outside memory, or would have to. */
  get hasUnread(): boolean {
    return this.#mark.unreadAfter !== undefined;
  }

  get allStored(): boolean {
    return !this.#pending.hasUnstored;
  }

  /** `urgent`: to be stored now, not after the delay. */
  accept(delivery: Delivery, urgent: boolean): void {
    this.unfinished++;
    if (!delivery.spilled) this.#memory.hold(delivery.message);
    this.#pending.add(delivery, urgent);
  }

  storeNow(): void {
    this.#pending.storeNow();
  }

  /** The item of a QoS 2 message has to say what has changed; `onStored` follows. */
  rewrite(delivery: Delivery): void {
    if (delivery.stage === 'fresh') return this.storeNow();
    this.#pending.rewrite(delivery);
    this.#pending.request();
  }

  /** The client has it, or it need not have it any more. */
  done(delivery: Delivery): void {
    const { stage } = delivery;
    if (stage === 'done') return;
    delivery.stage = 'done';
    this.unfinished--;
    if (!delivery.spilled) this.#memory.letGo(delivery.message);
    this.#pending.noRewrite(delivery);
    if (stage === 'fresh') this.#pending.freshDone();
    if (stage === 'stored') return this.#doneInItem(delivery);
    if (stage === 'fresh') delivery.movedOn?.settle(0);
    this.#owner.onSafe(delivery, 0);
  }

  /** The session ends: nobody is owed anything any more. */
  end(): void {
    for (const delivery of [...this.#pending.deliveries()]) if (!delivery.movedOn) this.done(delivery); // Those are done when they are safe where they are now.
    this.#pending.end();
    this.leave(); // What is left in the table is removed, and is nobody's any more.
  }

  /** After `end`: resolves when nothing is under way that would be left in the table. */
  quiet(): Promise<void> {
    return this.#pending.isQuiet ? Promise.resolve() : new Promise((resolve) => (this.#quiet ??= []).push(resolve));
  }

  #doneInItem({ item, index, qos, terms, message: { origin }, movedOn }: Delivery): void {
    const { key, done, held, size } = item!;
    done.add(index);
    held.delete(index);
    if (done.size < size) return;
    this.#mark.items?.delete(key);
    this.#unread.leaves(key);
    const remove = (): void => this.#pending.delete(key, movedOn);
    // Whoever publishes it again after a crash must find it here until its own state knows it. One that was promised at least once
    // waits for nobody: its publisher may not have been told of it (`residence/unread.ts`), and would never know it.
    const isExactlyOnce = qos === 2 || terms.group !== undefined;
    if (origin && isExactlyOnce && !movedOn) origin.settled.whenSettled(remove);
    else remove();
  }

  /** Resolves when nothing waits to be written and nothing is under way; undefined: so it is. */
  get unstored(): Promise<void> | undefined {
    if (this.#pending.isEmpty) return undefined;
    return new Promise((resolve) => (this.#whenStored ??= []).push(resolve));
  }

  /** The session is another broker's, with all that is stored. */
  leave(): void {
    this.#backlog.messages -= this.#mark.unfinished;
    this.#backlog = { messages: this.#mark.unfinished };
  }

  take(max: number, nowMs: number, bytesMax: number): readonly Write[] {
    return this.#pending.take(max, nowMs, bytesMax);
  }

  committed(refused: readonly Write[]): void {
    for (const { write, deliveries, gone } of this.#pending.written()) {
      if (refused.includes(write)) this.#refused(deliveries);
      else if (write.kind === 'messages') this.#stored(write, deliveries);
      if (write.kind === 'delete') this.#unread.deleted(write.key);
      gone?.settle(0);
    }
    this.#pending.requestMore();
    if (this.#pending.isAllTaken) this.#owner.onAllStored();
    if (this.#quiet && this.#pending.isQuiet) for (const resolve of this.#quiet.splice(0)) resolve();
    if (this.#whenStored && this.#pending.isEmpty) for (const resolve of this.#whenStored.splice(0)) resolve();
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
      if (delivery.spilled) return this.#unread.letGo(delivery);
      item.held.add(delivery.index);
      if (delivery.qos === 1) return; // It shares its item with others, which is never written again.
      if (delivery.packetId !== packetId || delivery.released !== released) this.#pending.rewrite(delivery);
      else this.#owner.onStored(delivery);
    });
  }

  #refused(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries)
      if (delivery.stage === 'writing') {
        delivery.stage = 'done';
        this.unfinished--;
        if (!delivery.spilled) this.#memory.letGo(delivery.message);
        this.#pending.noRewrite(delivery);
        delivery.movedOn?.settle(0); // There is no item that anybody would have to wait for.
        this.#owner.onSafe(delivery, 0x83); // Implementation specific error
      }
  }

  /** A delivery that is stored leaves memory. */
  forget(delivery: Delivery): void {
    if (!delivery.spilled && delivery.stage !== 'done') this.#memory.letGo(delivery.message);
    delivery.spilled = true;
    this.#pending.noRewrite(delivery);
    if (delivery.stage !== 'stored') return;
    const { key, held, done } = delivery.item!;
    held.delete(delivery.index);
    // Of one that is done in part the table does not say which part.
    if (held.size === 0 && done.size === 0) this.#mark.items?.delete(key);
    this.#unread.letGo(delivery);
  }

  /** Those accepted that are not stored yet and that nobody but the inbox holds come back, in order, as far as `fits`. */
  unspill(fits: (delivery: Delivery) => boolean): 'all' | 'some' {
    for (const delivery of [...this.#pending.deliveries()]) {
      if (!delivery.spilled || (delivery.stage !== 'writing' && delivery.stage !== 'fresh')) continue;
      if (!fits(delivery)) return 'some';
      if (!isDone(delivery)) this.#memory.hold(delivery.message);
      delivery.spilled = false;
    }
    return 'all';
  }

  /** The next stored messages that are not in memory, as deliveries that are stored. One call at a time. */
  read(nowMs: () => number): Promise<Delivery[]> {
    return this.#unread.read(nowMs);
  }

  #recount(): void {
    let known = this.#pending.unstored;
    for (const { held } of this.#mark.items?.values() ?? []) known += held.size;
    this.unfinished = known;
  }
}
