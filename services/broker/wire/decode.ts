/**
 * Bytes of one complete packet to a `ControlPacket`: CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH.
 * Strict: what the specification calls malformed or a protocol error throws a `PeerFault` with the right reason
 * code (MQTT 5.0 section 4.13). Called by `reader.ts`; never by the PUBLISH path.
 */
import { isShareWithoutFilter, topicNameError } from '../../topic/topic.js';
import type { QoS } from '../message/message.js';
import type { Cursor } from './cursor.js';
import {
  type AuthPacket,
  type ConnectPacket,
  type ControlPacket,
  type DisconnectPacket,
  packetType,
  type ProtocolVersion,
  type SubscribePacket,
  type SubscriptionRequest,
  type UnsubscribePacket,
  type WillPacket,
} from './packets.js';
import { readProperties } from './properties.js';
import { malformed, PeerFault, protocolError, reasons } from './reasons.js';

/**
 * Of one SUBSCRIBE or UNSUBSCRIBE. Ten times the subscriptions of a session in the free plan; with a larger quota they are made in
 * several packets, between which the broker can turn to others.
 */
export const filtersMax = 1000;

/** `version` is that of the connection; it does not count for CONNECT, which brings its own. */
export function decodePacket(firstByte: number, cursor: Cursor, version: ProtocolVersion): ControlPacket {
  const type = firstByte >> 4;
  const flags = firstByte & 0x0f;
  switch (type) {
    case packetType.connect:
      return decodeConnect(flags, cursor);
    case packetType.subscribe:
      requireFlags(flags, 2, version); // [MQTT-3.8.1-1]
      return complete(decodeSubscribe(cursor, version), cursor);
    case packetType.unsubscribe:
      requireFlags(flags, 2, version); // [MQTT-3.10.1-1]
      return complete(decodeUnsubscribe(cursor, version), cursor);
    case packetType.pingreq:
      requireFlags(flags, 0, version);
      return complete({ type: 'pingreq' }, cursor);
    case packetType.disconnect:
      requireFlags(flags, 0, version); // [MQTT-3.14.1-1]
      return complete(decodeDisconnect(cursor, version), cursor);
    case packetType.auth:
      if (version !== 5) throw malformed('packet type 15 is reserved before MQTT 5.0');
      requireFlags(flags, 0, version); // [MQTT-3.15.1-1]
      return complete(decodeAuth(cursor), cursor);
    case 0:
      throw malformed('packet type 0 is reserved');
    default:
      throw protocolError(`clients cannot send packets of type ${type}`);
  }
}

/**
 * [MQTT-2.1.3-1] Reserved flags have their one valid value. MQTT 3.1 calls them not used, or DUP and QoS 1 of a packet that
 * is answered, and old clients set what they like (docs/decisions/0021).
 */
export function requireFlags(flags: number, wanted: number, version: ProtocolVersion): void {
  if (version !== 3 && flags !== wanted) throw malformed('reserved flags of the fixed header are set');
}

function complete<P extends ControlPacket>(packet: P, cursor: Cursor): P {
  if (cursor.left > 0) throw malformed(`${packet.type} has ${cursor.left} extra bytes`);
  return packet;
}

/** Non-zero, as [MQTT-2.2.1-3] demands. */
export function packetIdentifier(cursor: Cursor): number {
  const id = cursor.u16();
  if (id === 0) throw protocolError('a packet identifier cannot be zero');
  return id;
}

function decodeConnect(headerFlags: number, cursor: Cursor): ConnectPacket {
  const { version, isBridge } = protocolVersion(cursor);
  try {
    requireFlags(headerFlags, 0, version);
    return complete(decodeConnectOf(version, isBridge, cursor), cursor);
  } catch (error) {
    if (error instanceof PeerFault) error.dialect = version;
    throw error;
  }
}

