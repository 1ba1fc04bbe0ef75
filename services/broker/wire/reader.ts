/**
 * Bytes of one connection to packets. PUBLISH and its acknowledgements, which are nearly all traffic, are parsed in
 * place and handed over without an object per packet; the rest goes through `decode.ts`.
 *
 *      chunk  [...frame...][...frame...][...fra       held until its packet is complete, at most one packet
 *
 * Whoever drives it can stop it after a packet, wholly (`stop`), or so that PUBLISHes wait and what may overtake them
 * does not (`hold`); `held-bytes.ts` says what may. `resume` goes on where it was, `overtake` with what may only.
 *
 * A packet that a chunk completes is put together on its own, so a large chunk is never copied for a small rest.
 * What a peer may announce is bounded by `packetBytesMax`, and memory is taken only for bytes that have come.
 * Faults are thrown as `PeerFault`; after one, the reader is not used again.
 */
import { Message } from '../message/message.js';
import { Cursor } from './cursor.js';
import { decodePacket, requireFlags } from './decode.js';
import { type Speech, speechOf } from './first-bytes.js';
import { HeldBytes } from './held-bytes.js';
import { type AckType, type ControlPacket, packetType, type ProtocolVersion } from './packets.js';
import { type PublishProperties, scanPublishProperties } from './publish-properties.js';
import { readProperties, variableByteIntegerBytes } from './properties.js';
import { malformed, PeerFault, protocolError, type Reason, reasons } from './reasons.js';
import type { TopicTable } from './topic-table.js';

/** A PUBLISH that has just come in. Valid during the call only; see `Message`. */
export interface InboundPublish {
  readonly message: Message;
  readonly dup: boolean;
  /** 0 for QoS 0. */
  readonly packetId: number;
  /** 0 without alias, -1 for an alias of zero. The topic is empty when only the alias came. */
  readonly topicAlias: number;
  readonly packetBytes: number;
}

export interface PacketSink {
  onPublish(publish: InboundPublish): void;
  onAck(type: AckType, packetId: number, reasonCode: number): void;
  onPacket(packet: ControlPacket): void;
}

const noBytes = Buffer.alloc(0);
const emptyTopic = { text: '', bytes: noBytes };

/** [MQTT-3.4.2-1] [MQTT-3.5.2-1] What PUBACK and PUBREC may say. */
const receivedCodes = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
/** [MQTT-3.6.2-1] [MQTT-3.7.2-1] What PUBREL and PUBCOMP may say. */
const releasedCodes = new Set([0x00, 0x92]);

/** One for the process: reading is synchronous, and nobody keeps what it hands over. */
const inbound = { message: Message.volatile(), dup: false, packetId: 0, topicAlias: 0, packetBytes: 0 };
const scanned: PublishProperties = { topicAlias: 0, expirySeconds: -1, forwarded: noBytes };

export class PacketReader {
  /** 0 until CONNECT has been read; then the dialect of the connection. */
  version: ProtocolVersion | 0 = 0;
  /** Largest packet the peer may send, in bytes. */
  packetBytesMax: number;
  /** Handed over since whoever drives it has last set these to 0. */
  packets = 0;
  packetBytes = 0;
  readonly #topics: TopicTable;
  readonly #sink: PacketSink;
  #held: HeldBytes | undefined;
  #state: 'reads' | 'holds' | 'stopped' | 'over' = 'reads';
  #nowMs = 0;

  constructor(topics: TopicTable, sink: PacketSink, packetBytesMax: number) {
    this.#topics = topics;
    this.#sink = sink;
    this.packetBytesMax = packetBytesMax;
  }

