/** Fan-outs in slices: the rows of the table in `fan-out-line.ts`, and that slices change nothing for whoever stays. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { filterMatches } from '../../../services/topic/topic.js';
import { FilterRoutes } from '../../../services/broker/fanout/filter-routes.js';
import {
  type Continuation,
  type FanOutHost,
  type RetainedStore,
  Routing,
  type Subscriber,
} from '../../../services/broker/fanout/fanout.js';
import { handedOn, Message, PendingReceipt, type QoS, type Receipt } from '../../../services/broker/message/message.js';
import { heardFaults } from '../../support/heard-faults.js';
import { random } from '../../support/seeds.js';

/** Two full slices and a bit. */
const many = 1200;
const slice = 500;

class Host implements FanOutHost {
  isBehind = false;
  inLine = 0;
  #jobs: Continuation[] = [];
  #listeners: (() => void)[] = [];
  later(continuation: Continuation): void {
    this.#jobs.push(continuation);
  }
  nowMs(): number {
    return 0;
  }
  lineUp(): void {
    this.inLine++;
  }
  leaveLine(): void {
    this.inLine--;
  }
  whenSafer(listener: () => void): void {
    this.#listeners.push(listener);
  }
  owe(message: Message): void {
    message.owe();
  }
  pay(message: Message, reasonCode: number): void {
    message.pay(reasonCode);
  }
  get isBusy(): boolean {
    return this.#jobs.length > 0;
  }
  /** One step in a later turn. */
  turn(): void {
    for (const job of this.#jobs.splice(0)) if (job.step()) this.#jobs.push(job);
  }
  turns(): void {
    while (this.isBusy) this.turn();
  }
  becomeSafer(): void {
    this.isBehind = false;
    for (const listener of this.#listeners.splice(0)) listener();
  }
}

class Sink implements Subscriber {
  readonly clientId: ClientId;
  readonly got: string[] = [];
  readonly isDurable = true;
  readonly readiness = 'now';
  onDeliver: (message: Message) => void = () => undefined;
  constructor(id: string) {
    this.clientId = id as ClientId;
  }
  deliver(message: Message, { qos, subscriptionIds }: { qos: QoS; subscriptionIds: readonly number[] }): void {
    this.got.push(`${message.topic.text} ${message.payload.toString()} q${qos}${subscriptionIds.join()}`);
    this.onDeliver(message);
  }
  whenReady(): void {}
  hasStored(): boolean {
    return false;
  }
}

const options = (more: object = {}) => ({ qos: 1 as QoS, noLocal: false, retainAsPublished: false, id: 0, ...more });

interface Fields {
  payload?: string;
  qos?: QoS;
  retain?: boolean;
  publisher?: string;
}
const message = (topic: string, { payload = '', qos = 1, retain = false, publisher }: Fields = {}): Message =>
  Message.of({
    topic: { text: topic, bytes: Buffer.from(topic) },
    payload: Buffer.from(payload),
    qos,
    retain,
    publisher: publisher as ClientId | undefined,
  });

function world(count = many, put: RetainedStore['put'] = () => handedOn) {
  const host = new Host();
  const nothing: RetainedStore = {
    put,
    read: () => Promise.resolve(),
    overwritten: () => undefined,
    counted: () => Promise.resolve({ messages: 0, bytes: 0 }),
    mayMatch: () => Promise.resolve(false),
    rest: () => Promise.resolve(),
    close() {},
  };
  const routing = new Routing(nothing, undefined, host);
  const sinks = Array.from({ length: count }, (_, i) => new Sink(`c${i}`));
  for (const sink of sinks) routing.subscribe('a', undefined, sink, options());
  const had = (): number => sinks.filter(({ got }) => got.length > 0).length;
  return { host, routing, sinks, had, publish: (fields?: Fields) => routing.publish(message('a', fields), 0) };
}

it('a fan-out of one slice is done at once', () => {
  const { host, had, publish } = world(slice);
  expect([publish(), had(), host.isBusy]).toEqual([handedOn, slice, false]);
});

it('a longer one is done slice by slice, and its receipt settles with the last', () => {
  const { host, had, publish } = world();
  const receipt = publish();
  const seen = [[had(), receipt.reasonCode, host.inLine]];
  while (host.isBusy) {
    host.turn();
    seen.push([had(), receipt.reasonCode, host.inLine]);
  }
  expect(seen).toEqual([...[500, 600, 700, 800, 900, 1000, 1100].map((count) => [count, undefined, 1]), [1200, 0, 0]]);
});

it('the read buffer of the message is used again between two slices', () => {
  const { host, routing, sinks } = world();
  const volatile = Message.volatile();
  volatile.topic = { text: 'a', bytes: Buffer.from('a') };
  volatile.source = Buffer.from('first');
  volatile.payloadEnd = 5;
  volatile.qos = 1;
  routing.publish(volatile, 0);
  volatile.source.fill('x');
  volatile.renew();
  volatile.qos = 0;
  host.turns();
  expect(new Set(sinks.flatMap(({ got }) => got))).toEqual(new Set(['a first q1']));
});

it('whatever is published meanwhile lines up, and none overtakes another', () => {
  const { host, routing, sinks, publish } = world();
  const other = new Sink('other');
  routing.subscribe('b', undefined, other, options());
  const receipts = [publish({ payload: '1' }), publish({ payload: '2', qos: 0 }), publish({ payload: '3' })];
  const late = routing.publish(message('b'), 0);
  expect([other.got, late.reasonCode, host.inLine]).toEqual([[], undefined, 4]);
  host.turns();
  for (const { got } of sinks) expect(got).toEqual(['a 1 q1', 'a 2 q1', 'a 3 q1']);
  expect([other.got.length, ...receipts.map(({ reasonCode }) => reasonCode), late.reasonCode]).toEqual([1, 0, 0, 0, 0]);
  expect([host.inLine, routing.publish(message('b'), 0)]).toEqual([0, handedOn]); // At once, as before.
});

it('what a delivery publishes comes behind', () => {
  const { host, routing, sinks, publish } = world();
  const last = sinks.at(-1)!;
  sinks[0]!.onDeliver = ({ payload }) =>
    void (payload.length === 0 && routing.publish(message('a', { payload: 'will' }), 0));
  publish();
  host.turns();
  expect([sinks[0]!.got, last.got]).toEqual([
    ['a  q1', 'a will q1'],
    ['a  q1', 'a will q1'],
  ]);
});

it('a retained message is put once, before the first slice is over, and its receipt counts', () => {
  const put = new PendingReceipt();
  let puts = 0;
  const { host, routing, publish } = world(many, () => {
    puts++;
    return put;
  });
  const receipt = publish({ retain: true });
  expect(puts).toBe(1); // Whoever subscribes now finds it there,
  const late = new Sink('late');
  routing.subscribe('a', undefined, late, options());
  host.turns();
  expect([puts, late.got, receipt.reasonCode]).toEqual([1, [], undefined]); // and not in the line.
  put.settle(0x97);
  expect(receipt.reasonCode).toBe(0x97);
});

it('a subscription that is replaced between two slices has the terms of its turn', () => {
  const { host, routing, sinks, publish } = world();
  publish();
  routing.subscribe('a', undefined, sinks.at(-1)!, options({ qos: 0 }));
  host.turns();
  expect(sinks.at(-1)!.got).toEqual(['a  q1']);
});

it('who unsubscribes between two slices gets nothing, or what other subscriptions still say', () => {
  const { host, routing, sinks, publish } = world();
  const [gone, left, back] = sinks.slice(-3) as [Sink, Sink, Sink];
  for (let i = 0; i < 600; i++) routing.subscribe('+', undefined, new Sink(`plus${i}`), options());
  routing.subscribe('+', undefined, left, options({ qos: 0, id: 7 }));
  publish();
  for (const sink of [gone, left, back]) routing.unsubscribe('a', undefined, sink);
  routing.subscribe('a', undefined, back, options({ qos: 2 }));
  host.turns();
  expect([gone.got, left.got, back.got]).toEqual([[], ['a  q07'], ['a  q2']]);
  expect(sinks.filter(({ got }) => got.length === 1)).toHaveLength(many - 1);
});

it('subscribers that come and go between slices cost one copy of all of them, not one each', () => {
  const routes = new FilterRoutes('a', 1);
  for (let i = 0; i < many; i++) routes.set(new Sink(`c${i}`), options());
  const { targets } = routes;
  routes.readers++;
  routes.set(new Sink('late'), options());
  const copy = routes.targets;
  routes.set(new Sink('later'), options());
  expect([targets.length, copy === targets, routes.targets === copy]).toEqual([many, false, true]);
});

it('does not bring it back to its publisher, if that has said No Local', () => {
  const { host, routing, sinks, publish } = world();
  routing.subscribe('a', undefined, sinks.at(-1)!, options({ noLocal: true }));
  publish({ publisher: sinks.at(-1)!.clientId });
  host.turns();
  expect([sinks.at(-1)!.got, sinks.at(-2)!.got.length]).toEqual([[], 1]);
});

it('a group gets it once, after the others; one without members any more gets nothing', () => {
  const { host, routing, publish } = world();
  const [one, two] = [new Sink('one'), new Sink('two')];
  routing.subscribe('a', 'g', one, options());
  routing.subscribe('a', 'left', two, options());
  const receipt = publish();
  expect([one.got, two.got]).toEqual([[], []]);
  routing.unsubscribe('a', 'left', two);
  host.turns();
  expect([one.got.length, two.got.length, receipt.reasonCode]).toEqual([1, 0, 0]);
});

it('the receipt waits for those that have yet to make it safe, and not only for the first of them', () => {
  const { host, sinks, publish } = world();
  const owing: Message[] = [];
  for (const sink of [sinks[0]!, sinks.at(-1)!])
    sink.onDeliver = (given) => {
      given.owe();
      owing.push(given);
    };
  const receipt = publish();
  owing.shift()!.pay(0);
  host.turns();
  expect(receipt.reasonCode).toBe(undefined);
  owing.shift()!.pay(0x83);
  expect(receipt.reasonCode).toBe(0x83);
});

it('nothing is handed over while too much is on its way to safety, and nothing asks again and again', () => {
  const { host, had, publish } = world();
  const receipt = publish();
  host.isBehind = true;
  host.turns();
  publish();
  expect([had(), host.isBusy, host.inLine]).toEqual([500, false, 2]);
  host.becomeSafer();
  host.turns();
  expect([had(), receipt.reasonCode]).toEqual([many, 0]);
});

it('one that throws costs no other the message, and its publisher is told', () => {
  const faults = heardFaults();
  const { host, sinks, had, publish } = world();
  for (const at of [3, many - 3])
    sinks[at]!.onDeliver = () => {
      throw new Error('planted');
    };
  const receipt = publish();
  host.turns();
  expect([had(), receipt.reasonCode]).toEqual([many, 0x80]);
  faults.stop();
});

it('nobody is left when its turn comes: the publisher is told so', () => {
  const { host, routing, sinks, publish } = world();
  publish();
  const second = publish();
  for (const sink of sinks) routing.unsubscribe('a', undefined, sink);
  host.turns();
  expect(second.reasonCode).toBe(0x10);
});

type Step =
  | { readonly do: 'publish'; readonly topic: string; readonly qos: QoS }
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly who: number; readonly filter: string }
  | { readonly do: 'turn' };

it('who stays gets what it gets without slices, in that order; who goes gets nothing after that', () => {
  const filter = fc.constantFrom('a', 'b', '+', '#');
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        topic: fc.constantFrom('a', 'b'),
        qos: fc.constantFrom<QoS>(0, 1, 2),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const),
        who: fc.nat(4),
        filter,
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const sliced = story(steps, true);
      const whole = story(steps, false);
      expect(sliced.stay).toEqual(whole.stay);
      expect(sliced.codes).toEqual(whole.codes);
      expect(sliced.wrong).toEqual([]);
    }),
    random(60),
  );
});

