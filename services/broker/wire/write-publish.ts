/**
 * PUBLISH and its acknowledgements, written straight into the slab: the packets of the hot path.
 */
import type { Message, QoS } from '../message/message.js';
import type { AckType, ProtocolVersion } from './packets.js';
import { packetType } from './packets.js';
import { variableByteIntegerBytes } from './properties.js';
import type { Slab } from './slab.js';

/** What differs from subscriber to subscriber. Mutable, so that a connection can use one again and again. */
export interface PublishForm {
  version: ProtocolVersion;
  qos: QoS;
  dup: boolean;
  retain: boolean;
  /** Ignored for QoS 0. */
  packetId: number;
  subscriptionIds: readonly number[];
  /** 0: none. */
  topicAlias: number;
  /** False: the receiver knows the alias already. */
  sendTopic: boolean;
}

/** The seconds a subscriber is told, at least 1 for a message that is still alive; -1 without expiry. [MQTT-3.3.2-6] */
export function remainingExpirySeconds(message: Message, nowMs: number): number {
  return message.expiresAtMs === Infinity ? -1 : Math.max(1, Math.ceil((message.expiresAtMs - nowMs) / 1000));
}

function publishPropertiesBytes(message: Message, form: PublishForm): number {
  let bytes = message.properties.length;
  if (message.expiresAtMs !== Infinity) bytes += 5;
  if (form.topicAlias !== 0) bytes += 3;
  for (const id of form.subscriptionIds) bytes += 1 + variableByteIntegerBytes(id);
  return bytes;
}

function remainingLength(message: Message, form: PublishForm, propertiesBytes: number): number {
  let bytes = 2 + message.payloadEnd - message.payloadStart;
  if (form.sendTopic) bytes += message.topic.bytes.length;
  if (form.qos > 0) bytes += 2;
  if (form.version === 5) bytes += variableByteIntegerBytes(propertiesBytes) + propertiesBytes;
  return bytes;
}

/** The size of the whole packet, to be compared with the receiver's Maximum Packet Size before anything is written. */
export function publishBytes(message: Message, form: PublishForm): number {
  const length = remainingLength(message, form, form.version === 5 ? publishPropertiesBytes(message, form) : 0);
  return 1 + variableByteIntegerBytes(length) + length;
}

/** Writes the packet at `slab.at`; it ends at the new `slab.at` and starts where this returns. */
export function writePublish(slab: Slab, message: Message, form: PublishForm, nowMs: number): number {
  const propertiesBytes = form.version === 5 ? publishPropertiesBytes(message, form) : 0;
  const length = remainingLength(message, form, propertiesBytes);
  slab.reserve(5 + length);
  const start = slab.at;
  slab.bytes[slab.at++] = (packetType.publish << 4) | (form.dup ? 0x08 : 0) | (form.qos << 1) | (form.retain ? 1 : 0);
  slab.variableByteInteger(length);
  const topic = message.topic.bytes;
  if (form.sendTopic) {
    slab.u16(topic.length);
    slab.copy(topic, 0, topic.length);
  } else slab.u16(0);
  if (form.qos > 0) slab.u16(form.packetId);
  if (form.version === 5) {
    slab.variableByteInteger(propertiesBytes);
    if (propertiesBytes > 0) writeProperties(slab, message, form, nowMs);
  }
  slab.copy(message.source, message.payloadStart, message.payloadEnd);
  return start;
}

function writeProperties(slab: Slab, message: Message, form: PublishForm, nowMs: number): void {
  if (message.expiresAtMs !== Infinity) {
    slab.bytes[slab.at++] = 0x02;
    slab.u32(remainingExpirySeconds(message, nowMs));
  }
  if (form.topicAlias !== 0) {
    slab.bytes[slab.at++] = 0x23;
    slab.u16(form.topicAlias);
  }
  for (const id of form.subscriptionIds) {
    slab.bytes[slab.at++] = 0x0b;
    slab.variableByteInteger(id);
  }
  slab.copy(message.properties, 0, message.properties.length);
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP; returns where it starts. Reason codes other than 0 are for MQTT 5.0 only. */
export function writeAck(slab: Slab, type: AckType, packetId: number, reasonCode: number): number {
  slab.reserve(5);
  const start = slab.at;
  slab.bytes[slab.at++] = (type << 4) | (type === packetType.pubrel ? 2 : 0);
  slab.bytes[slab.at++] = reasonCode === 0 ? 2 : 3;
  slab.u16(packetId);
  if (reasonCode !== 0) slab.bytes[slab.at++] = reasonCode;
  return start;
}
