/** Messages to one client: window, resending, overflow, aliases, expiry, shared subscriptions. */
import { describe, expect, it } from 'vitest';
import type { Leaver, Message } from '../../../services/broker/message/message.js';
import { outboxBytesGiveUp, outboxBytesHigh, outboxBytesMax } from '../../../services/broker/session/channel.js';
import { windowBytesMax } from '../../../services/broker/session/window.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import { ack, connect, FakeHost, message, nowMs, publish, terms } from './world.js';

describe('delivery', () => {
  it.each([
    [0, 2, 'publish q0 a x'],
    [1, 2, 'publish 1 q1 a x'],
    [2, 1, 'publish 1 q1 a x'],
    [2, 2, 'publish 1 q2 a x'],
    [2, 0, 'publish q0 a x'],
  ] as const)('published at %i and subscribed at %i', (published, subscribed, said) => {
    const { session, outbox } = connect();
    session.deliver(message('a', 'x', published), terms(subscribed), nowMs);
    expect(outbox.said()).toEqual([said]);
  });

  it('completes QoS 2 in both steps and answers what it does not know', () => {
    const { session, send, outbox, host } = connect();
    session.deliver(message('a', 'x', 2), terms(2), nowMs);
    send(ack('pubrec', 1), ack('pubrec', 1), ack('pubcomp', 1), ack('pubcomp', 1), ack('pubrec', 9), ack('puback', 4));
    expect(outbox.said()).toEqual(['publish 1 q2 a x', 'pubrel 1', 'pubrel 1', 'pubrel 9 0x92']);
    expect([session.queuedMessages, host.held]).toEqual([0, 0]);
  });

  it('ends an exchange that the client refuses', () => {
    const { session, send, outbox, host } = connect();
    session.deliver(message('a', 'x', 2), terms(2), nowMs);
    send(ack('pubrec', 1, 0x97));
    expect([session.queuedMessages, host.held]).toEqual([0, 0]);
    expect(outbox.said()).toEqual(['publish 1 q2 a x']);
  });

  it('keeps the window, and the order behind it', () => {
    const { session, send, outbox } = connect({ receiveMaximum: 2 });
    for (const x of ['1', '2', '3', '4', '5']) session.deliver(message('a', x, 1), terms(1), nowMs);
    expect(outbox.said()).toEqual(['publish 1 q1 a 1', 'publish 2 q1 a 2']);
    expect(session.readiness).toBe('queue');
    send(ack('puback', 2));
    expect(outbox.said()).toEqual(['publish 3 q1 a 3']);
    send(ack('puback', 1), ack('puback', 3));
    expect(outbox.said()).toEqual(['publish 4 q1 a 4', 'publish 5 q1 a 5']);
    send(ack('puback', 4), ack('puback', 5));
    expect(session.readiness).toBe('now');
  });

  it('has thousands of small messages under way, and few large ones', () => {
    const small = connect({ version: 4 });
    for (let i = 0; i < 10_000; i++) small.session.deliver(message('a', 'x'.repeat(64), 1), terms(1), nowMs);
    const ids = small.outbox.take().map(({ messageId }) => messageId!);
    expect(ids.length).toBeGreaterThan(2000);
    // What they take in memory is what bounds them.
    const bytes = message('a', 'x'.repeat(64), 1).heldBytes;
    expect(ids.length).toBe(Math.ceil(windowBytesMax / bytes));
    small.send(ack('puback', ids[0]!));
    expect(small.outbox.take()).toHaveLength(1);

    const large = connect({ version: 4 });
    for (let i = 0; i < 10; i++) large.session.deliver(message('a', 'x'.repeat(300_000), 1), terms(1), nowMs);
    expect(large.outbox.take()).toHaveLength(7);
    large.send(ack('puback', 1));
    expect(large.outbox.take()).toHaveLength(1);
  });

  it('waits for an outbox that is full, and drops QoS 0 at its limit', () => {
    const { session, outbox, host } = connect();
    outbox.waitingBytes = outboxBytesHigh + 1;
    session.deliver(message('a', '1', 1), terms(1), nowMs);
    session.deliver(message('a', '0', 0), terms(0), nowMs);
    expect(outbox.said()).toEqual(['publish q0 a 0']);
    outbox.waitingBytes = outboxBytesMax;
    session.deliver(message('a', '0', 0), terms(0), nowMs);
    session.deliver(message('a', '0', 0), terms(0, { subscriptionIds: [1] }), nowMs);
    expect(outbox.said()).toEqual([]);
    expect(host.meters.droppedSlowSubscriber).toBe(2);
    outbox.waitingBytes = 0;
    session.pump(nowMs);
    expect(outbox.said()).toEqual(['publish 1 q1 a 1']);
  });

  it('gives a client up that asks and never reads', () => {
    const { send, outbox } = connect();
    outbox.waitingBytes = outboxBytesGiveUp + 1;
    send(publish('a', '', 1, 1));
    expect(outbox.closedBy).toBe(reasons.clientTooSlow);
  });

  it('follows the delivery rate of the tenant', () => {
    const { session, outbox, host } = connect();
    host.deliveries = 1;
    for (const x of ['1', '2']) session.deliver(message('a', x, 1), terms(1), nowMs);
    session.deliver(message('a', '0', 0), terms(0), nowMs);
    expect(outbox.said()).toEqual(['publish 1 q1 a 1']);
    expect(host.meters.droppedOverQuota).toBe(1);
    expect(host.waiting).toEqual([session]);
    host.deliveries = 1;
    session.pump(nowMs);
    expect(outbox.said()).toEqual(['publish 2 q1 a 2']);
  });

  it('never takes an identifier that is in use, however often the numbers go round', () => {
    const { session, send, outbox } = connect({ receiveMaximum: 3 });
    const sent = (): { messageId?: number }[] => outbox.take();
    session.deliver(message('a', 'kept', 1), terms(1), nowMs);
    const [kept] = sent();
    for (let i = 0; i < 70_000; i++) {
      session.deliver(message('a', '', 1), terms(1), nowMs);
      const [one] = sent();
      if (one!.messageId === kept!.messageId) expect.fail('an identifier was used twice');
      session.receiveAck(4, one!.messageId!, 0, nowMs);
    }
    send(ack('puback', kept!.messageId!));
    expect(session.queuedMessages).toBe(0);
  });
});

