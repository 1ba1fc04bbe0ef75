/** What a client publishes: acknowledged when it is safe, in order, exactly once, and only where it may. */
import { describe, expect, it } from 'vitest';
import { noSubscribers, PendingReceipt } from '../../../services/broker/message/message.js';
import { unreleasedMax } from '../../../services/broker/session/inbound.js';
import { topicBytesMax } from '../../../services/topic/topic.js';
import { receiveMaximum, topicAliasMax } from '../../../services/broker/session/session.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import type { FakeHost } from './world.js';
import { ack, connect, everything, publish } from './world.js';

const pending = (host: FakeHost, count: number): PendingReceipt[] => {
  const receipts = Array.from({ length: count }, () => new PendingReceipt());
  host.receipts = [...receipts];
  return receipts;
};
const refusing = { ...everything, mayPublish: (topic: string) => !topic.startsWith('secret') };

describe('acknowledgements', () => {
  it('follow each quality of service', () => {
    const { send, outbox, host } = connect();
    host.receipts = [noSubscribers, noSubscribers];
    send(publish('a', '0', 0), publish('a', '1', 1, 7), publish('a', '2', 2, 8), ack('pubrel', 8), ack('pubrel', 9));
    expect(outbox.said()).toEqual(['puback 7 0x10', 'pubrec 8', 'pubcomp 8', 'pubcomp 9 0x92']);
    expect(host.published.map(({ payload, qos }) => payload + qos)).toEqual(['00', '11', '22']);
    expect(host.published[0]!.publisher).toBe('c');
  });

  it('wait for their receipt and keep their order', () => {
    const { send, outbox, host } = connect();
    const [first, second, third] = pending(host, 3) as [PendingReceipt, PendingReceipt, PendingReceipt];
    send(publish('a', '', 1, 1), publish('a', '', 2, 2), publish('a', '', 1, 3), publish('a', '', 1, 4));
    second.settle(0);
    expect(outbox.said()).toEqual([]);
    first.settle(0x97);
    expect(outbox.said()).toEqual(['puback 1 0x97', 'pubrec 2']);
    third.settle(0);
    expect(outbox.said()).toEqual(['puback 3', 'puback 4']);
  });

  it('never go to another connection than the one that is owed them', () => {
    const client = connect();
    const [receipt] = pending(client.host, 1) as [PendingReceipt];
    client.send(publish('a', '', 1, 1));
    const before = client.outbox;
    client.reconnect();
    receipt.settle(0);
    expect([before.said(), client.outbox.said()]).toEqual([[], []]);
  });

  it.each([4, 5] as const)('are not given for what may be lost: the connection ends (version %i)', (version) => {
    const client = connect({ version });
    const [first, second] = pending(client.host, 2) as [PendingReceipt, PendingReceipt];
    client.send(publish('a', 'x', 1, 1), publish('a', 'y', 2, 2));
    second.settle(0x88);
    first.settle(0x88);
    const before = client.outbox;
    expect([before.said(), before.closedBy]).toEqual([[], reasons.serverUnavailable]);
    client.reconnect();
    // Both are published again.
    client.send(publish('a', 'x', 1, 1, { dup: true }), publish('a', 'y', 2, 2, { dup: true }));
    expect(client.outbox.said()).toEqual(['puback 1', 'pubrec 2']);
    expect(client.host.published.map(({ payload }) => payload)).toEqual(['x', 'y', 'x', 'y']);
  });

  it('have no reason codes before MQTT 5.0', () => {
    const { send, outbox } = connect({ version: 4, access: refusing });
    send(publish('secret', '', 1, 1), publish('secret', '', 2, 2), ack('pubrel', 2));
    expect(outbox.said()).toEqual(['puback 1', 'pubrec 2', 'pubcomp 2']);
  });
});

