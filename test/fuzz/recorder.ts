/** Reads bytes with a real `PacketReader` and notes everything it says, in a form that can be compared. */
import {
  PacketReader,
  type PacketSink,
  PeerFault,
  type ProtocolVersion,
  TopicTable,
} from '../../services/broker/wire/wire.js';

export interface Reading {
  readonly events: unknown[];
  /** Name of the reason and the detail; undefined when all bytes were taken. */
  readonly fault: string | undefined;
}

export const nowMs = 1_800_000_000_000;
/** One table, as in the process of a broker: what one connection puts into it must not change what another reads. */
const topics = new TopicTable();

export function recorder(events: unknown[]): PacketSink {
  return {
    onPublish({ message, dup, packetId, topicAlias, packetBytes }) {
      const { topic, qos, retain, payload, properties, expiresAtMs, image3, image5 } = message;
      events.push({
        type: 'publish',
        topic: topic.text,
        topicBytes: topic.bytes.toString('hex'),
        payload: payload.toString('hex'),
        properties: properties.toString('hex'),
        image3: image3?.toString('hex', message.image3Start, message.image3End),
        image5: image5?.toString('hex', message.image5Start, message.image5End),
        ...{ qos, retain, dup, packetId, topicAlias, packetBytes, expiresAtMs },
      });
    },
    onAck: (type, packetId, reasonCode) => events.push({ type, packetId, reasonCode }),
    onPacket: (packet) => events.push(structuredClone(packet)),
  };
}

/** `version` 0: before CONNECT. Anything but a `PeerFault` goes through: it is a bug. */
export function readAll(chunks: readonly Buffer[], version: ProtocolVersion | 0, packetBytesMax = 4096): Reading {
  const events: unknown[] = [];
  const reader = new PacketReader(topics, recorder(events), packetBytesMax);
  reader.version = version;
  try {
    for (const chunk of chunks) reader.read(chunk, nowMs);
    return { events, fault: undefined };
  } catch (error) {
    if (!(error instanceof PeerFault)) throw error;
    return { events, fault: `${error.reason.name}: ${error.message}` };
  }
}

/** The same bytes cut at the given offsets, each piece in memory of its own. */
export function cut(bytes: Buffer, offsets: readonly number[]): Buffer[] {
  const at = [...new Set([0, ...offsets.map((offset) => offset % (bytes.length + 1)), bytes.length])];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, i) => Buffer.from(bytes.subarray(at[i], end)));
}

export function bytewise(bytes: Buffer): Buffer[] {
  return [...bytes].map((byte) => Buffer.of(byte));
}
