/** What is a connection's own: answers that pile up or do not fit, topic aliases. */
import { describe, expect, it } from 'vitest';
import { outboxBytesGiveUp } from '../../../services/broker/session/channel.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import { connect, message, nowMs, publish, terms } from './world.js';

it('gives a client up that asks and never reads', () => {
  const { send, outbox } = connect();
  outbox.waitingBytes = outboxBytesGiveUp + 1;
  send(publish('a', '', 1, 1));
  expect(outbox.closedBy).toBe(reasons.clientTooSlow);
});

it('ends the connection when an answer is larger than the client takes', () => {
  const { send, outbox } = connect({ packetBytesMax: 5 });
  send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: ['a', 'b', 'c'].map((topic) => ({ topic, qos: 0 })),
  });
  expect(outbox.closedBy).toBe(reasons.packetTooLarge);
  expect(outbox.said()).toEqual([]);
});

describe('topic aliases', () => {
  it('are used for the first topics, told once, and not spent on what is not sent', () => {
    const { session, outbox } = connect({ topicAliasMax: 2, packetBytesMax: 40 });
    session.deliver(message('a', 'x'.repeat(100), 0), terms(0), nowMs); // Too large: its alias must not count.
    for (const topic of ['a', 'a', 'b', 'c', 'b']) session.deliver(message(topic, '', 0), terms(0), nowMs);
    const seen = outbox.take().map((packet) => {
      const { topic, properties } = packet as { topic: string; properties?: { topicAlias?: number } };
      return [topic, properties?.topicAlias];
    });
    expect(seen).toEqual([
      ['a', 1],
      ['', 1],
      ['b', 2],
      ['c', undefined],
      ['', 2],
    ]);
  });
});