  /** After the packet at hand nothing more is handed over until `resume`. */
  stop(): void {
    if (this.#state !== 'over') this.#state = 'stopped';
  }

  /** After the packet at hand only what may overtake a PUBLISH is handed over until `resume`. */
  hold(): void {
    if (this.#state === 'reads') this.#state = 'holds';
  }

  /** Goes from `stop` to `hold`: what may overtake and has come is handed over. */
  overtake(nowMs: number): void {
    if (this.#state === 'over') return;
    this.#state = 'holds';
    this.#nowMs = nowMs;
    this.#overtake();
  }

  /** For good: nothing more is handed over or kept. */
  end(): void {
    this.#state = 'over';
    this.#held = undefined;
  }

  /** Packets wait that `resume` would hand over. */
  get isHolding(): boolean {
    return this.#state !== 'reads' && this.heldBytes > 0;
  }

  get #isOver(): boolean {
    return this.#state === 'over';
  }

  get heldBytes(): number {
    return this.#held?.length ?? 0;
  }

  resume(nowMs: number): void {
    if (this.#state === 'reads' || this.#state === 'over') return;
    this.#state = 'reads';
    this.#nowMs = nowMs;
    // In place: what stays is neither copied nor looked at again each time.
    for (let held = this.#held; held && held.length > 0 && this.#state === 'reads'; held = this.#held) {
      const at = held.start;
      const next = held.packetEnd(at);
      // Before it is handed over, which may end all this. Checks of what is not complete are made by the reading itself.
      if (next > 0) held.start = next;
      this.#packetAt(held.bytes, at, next > 0 ? next : held.end);
      if (next === 0) break;
    }
    if (this.#held?.length === 0) this.#held = undefined;
    this.#overtake();
  }

  /**
   * As `end`, but a DISCONNECT among what is held is handed over: it has come. Returns how many PUBLISHes before it
   * are never handed over.
   */
  giveUp(): number {
    const held = this.#held;
    this.end();
    if (!held) return 0;
    let lost = 0;
    for (let at = held.start, next = 0; (next = held.packetEnd(at)) > 0; at = next) {
      const type = held.typeAt(at);
      if (type === packetType.publish) lost++;
      else if (type === packetType.disconnect) {
        this.#packetAt(held.bytes, at, next);
        break;
      }
    }
    return lost;
  }

  read(chunk: Buffer, nowMs: number): void {
    this.#nowMs = nowMs;
    let at = 0;
    if (this.#held && this.#state === 'reads') at = this.#completeHeld(this.#held, chunk);
    while (at < chunk.length && this.#state === 'reads') {
      const next = this.#packetAt(chunk, at, chunk.length);
      if (next === 0) break;
      at = next;
    }
    if (at < chunk.length && this.#state !== 'over') this.#hold(chunk, at, chunk.length);
    if (this.#state === 'holds') this.#overtake();
  }

  #hold(bytes: Buffer, start: number, end: number): HeldBytes {
    const held = (this.#held ??= new HeldBytes());
    held.add(bytes, start, end, this.packetBytesMax);
    return held;
  }

  #overtake(): void {
    while (this.#state === 'holds') {
      const taken = this.#held?.takeOvertaking();
      if (!taken) return;
      // One of them may end the connection; who is only stopped gets those that are taken all the same.
      for (let at = 0; at < taken.length && !this.#isOver;) at = this.#packetAt(taken, at, taken.length);
    }
  }

  /** Takes as many bytes of `chunk` as the held packet lacks; returns how many. */
  #completeHeld(held: HeldBytes, chunk: Buffer): number {
    let taken = 0;
    // The fixed header may be incomplete, too: byte by byte until it is known how much is missing.
    let wanted = this.#missing(held);
    while (wanted > 0 && taken < chunk.length) {
      const end = Math.min(chunk.length, taken + wanted);
      this.#hold(chunk, taken, end);
      taken = end;
      wanted = this.#missing(held);
    }
    if (wanted > 0) return taken;
    this.#held = undefined;
    this.#packetAt(held.bytes, held.start, held.end);
    return taken;
  }

  /** Bytes until the held packet is complete, or 1 while its fixed header is not. */
  #missing({ bytes, start, end, length: heldBytes }: HeldBytes): number {
    if (this.version === 0 && !isConnect(bytes, start, end)) return 1;
    let length = 0;
    for (let i = 1; i < 5; i++) {
      if (i >= heldBytes) return 1;
      const byte = bytes[start + i]!;
      length += (byte & 0x7f) << (7 * (i - 1));
      if (byte < 0x80) {
        if (byte === 0 && i > 1) throw longerThanNeeded();
        this.#checkAnnounced(length);
        return i + 1 + length - heldBytes;
      }
    }
    throw malformed('the remaining length has more than four bytes');
  }

  /** Handles the packet that starts at `at`; returns where the next one starts, or 0 when its end has not come. */
  #packetAt(bytes: Buffer, at: number, end: number): number {
    // Before anything else, so that what a stranger is told does not depend on how its bytes were cut.
    if (this.version === 0 && !isConnect(bytes, at, end)) return 0;
    let body = at + 1;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      if (body >= end) return 0;
      const byte = bytes[body++]!;
      length += (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw longerThanNeeded();
        break;
      }
      if (shift === 21) throw malformed('the remaining length has more than four bytes');
    }
    const firstByte = bytes[at]!;
    if (body + length > end || this.version === 0) {
      this.#checkAnnounced(length);
      if (body + length > end) return 0;
    }
    const next = body + length;
    if (next - at > this.packetBytesMax) throw tooLarge(next - at, this.packetBytesMax);
    this.packets++;
    this.packetBytes += next - at;
    const type = firstByte >> 4;
    if (type === packetType.publish) this.#publish(bytes, at, body, next);
    else if (type >= packetType.puback && type <= packetType.pubcomp) this.#ack(firstByte, bytes, body, next);
    else this.#other(firstByte, bytes, body, next);
    return next;
  }

  /** A packet is refused by its header, before its body takes memory. */
  #checkAnnounced(length: number): void {
    const packetBytes = 1 + variableByteIntegerBytes(length) + length;
    if (packetBytes > this.packetBytesMax) throw tooLarge(packetBytes, this.packetBytesMax);
  }

  #publish(bytes: Buffer, at: number, body: number, end: number): void {
    const firstByte = bytes[at]!;
    const qos = (firstByte >> 1) & 0x03;
    if (qos === 3) throw malformed('QoS 3 does not exist'); // [MQTT-3.3.1-4]
    if (qos === 0 && (firstByte & 0x08) !== 0 && this.version !== 3) throw malformed('DUP with QoS 0'); // [MQTT-3.3.1-2]
    if (body + 2 > end) throw malformed('PUBLISH without a topic');
    const topicEnd = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!);
    let payload = qos > 0 ? topicEnd + 2 : topicEnd;
    if (payload > end) throw malformed('the topic extends beyond the end of its packet');
    const { message } = inbound;
    message.renew();
    message.topic = topicEnd === body + 2 ? emptyTopic : this.#topics.lookup(bytes, body + 2, topicEnd);
    message.qos = qos as 0 | 1 | 2;
    message.retain = (firstByte & 0x01) !== 0;
    inbound.dup = (firstByte & 0x08) !== 0;
    inbound.packetId = qos > 0 ? (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]! : 0;
    if (qos > 0 && inbound.packetId === 0) throw protocolError('a packet identifier cannot be zero'); // [MQTT-2.2.1-3]
    inbound.topicAlias = 0;
    inbound.packetBytes = end - at;
    if (this.version === 5) payload = this.#publishProperties(bytes, payload, end);
    else if (message.topic === emptyTopic) throw new PeerFault(reasons.topicNameInvalid, 'an empty topic name');
    message.source = bytes;
    message.payloadStart = payload;
    message.payloadEnd = end;
    // Only a QoS 0 frame without retain and alias is, byte for byte, what subscribers of the same dialect get.
    if ((firstByte & 0x0f) === 0 && inbound.topicAlias === 0) {
      if (this.version === 5) {
        message.image5 = bytes;
        message.image5Start = at;
        message.image5End = end;
      } else {
        message.image3 = bytes;
        message.image3Start = at;
        message.image3End = end;
      }
    }
    this.#sink.onPublish(inbound);
  }

