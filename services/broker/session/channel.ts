/**
 * The half of a connection's MQTT state that ends with the connection: dialect, limits that the client announced,
 * topic aliases of both directions. Turns messages and answers into bytes in the outbox.
 */
import { caught } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, QoS, TopicName } from '../message/message.js';
import {
  type AckType,
  encodeRefusal,
  encodeSuback,
  encodeUnsuback,
  packetType,
  type ProtocolVersion,
  publishBytes,
  type PublishForm,
  reasons,
  reasonWords,
  Slab,
  writeAck,
  writePublish,
} from '../wire/wire.js';
import type { Outbox, SessionMemory } from './ports.js';

/** About 8 s of a 1 Mbit/s link. Above it QoS 0 messages are dropped. */
export const outboxBytesMax = 1 << 20;
/** What a client that reads may have waiting within a turn of the event loop. */
const outboxBytesSlow = 1 << 16;
/** Above it QoS 1 and 2 messages wait in the session, where they are counted against its queue. */
export const outboxBytesHigh = 1 << 18;
/** Answers that no limit holds back (PINGRESP, PUBACK …) may pile up this far before the connection is given up. */
export const outboxBytesGiveUp = 2 * outboxBytesMax;
/** No packet of MQTT is larger. Looked at with every message: a whole number lies in the object itself, Infinity beside it. */
const wholePacketBytesMax = 268_435_460;
/** How many aliases a connection keeps for the client, and the most we use towards one: bounds its table. */
export const topicAliasMax = 32;
/** QoS 1 and 2 messages of a client that may be unacknowledged: what CONNACK tells it. */
export const receiveMaximum = 256;

export interface ChannelOptions {
  readonly version: ProtocolVersion;
  /** See `ConnectPacket`. */
  readonly isBridge: boolean;
  /** The client's Receive Maximum (65 535 when it said nothing). */
  readonly receiveMaximum: number;
  /** Our own bound of what is under way to it; for clients before MQTT 5.0 the only one. Below 32 767. */
  readonly inFlightMax: number;
  /** The client's Maximum Packet Size, in bytes; Infinity when it said nothing. */
  readonly packetBytesMax: number;
  /** The client's Topic Alias Maximum. */
  readonly topicAliasMax: number;
  /** The client's Request Problem Information: reason strings on other packets than CONNACK and DISCONNECT. */
  readonly problemInformation: boolean;
}

export type Sent = 'sent' | 'too-large' | 'too-slow' | 'no-memory';

/** One for the process: filled, used and forgotten within one call. */
const form: PublishForm = {
  version: 4,
  qos: 0,
  dup: false,
  retain: false,
  packetId: 0,
  subscriptionIds: [],
  topicAlias: 0,
  sendTopic: true,
};

/**
 * Acknowledgements of all connections, apart from the messages: of a publisher's burst the PUBACKs lie side by side, and so
 * do the messages for its subscriber. In one slab they would alternate and each be a range of its own.
 */
const answers = new Slab();

export class Channel {
  readonly version: ProtocolVersion;
  readonly isBridge: boolean;
  /** How many QoS 1 and 2 messages we may have under way to the client. [MQTT-3.3.4-9] */
  readonly window: number;
  readonly outbox: Outbox;
  /** PUBCOMP, SUBACK and UNSUBACK that wait until something is stored. */
  owedAnswers = 0;
  readonly #slab: Slab;
  readonly #packetBytesMax: number;
  readonly #aliasesOutMax: number;
  readonly #problemInformation: boolean;
  #aliasesOut: Map<string, number> | undefined;
  #aliasesIn: (TopicName | undefined)[] | undefined;

  constructor(outbox: Outbox, slab: Slab, options: ChannelOptions) {
    this.outbox = outbox;
    this.#slab = slab;
    this.version = options.version;
    this.isBridge = options.isBridge;
    this.window = Math.min(options.receiveMaximum, options.inFlightMax);
    this.#packetBytesMax = Math.min(options.packetBytesMax, wholePacketBytesMax);
    this.#problemInformation = options.problemInformation;
    this.#aliasesOutMax = Math.min(options.topicAliasMax, topicAliasMax);
  }

  get congested(): boolean {
    return this.outbox.waitingBytes > outboxBytesHigh;
  }

  /** QoS 0 to the client: shared bytes where nothing in the packet is this subscriber's own. */
  publish0(message: Message, terms: DeliveryTerms, memory: Pick<SessionMemory, 'isFull'>, nowMs: number): Sent {
    const retain = message.retain && terms.retainAsPublished;
    if (retain || terms.subscriptionIds.length > 0 || this.#aliasesOutMax > 0) {
      if (this.outbox.waitingBytes > outboxBytesSlow && memory.isFull) return 'no-memory';
      return this.publish(message, terms, 0, 0, false, nowMs);
    }
    if (this.version === 5) {
      if (message.image5 === undefined) this.#makeImage5(message, nowMs);
      return this.#pushImage(message.image5!, message.image5Start, message.image5End, memory);
    }
    if (message.image3 === undefined) this.#makeImage3(message, nowMs);
    return this.#pushImage(message.image3!, message.image3Start, message.image3End, memory);
  }

  #pushImage(source: Buffer, start: number, end: number, memory: Pick<SessionMemory, 'isFull'>): Sent {
    if (end - start > this.#packetBytesMax) return 'too-large';
    const { waitingBytes } = this.outbox;
    if (waitingBytes + end - start > outboxBytesMax) return 'too-slow';
    // The client reads less than it gets: what else is sent takes memory.
    if (waitingBytes > outboxBytesSlow && memory.isFull) return 'no-memory';
    this.outbox.push(source, start, end);
    return 'sent';
  }

