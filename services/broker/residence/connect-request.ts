/**
 * What a CONNECT asks for, checked as far as the packet itself and the tenant's quotas go. Pure: who the client is has
 * been found out before, what it finds here comes after.
 */
import { randomBytes } from 'node:crypto';
import { type ClientId, ownBytes } from '../../kernel/kernel.js';
import { type Access, clientIdBytesMax, neverExpiresSeconds } from '../../tenancy/tenancy.js';
import { levelsError, topicBytesMax } from '../../topic/topic.js';
import { emptyBytes } from '../message/message.js';
import type { Will } from '../session/session.js';
import {
  type ConnectPacket,
  encodeProperties,
  PeerFault,
  type ProtocolVersion,
  reasons,
  type WillPacket,
} from '../wire/wire.js';
import type { TenantLimits } from '../tenant/tenant.js';

export const protocolNames: Readonly<Record<ProtocolVersion, '3.1' | '3.1.1' | '5'>> = { 3: '3.1', 4: '3.1.1', 5: '5' };

/** [MQTT-3.1.3-6] [MQTT-3.1.3-7] An empty identifier asks for one of ours. */
export function chooseClientId(packet: ConnectPacket): { clientId: ClientId; assigned: boolean } {
  const { clientId, version, cleanStart } = packet;
  if (Buffer.byteLength(clientId) > clientIdBytesMax)
    throw new PeerFault(
      reasons.clientIdentifierNotValid,
      `a client identifier can have at most ${clientIdBytesMax} bytes`,
    );
  if (clientId.length > 0) return { clientId: clientId as ClientId, assigned: false };
  // 3.1.1 [MQTT-3.1.3-8]: a session that is to be kept needs a name; MQTT 3.1 always wants one.
  if (version === 3 || (version === 4 && !cleanStart))
    throw new PeerFault(reasons.clientIdentifierNotValid, 'an empty client identifier requires a clean session');
  return { clientId: `auto-${randomBytes(12).toString('base64url')}` as ClientId, assigned: true };
}

/** How long the session outlives the connection, in seconds; Infinity for ever. Quotas cap it. */
export function sessionExpirySeconds(packet: ConnectPacket, limits: TenantLimits): number {
  // Before MQTT 5.0 a session that is not clean has no end of its own.
  const wanted =
    packet.version === 5 ? (packet.properties.sessionExpiryInterval ?? 0) : packet.cleanStart ? 0 : neverExpiresSeconds;
  return cappedExpirySeconds(wanted, limits);
}

export function cappedExpirySeconds(wantedSeconds: number, limits: TenantLimits): number {
  return Math.min(wantedSeconds === neverExpiresSeconds ? Infinity : wantedSeconds, limits.sessionExpirySecondsMax);
}

/** The keep alive in force, and whether it is ours. [MQTT-3.1.2-21] */
export function keepAliveSeconds(packet: ConnectPacket, serverMax: number): { seconds: number; imposed: boolean } {
  const wanted = packet.keepAliveSeconds;
  const exceeds = serverMax > 0 && (wanted === 0 || wanted > serverMax);
  // A client of MQTT 3.x cannot be told; it keeps the interval it knows.
  return exceeds && packet.version === 5 ? { seconds: serverMax, imposed: true } : { seconds: wanted, imposed: false };
}

export function checkedWill(packet: WillPacket, access: Access, limits: TenantLimits, levelsMax: number): Will {
  if (Buffer.byteLength(packet.topic) > topicBytesMax)
    throw new PeerFault(reasons.willTopicTooLong, `a will topic can have at most ${topicBytesMax} bytes`);
  const error = levelsError('a will topic', packet.topic, levelsMax);
  if (error !== undefined) throw new PeerFault(reasons.willTopicTooLong, error);
  if (!access.mayPublish(packet.topic)) throw new PeerFault(reasons.notAuthorized, 'the will topic is not allowed');
  if (packet.payload.length > limits.packetBytesMax)
    throw new PeerFault(reasons.packetTooLarge, 'the will is too large');
  const { willDelayInterval, messageExpiryInterval, ...forwarded } = packet.properties;
  return {
    topic: packet.topic,
    payload: packet.payload,
    qos: packet.qos,
    retain: packet.retain,
    properties: Object.keys(forwarded).length > 0 ? ownBytes(encodeProperties(forwarded)) : emptyBytes,
    delaySeconds: willDelayInterval ?? 0,
    expirySeconds: messageExpiryInterval,
    isUnread: false,
  };
}

/** What it counts for where bytes of messages are limited. */
export function willBytes({ topic, payload, properties }: Pick<Will, 'topic' | 'payload' | 'properties'>): number {
  return Buffer.byteLength(topic) + payload.length + properties.length;
}
