/**
 * The packets that a server sends once in a while: CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT.
 * Each gives the complete packet.
 */
import type { AckType, ProtocolVersion } from './packets.js';
import { packetType } from './packets.js';
import { encodeProperties, encodeVariableByteInteger, type Properties } from './properties.js';

function packet(type: number, ...body: Buffer[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([Buffer.of(type << 4), encodeVariableByteInteger(length), ...body]);
}

function withLength(properties: Properties): Buffer {
  const bytes = encodeProperties(properties);
  return Buffer.concat([encodeVariableByteInteger(bytes.length), bytes]);
}

/** `code` is a reason code for MQTT 5.0 and a return code before. */
export function encodeConnack(
  version: ProtocolVersion,
  sessionPresent: boolean,
  code: number,
  properties: Properties = {},
): Buffer {
  const head = Buffer.of(sessionPresent ? 1 : 0, code);
  return version === 5 ? packet(packetType.connack, head, withLength(properties)) : packet(packetType.connack, head);
}

const identifier = (packetId: number): Buffer => Buffer.of(packetId >> 8, packetId & 0xff);

export function encodeSuback(
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  reasonString?: string,
): Buffer {
  return version === 5
    ? packet(packetType.suback, identifier(packetId), withLength({ reasonString }), Buffer.from(codes))
    : packet(packetType.suback, identifier(packetId), Buffer.from(codes));
}

/** UNSUBACK has codes from MQTT 5.0 on. */
export function encodeUnsuback(version: ProtocolVersion, packetId: number, codes: readonly number[]): Buffer {
  return version === 5
    ? packet(packetType.unsuback, identifier(packetId), withLength({}), Buffer.from(codes))
    : packet(packetType.unsuback, identifier(packetId));
}

/** PUBACK or PUBREC of MQTT 5.0 that says in words why the message was refused. */
export function encodeRefusal(type: AckType, packetId: number, reasonCode: number, reasonString: string): Buffer {
  return packet(type, identifier(packetId), Buffer.of(reasonCode), withLength({ reasonString }));
}

export const pingresp: Buffer = Buffer.of(packetType.pingresp << 4, 0);

/** MQTT 5.0 only: before, a server has no DISCONNECT. */
export function encodeDisconnect(reasonCode: number, properties: Properties = {}): Buffer {
  return packet(packetType.disconnect, Buffer.of(reasonCode), withLength(properties));
}