describe('exactly once', () => {
  it('a repeated PUBLISH is answered and not published again', () => {
    const { send, outbox, host } = connect();
    send(publish('a', 'x', 2, 5), publish('a', 'x', 2, 5, { dup: true }), ack('pubrel', 5), publish('a', 'y', 2, 5));
    expect(outbox.said()).toEqual(['pubrec 5', 'pubrec 5', 'pubcomp 5', 'pubrec 5']);
    expect(host.published.map(({ payload }) => payload)).toEqual(['x', 'y']);
  });

  it('holds over a reconnect, with the receipt that is still pending', () => {
    const client = connect();
    const [receipt] = pending(client.host, 1) as [PendingReceipt];
    client.send(publish('a', 'x', 2, 5));
    client.reconnect();
    client.send(publish('a', 'x', 2, 5, { dup: true }));
    expect(client.outbox.said()).toEqual([]);
    receipt.settle(0);
    expect(client.outbox.said()).toEqual(['pubrec 5']);
    client.send(ack('pubrel', 5));
    expect(client.outbox.said()).toEqual(['pubcomp 5']);
    expect(client.host.published).toHaveLength(1);
  });

  it('a PUBREC with an error ends the exchange', () => {
    const { send, outbox, host } = connect({ access: refusing });
    send(publish('secret', '', 2, 5), ack('pubrel', 5), publish('a', 'x', 2, 5));
    expect(outbox.said()).toEqual(['pubrec 5 0x87', 'pubcomp 5 0x92', 'pubrec 5']);
    expect(host.published).toHaveLength(1);
    expect(host.meters.refusedPublishes).toBe(1);
  });

  it('repeats on one connection are remembered once while the receipt is pending', () => {
    const { send, outbox, host } = connect();
    const [receipt] = pending(host, 1) as [PendingReceipt];
    send(publish('a', 'x', 2, 5));
    for (let i = 0; i < 50; i++) send(publish('a', 'x', 2, 5, { dup: true }));
    receipt.settle(0);
    expect(outbox.said()).toEqual(['pubrec 5']);
  });
});

describe('Receive Maximum', () => {
  const exceeded = expect.objectContaining({ reason: reasons.receiveMaximumExceeded }) as Error;

  it('lets an MQTT 5.0 client have as much QoS 2 under way as it says, and no more', () => {
    const { send, host } = connect();
    const receipts = pending(host, receiveMaximum);
    for (let id = 1; id <= receiveMaximum; id++) send(publish('a', '', 2, id));
    receipts[0]!.settle(0x97); // Acknowledged with an error: over.
    expect(() => send(publish('a', '', 2, 1000))).not.toThrow();
    expect(() => send(publish('a', '', 2, 1001))).toThrow(exceeded);
  });

  it.each([5, 4] as const)(
    'is not held against QoS 1 of a client of version %i: what it is owed is counted',
    (version) => {
      const { send, host, session } = connect({ version });
      pending(host, 600);
      for (let id = 1; id <= 600; id++) send(publish('a', '', 1, id));
      expect(session.owedAcks).toBe(600);
      for (let id = 601; id <= 600 + receiveMaximum; id++) send(publish('a', '', 2, id));
      expect(session.owedAcks).toBe(600 + receiveMaximum);
    },
  );

  it('counts QoS 2 until PUBCOMP', () => {
    const { send, outbox } = connect();
    for (let id = 1; id <= receiveMaximum; id++) send(publish('a', '', 2, id));
    expect(outbox.said()).toHaveLength(receiveMaximum);
    send(ack('pubrel', 1), publish('a', '', 1, 1000));
    send(publish('a', '', 2, 1000));
    expect(() => send(publish('a', '', 2, 1001))).toThrow(exceeded);
  });

  it('begins anew with each connection, whatever the earlier ones have not released', () => {
    const client = connect();
    for (let id = 1; id <= receiveMaximum; id++) client.send(publish('a', '', 2, id));
    client.reconnect();
    client.send(publish('a', '', 1, 1000));
    expect(client.outbox.said()).toEqual(['puback 1000']);
    // As much again, and no more; releasing what was sent before gives it back, as it does in the client's own count.
    for (let id = 1; id <= receiveMaximum; id++) client.send(publish('a', '', 2, 2000 + id));
    expect(() => client.send(publish('a', '', 2, 3000))).toThrow(exceeded);
    client.send(ack('pubrel', 1), publish('a', '', 2, 3000));
    expect(() => client.send(publish('a', '', 2, 3001))).toThrow(exceeded);
  });
});

