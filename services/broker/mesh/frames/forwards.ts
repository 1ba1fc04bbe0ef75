/** Messages as they go to other brokers, many in a frame; the layout is in `content.ts`. */
import { Buffer } from 'node:buffer';
import { contentTypes, type Encoded, MalformedContent, numberBytes, Reading } from './content.js';

/** One message, as it lies in its frame. */
export interface ForwardedMessage {
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Empty: that of the message before. */
  readonly tenant: string;
  /** 0 with QoS 0. */
  readonly receipt: number;
  /** Milliseconds; undefined without expiry. */
  readonly expiresInMs: number | undefined;
  /** Where they are in the frame; the payload is behind the properties. */
  readonly topicStart: number;
  readonly topicEnd: number;
  readonly propertiesStart: number;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

const retainFlag = 0x04;
const expiresFlag = 0x08;
/** 2^48 - 1: above it, as far as anybody sees, it never expires. */
const numberMax = 2 ** 48 - 1;

/** Calls `take` for each message; nothing of it is copied. */
export function readForwards(body: Buffer, take: (message: ForwardedMessage) => void): void {
  const frame = new Reading(body, numberBytes, body.length);
  while (!frame.isOver) {
    const length = frame.number(4);
    const start = frame.take(length);
    const reading = new Reading(body, start, start + length);
    const flags = reading.byte();
    const qos = flags & 0x03;
    if (qos > 2 || flags > 0x0f) throw new MalformedContent('flags of a message that mean nothing');
    const tenant = reading.text();
    const receipt = qos > 0 ? reading.number(6) : 0;
    const expiresInMs = (flags & expiresFlag) > 0 ? reading.number(6) : undefined;
    const topicBytes = reading.number(2);
    const topicStart = reading.take(topicBytes);
    const propertiesBytes = reading.number(4);
    const propertiesStart = reading.take(propertiesBytes);
    take({
      qos: qos as 0 | 1 | 2,
      retain: (flags & retainFlag) > 0,
      tenant,
      receipt,
      expiresInMs,
      topicStart,
      topicEnd: topicStart + topicBytes,
      propertiesStart,
      payloadStart: reading.at,
      payloadEnd: start + length,
    });
  }
}

/** A message, as far as it goes to other brokers. */
export interface ToForward {
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly topic: { readonly bytes: Buffer };
  readonly properties: Buffer;
  readonly source: Buffer;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

const partsBytes = 4 + 1 + 1 + 255 + 6 + 6 + 2 + 4;

/** Messages of one frame, as they come. */
export class ForwardsWriter {
  #bytes: Buffer;
  #at = numberBytes;
  #tenant: string | undefined;

  /** `expectedBytes`: what it will come to, as far as anybody knows. */
  constructor(expectedBytes = 0) {
    this.#bytes = Buffer.allocUnsafe(Math.max(firstBytes, expectedBytes));
  }

  get length(): number {
    return this.#at - numberBytes;
  }

  /** `receipt`: its number, of QoS 1 and 2. */
  add(message: ToForward, tenant: string, receipt: number, expiresInMs: number | undefined): void {
    const { qos, properties, payloadStart, payloadEnd } = message;
    const topic = message.topic.bytes;
    const needed = partsBytes + topic.length + properties.length + payloadEnd - payloadStart + this.#at;
    if (needed > this.#bytes.length) this.#grow(needed);
    const bytes = this.#bytes;
    const start = this.#at;
    let at = start + 4;
    bytes[at++] = qos | (message.retain ? retainFlag : 0) | (expiresInMs === undefined ? 0 : expiresFlag);
    if (tenant === this.#tenant) bytes[at++] = 0;
    else {
      const length = bytes.write(tenant, at + 1);
      bytes[at] = length;
      at += 1 + length;
      this.#tenant = tenant;
    }
    if (qos > 0) at = bytes.writeUIntBE(receipt, at, 6);
    if (expiresInMs !== undefined) at = bytes.writeUIntBE(Math.min(expiresInMs, numberMax), at, 6);
    at = bytes.writeUInt16BE(topic.length, at);
    bytes.set(topic, at);
    at = bytes.writeUInt32BE(properties.length, at + topic.length);
    if (properties.length > 0) bytes.set(properties, at);
    at += properties.length;
    at += message.source.copy(bytes, at, payloadStart, payloadEnd);
    bytes.writeUInt32BE(at - start - 4, start);
    this.#at = at;
  }

  /** All that has been added; the writer is done with. */
  end(): Encoded {
    return { type: contentTypes.forwards, body: this.#bytes.subarray(0, this.#at) };
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** Some small messages; it doubles. */
const firstBytes = 1024;
