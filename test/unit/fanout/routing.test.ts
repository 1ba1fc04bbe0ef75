/** Who gets a message and on what terms; caches that never lie; the choice in shared subscriptions; paced replay. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { filterMatches } from '../../../services/topic/topic.js';
import {
  type GroupQueue,
  type RemoteRoutes,
  type RetainedStore,
  type RouteOptions,
  Routing,
  type Subscriber,
} from '../../../services/broker/fanout/fanout.js';
import {
  type DeliveryTerms,
  handedOn,
  Message,
  noSubscribers,
  PendingReceipt,
  type QoS,
} from '../../../services/broker/message/message.js';
import { random, seed } from '../../support/seeds.js';

class Sink implements Subscriber {
  readonly clientId: ClientId;
  readonly got: { topic: string; payload: string; terms: DeliveryTerms }[] = [];
  readiness: 'now' | 'queue' | 'disconnected' = 'now';
  isDurable = true;
  constructor(id: string) {
    this.clientId = id as ClientId;
  }
  deliver(message: Message, terms: DeliveryTerms): void {
    this.got.push({ topic: message.topic.text, payload: message.payload.toString(), terms });
  }
  readonly stored = new Set<string>();
  ready: (() => void)[] = [];
  whenReady(listener: () => void): void {
    this.ready.push(listener);
  }
  hasStored({ payload }: Message): boolean {
    return this.stored.has(payload.toString());
  }
}

class Queue implements GroupQueue {
  isWaiting = false;
  woken = 0;
  isClosed = false;
  readonly kept: string[] = [];
  accept({ payload }: Message): void {
    this.kept.push(payload.toString());
  }
  hasStored(): boolean {
    return false;
  }
  wake(): void {
    this.woken++;
  }
}

const nothing: RetainedStore = {
  put: () => handedOn,
  read: () => Promise.resolve(),
  overwritten: () => undefined,
  counted: () => Promise.resolve({ messages: 0, bytes: 0 }),
  mayMatch: () => Promise.resolve(false),
  rest: () => Promise.resolve(),
  close() {},
};
const options = (more: Partial<RouteOptions> = {}): RouteOptions => ({
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  id: 0,
  ...more,
});
const message = (
  topic: string,
  more: { qos?: QoS; publisher?: string; retain?: boolean; payload?: string; expiresAtMs?: number } = {},
): Message =>
  Message.of({
    topic: { text: topic, bytes: Buffer.from(topic) },
    payload: Buffer.from(more.payload ?? ''),
    qos: more.qos ?? 1,
    retain: more.retain ?? false,
    publisher: more.publisher as ClientId | undefined,
    expiresAtMs: more.expiresAtMs ?? Infinity,
  });

describe('overlapping subscriptions of one client', () => {
  it('give one copy at the highest QoS, with all identifiers', () => {
    const routing = new Routing(nothing);
    const client = new Sink('c');
    routing.subscribe('a/b', undefined, client, options({ qos: 0, id: 1, retainAsPublished: true }));
    routing.subscribe('a/+', undefined, client, options({ qos: 2, id: 2 }));
    routing.subscribe('#', undefined, client, options({ qos: 1 }));
    expect(routing.publish(message('a/b'), 0)).toBe(handedOn);
    expect(client.got).toHaveLength(1);
    const { qos, retainAsPublished, subscriptionIds } = client.got[0]!.terms;
    expect([qos, retainAsPublished, [...subscriptionIds].sort()]).toEqual([2, true, [1, 2]]);
  });

  it('keep No Local apart from the others', () => {
    const routing = new Routing(nothing);
    const [mine, other] = [new Sink('me'), new Sink('other')];
    routing.subscribe('a', undefined, mine, options({ noLocal: true, qos: 2, id: 1 }));
    routing.subscribe('a', undefined, other, options({ noLocal: true }));
    routing.publish(message('a', { publisher: 'me' }), 0);
    expect([mine.got.length, other.got.length]).toEqual([0, 1]);
    routing.subscribe('+', undefined, mine, options({ qos: 1, id: 2 }));
    routing.publish(message('a', { publisher: 'me' }), 0);
    routing.publish(message('a', { publisher: 'other' }), 0);
    expect(mine.got.map(({ terms }) => [terms.qos, terms.subscriptionIds.length])).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });
});

it(`publishes to those whose filters match, whatever changed before (seed ${seed})`, () => {
  const filter = fc.constantFrom('a', 'a/b', 'a/+', '+/b', '#', '+', 'a/#', '$s/#', '$s/a', 'b');
  const topic = fc.constantFrom('a', 'a/b', 'b', 'b/b', '$s/a', 'a/b/c');
  const step = fc.record({
    what: fc.constantFrom('subscribe', 'unsubscribe', 'publish', 'publish'),
    filter,
    topic,
    who: fc.nat(3),
    group: fc.constantFrom(undefined, undefined, 'g'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const routing = new Routing(nothing);
      const sinks = ['0', '1', '2', '3'].map((id) => new Sink(id));
      const direct = new Set<string>();
      const shared = new Map<string, Set<number>>();
      for (const { what, filter: text, topic: name, who, group } of steps) {
        const sink = sinks[who]!;
        if (what === 'subscribe') routing.subscribe(text, group, sink, options());
        else if (what === 'unsubscribe') routing.unsubscribe(text, group, sink);
        if (what !== 'publish') {
          const members = shared.get(text) ?? new Set();
          if (group === undefined) (what === 'subscribe' ? direct.add(`${who} ${text}`) : direct.delete(`${who} ${text}`));
          else (what === 'subscribe' ? shared.set(text, members.add(who)) : members.delete(who)); // prettier-ignore
          continue;
        }
        for (const each of sinks) each.got.length = 0;
        const receipt = routing.publish(message(name), 0);
        const directly = sinks.map((_, i) =>
          [...direct].some((route) => route.startsWith(`${i} `) && filterMatches(route.slice(2), name)),
        );
        const groups = [...shared].filter(([each, { size }]) => size > 0 && filterMatches(each, name));
        const total = sinks.reduce((sum, { got }) => sum + got.length, 0);
        expect(total).toBe(directly.filter(Boolean).length + groups.length);
        sinks.forEach(({ got }, i) => {
          expect(got.length >= (directly[i] ? 1 : 0)).toBe(true);
          const possible = groups.filter(([, members]) => members.has(i)).length;
          expect(got.length).toBeLessThanOrEqual((directly[i] ? 1 : 0) + possible);
        });
        expect(receipt).toBe(total > 0 ? handedOn : noSubscribers);
      }
    }),
    random(200),
  );
});

it.each([2, 20])(
  'one of %i subscribers that ends its subscription while it is delivered to costs no other a message',
  (count) => {
    const routing = new Routing(nothing);
    const sinks = Array.from({ length: count }, (_, i) => new Sink(String(i)));
    for (const sink of sinks) routing.subscribe('a', undefined, sink, options());
    const leaver = new Sink('leaver');
    leaver.deliver = () => {
      for (const sink of [leaver, sinks[0]!]) routing.unsubscribe('a', undefined, sink);
      routing.subscribe('a', undefined, new Sink('late'), options());
    };
    routing.subscribe('a', undefined, leaver, options());
    routing.unsubscribe('a', undefined, sinks[0]!);
    routing.subscribe('a', undefined, sinks[0]!, options()); // Behind the leaver.
    routing.publish(message('a'), 0);
    expect(sinks.map(({ got }) => got.length)).toEqual(sinks.map(() => 1));
    routing.publish(message('a'), 0);
    expect(sinks.map(({ got }) => got.length)).toEqual(sinks.map((_, i) => (i === 0 ? 1 : 2)));
  },
);

it('a retained message is handed on and its receipt is that of the store', () => {
  const receipt = new PendingReceipt();
  const routing = new Routing({ ...nothing, put: () => receipt });
  const client = new Sink('c');
  routing.subscribe('a', undefined, client, options());
  expect(routing.publish(message('a', { retain: true }), 0)).toBe(receipt);
  expect(client.got).toHaveLength(1);
});

describe('a shared subscription', () => {
  const group = (...ids: string[]) => {
    const queues: Queue[] = [];
    const routing = new Routing(nothing, {
      open: () => queues[queues.push(new Queue()) - 1]!,
      close: (_group, queue) => void ((queue as Queue).isClosed = true),
    });
    const members = ids.map((id) => new Sink(id));
    for (const member of members) routing.subscribe('a', 'g', member, options());
    const publish = (count: number, qos: QoS = 1): number[] => {
      const before = members.map(({ got }) => got.length);
      for (let i = 0; i < count; i++) routing.publish(message('a', { qos }), 0);
      return members.map(({ got }, i) => got.length - before[i]!);
    };
    return { routing, members, publish, queues, queue: () => queues.at(-1)! };
  };

  it('goes round', () => expect(group('a', 'b', 'c').publish(9)).toEqual([3, 3, 3]));

  it('prefers who can send at once, then who is connected', () => {
    const { members, publish, queue } = group('a', 'b', 'c');
    const [a, b, c] = members as [Sink, Sink, Sink];
    a.readiness = 'disconnected';
    b.readiness = 'queue';
    expect(publish(4)).toEqual([0, 0, 4]);
    c.readiness = 'disconnected';
    expect(publish(4)).toEqual([0, 4, 0]);
    b.readiness = 'disconnected';
    expect(publish(3)).toEqual([0, 0, 0]);
    expect(queue().kept).toHaveLength(3);
  });

  it('keeps its turn when members come and go', () => {
    const { routing, members, publish } = group('a', 'b', 'c');
    publish(2);
    routing.unsubscribe('a', 'g', members[0]!);
    expect(publish(1)).toEqual([0, 0, 1]);
    expect(publish(4)).toEqual([0, 2, 2]);
    routing.unsubscribe('a', 'g', members[1]!);
    routing.unsubscribe('a', 'g', members[2]!);
    expect(routing.publish(message('a'), 0)).toBe(noSubscribers);
  });

  it('hands on to a member that can send at once, and at the end of a session to the queue or to one that is connected', () => {
    const { routing, members, queue } = group('a', 'b');
    const [a, b] = members as [Sink, Sink];
    routing.publish(message('a', { payload: 'x' }), 0);
    const origin = a.got[0]!.terms.group!;
    a.readiness = 'disconnected';
    const handOn = (sessionEnds: boolean, isDurable = true): boolean =>
      origin.handOn(message('a', { payload: 'y' }), { clientId: a.clientId, isDurable, sessionEnds }, 0);
    expect([handOn(false), b.got.length]).toEqual([true, 1]);
    b.readiness = 'queue';
    expect([handOn(false), handOn(true), queue().kept, b.got.length]).toEqual([false, true, ['y'], 1]);
    b.isDurable = false; // Nobody but `a` keeps anything, and it is what `a` leaves.
    routing.subscribe('a', 'g', b, options());
    b.readiness = 'now';
    // What is stored stays so as long as its session lives; what is in memory only may be in another one's.
    expect([handOn(false), handOn(false, false), b.got.length]).toEqual([false, true, 2]);
    expect([handOn(true), queue().kept.length, b.got.length]).toEqual([true, 1, 3]);
    b.readiness = 'disconnected';
    expect([handOn(true), queue().kept.length, b.got.length]).toEqual([false, 1, 3]);
  });

  it('keeps what comes while nobody is there, and then lets others line up behind it', () => {
    const { routing, members, queue } = group('a', 'b');
    const [a, b] = members as [Sink, Sink];
    a.readiness = b.readiness = 'disconnected';
    const publish = (payload: string, qos: QoS = 1): void => void routing.publish(message('a', { payload, qos }), 0);
    publish('1');
    publish('2', 2);
    publish('3', 0);
    expect(queue().kept).toEqual(['1', '2']);
    queue().isWaiting = true;
    b.readiness = 'now';
    publish('4');
    publish('5', 0); // QoS 0 has nothing to line up behind.
    expect([queue().kept, b.got.length]).toEqual([['1', '2', '4'], 1]);
    queue().isWaiting = false;
    publish('6');
    expect(b.got.map(({ payload }) => payload)).toEqual(['5', '6']);
  });

  it('has a queue as long as a member keeps messages', () => {
    const { routing, members, queues } = group('a', 'b');
    const [a, b] = members as [Sink, Sink];
    expect(queues.map(({ isClosed }) => isClosed)).toEqual([false]);
    routing.subscribe('a', 'g', a, options({ qos: 0 }));
    expect(queues[0]!.isClosed).toBe(false);
    routing.unsubscribe('a', 'g', b);
    expect(queues[0]!.isClosed).toBe(true);
    a.readiness = 'disconnected';
    routing.publish(message('a'), 0);
    routing.subscribe('a', 'g', a, options({ qos: 1 }));
    expect(queues.map(({ isClosed, kept }) => [isClosed, kept.length])).toEqual([
      [true, 0],
      [false, 0],
    ]);
  });

  it('does not bring a QoS 2 message again that one of its members has from before a crash', () => {
    const { routing, members, queue } = group('a', 'b');
    const [a, b] = members as [Sink, Sink];
    a.readiness = 'disconnected';
    a.stored.add('old');
    const again = (payload: string): Message => {
      const one = message('a', { qos: 2, payload });
      one.origin = { epoch: 2, number: 1, packetId: 1, again: () => false, settled: handedOn };
      return one;
    };
    routing.publish(again('old'), 0);
    routing.publish(again('new'), 0);
    expect([b.got.map(({ payload }) => payload), queue().kept]).toEqual([['new'], []]);
  });
});

describe('other brokers', () => {
  const world = (isElsewhere = false) => {
    const told: string[] = [];
    const remotes: RemoteRoutes = {
      publish: ({ topic }) => told.push(`publish ${topic.text}`) > 0 && isElsewhere,
      changed: (filter, isThere) => void told.push(`${isThere ? 'has' : 'lost'} ${filter}`),
      whenMatched: (then) => then(),
      leave: () => undefined,
    };
    const retained: string[] = [];
    const store: RetainedStore = {
      ...nothing,
      put: ({ topic }) => (retained.push(`put ${topic.text}`), handedOn),
      overwritten: (topic) => void retained.push(`overwritten ${topic}`),
    };
    return { routing: new Routing(store, undefined, undefined, remotes), told, retained };
  };

  it('are told of the first subscription to a filter and of the last, shared or not', () => {
    const { routing, told } = world();
    const [one, other] = [new Sink('c1'), new Sink('c2')];
    routing.subscribe('a', undefined, one, options());
    routing.subscribe('a', undefined, one, options({ qos: 2 }));
    routing.subscribe('a', 'g', other, options());
    routing.unsubscribe('a', undefined, one);
    expect([told, [...routing.filters()]]).toEqual([['has a'], ['a']]);
    routing.unsubscribe('a', 'g', other);
    routing.unsubscribe('a', 'g', other);
    expect([told, [...routing.filters()]]).toEqual([['has a', 'lost a'], []]);
  });

  it('get what is published here, and not what they have sent; which is retained once', () => {
    const { routing, told, retained } = world();
    const client = new Sink('c1');
    routing.subscribe('a', undefined, client, options());
    told.length = 0;
    routing.publish(message('a', { retain: true }), 0);
    routing.deliver(message('a', { retain: true }), 0);
    expect([told, retained, client.got.length]).toEqual([['publish a'], ['put a', 'overwritten a'], 2]);
  });

  it('with subscribers are subscribers', () => {
    expect(world(true).routing.publish(message('a'), 0).reasonCode).toBe(0);
    expect(world(false).routing.publish(message('a'), 0).reasonCode).toBe(0x10);
  });
});
