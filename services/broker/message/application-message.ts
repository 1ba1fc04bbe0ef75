/**
 * The record that travels between rooms: one application message.
 *
 * A message that has just been read is *volatile*: its payload is a range of the read buffer and the object itself
 * is used again for the next PUBLISH. Whoever holds on to a message after the call that brought it calls `keep()`;
 * all who do so for one message share one copy, in memory of its own. That is why QoS 0 traffic allocates nothing.
 *
 *      source   [ ....|payloadStart ........ payloadEnd|.... ]
 *      image3   a complete QoS 0, retain 0 PUBLISH frame with this content for an MQTT 3.x client
 *      image5   the same for an MQTT 5.0 client (no subscription identifier, no alias)
 *
 * An image is a range of some buffer (kept in plain fields, not in an object per message). It starts out as the frame that came in, where that is byte for byte what goes
 * out; otherwise the first subscriber that needs one has it encoded and all others share it.
 */
import { type ClientId, ownBytes } from '../../kernel/kernel.js';
import { Nursery } from './nursery.js';
import { PendingReceipt, type Receipt } from './receipt.js';

export type QoS = 0 | 1 | 2;

/** A valid topic name, decoded once. Equal names need not be the same object. */
export interface TopicName {
  readonly text: string;
  /** UTF-8, without length prefix. */
  readonly bytes: Buffer;
}

/** A name that did not come in with a PUBLISH. */
export const topicName = (text: string): TopicName => ({ text, bytes: ownBytes(Buffer.from(text)) });

/** Identifies a QoS 2 message of one publisher, so that it is stored once although it is sent again after a crash. */
export interface Origin {
  readonly epoch: number;
  /** Counts the QoS 2 messages of the publisher within the epoch. */
  readonly number: number;
  /** 0: it is a will, and `epoch` that of the claim which set it. */
  readonly packetId: number;
  /** Of topic and payload; undefined for wills and in items of earlier releases. */
  readonly hash?: number | undefined;
  /**
   * Set when it may have been stored before a crash: tells whether a stored message of its packet identifier is the same.
   */
  readonly again: ((stored: OriginName) => boolean) | undefined;
  /** When the publisher's own state knows it, nobody has to remember it any more. */
  readonly settled: Receipt;
}

/** What is stored of an origin. */
export type OriginName = Pick<Origin, 'epoch' | 'number' | 'packetId' | 'hash'>;

/** Up to here all QoS 2 messages of a publisher are known to its stored state. */
export interface Settlement {
  readonly epoch: number;
  readonly number: number;
}

export const emptyBytes: Buffer = Buffer.alloc(0);

/** One for the process, as its messages share the memory of the process. */
const nursery = new Nursery();

/** The objects around a message that waits, its topic's and one delivery's included: measured, see `test/memory`. */
const objectBytes = 700;
/** What one more session that holds it takes: the record of its delivery and its place in a queue. */
export const deliveryBytes = 100;
/** The same for one that is to be stored: the record of how far it has come, and its place among those to be written. */
export const storedDeliveryBytes = 200;

export class Message {
  topic: TopicName;
  qos: QoS = 0;
  retain = false;
  source: Buffer = emptyBytes;
  payloadStart = 0;
  payloadEnd = 0;
  /**
   * MQTT 5.0 properties that go on to subscribers as they came, encoded and in order (payload format, content type,
   * response topic, correlation data, user properties); never aliases, expiry or subscription identifiers.
   */
  properties: Buffer = emptyBytes;
  /** Milliseconds since the epoch after which it is not delivered any more; Infinity without expiry. */
  expiresAtMs = Infinity;
  /** The client that published it; undefined for the broker's own messages. */
  publisher: ClientId | undefined = undefined;
  image3: Buffer | undefined = undefined;
  image3Start = 0;
  image3End = 0;
  image5: Buffer | undefined = undefined;
  image5Start = 0;
  image5End = 0;
  /** How many sessions of its tenant hold it; the tenant counts its bytes once. Without one it may leave the nursery with its block. */
  holders = 0;
  /** QoS 2 from a client whose session is stored: which of its messages it is. */
  origin: Origin | undefined = undefined;
  /** How many get it, a shared subscription counting as one: the more they are, the less one may slow its publisher. */
  subscribers = 1;
  /** How many have yet to make it safe: subscribers that have not acknowledged and stores that have not confirmed. */
  owed = 0;
  #receipt: PendingReceipt | undefined = undefined;
  #worstCode = 0;
  readonly #volatile: boolean;
  #kept: Message | undefined = undefined;
  #inNursery = false;

  private constructor(topic: TopicName, isVolatile: boolean) {
    this.topic = topic;
    this.#volatile = isVolatile;
  }

  /** The reusable record of a read loop; call `renew` before each use. */
  static volatile(): Message {
    return new Message({ text: '', bytes: emptyBytes }, true);
  }

