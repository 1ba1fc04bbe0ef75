/** Row by row, what is at the head of `watchers.ts` and `watches.ts`; what comes of it together is in `test/sim`. */
import { describe, expect, it } from 'vitest';
import { endedMs, type InterestFrame, validMs, Watchers, Watches } from '../../../services/broker/interest/interest.js';
import type { BrokerId, TenantScope } from '../../../services/kernel/kernel.js';
import { heardFaults } from '../../support/heard-faults.js';

const [a, b] = ['a', 'b'] as BrokerId[] as [BrokerId, BrokerId];
const tenant = 't' as TenantScope;
const other = 'u' as TenantScope;

class Lane {
  readonly sent: InterestFrame[] = [];
  send(frame: InterestFrame): number {
    return this.sent.push(frame);
  }
}

/** In one go. */
const eachOf = (
  filters: Iterable<string>,
  _tenant: TenantScope,
  filtersMax: number,
  visit: (some: readonly string[], isLast: boolean) => boolean,
): void => {
  const left = [...filters];
  for (let isLast = false; !isLast;) {
    const some = left.splice(0, filtersMax);
    isLast = some.length < filtersMax;
    if (!visit(some, isLast)) return;
  }
};

describe('the side of the subscribers', () => {
  function world(): {
    watchers: Watchers;
    lanes: Lane[];
    filters: Set<string>;
    waits: (nowMs: number) => () => boolean;
  } {
    const filters = new Set<string>();
    const watchers = new Watchers({ each: (...all) => eachOf(filters, ...all) });
    const lanes = [new Lane(), new Lane()];
    watchers.join(a, lanes[0]!);
    watchers.join(b, lanes[1]!);
    const waits = (nowMs: number) => {
      let isWaiting = true;
      watchers.whenMatched(tenant, nowMs, () => (isWaiting = false));
      return () => isWaiting;
    };
    return { watchers, lanes, filters, waits };
  }

  it('nobody watches: nothing is told, and nobody waits', () => {
    const { watchers, lanes, waits } = world();
    watchers.answers(a, 0);
    watchers.changed(tenant, 'x', true);
    expect([lanes[0]!.sent, waits(0)()]).toEqual([[], false]);
  });

  it('an answer that another watch has overtaken ends', () => {
    const visits: boolean[] = [];
    const steps: (() => boolean)[] = [];
    const watchers = new Watchers({ each: (_tenant, _max, visit) => void steps.push(() => visit(['x'], false)) });
    const lane = new Lane();
    watchers.join(a, lane);
    watchers.watch(a, tenant, 1);
    visits.push(steps[0]!());
    watchers.watch(a, tenant, 2);
    visits.push(steps[0]!(), steps[1]!());
    watchers.unwatch(a, tenant, 2);
    visits.push(steps[1]!());
    expect([visits, lane.sent.length]).toEqual([[true, false, true, false], 2]);
  });

  it('a frame of shapes that are very long is not longer than a frame may be', () => {
    const { watchers, lanes, filters } = world();
    const levels = Array.from({ length: 12_000 }, () => '+');
    for (let i = 0; i < 5; i++) filters.add([...levels, String(i)].join('/'));
    watchers.watch(a, tenant, 1);
    expect(lanes[0]!.sent.map((frame) => frame.type === 'interest' && frame.filters.length)).toEqual([1, 1, 1, 1, 1]);
  });

  it('a watch is answered with all filters, in parts', () => {
    const { watchers, lanes, filters } = world();
    for (let i = 0; i < 1200; i++) filters.add(`x/${i}`);
    watchers.watch(a, tenant, 1);
    const frames = lanes[0]!.sent as (InterestFrame & { type: 'interest' })[];
    expect(frames.map((frame) => [frame.filters.length, frame.isWhole])).toEqual([
      ...Array.from({ length: 6 }, () => [200, false]),
      [0, true],
    ]);
    expect(lanes[1]!.sent).toEqual([]);
  });

  it('waits until each has confirmed, also for what another subscriber has caused', () => {
    const { watchers, waits } = world();
    for (const broker of [a, b]) {
      watchers.answers(broker, 0);
      watchers.watch(broker, tenant, 1);
      watchers.heard(broker, 1);
    }
    watchers.changed(tenant, 'x', true);
    const [first, second] = [waits(10), waits(20)];
    watchers.heard(a, 2);
    expect([first(), second()]).toEqual([true, true]);
    watchers.heard(b, 2);
    expect([first(), second(), waits(30)()]).toEqual([false, false, false]);
  });

  it('a broker that is silent is waited for until it surely relies on nothing', () => {
    const { watchers, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.answers(a, 100);
    watchers.changed(tenant, 'x', true);
    const isWaiting = waits(200);
    expect(watchers.look(100 + endedMs - 1)).toBe(100 + endedMs);
    expect(isWaiting()).toBe(true);
    expect(watchers.look(100 + endedMs)).toBe(Infinity);
    expect([isWaiting(), waits(100 + endedMs)()]).toEqual([false, false]);
  });

  it('answers that come after a filter was told do not make its subscriber wait longer', () => {
    const { watchers, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.answers(a, 0);
    watchers.changed(tenant, 'x', true);
    const isWaiting = waits(0);
    for (let nowMs = 500; nowMs < 5000; nowMs += 500) watchers.answers(a, nowMs);
    watchers.look(endedMs);
    expect(isWaiting()).toBe(false);
  });

  it('a broker that dies, or watches no more, is not waited for', () => {
    const { watchers, lanes, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.answers(a, 0);
    watchers.changed(tenant, 'x', true);
    const isWaiting = waits(0);
    watchers.died(a);
    expect(isWaiting()).toBe(false);
    watchers.watch(b, tenant, 5);
    watchers.unwatch(b, tenant, 4);
    watchers.changed(tenant, 'x', false);
    watchers.unwatch(b, tenant, 5);
    watchers.changed(tenant, 'x', true);
    expect(lanes[1]!.sent.length).toBe(2);
  });

  it('who waits and throws holds up nobody else', () => {
    const { watchers, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.watch(a, other, 2);
    watchers.answers(a, 0);
    watchers.changed(other, 'y', true);
    watchers.changed(tenant, 'x', true);
    const faults = heardFaults();
    const isWaiting = waits(0);
    watchers.whenMatched(other, 0, () => {
      throw new Error('planted');
    });
    watchers.heard(a, 4);
    faults.stop();
    expect([isWaiting(), faults.counts]).toEqual([false, { receipt: 1 }]);
  });
});

interface Message {
  readonly qos: 0 | 1 | 2;
  readonly topic: { readonly text: string };
}

describe('the side of the publishers', () => {
  /** What becomes of messages, in words. */
  const world = () => {
    const happened: string[] = [];
    const room = { isThere: true };
    const watches = new Watches<Message>({
      forward: (broker, _tenant, { topic }) => void happened.push(`${topic.text} to ${broker}`),
      hold(broker, _tenant, message) {
        if (message.qos === 0 && !room.isThere) return undefined;
        happened.push(`${message.topic.text} held for ${broker}`);
        return message;
      },
      letGo(broker, { topic }, isMatched) {
        if (topic.text === 'bad') throw new Error('planted');
        happened.push(`${topic.text} ${isMatched ? 'goes to' : 'is not for'} ${broker}`);
      },
    });
    const lane = new Lane();
    watches.join(a, lane);
    // As `a` would tell it.
    const tells = new Lane();
    const telling = new Watchers({ each: (...all) => eachOf([], ...all) });
    telling.join(b, tells);
    const say = (watch: number): void => {
      for (const frame of tells.sent.splice(0)) if (frame.type === 'interest') watches.heard(a, { ...frame, watch }, 0);
    };
    telling.watch(b, tenant, 1);
    tells.sent.length = 0;
    const told = (topic: string, watch = 1): void => {
      telling.changed(tenant, topic, true);
      say(watch);
    };
    const whole = (): void => watches.heard(a, { type: 'interest', tenant, watch: 1, filters: [], isWhole: true }, 0);
    /** Whether it is, or may be, for somebody. */
    const publish = (topic: string, nowMs: number, qos: 0 | 1 | 2 = 1): boolean =>
      watches.publish(tenant, { qos, topic: { text: topic } }, nowMs);
    /** `a` has answered, is proven at 0, and has this filter. */
    const ready = (topic: string): void => {
      publish('-', 0, 0);
      told(topic);
      whole();
      watches.proven(a, 0, 0);
      happened.length = 0;
    };
    return { watches, lane, happened, room, told, whole, ready, publish };
  };

  it('alone there is nobody to ask', () => {
    const watches = new Watches<Message>({
      forward: () => {},
      hold: (_broker, _tenant, message) => message,
      letGo: () => {},
    });
    expect([watches.publish(tenant, { qos: 1, topic: { text: 'x' } }, 0), watches.size]).toEqual([false, 0]);
  });

  it('the first message asks, and waits for the answer and its proof', () => {
    const { watches, lane, happened, told, whole, publish } = world();
    expect([publish('x', 0), publish('y', 1)]).toEqual([true, true]);
    expect(lane.sent).toEqual([{ type: 'watch', tenant, watch: 1 }]);
    told('x');
    whole();
    expect(happened).toEqual(['x held for a', 'y held for a']);
    watches.proven(a, 0, 10);
    expect(happened.slice(2)).toEqual(['x goes to a', 'y is not for a']);
    expect([publish('y', 20), publish('x', 20)]).toEqual([false, true]);
    expect(happened.slice(4)).toEqual(['x to a']);
  });

  it('not proven any more, a message is held, and goes before those that come later', () => {
    const { watches, happened, told, ready, publish } = world();
    ready('x');
    publish('x', validMs);
    // What is told meanwhile counts for what is held.
    told('z');
    publish('z', validMs + 1);
    watches.proven(a, validMs, validMs + 10);
    expect(happened).toEqual(['x held for a', 'z held for a', 'x goes to a', 'z goes to a']);
  });

  it('where there is no room one of QoS 0 is not held, and is for nobody', () => {
    const { happened, room, publish } = world();
    room.isThere = false;
    expect([publish('x', 0, 0), publish('x', 0, 1), happened]).toEqual([false, true, ['x held for a']]);
  });

  it('a broker that dies lets go what is held for it, and one that comes is asked', () => {
    const { watches, happened, ready, publish } = world();
    ready('x');
    publish('x', validMs);
    const newcomer = new Lane();
    watches.join(b, newcomer);
    expect(newcomer.sent).toEqual([{ type: 'watch', tenant, watch: 1 }]);
    watches.died(a);
    expect(happened).toEqual(['x held for a', 'x is not for a']);
    publish('x', 0);
    expect([happened.slice(2), watches.brokers]).toEqual([['x held for b'], 1]);
  });

  it('what was told to a watch of before is nothing to this one', () => {
    const { watches, lane, happened, told, whole, publish } = world();
    publish('-', 0);
    whole();
    expect([watches.unwatch(tenant), watches.size]).toEqual([false, 1]); // Something is held.
    watches.proven(a, 0, 0);
    expect([watches.unwatch(tenant), watches.size]).toEqual([true, 0]);
    expect(lane.sent.at(-1)).toEqual({ type: 'unwatch', tenant, watch: 1 });
    publish('x', 1);
    told('x', 1);
    watches.heard(a, { type: 'interest', tenant, watch: 2, filters: [], isWhole: true }, 1);
    expect(happened.at(-1)).toBe('x is not for a');
  });

  it('one that cannot be let go holds up none behind it', () => {
    const { watches, happened, told, whole, publish } = world();
    publish('bad', 0);
    publish('x', 0);
    told('bad');
    told('x');
    whole();
    const faults = heardFaults();
    watches.proven(a, 0, 0);
    faults.stop();
    expect([happened.at(-1), faults.counts]).toEqual(['x goes to a', { forward: 1 }]);
  });

  it('words that are no shape are passed over', () => {
    const { watches, happened, publish } = world();
    publish('x', 0);
    const filters = [{ pattern: '*', high: 1, low: 2, isThere: true }] as const;
    watches.heard(a, { type: 'interest', tenant, watch: 1, filters, isWhole: true }, 0);
    watches.proven(a, 0, 0);
    expect(happened.at(-1)).toBe('x is not for a');
  });
});
