/** What the contract of retained messages and the tests of what DynamoDB adds to it have in common. */
import { expect } from 'vitest';
import type { RetainedStore } from '../../../services/broker/fanout/fanout.js';
import { Message, type QoS, type Receipt } from '../../../services/broker/message/message.js';
import type { ClientId } from '../../../services/kernel/kernel.js';

export const unlimited = { retainedMessages: Infinity, retainedBytes: Infinity };

export function message(
  topic: string,
  payload: string | Buffer,
  more: { qos?: QoS; properties?: Buffer; expiresAtMs?: number; publisher?: ClientId } = {},
): Message {
  const name = { text: topic, bytes: Buffer.from(topic) };
  return Message.of({ topic: name, payload: Buffer.from(payload), qos: more.qos ?? 1, retain: true, ...more });
}

export const settled = (receipt: Receipt): Promise<number> =>
  new Promise((resolve) => receipt.whenSettled(() => resolve(receipt.reasonCode!)));

/** Payload by topic, of what is not stale when its page has come. */
export async function read(store: RetainedStore, filter: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const page of store.read(filter))
    for (const one of page.messages) {
      expect(found[one.topic.text]).toBeUndefined(); // Each topic once.
      if (!page.isStale(one)) found[one.topic.text] = one.payload.toString();
    }
  return found;
}