  /** A message of its own, for everything that did not come out of a read buffer. The buffers are not copied: they are memory of its own. */
  static of(fields: {
    topic: TopicName;
    payload: Buffer;
    qos: QoS;
    retain: boolean;
    properties?: Buffer;
    expiresAtMs?: number;
    publisher?: ClientId | undefined;
  }): Message {
    const message = new Message(fields.topic, false);
    message.qos = fields.qos;
    message.retain = fields.retain;
    message.source = fields.payload;
    message.payloadEnd = fields.payload.length;
    message.properties = fields.properties ?? emptyBytes;
    message.expiresAtMs = fields.expiresAtMs ?? Infinity;
    message.publisher = fields.publisher;
    return message;
  }

  /** Forgets what the last message left behind. */
  renew(): void {
    this.#kept = undefined;
    this.image3 = undefined;
    this.image5 = undefined;
    this.properties = emptyBytes;
    this.expiresAtMs = Infinity;
    this.origin = undefined;
  }

  get payloadBytes(): number {
    return this.payloadEnd - this.payloadStart;
  }

  /** What it takes to hold the message, in bytes: what limits of memory count. */
  get heldBytes(): number {
    return this.payloadEnd - this.payloadStart + this.properties.length + this.topic.bytes.length + objectBytes;
  }

  /** What it takes of a stored item, with something for its head, identifiers and publisher. */
  get storedBytes(): number {
    return this.payloadEnd - this.payloadStart + this.properties.length + this.topic.bytes.length + 200;
  }

  /** A view, valid as long as the message is. */
  get payload(): Buffer {
    return this.source.subarray(this.payloadStart, this.payloadEnd);
  }

  /** One more has to make it safe before its publisher is told so. Only for a message that may be held. */
  owe(): void {
    // One that was paid before the next had owed has settled: it must not answer for those that come behind.
    if (this.owed++ === 0) this.#receipt = new PendingReceipt();
  }

  /** One of them has, or (0x80 and above) never will. */
  pay(reasonCode = 0): void {
    this.#worstCode = Math.max(this.#worstCode, reasonCode);
    if (--this.owed === 0) this.#receipt!.settle(this.#worstCode);
  }

  /** What the publisher's acknowledgement waits for; undefined when nobody owes anything. */
  get pending(): Receipt | undefined {
    const held = this.#kept ?? this;
    return held.owed > 0 ? held.#receipt : undefined;
  }

  /** The same content with receipts of its own, for whoever moves a held message on; what it holds is shared. */
  withOrigin(origin: Origin | undefined): Message {
    const { topic, payload, qos, retain, properties, expiresAtMs, publisher } = this;
    const other = Message.of({ topic, payload, qos, retain, properties, expiresAtMs, publisher });
    other.origin = origin;
    return other;
  }

  /** This message as one that may be held: itself, or one shared copy of a volatile one. */
  keep(): Message {
    if (!this.#volatile) {
      if (this.#inNursery) this.#toOwnMemory();
      return this;
    }
    if (this.#kept) return this.#kept.keep();
    const kept = this.#copy();
    kept.source = ownBytes(this.source, this.payloadStart, this.payloadEnd);
    kept.payloadEnd = kept.source.length;
    if (this.properties.length > 0) kept.properties = ownBytes(this.properties);
    return (this.#kept = kept);
  }

  /** As `keep`, for those who count themselves as `holders` and mostly let go soon. */
  keepBriefly(): Message {
    const payloadBytes = this.payloadEnd - this.payloadStart;
    const bytes = payloadBytes + this.properties.length;
    if (!this.#volatile || this.#kept || !nursery.fits(bytes)) return this.#kept ?? this.keep();
    const kept = this.#copy();
    const at = nursery.take(bytes, kept);
    const { block } = nursery;
    this.source.copy(block, at, this.payloadStart, this.payloadEnd);
    kept.source = block;
    kept.payloadStart = at;
    kept.payloadEnd = at + payloadBytes;
    if (this.properties.length > 0) {
      this.properties.copy(block, kept.payloadEnd);
      kept.properties = block.subarray(kept.payloadEnd, at + bytes);
    }
    kept.#inNursery = true;
    return (this.#kept = kept);
  }

  /** The block in which it lies is to be given up. One that nobody holds any more goes with it. */
  moveOut(): void {
    if (this.#inNursery && this.holders > 0) this.#toOwnMemory();
  }

  #toOwnMemory(): void {
    this.source = ownBytes(this.source, this.payloadStart, this.payloadEnd);
    this.payloadStart = 0;
    this.payloadEnd = this.source.length;
    if (this.properties.length > 0) this.properties = ownBytes(this.properties);
    this.#inNursery = false;
  }

  /** Everything but the bytes. */
  #copy(): Message {
    const copy = new Message(this.topic, false);
    copy.qos = this.qos;
    copy.retain = this.retain;
    copy.expiresAtMs = this.expiresAtMs;
    copy.publisher = this.publisher;
    copy.origin = this.origin;
    copy.subscribers = this.subscribers;
    return copy;
  }
}
