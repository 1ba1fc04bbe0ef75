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

/** One bite after the other, to the end; how many messages each has. */
export async function bites(
  store: RetainedStore,
  filter: string,
  take: (message: Message) => void,
  messagesMax = 100,
): Promise<number[]> {
  const sizes: number[] = [];
  for (let after: string | undefined = ''; after !== undefined;) {
    const from: string = after;
    let taken = 0;
    await store.read(filter, {
      after: from,
      messagesMax,
      isWanted: () => true,
      take: (messages, next) => {
        taken++;
        sizes.push(messages.length);
        messages.forEach(take);
        after = next;
      },
    });
    expect([taken, after]).not.toEqual([1, from]);
    expect(taken).toBe(1);
  }
  return sizes;
}

/** Payload by topic. Topics come once, and in order. */
export async function read(store: RetainedStore, filter: string, messagesMax = 100): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  let last: Uint8Array = Buffer.alloc(0);
  await bites(
    store,
    filter,
    ({ topic, payload }) => {
      expect(topic.bytes.compare(last)).toBe(1);
      last = topic.bytes;
      found[topic.text] = payload.toString();
    },
    messagesMax,
  );
  return found;
}
