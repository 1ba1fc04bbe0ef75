/**
 * What waits for a place in the window of a stored session: the part of it that is in memory, and reading the rest again. Owned by
 * `DurableOutbound`; it decides what memory keeps, and never sends.
 *
 *      accept -> in memory, while the client is there and all before it are, too
 *             -> spilled: in the inbox only ("behind"), read again when little is left in memory
 *      park   -> all of it, and what is under way: the client is away, and everything is stored
 *
 * Memory is bounded by what is in memory and a page (G7). While something is behind, what comes goes behind it: the order is
 * kept (G3). What was sent keeps its packet identifier when memory lets it go: of QoS 2 the item has it, of QoS 1 the bookmark.
 */
import { BoundedFifo, unattended } from '../../kernel/kernel.js';
import type { Bookmark, Delivery, Inbox } from '../inbox/inbox.js';
import type { Session } from './client-session.js';
import type { DurableWindow } from './durable-window.js';
import type { SessionHost } from './ports.js';

/** What of a queue is in memory: some round trips of the largest window. */
export const memoryMessagesMax = 1000;
const memoryBytesMax = 1 << 20;

const inMemory = { itemsMax: memoryMessagesMax, bytesMax: memoryBytesMax };
const sizeOf = (delivery: Delivery): number => delivery.message.heldBytes;

/** Memory may let it go: it is stored, and of QoS 2 also how far it has come. */
function isKnownToItem({ stage, qos, packetId, storedPacketId, released, storedReleased }: Delivery): boolean {
  if (stage === 'done') return true;
  return stage === 'stored' && (qos === 1 || (packetId === storedPacketId && released === storedReleased));
}

/** Whom it tells that a read is over, whatever came of it. */
interface QueueOwner {
  goOn(): void;
}

export class DurableQueue {
  readonly #session: Session;
  readonly #host: SessionHost;
  readonly #inbox: Inbox;
  readonly #mark: Bookmark;
  readonly #window: DurableWindow;
  readonly #owner: QueueOwner;
  /** Next to be sent; everything behind it is in the inbox only while `isBehind`. */
  readonly inMemory = new BoundedFifo<Delivery>(inMemory, sizeOf);
  #behind: boolean;
  #refilling = false;
  #refilled: Promise<void> | undefined;

  constructor(
    session: Session,
    host: SessionHost,
    inbox: Inbox,
    mark: Bookmark,
    window: DurableWindow,
    owner: QueueOwner,
  ) {
    this.#session = session;
    this.#host = host;
    this.#inbox = inbox;
    this.#mark = mark;
    this.#window = window;
    this.#owner = owner;
    this.#behind = inbox.hasUnread;
  }

  get isBehind(): boolean {
    return this.#behind;
  }

  get isEmpty(): boolean {
    return !this.#behind && this.inMemory.length === 0;
  }

  /** Memory has nothing of it, and nothing is being read. */
  get isIdle(): boolean {
    return !this.#refilling && this.inMemory.length === 0;
  }

  /** A slow source may add to it. */
  get isShort(): boolean {
    return !this.#behind && this.inMemory.bytes <= memoryBytesMax / 2;
  }

  /** While it is being read. */
  get refilled(): Promise<void> | undefined {
    return this.#refilling ? this.#refilled : undefined;
  }

  /** From now on it is in order, and will be stored or acknowledged. */
  accept(delivery: Delivery, nowMs: number): void {
    const isKept = this.#session.channel !== undefined && !this.#behind && !this.#host.memory.isFull;
    if (!isKept || !this.inMemory.fits(sizeOf(delivery))) {
      this.#host.spendStored(delivery.message.payloadBytes, nowMs);
      this.#behind = true;
      delivery.spilled = true;
      return this.#inbox.accept(delivery, true);
    }
    this.#inbox.accept(delivery, delivery.qos === 2);
    this.inMemory.push(delivery);
  }

  /** Nobody is there and everything is stored: memory lets it go, and what is under way. */
  park(): void {
    if (this.#refilling) return; // What is being read comes first, see `#refill`.
    const inFlight = this.#window.inOrder();
    if (inFlight.length === 0 && this.inMemory.length === 0) return;
    if (![...inFlight, ...this.inMemory].every(isKnownToItem)) return;
    for (const delivery of inFlight) {
      this.#remember(delivery);
      this.#window.leave(delivery);
      this.#inbox.forget(delivery);
    }
    for (let next = this.inMemory.shift(); next; next = this.inMemory.shift()) {
      this.#remember(next);
      if (next.stage !== 'done') this.#inbox.forget(next);
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

  /** Reads on, if there is something to read and little is left in memory. */
  refillIfLow(): void {
    if (!this.#behind || this.#refilling || !this.#isLow) return;
    this.#refilled = this.#refill();
    unattended('session', this.#refilled);
  }

  /** So little is left in the queue that the largest message fits: a refill always gets on. Nothing, if memory is short. */
  get #isLow(): boolean {
    if (this.#host.memory.isFull) return this.inMemory.length + this.#window.size === 0;
    return this.inMemory.length < memoryMessagesMax / 4 && this.inMemory.bytes < memoryBytesMax / 8;
  }

  /** The next part of what is not in memory: from the table, then what has not been stored yet. */
  async #refill(): Promise<void> {
    this.#refilling = true;
    try {
      while (this.#behind && this.#isLow && this.#session.channel) {
        if (!this.#inbox.hasUnread) {
          const all = this.#inbox.unspill((delivery) => this.inMemory.push(delivery));
          if (all === 'all') this.#behind = false;
          break;
        }
        // A page is in memory whatever the queue's bound says: it has one of its own.
        const page = await this.#inbox.read(() => this.#host.nowMs());
        this.inMemory.itemsMax = this.inMemory.bytesMax = Infinity;
        for (const delivery of page) this.inMemory.push(this.#recall(delivery));
        for (const { item } of page) this.#mark.packetIds?.delete(item!.key);
        this.inMemory.itemsMax = memoryMessagesMax;
        this.inMemory.bytesMax = memoryBytesMax;
      }
    } catch (error) {
      if (this.#session.channel) return this.#host.readFailed(this.#session, error);
    } finally {
      this.#refilling = false;
    }
    this.#owner.goOn();
  }

  #recall(delivery: Delivery): Delivery {
    if (delivery.qos === 1) delivery.packetId = this.#mark.packetIds?.get(delivery.item!.key)?.[delivery.index] ?? 0;
    return delivery;
  }
}
