/**
 * Messages as one binary attribute of an item, because attribute names and types of hundreds of small messages would
 * cost more than the messages. Frozen: what version 1 wrote is read for ever. Each is, in order, big endian:
 *
 *      flags u8 | packet identifier u16 | expires at f64 (ms since the epoch) | 6 lengths | topic | properties |
 *      subscription identifiers, u32 each | shared subscription | publisher | payload
 *      flags: QoS 0x03, retain 0x04, retain as published 0x08, released 0x10, sent 0x20
 *      lengths: topic u16, properties u32, identifiers u16 (how many), shared u16, publisher u16, payload u32
 */
import { type ClientId, ownBytes } from '../../kernel/kernel.js';
import type { StoredMessage, StoredOrigin } from '../inbox/inbox.js';
import { emptyBytes, Message } from '../message/message.js';

const headBytes = 1 + 2 + 8 + 2 + 4 + 2 + 2 + 2 + 4;

/** All into one: hundreds of small messages in buffers of their own would take several times as long. */
export function pack(messages: readonly StoredMessage[]): Uint8Array {
  const bytesOf = textsOnce();
  let length = 0;
  for (const { message, terms, released, shared } of messages) {
    length += headBytes + 4 * terms.subscriptionIds.length;
    length += bytesOf(shared).length + bytesOf(message.publisher).length;
    // Once PUBREC has come only the identifier counts; topic and payload are not paid for again.
    if (!released) length += message.topic.bytes.length + message.properties.length + message.payloadBytes;
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const stored of messages) at = packInto(bytes, view, at, stored, bytesOf);
  return bytes;
}

/** Returns where the next one begins. */
function packInto(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  { message, terms, qos, packetId, released, sent, shared }: StoredMessage,
  bytesOf: (text: string | undefined) => Buffer,
): number {
  const ids = terms.subscriptionIds;
  const [sharedBytes, publisher] = [bytesOf(shared), bytesOf(message.publisher)];
  const topic = released ? emptyBytes : message.topic.bytes;
  const properties = released ? emptyBytes : message.properties;
  const payloadBytes = released ? 0 : message.payloadBytes;
  const state = (released ? 0x10 : 0) | (sent ? 0x20 : 0);
  bytes[start] = qos | (message.retain ? 0x04 : 0) | (terms.retainAsPublished ? 0x08 : 0) | state;
  view.setUint16(start + 1, packetId);
  view.setFloat64(start + 3, message.expiresAtMs);
  view.setUint16(start + 11, topic.length);
  view.setUint32(start + 13, properties.length);
  view.setUint16(start + 17, ids.length);
  view.setUint16(start + 19, sharedBytes.length);
  view.setUint16(start + 21, publisher.length);
  view.setUint32(start + 23, payloadBytes);
  let at = start + headBytes;
  at += topic.copy(bytes, at);
  at += properties.copy(bytes, at);
  for (const id of ids) {
    view.setUint32(at, id);
    at += 4;
  }
  at += sharedBytes.copy(bytes, at);
  at += publisher.copy(bytes, at);
  if (payloadBytes > 0) at += message.source.copy(bytes, at, message.payloadStart, message.payloadEnd);
  return at;
}

/** UTF-8. Names come again and again: of one publisher, above all. */
function textsOnce(): (text: string | undefined) => Buffer {
  const known = new Map<string | undefined, Buffer>([[undefined, emptyBytes]]);
  return (text) => {
    let bytes = known.get(text);
    if (!bytes) known.set(text, (bytes = Buffer.from(text!)));
    return bytes;
  };
}

export function unpack(packed: Uint8Array, origin: StoredOrigin | undefined): StoredMessage[] {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  const messages: StoredMessage[] = [];
  for (let at = 0; at < bytes.length;) {
    const flags = bytes[at]!;
    const lengths = [
      bytes.readUInt16BE(at + 11),
      bytes.readUInt32BE(at + 13),
      bytes.readUInt16BE(at + 17) * 4,
      bytes.readUInt16BE(at + 19),
      bytes.readUInt16BE(at + 21),
      bytes.readUInt32BE(at + 23),
    ];
    const packetId = bytes.readUInt16BE(at + 1);
    const expiresAtMs = bytes.readDoubleBE(at + 3);
    at += headBytes;
    const [topic, properties, ids, shared, publisher, payload] = lengths.map((length) =>
      bytes.subarray(at, (at += length)),
    ) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
    messages.push({
      message: Message.of({
        // Copies: one message that waits must not keep its whole item.
        topic: { text: topic.toString(), bytes: ownBytes(topic) },
        payload: ownBytes(payload),
        qos: (flags & 0x03) as 1 | 2,
        retain: (flags & 0x04) !== 0,
        properties: properties.length > 0 ? ownBytes(properties) : emptyBytes,
        expiresAtMs,
        publisher: publisher.length > 0 ? (publisher.toString() as ClientId) : undefined,
      }),
      terms: {
        qos: (flags & 0x03) as 1 | 2,
        retainAsPublished: (flags & 0x08) !== 0,
        subscriptionIds: Array.from({ length: ids.length / 4 }, (_, i) => ids.readUInt32BE(i * 4)),
      },
      qos: (flags & 0x03) as 1 | 2,
      packetId,
      released: (flags & 0x10) !== 0,
      sent: (flags & 0x20) !== 0,
      shared: shared.length > 0 ? shared.toString() : undefined,
      origin,
    });
  }
  return messages;
}