/** 700 that stay, and five that come and go, at the end of the plan. */
function story(steps: readonly Step[], isSliced: boolean) {
  const { host, routing } = world(0);
  const plain = isSliced ? routing : new Routing(routing.retained);
  const stay = Array.from({ length: 700 }, (_, i) => new Sink(`stay${i}`));
  for (const [i, sink] of stay.entries())
    plain.subscribe(i % 2 === 0 ? '#' : 'a', undefined, sink, options({ id: i % 3 }));
  const roam = Array.from({ length: 5 }, (_, i) => ({ sink: new Sink(`roam${i}`), filters: new Set<string>() }));
  const wrong: string[] = [];
  for (const { sink, filters } of roam)
    sink.onDeliver = ({ topic }) => {
      if (![...filters].some((one) => filterMatches(one, topic.text))) wrong.push(`${sink.clientId} ${topic.text}`);
    };
  const receipts: Receipt[] = [];
  for (const one of steps)
    if (one.do === 'publish')
      receipts.push(plain.publish(message(one.topic, { qos: one.qos, payload: String(receipts.length) }), 0));
    else if (one.do === 'turn') host.turn();
    else {
      const { sink, filters } = roam[one.who]!;
      if (one.do === 'subscribe') {
        filters.add(one.filter);
        plain.subscribe(one.filter, undefined, sink, options());
      } else if (filters.delete(one.filter)) plain.unsubscribe(one.filter, undefined, sink);
    }
  host.turns();
  return { stay: stay.map(({ got }) => got), codes: receipts.map(({ reasonCode }) => reasonCode), wrong };
}