  #makeImage3(message: Message, nowMs: number): void {
    this.#plainForm();
    message.image3Start = writePublish(this.#slab, message, form, nowMs);
    message.image3 = this.#slab.bytes;
    message.image3End = this.#slab.at;
  }

  #makeImage5(message: Message, nowMs: number): void {
    this.#plainForm();
    message.image5Start = writePublish(this.#slab, message, form, nowMs);
    message.image5 = this.#slab.bytes;
    message.image5End = this.#slab.at;
  }

  #plainForm(): void {
    form.version = this.version;
    form.qos = 0;
    form.dup = false;
    form.retain = false;
    form.packetId = 0;
    form.subscriptionIds = [];
    form.topicAlias = 0;
    form.sendTopic = true;
  }

  /** Any PUBLISH to the client, written for it alone. An alias is taken only for a packet that is really sent. */
  publish(message: Message, terms: DeliveryTerms, qos: QoS, packetId: number, dup: boolean, nowMs: number): Sent {
    this.#plainForm();
    form.qos = qos;
    form.dup = dup;
    form.retain = message.retain && terms.retainAsPublished;
    form.packetId = packetId;
    if (this.version === 5) {
      form.subscriptionIds = terms.subscriptionIds;
      if (this.#aliasesOutMax > 0) this.#useAlias(message.topic.text);
    }
    const bytes = publishBytes(message, form);
    if (bytes > this.#packetBytesMax) return 'too-large';
    if (qos === 0 && this.outbox.waitingBytes + bytes > outboxBytesMax) return 'too-slow';
    if (form.topicAlias > 0 && form.sendTopic) this.#aliasesOut!.set(message.topic.text, form.topicAlias);
    const start = writePublish(this.#slab, message, form, nowMs);
    this.outbox.push(this.#slab.bytes, start, this.#slab.at);
    return 'sent';
  }

  /** First come, first served: the first topics of a connection are the ones it will see most often. */
  #useAlias(topic: string): void {
    this.#aliasesOut ??= new Map();
    const known = this.#aliasesOut.get(topic);
    if (known !== undefined) {
      form.topicAlias = known;
      form.sendTopic = false;
    } else if (this.#aliasesOut.size < this.#aliasesOutMax) form.topicAlias = this.#aliasesOut.size + 1;
  }

  /** Remembers what the client says an alias stands for; `alias` is 1 to `topicAliasMax`. */
  setAlias(alias: number, topic: TopicName): void {
    (this.#aliasesIn ??= [])[alias] = topic;
  }

  alias(alias: number): TopicName | undefined {
    return this.#aliasesIn?.[alias];
  }

  ack(type: AckType, packetId: number, reasonCode: number): void {
    const isRefusal = reasonCode >= 0x80 && (type === packetType.puback || type === packetType.pubrec);
    if (isRefusal && this.#explains) {
      const explained = encodeRefusal(type, packetId, reasonCode, reasonWords(reasonCode));
      if (this.#fits(explained)) return this.send(explained);
    }
    const start = writeAck(answers, type, packetId, this.version === 5 ? reasonCode : 0);
    this.#answer(answers.bytes, start, answers.at);
  }

  /** `refusal`: words for the first refusal, if there is one. */
  suback(packetId: number, codes: readonly number[], refusal: string | undefined): void {
    const explained = encodeSuback(this.version, packetId, codes, this.#explains ? refusal : undefined);
    // [MQTT-3.9.2-1] The words are left out where they make the packet too large.
    this.send(this.#fits(explained) ? explained : encodeSuback(this.version, packetId, codes));
  }

  /**
   * [MQTT-3.1.2-24] Whether the client takes an answer for so many filters. Asked before anything is done for them: an
   * answer that cannot be given ends the connection, and nothing is to be left of what it would have told.
   */
  takesSuback(filters: number): boolean {
    if (this.#packetBytesMax === wholePacketBytesMax) return true;
    return this.#fits(encodeSuback(this.version, 1, new Array<number>(filters).fill(0)));
  }

  /** [MQTT-3.1.2-29] */
  get #explains(): boolean {
    return this.version === 5 && this.#problemInformation;
  }

  #fits(packet: Buffer): boolean {
    return packet.length <= this.#packetBytesMax;
  }

  unsuback(packetId: number, codes: readonly number[]): void {
    this.send(encodeUnsuback(this.version, packetId, codes));
  }

  /** A fault of ours in something that happened for this client among others: it costs this connection alone. */
  failed(error: unknown): void {
    caught('session', error); // Whose it was is told when the connection is closed.
    this.outbox.giveUp(reasons.unspecifiedError);
  }

  send(packet: Buffer, isAck = true): void {
    // [MQTT-3.1.2-24] Nothing larger than the client takes; and an answer that cannot be given ends the connection.
    if (!this.#fits(packet))
      this.outbox.giveUp(reasons.packetTooLarge, 'an answer is larger than the Maximum Packet Size of the client');
    else this.#answer(packet, 0, packet.length, isAck);
  }

  #answer(source: Buffer, start: number, end: number, isAck = true): void {
    if (this.outbox.waitingBytes > outboxBytesGiveUp) this.outbox.giveUp(reasons.clientTooSlow);
    else this.outbox.push(source, start, end, isAck);
  }
}