function decodeConnectOf(version: ProtocolVersion, isBridge: boolean, cursor: Cursor): ConnectPacket {
  const flags = cursor.u8();
  // MQTT 3.1 says of the bits that later versions want to be zero that they are not used.
  const isLax = version === 3;
  if (!isLax && (flags & 0x01) !== 0) throw malformed('the reserved connect flag is set'); // [MQTT-3.1.2-3]
  const hasWill = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 0x03;
  const hasUserName = (flags & 0x80) !== 0;
  const hasPassword = (flags & 0x40) !== 0;
  if (willQos === 3) throw malformed('will QoS 3 does not exist'); // [MQTT-3.1.2-12]
  if (!hasWill && !isLax && (flags & 0x38) !== 0) throw malformed('will flags without a will'); // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  if (version !== 5 && hasPassword && !hasUserName) throw malformed('a password without a user name'); // 3.1.1 [MQTT-3.1.2-22]
  const keepAliveSeconds = cursor.u16();
  const properties = version === 5 ? readProperties(cursor, 'connect') : {};
  // [MQTT-3.1.2-24] in section 3.1.2.11.10: data without a method makes no sense.
  if (properties.authenticationData && properties.authenticationMethod === undefined)
    throw protocolError('authentication data without an authentication method');
  const clientId = cursor.utf8();
  const will = hasWill ? decodeWill(cursor, version, willQos as QoS, (flags & 0x20) !== 0) : undefined;
  // In MQTT 3.1 the end of the packet counts for more than the flags (section 3.1): a field may be missing.
  const isThere = (isFlagged: boolean): boolean => isFlagged && (!isLax || cursor.left > 0);
  const userName = isThere(hasUserName) ? cursor.utf8() : undefined;
  const password = isThere(hasPassword) ? cursor.binary() : undefined;
  return {
    type: 'connect',
    version,
    isBridge,
    cleanStart: (flags & 0x02) !== 0,
    keepAliveSeconds,
    clientId,
    will,
    userName,
    password,
    properties,
  };
}

/** Set in the level of a bridge before MQTT 5.0, where a subscription has options instead. A custom of brokers. */
const bridgeBit = 0x80;

const served = '"MQIsdp" with 3 (MQTT 3.1), "MQTT" with 4 (MQTT 3.1.1) and "MQTT" with 5 (MQTT 5.0)';
/** It ends up in the log. */
const nameShownMax = 20;

/** [MQTT-3.1.2-1] [MQTT-3.1.2-2] The protocol name and level, which belong together. */
function protocolVersion(cursor: Cursor): { version: ProtocolVersion; isBridge: boolean } {
  const name = cursor.utf8();
  const level = cursor.u8();
  const isBridge = (level & bridgeBit) !== 0;
  const version = level & ~bridgeBit;
  if (name === 'MQTT' && (version === 4 || (version === 5 && !isBridge))) return { version, isBridge };
  if (name === 'MQIsdp' && version === 3) return { version, isBridge };
  const received = `protocol name ${JSON.stringify(name.slice(0, nameShownMax))} with level ${level}`;
  if (name !== 'MQTT' && name !== 'MQIsdp') throw new PeerFault(reasons.notMqtt, `${received} is not MQTT`);
  const dialect = name === 'MQTT' && level > 5 ? 5 : 4;
  throw new PeerFault(reasons.unsupportedProtocolVersion, `${received}: served are ${served}`, dialect);
}

function decodeWill(cursor: Cursor, version: ProtocolVersion, qos: QoS, retain: boolean): WillPacket {
  const properties = version === 5 ? readProperties(cursor, 'will') : {};
  const topic = cursor.utf8();
  const error = topicNameError(topic);
  if (error !== undefined) throw new PeerFault(reasons.topicNameInvalid, `will topic: ${error}`);
  checkResponseTopic(properties.responseTopic);
  return { topic, payload: cursor.binary(), qos, retain, properties };
}

/** [MQTT-3.3.2-14] A response topic is a topic name: no wildcards. */
export function checkResponseTopic(responseTopic: string | undefined): void {
  if (responseTopic === undefined) return;
  const error = topicNameError(responseTopic);
  if (error !== undefined) throw protocolError(`response topic: ${error}`);
}