  /** Returns where the payload starts. */
  #publishProperties(bytes: Buffer, at: number, end: number): number {
    if (at >= end) throw malformed('PUBLISH without properties');
    let length = bytes[at]!;
    let start = at + 1;
    if (length >= 0x80) {
      const cursor = new Cursor(bytes, at, end);
      length = cursor.variableByteInteger();
      start = cursor.at;
    }
    if (length > 0) {
      if (start + length > end) throw malformed('the properties extend beyond the end of their packet');
      scanPublishProperties(bytes, start, start + length, scanned);
      inbound.message.properties = scanned.forwarded;
      inbound.topicAlias = scanned.topicAlias;
      if (scanned.expirySeconds >= 0) inbound.message.expiresAtMs = this.#nowMs + scanned.expirySeconds * 1000;
    }
    return start + length;
  }

  #ack(firstByte: number, bytes: Buffer, body: number, end: number): void {
    const type = (firstByte >> 4) as AckType;
    const flags = firstByte & 0x0f;
    requireFlags(flags, type === packetType.pubrel ? 2 : 0, this.version || 4); // [MQTT-3.6.1-1]
    if (end - body < 2) throw malformed('an acknowledgement without a packet identifier');
    const packetId = (bytes[body]! << 8) | bytes[body + 1]!;
    if (packetId === 0) throw protocolError('a packet identifier cannot be zero');
    let reasonCode = 0;
    if (end - body > 2) {
      if (this.version !== 5) throw malformed('an acknowledgement is too long');
      reasonCode = bytes[body + 2]!;
      const codes = type === packetType.puback || type === packetType.pubrec ? receivedCodes : releasedCodes;
      if (!codes.has(reasonCode)) throw malformed(`an acknowledgement with reason 0x${reasonCode.toString(16)}`);
      if (end - body > 3) this.#ackProperties(new Cursor(bytes, body + 3, end));
    }
    this.#sink.onAck(type, packetId, reasonCode);
  }

  #ackProperties(cursor: Cursor): void {
    readProperties(cursor, 'ack');
    if (cursor.left > 0) throw malformed('an acknowledgement is too long');
  }

  #other(firstByte: number, bytes: Buffer, body: number, end: number): void {
    const packet = decodePacket(firstByte, new Cursor(bytes, body, end), this.version || 4);
    if (packet.type === 'connect') {
      if (this.version !== 0) throw protocolError('a second CONNECT'); // [MQTT-3.1.0-2]
      this.version = packet.version;
    }
    this.#sink.onPacket(packet);
  }
}

const strangers: Readonly<Record<Exclude<Speech, 'mqtt'>, Reason>> = {
  tls: reasons.tlsOnPlainPort,
  http: reasons.httpOnMqttPort,
  'proxy-header': reasons.unexpectedProxyHeader,
  unknown: reasons.notMqtt,
};

/** [MQTT-3.1.0-1] The first packet is CONNECT; false while that is not known. */
function isConnect(bytes: Buffer, at: number, end: number): boolean {
  const speech = speechOf(bytes, at, end);
  if (speech !== undefined && speech !== 'mqtt') throw new PeerFault(strangers[speech], strangers[speech].words);
  return speech !== undefined;
}

/** [MQTT-1.5.5-1] A QoS 0 frame may go on as it came, so this matters to others, too. */
function longerThanNeeded(): PeerFault {
  return malformed('the remaining length is longer than necessary');
}

function tooLarge(packetBytes: number, packetBytesMax: number): PeerFault {
  return new PeerFault(reasons.packetTooLarge, `the packet has ${packetBytes} bytes; the limit is ${packetBytesMax}`);
}