describe('what a client is too small for', () => {
  it('counts as delivered', () => {
    const { session, outbox, host } = connect({ packetBytesMax: 20, receiveMaximum: 1 });
    for (const qos of [0, 1, 2] as const) session.deliver(message('a', 'x'.repeat(20), qos), terms(2), nowMs);
    session.deliver(message('a', 'fits', 1), terms(1), nowMs);
    expect(outbox.said()).toEqual([expect.stringMatching(/^publish \d+ q1 a fits$/)]);
    expect([outbox.closedBy, host.held]).toEqual([undefined, 1]);
  });

  it('ends the connection when it is an answer', () => {
    const { send, outbox } = connect({ packetBytesMax: 5 });
    send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: ['a', 'b', 'c'].map((topic) => ({ topic, qos: 0 })),
    });
    expect(outbox.closedBy).toBe(reasons.packetTooLarge);
    expect(outbox.said()).toEqual([]);
  });
});

describe('after a reconnect', () => {
  it('sends again what was not acknowledged, in order and with DUP, before anything new', () => {
    const client = connect();
    const { session } = client;
    for (const [x, qos] of [
      ['1', 1],
      ['2', 2],
      ['3', 2],
      ['4', 1],
      ['5', 2],
    ] as const)
      // prettier-ignore
      session.deliver(message('a', x, qos), terms(2), nowMs);
    client.send(ack('pubrec', 3), ack('puback', 4));
    session.detach(nowMs);
    session.deliver(message('a', '6', 1), terms(1), nowMs);
    session.deliver(message('a', 'lost', 0), terms(1), nowMs);
    client.reconnect();
    expect(client.outbox.said()).toEqual([
      'publish 1 q1d a 1',
      'publish 2 q2d a 2',
      'pubrel 3',
      'publish 5 q2d a 5',
      'publish 6 q1 a 6',
    ]);
  });

  it('keeps to a window that has become smaller', () => {
    const client = connect();
    for (const x of ['1', '2', '3', '4']) client.session.deliver(message('a', x, 1), terms(1), nowMs);
    client.reconnect({ receiveMaximum: 2 });
    expect(client.outbox.said()).toEqual(['publish 1 q1d a 1', 'publish 2 q1d a 2']);
    client.send(ack('puback', 1));
    expect(client.outbox.said()).toEqual(['publish 3 q1d a 3']);
    client.send(ack('puback', 2), ack('puback', 3), ack('puback', 4));
    expect(client.outbox.said()).toEqual(['publish 4 q1d a 4']);
  });

  it('may speak another dialect', () => {
    const client = connect({ version: 5 });
    client.session.deliver(message('a', 'x', 1), terms(1, { subscriptionIds: [7] }), nowMs);
    client.reconnect({ version: 4 });
    expect(client.outbox.said()).toEqual(['publish 1 q1d a x']);
  });
});