function decodeSubscribe(cursor: Cursor, version: ProtocolVersion): SubscribePacket {
  const packetId = packetIdentifier(cursor);
  const properties = version === 5 ? readProperties(cursor, 'subscribe') : {};
  const subscriptions: SubscriptionRequest[] = [];
  while (cursor.left > 0) {
    checkFilters(subscriptions.length);
    subscriptions.push(decodeSubscription(cursor, version));
  }
  if (subscriptions.length === 0) throw protocolError('SUBSCRIBE without a topic filter'); // [MQTT-3.8.3-2]
  return { type: 'subscribe', packetId, subscriptions, properties };
}

function decodeSubscription(cursor: Cursor, version: ProtocolVersion): SubscriptionRequest {
  const filter = decodeFilter(cursor, version);
  const options = cursor.u8();
  const qos = options & 0x03;
  const retainHandling = (options >> 4) & 0x03;
  // [MQTT-3.8.3-5] Reserved bits; before MQTT 5.0 all but QoS are reserved.
  if (qos === 3 || (options & (version === 5 ? 0xc0 : 0xfc)) !== 0)
    throw malformed('reserved subscription options are set');
  if (retainHandling === 3) throw protocolError('retain handling 3 does not exist');
  return {
    filter,
    qos: qos as QoS,
    noLocal: (options & 0x04) !== 0,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

/**
 * What is no topic filter at all ends the connection, with the whole packet: a code in SUBACK is for a filter that is one
 * and is not allowed here (0x8F, section 3.9.3). MQTT 3.x knows no shared subscriptions, so there the session refuses.
 */
function decodeFilter(cursor: Cursor, version: ProtocolVersion): string {
  const filter = cursor.utf8();
  if (filter.length === 0) throw malformed('a topic filter must have at least one character'); // [MQTT-4.7.3-1]
  if (version === 5 && isShareWithoutFilter(filter))
    throw protocolError(`${filter}: a shared subscription must be $share/<group>/<filter>`); // [MQTT-4.8.2-2]
  return filter;
}

/** Whether one more is allowed. */
function checkFilters(count: number): void {
  if (count >= filtersMax)
    throw new PeerFault(reasons.tooManyFilters, `more than ${filtersMax} topic filters in one packet: send several`);
}

function decodeUnsubscribe(cursor: Cursor, version: ProtocolVersion): UnsubscribePacket {
  const packetId = packetIdentifier(cursor);
  const properties = version === 5 ? readProperties(cursor, 'unsubscribe') : {};
  const filters: string[] = [];
  while (cursor.left > 0) {
    checkFilters(filters.length);
    filters.push(decodeFilter(cursor, version));
  }
  if (filters.length === 0) throw protocolError('UNSUBSCRIBE without a topic filter'); // [MQTT-3.10.3-2]
  return { type: 'unsubscribe', packetId, filters, properties };
}

/** [MQTT-3.14.2-1] What a client may say (table 3-10). */
const disconnectCodes = new Set([0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]);

function decodeDisconnect(cursor: Cursor, version: ProtocolVersion): DisconnectPacket {
  if (version !== 5 || cursor.left === 0) return { type: 'disconnect', reasonCode: 0, properties: {} };
  const reasonCode = cursor.u8();
  if (!disconnectCodes.has(reasonCode))
    throw malformed(`a client cannot send DISCONNECT with reason 0x${reasonCode.toString(16)}`);
  const properties = cursor.left > 0 ? readProperties(cursor, 'disconnect') : {};
  return { type: 'disconnect', reasonCode, properties };
}

function decodeAuth(cursor: Cursor): AuthPacket {
  if (cursor.left === 0) return { type: 'auth', reasonCode: 0, properties: {} };
  const reasonCode = cursor.u8();
  return { type: 'auth', reasonCode, properties: cursor.left > 0 ? readProperties(cursor, 'auth') : {} };
}
