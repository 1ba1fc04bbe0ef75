/**
 * Publishers that are faster than a subscriber: the table of decision 16, subscriber by queue by publisher. Real sessions
 * on both sides; between them a host that delivers to the subscriber as routing would.
 */
import { describe, expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { handedOn, type Leaver, type Message, type Receipt } from '../../../services/broker/message/message.js';
import type { Session } from '../../../services/broker/session/session.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { ack, type Client, connect, FakeHost, message, nowMs, publish as publishOne, terms } from './world.js';

const queueMax = 10;
const half = queueMax / 2;
/** Under way, and so in nobody's way. */
const window = 1;
const holdMs = 5000;
const ids = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

class Between extends FakeHost {
  override limits = { subscriptionsPerSession: 100, subscriptions: Infinity, queuedMessagesPerSession: queueMax };
  subscribers: Session[] = [];
  subscribersSaid: number | undefined;
  more: object = {};
  override publish(volatile: Message): Receipt {
    volatile.subscribers = this.subscribersSaid ?? this.subscribers.length;
    for (const subscriber of this.subscribers) subscriber.deliver(volatile, terms(2, this.more), nowMs);
    return volatile.pending ?? handedOn;
  }
}

type Kind = 'clean' | 'durable';
type Publisher = readonly [version: 4 | 5, qos: 0 | 1 | 2];

function world(kind: Kind, [version, qos]: Publisher, wish: { receiveMaximum?: number; inFlightMax?: number } = {}) {
  const host = new Between();
  const log = new MemoryCommitLog({ nowMs: () => nowMs + 1000 });
  const keeping = { partitionOf: () => 'acme#s', log };
  const subscriber = connect({ host, inFlightMax: window, ...wish, ...(kind === 'durable' && { keeping }) });
  const publisher = connect({ host, clientId: 'p', version });
  host.subscribers = [subscriber.session];
  /** What waits to be stored is. */
  const store = (): void => {
    log.delayOver();
    log.commit();
  };
  let lastId = 0;
  const got: number[] = [];
  return {
    host,
    log,
    subscriber,
    publisher,
    store,
    got,
    publish: (count: number) => {
      for (let i = 0; i < count; i++)
        publisher.send(publishOne('a', String(++lastId), qos, qos === 0 ? undefined : lastId));
    },
    /** Identifiers that PUBACK or PUBREC has come for since the last call. */
    acked: () => {
      if (kind === 'durable') store();
      return publisher.outbox.take().map(({ messageId }) => messageId!);
    },
    read: (most = Infinity) => {
      for (let left = most; left > 0;) {
        if (kind === 'durable') store();
        const packets = subscriber.outbox.take();
        if (packets.length === 0) return;
        for (const packet of packets) {
          if (packet.cmd === 'publish') got.push(Number(String(packet.payload)));
          const answer = packet.cmd === 'pubrel' ? 'pubcomp' : qos === 1 ? 'puback' : 'pubrec';
          if (answer !== 'pubrec') left--;
          subscriber.send(ack(answer, packet.messageId!));
        }
      }
    },
  };
}

const kinds: readonly Kind[] = ['clean', 'durable'];
const publishers: readonly Publisher[] = [
  [4, 1],
  [4, 2],
  [5, 1],
  [5, 2],
];
const rows = kinds.flatMap((kind) => publishers.map((publisher) => [kind, ...publisher] as const));

describe.each(rows)('a %s subscriber, a publisher of MQTT %i with QoS %i', (kind, version, qos) => {
  const meet = (wish?: Parameters<typeof world>[2]) => world(kind, [version, qos], wish);

  it('reads, less than half of its queue is taken: acknowledged', () => {
    const { publish, acked, host } = meet();
    publish(window + half);
    expect(acked()).toEqual(ids(1, window + half));
    expect([host.meters.heldBack, host.holding.size]).toEqual([0, 0]);
  });

  it('reads, more is taken: acknowledged in order as places become free, and nothing is lost', () => {
    const { publish, acked, read, got, host, subscriber } = meet();
    publish(40); // Four times the queue.
    expect(acked()).toEqual(ids(1, window + half));
    expect(host.meters.heldBack).toBe(40 - window - half);
    expect(subscriber.session.queuedMessages).toBe(40);
    expect(host.holding).toEqual(new Set([subscriber.session]));
    read(3);
    expect(acked()).toEqual(ids(window + half + 1, window + half + 3));
    expect(subscriber.session.lookAtHeld(nowMs + holdMs - 1)).toBe(true);
    read();
    expect([got, acked(), host.meters.droppedOverQuota]).toEqual([ids(1, 40), ids(window + half + 4, 40), 0]);
    expect(subscriber.session.lookAtHeld(nowMs + holdMs)).toBe(false);
    expect([host.held, host.unsafe, subscriber.session.queuedMessages]).toEqual([0, 0, 0]);
  });

  it('is slow or has stalled: after the time acknowledged, and dropped where the queue is full', () => {
    const { publish, acked, read, got, host, subscriber } = meet();
    publish(40);
    acked();
    expect(subscriber.session.lookAtHeld(nowMs + holdMs)).toBe(false);
    expect(acked()).toEqual(ids(window + half + 1, 40));
    expect(host.meters.droppedOverQuota).toBe(40 - window - queueMax);
    // From now on as if it did not read: nobody waits for it.
    publish(1);
    expect([acked(), host.meters.droppedOverQuota]).toEqual([[41], 41 - window - queueMax]);
    // Some is not enough.
    read(2);
    publish(3);
    expect([acked(), host.meters.droppedOverQuota]).toEqual([ids(42, 44), 42 - window - queueMax]);
    // When it has caught up it slows publishers again.
    read(half + 2);
    publish(40);
    expect(acked()).toHaveLength(2);
    read();
    expect(got).toHaveLength(window + queueMax + 2 + 40);
    expect([...got].sort((a, b) => a - b)).toEqual(got);
    expect([host.held, host.unsafe]).toEqual([0, 0]);
  });

  it('is slow, and has thousands of others beside it: the time is their share of it', () => {
    const { publish, acked, host, subscriber } = meet();
    host.subscribersSaid = 1000;
    publish(window + half + 1);
    acked();
    expect(subscriber.session.lookAtHeld(nowMs + 4)).toBe(true);
    expect(subscriber.session.lookAtHeld(nowMs + 5)).toBe(false);
    expect(acked()).toEqual([window + half + 1]);
    expect(host.meters.droppedOverQuota).toBe(0); // There was a place.
  });

  it('goes away while messages are held back: these are queued, or dropped where the queue is full', () => {
    const { publish, acked, host, subscriber } = meet();
    publish(40);
    acked();
    subscriber.session.detach(nowMs);
    expect(acked()).toEqual(ids(window + half + 1, 40));
    // What was under way counts for one that is stored.
    const queued = kind === 'durable' ? queueMax : queueMax + window;
    expect([subscriber.session.queuedMessages, host.meters.droppedOverQuota]).toEqual([queued, 40 - queued]);
    expect(subscriber.session.lookAtHeld(nowMs + 50)).toBe(false);
  });

  it('is away: queued and acknowledged, dropped where the queue is full', () => {
    const { publish, acked, host, subscriber } = meet();
    subscriber.session.detach(nowMs);
    publish(40);
    expect(acked()).toEqual(ids(1, 40));
    expect([subscriber.session.queuedMessages, host.meters.droppedOverQuota]).toEqual([queueMax, 40 - queueMax]);
    expect(host.meters.heldBack).toBe(0);
  });

  it('ends: nobody waits for it', async () => {
    const { publish, acked, host, subscriber, store } = meet();
    publish(40);
    acked();
    const ended = (subscriber.session.detach(nowMs), subscriber.session.end(nowMs, false));
    store();
    await ended;
    expect([acked(), host.held, host.unsafe]).toEqual([ids(window + half + 1, 40), 0, 0]);
  });

  it('is held up by the delivery rate of the tenant: the same rule', () => {
    const { publish, acked, host, subscriber, read, got } = meet({ inFlightMax: 1000 });
    host.deliveries = 2;
    publish(20);
    expect(acked()).toEqual(ids(1, 2 + half));
    host.deliveries = Infinity;
    subscriber.session.pump(nowMs);
    read();
    expect([got, acked(), host.meters.droppedOverQuota]).toEqual([ids(1, 20), ids(2 + half + 1, 20), 0]);
  });

  it('is not waited for when the setting is 0', () => {
    const { publish, acked, host } = meet();
    host.holdBackMs = 0;
    publish(40);
    expect(acked()).toEqual(ids(1, 40));
    expect([host.meters.heldBack, host.meters.droppedOverQuota]).toEqual([0, 40 - window - queueMax]);
  });

  it('leaves a shared subscription: another member gets what was held back', () => {
    const { publish, acked, host, subscriber } = meet();
    const handed: string[] = [];
    const group = {
      name: '$share/g/a',
      handOn: (one: Message, leaver: Leaver): boolean => {
        if (leaver.clientId !== ('c' as ClientId) || handed.length === 30) return false;
        handed.push(String(one.payload));
        return true;
      },
    };
    host.more = { group };
    publish(40);
    acked();
    subscriber.session.detach(nowMs);
    expect(acked()).toEqual(ids(window + half + 1, 40));
    expect(handed).toHaveLength(30);
    const left = 40 - 30;
    expect([subscriber.session.queuedMessages, host.meters.droppedOverQuota]).toEqual([left, 0]);
  });

  it('is told by a clock that was set back: nobody waits for an hour', () => {
    const { publish, acked, subscriber } = meet();
    publish(window + half + 1);
    acked();
    expect(subscriber.session.lookAtHeld(nowMs - 3_600_000)).toBe(false);
    expect(acked()).toEqual([window + half + 1]);
  });
});

it.each(kinds)('QoS 0 is not held back: a %s subscriber', (kind) => {
  const { publish, host, subscriber } = world(kind, [5, 0]);
  publish(40);
  expect(subscriber.outbox.take()).toHaveLength(40);
  expect([host.meters.heldBack, subscriber.session.queuedMessages]).toEqual([0, 0]);
});

it.each(rows)('a publisher that is its own subscriber gets on: %s, MQTT %i, QoS %i', (kind, version, qos) => {
  const host = new Between();
  const log = new MemoryCommitLog({ nowMs: () => nowMs + 1000 });
  const keeping = { partitionOf: () => 'acme#s', log };
  const client: Client = connect({ host, version, inFlightMax: window, ...(kind === 'durable' && { keeping }) });
  host.subscribers = [client.session];
  const count = 100;
  for (let id = 1; id <= count; id++) client.send(publishOne('a', String(id), qos, id));
  const acked: number[] = [];
  const got: number[] = [];
  for (;;) {
    log.delayOver();
    log.commit();
    const packets = client.outbox.take();
    if (packets.length === 0) break;
    for (const packet of packets) {
      const { cmd, messageId } = packet;
      if (packet.cmd === 'publish') got.push(Number(String(packet.payload)));
      if (cmd === 'publish') client.send(ack(qos === 1 ? 'puback' : 'pubrec', messageId!));
      if (cmd === 'pubrel') client.send(ack('pubcomp', messageId!));
      if (cmd === 'pubrec') client.send(ack('pubrel', messageId!));
      if (cmd === (qos === 1 ? 'puback' : 'pubcomp')) acked.push(messageId!);
    }
  }
  expect([got, acked, host.meters.droppedOverQuota]).toEqual([ids(1, count), ids(1, count), 0]);
});

it.each(kinds)('an acknowledgement that closes the subscriber itself leaves nothing behind: %s', (kind) => {
  const { publish, acked, subscriber, publisher, host, read, store } = world(kind, [5, 1]);
  publish(40);
  acked();
  // The next acknowledgement ends the subscriber's connection, in the middle of what it goes through.
  const { outbox } = publisher;
  const push = outbox.push.bind(outbox);
  outbox.push = (...range) => {
    push(...range);
    if (subscriber.session.channel) subscriber.session.detach(nowMs);
  };
  read(1);
  store();
  expect([subscriber.session.channel, subscriber.session.lookAtHeld(nowMs + 50)]).toEqual([undefined, false]);
  expect(subscriber.session.queuedMessages).toBeLessThanOrEqual(queueMax + window);
  expect(host.unsafe).toBe(0);
});

it('many topics, one slow subscriber: who publishes to another one is not slowed', () => {
  const { publish, host, publisher } = world('clean', [5, 1]);
  publish(40);
  const fast = connect({ host, clientId: 'fast' });
  host.subscribers = [fast.session];
  const other = connect({ host, clientId: 'o' });
  for (const id of ids(1, 40)) other.send(publishOne('b', 'x', 1, id));
  expect(other.outbox.take().map(({ messageId }) => messageId)).toEqual(ids(1, 40));
  expect(publisher.outbox.take()).toHaveLength(window + half);
});

it('a message to two, of which one is slow, waits for that one', () => {
  const { host, subscriber, publish, acked, read } = world('clean', [5, 1]);
  const fast = connect({ host, clientId: 'fast' });
  host.subscribers = [subscriber.session, fast.session];
  publish(20);
  expect(fast.outbox.take()).toHaveLength(20);
  expect(acked()).toEqual(ids(1, window + half));
  read();
  expect(acked()).toEqual(ids(window + half + 1, 20));
});

it('messages that nobody waits for are held back as well, and go on', () => {
  const { subscriber, host, read, got } = world('clean', [5, 1]);
  for (const id of ids(1, 20)) subscriber.session.deliver(message('a', String(id), 1), terms(1), nowMs);
  expect(subscriber.session.roomMessages).toBe(0);
  read();
  expect([got, host.unsafe, subscriber.session.roomMessages]).toEqual([ids(1, 20), 0, Infinity]);
});