describe('overflow', () => {
  it('drops what comes last, and counts it', () => {
    const client = connect();
    client.host.limits.queuedMessagesPerSession = 2;
    client.session.detach(nowMs);
    for (const x of ['1', '2', '3']) client.session.deliver(message('a', x, 1), terms(1), nowMs);
    expect([client.host.meters.droppedOverQuota, client.host.held]).toEqual([1, 2]);
    client.reconnect();
    expect(client.outbox.said()).toEqual(['publish 1 q1 a 1', 'publish 2 q1 a 2']);
  });

  it('drops what the tenant may not hold any more', () => {
    const { session, host, outbox } = connect();
    host.heldMax = 1;
    for (const x of ['1', '2']) session.deliver(message('a', x, 1), terms(1), nowMs);
    expect(outbox.said()).toEqual(['publish 1 q1 a 1']);
    expect(host.meters.droppedOverQuota).toBe(1);
  });

  it('is let go of when the session ends', () => {
    const client = connect({ receiveMaximum: 1 });
    for (const x of ['1', '2', '3']) client.session.deliver(message('a', x, 2), terms(2), nowMs);
    expect(client.host.held).toBe(3);
    client.session.detach(nowMs);
    void client.session.end(nowMs, false);
    expect(client.host.held).toBe(0);
  });
});

describe('message expiry', () => {
  it('is counted down, and what is over is not sent', () => {
    const client = connect();
    const { session, host } = client;
    session.detach(nowMs);
    session.deliver(message('a', 'short', 1, { expiresAtMs: nowMs + 1000 }), terms(1), nowMs);
    session.deliver(message('a', 'long', 1, { expiresAtMs: nowMs + 10_500 }), terms(1), nowMs);
    session.attach(client.channel, nowMs + 2000);
    const sent = client.outbox.take();
    expect(sent).toMatchObject([{ payload: Buffer.from('long'), properties: { messageExpiryInterval: 9 } }]);
    expect([host.meters.expiredMessages, host.held]).toEqual([1, 1]);
  });
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

describe('shared subscriptions', () => {
  const group = (takes: (message: Message, sessionEnds: boolean) => boolean) => {
    const taken: string[] = [];
    return {
      taken,
      handOn(one: Message, { sessionEnds }: Leaver): boolean {
        const yes = takes(one, sessionEnds);
        if (yes) taken.push(one.payload.toString());
        return yes;
      },
    };
  };

  it('get back what a client leaves unacknowledged; a QoS 2 message that it has seen stays', () => {
    const client = connect({ receiveMaximum: 3 });
    const origin = group(() => true);
    for (const [x, qos] of [
      ['1', 1],
      ['2', 2],
      ['3', 2],
      ['4', 1],
      ['5', 2],
    ] as const)
      // prettier-ignore
      client.session.deliver(message('a', x, qos), terms(2, { group: origin }), nowMs);
    client.send(ack('pubrec', 3));
    client.outbox.said();
    client.session.detach(nowMs);
    expect(origin.taken).toEqual(['1', '4', '5']);
    client.reconnect();
    expect(client.outbox.said()).toEqual(['publish 2 q2d a 2', 'pubrel 3']);
    expect(client.host.held).toBe(2);
  });

  it('leave it where nobody else is connected, and pass it on to anyone when the session ends', () => {
    const client = connect({ receiveMaximum: 1 });
    const origin = group((_message, sessionEnds) => sessionEnds);
    for (const x of ['1', '2']) client.session.deliver(message('a', x, 1), terms(1, { group: origin }), nowMs);
    client.session.detach(nowMs);
    expect(origin.taken).toEqual([]);
    void client.session.end(nowMs, false);
    expect([origin.taken, client.host.held]).toEqual([['1', '2'], 0]);
  });
});

describe('a slow source', () => {
  it('is told when there is room, and when the client has gone', () => {
    const client = connect({ receiveMaximum: 1, host: new FakeHost() });
    client.host.limits.queuedMessagesPerSession = 4;
    for (const x of ['1', '2', '3']) client.session.deliver(message('a', x, 1), terms(1), nowMs);
    const calls: string[] = [];
    expect([client.session.roomMessages, client.session.freeMessages]).toEqual([0, 0]);
    client.session.whenRoom(() => calls.push('first'));
    expect(calls).toEqual([]);
    client.send(ack('puback', 1));
    expect([calls, client.session.roomMessages]).toEqual([['first'], 1]);
    client.outbox.waitingBytes = outboxBytesHigh + 1;
    client.session.whenRoom(() => calls.push('gone'));
    client.session.detach(nowMs);
    client.session.whenRoom(() => calls.push('nobody'));
    expect(calls).toEqual(['first', 'gone', 'nobody']);
  });
});