describe('messages that are not released', () => {
  it('are bounded in a session: 0x97 to an MQTT 5.0 client, on whichever connection', () => {
    const client = connect();
    for (let id = 1; id <= unreleasedMax; id++) {
      client.send(publish('a', '', 2, id));
      if (id % receiveMaximum === 0) client.reconnect();
    }
    client.outbox.take();
    client.send(publish('a', 'x', 2, 60_000), publish('a', 'y', 1, 60_001));
    expect(client.outbox.said()).toEqual(['pubrec 60000 0x97', 'puback 60001']);
    expect(client.host.published).toHaveLength(unreleasedMax + 1);
    client.send(ack('pubrel', 9), publish('a', 'x', 2, 60_000));
    expect(client.outbox.said()).toEqual(['pubcomp 9', 'pubrec 60000']);
  });

  it('end the connection of an older client that has too many, and none before', () => {
    const { send, outbox } = connect({ version: 4 });
    for (let id = 1; id <= unreleasedMax; id++) send(publish('a', '', 2, id));
    expect(outbox.said()).toHaveLength(unreleasedMax);
    expect(() => send(publish('a', '', 2, 60_000))).toThrow(
      expect.objectContaining({ reason: reasons.quotaExceeded }) as Error,
    );
  });
});

describe('topics', () => {
  it('may be told once and then by alias, on one connection', () => {
    const client = connect();
    client.send(publish('long/name', '1', 0, undefined, { properties: { topicAlias: 3 } }));
    client.send(publish('', '2', 0, undefined, { properties: { topicAlias: 3 } }));
    client.send(publish('other', '3', 0, undefined, { properties: { topicAlias: 3 } }));
    client.send(publish('', '4', 0, undefined, { properties: { topicAlias: 3 } }));
    expect(client.host.published.map(({ topic }) => topic)).toEqual(['long/name', 'long/name', 'other', 'other']);
    client.reconnect();
    expect(() => client.send(publish('', '5', 0, undefined, { properties: { topicAlias: 3 } }))).toThrow(/alias 3/);
  });

  it.each([
    ['an alias above the maximum', 'a', { topicAlias: topicAliasMax + 1 }, reasons.topicAliasInvalid],
    ['an unknown alias', '', { topicAlias: 1 }, reasons.protocolError],
    ['neither topic nor alias', '', {}, reasons.protocolError],
    ['a name that cannot be stored', 'a'.repeat(topicBytesMax + 1), {}, reasons.topicNameInvalid],
  ])('%s ends the connection', (_what, topic, properties, reason) => {
    const { send, host } = connect();
    expect(() => send(publish(topic, '', 0, undefined, { properties }))).toThrow(
      expect.objectContaining({ reason }) as Error,
    );
    expect(host.published).toEqual([]);
  });

  it('are asked for once, and again when the access rules change', () => {
    const asked: string[] = [];
    let allowed = false;
    const access = {
      ...everything,
      mayPublish: (topic: string) => {
        asked.push(topic);
        return allowed;
      },
    };
    const { send, session, host } = connect({ access });
    send(publish('a', '', 0), publish('a', '', 0), publish('b', '', 0), publish('a', '', 0));
    expect(asked).toEqual(['a', 'b']);
    allowed = true;
    session.setAccess(access);
    send(publish('a', '', 0), publish('b', '', 0));
    expect(host.published).toHaveLength(2);
    for (let i = 0; i < 1000; i++) send(publish(`t${i}`, '', 0)); // More than are remembered.
    expect(host.published).toHaveLength(1002);
  });
});
