/** A retained message as an item. Frozen: what version 1 wrote is read for ever. */
import { type ClientId, ownBytes, type TenantScope } from '../../kernel/kernel.js';
import type { Item, TableKey } from '../../dynamo/dynamo.js';
import { Message, type QoS, topicName } from '../message/message.js';

const version = 1;

/** Attribute names count towards the 400 KB of an item and are paid for with every byte written: they are short. */
export function retainedToItem(scope: TenantScope, message: Message, publishedAtMs: number): Item & TableKey {
  return {
    pk: scope,
    sk: message.topic.text,
    v: version,
    payload: Uint8Array.from(message.payload),
    qos: message.qos,
    publishedAtMs,
    bytes: retainedBytes(message),
    ...(message.properties.length > 0 && { properties: Uint8Array.from(message.properties) }),
    ...(message.publisher !== undefined && { publisher: message.publisher }),
    ...(message.expiresAtMs !== Infinity && {
      expiresAtMs: message.expiresAtMs,
      ttl: Math.ceil(message.expiresAtMs / 1000),
    }),
  };
}

/** Longer than any write is under way; the broker that removed it is usually faster (see `retained-removals.ts`). */
const removalTtlSeconds = 3600;

/**
 * A message that was removed, so that an older write which arrives late does not bring it back. To every reader,
 * earlier releases included, it is a message that has expired.
 */
export function removalToItem(scope: TenantScope, topic: string, publishedAtMs: number): Item & TableKey {
  const ttl = Math.ceil(publishedAtMs / 1000) + removalTtlSeconds;
  const payload = new Uint8Array(0);
  return { pk: scope, sk: topic, v: version, payload, qos: 0, publishedAtMs, bytes: 0, expiresAtMs: 0, ttl };
}

/** What counts against `retainedBytes`. */
export function retainedBytes(message: Message): number {
  return message.topic.bytes.length + message.payloadBytes + message.properties.length;
}

export function retainedFromItem(item: Item): Message {
  if (item['v'] !== version) throw new Error(`a retained message of version ${String(item['v'])} cannot be read`);
  const topic = item['sk'] as string;
  const properties = item['properties'] as Uint8Array | undefined;
  const publisher = item['publisher'] as ClientId | undefined;
  return Message.of({
    topic: topicName(topic),
    payload: ownBytes(item['payload'] as Uint8Array),
    qos: item['qos'] as QoS,
    retain: true,
    ...(properties && { properties: ownBytes(properties) }),
    expiresAtMs: (item['expiresAtMs'] as number | undefined) ?? Infinity,
    publisher,
  });
}
