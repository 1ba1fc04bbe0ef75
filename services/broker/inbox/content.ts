import { crc32 } from 'node:zlib';
import type { Message } from '../message/message.js';

/**
 * Tells messages apart that a publisher sends under one packet identifier: topic and payload in 32 bits. It is compared
 * only where the identifier is the same and may still be in use, so one in four thousand million is rare enough; and
 * payloads of one length that differ within four bytes, as counters do, never have the same.
 */
export function contentHash({ topic, source, payloadStart, payloadEnd }: Message): number {
  // The length of the topic as the seed says where it ends.
  return crc32(source.subarray(payloadStart, payloadEnd), crc32(topic.bytes, topic.bytes.length));
}
