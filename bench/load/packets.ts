/**
 * The few MQTT packets the load sends, encoded once before a run: nothing is encoded while it is measured.
 * Written by hand and from the specification, so that the load shares no codec with any broker it measures.
 */

export type ProtocolVersion = 4 | 5;

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** A session that outlives its connection (MQTT 5). */
export interface Durable {
  readonly sessionExpirySeconds: number;
  /** Goes on with the session that is there, instead of beginning a new one. */
  readonly resumes: boolean;
}

export const packetIdMax = 65_535;
const packetIdBytes = 2;
/** Packet type, remaining length 2, packet identifier: the success form of both versions. */
const pubackBytes = 4;

export function connectPacket(
  clientId: string,
  version: ProtocolVersion,
  credentials: Credentials | undefined,
  durable?: Durable,
): Buffer {
  const keepAliveSeconds = 300;
  const cleanStart = durable?.resumes ? 0 : 0x02;
  const flags = cleanStart | (credentials ? 0xc0 : 0);
  const properties = version === 5 ? connectProperties(durable) : Buffer.alloc(0);
  const secrets = credentials ? [field(credentials.username), field(credentials.password)] : [];
  const head = Buffer.from([version, flags, keepAliveSeconds >> 8, keepAliveSeconds & 0xff]);
  return frame(0x10, [field('MQTT'), head, properties, field(clientId), ...secrets]);
}

function connectProperties(durable: Durable | undefined): Buffer {
  if (!durable) return Buffer.from([0]);
  const sessionExpiryInterval = 0x11;
  const properties = Buffer.from([5, sessionExpiryInterval, 0, 0, 0, 0]);
  properties.writeUInt32BE(durable.sessionExpirySeconds, 2);
  return properties;
}

export function subscribePacket(filter: string, qos: number, version: ProtocolVersion): Buffer {
  const packetId = Buffer.from(version === 5 ? [0, 1, 0] : [0, 1]);
  return frame(0x82, [packetId, field(filter), Buffer.from([qos])]);
}

export function publishPacket(topic: string, payload: Buffer, version: ProtocolVersion, packetId?: number): Buffer {
  const id = Buffer.alloc(packetId === undefined ? 0 : packetIdBytes);
  if (packetId !== undefined) id.writeUInt16BE(packetId);
  const noProperties = Buffer.alloc(version === 5 ? 1 : 0);
  return frame(packetId === undefined ? 0x30 : 0x32, [field(topic), id, noProperties, payload]);
}

/** QoS 1 PUBLISH packets with the identifiers 1..window, back to back: a run of them is one slice and one write. */
export class PublishRing {
  readonly packetBytes: number;
  readonly #packets: Buffer;

  constructor(topic: string, payload: Buffer, version: ProtocolVersion, window: number) {
    const packets = Array.from({ length: window }, (_, slot) => publishPacket(topic, payload, version, slot + 1));
    this.packetBytes = packets[0]?.length ?? 0;
    this.#packets = Buffer.concat(packets);
  }

  slice(slot: number, count: number): Buffer {
    return this.#packets.subarray(slot * this.packetBytes, (slot + count) * this.packetBytes);
  }
}

const everyPuback = Buffer.alloc((packetIdMax + 1) * pubackBytes);
for (let id = 0; id <= packetIdMax; id++) {
  everyPuback.writeUInt32BE(0x40020000 | id, id * pubackBytes);
}

/** PUBACKs for `count` identifiers in sequence: brokers number what they send one by one, so most reads need one slice. */
export function pubackRun(firstId: number, count: number): Buffer {
  return everyPuback.subarray(firstId * pubackBytes, (firstId + count) * pubackBytes);
}

function field(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function frame(firstByte: number, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = [firstByte];
  let rest = body.length;
  do {
    header.push(rest > 127 ? (rest & 0x7f) | 0x80 : rest);
    rest >>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(header), body]);
}
