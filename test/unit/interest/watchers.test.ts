/** Row by row, what is at the head of `watchers.ts` and `watches.ts`; what comes of it together is in `test/sim`. */
import { describe, expect, it } from 'vitest';
import {
  connected,
  durable,
  endedMs,
  heldVolatileMax,
  type InterestFrame,
  type Kind,
  none,
  validMs,
  Watchers,
  Watches,
} from '../../../services/broker/interest/interest.js';
import { PendingReceipt, type Receipt } from '../../../services/broker/message/message.js';
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

describe('the side of the subscribers', () => {
  function world(): {
    watchers: Watchers;
    lanes: Lane[];
    filters: Map<string, Kind>;
    waits: (nowMs: number) => () => boolean;
  } {
    const filters = new Map<string, Kind>();
    const watchers = new Watchers({ of: () => filters });
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
    watchers.changed(tenant, 'x', connected);
    expect([lanes[0]!.sent, waits(0)()]).toEqual([[], false]);
  });

  it('a watch is answered with all filters, in parts', () => {
    const { watchers, lanes, filters } = world();
    for (let i = 0; i < 1200; i++) filters.set(`x/${i}`, i % 2 === 0 ? connected : durable);
    watchers.watch(a, tenant, 1);
    const frames = lanes[0]!.sent as (InterestFrame & { type: 'interest' })[];
    expect(frames.map((frame) => [frame.filters.length, frame.isWhole])).toEqual([
      [500, false],
      [500, false],
      [200, true],
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
    watchers.changed(tenant, 'x', connected);
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
    watchers.changed(tenant, 'x', connected);
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
    watchers.changed(tenant, 'x', connected);
    const isWaiting = waits(0);
    for (let nowMs = 500; nowMs < 5000; nowMs += 500) watchers.answers(a, nowMs);
    watchers.look(endedMs);
    expect(isWaiting()).toBe(false);
  });

  it('a broker that dies, or watches no more, is not waited for', () => {
    const { watchers, lanes, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.answers(a, 0);
    watchers.changed(tenant, 'x', connected);
    const isWaiting = waits(0);
    watchers.died(a);
    expect(isWaiting()).toBe(false);
    watchers.watch(b, tenant, 5);
    watchers.unwatch(b, tenant, 4);
    watchers.changed(tenant, 'x', none);
    watchers.unwatch(b, tenant, 5);
    watchers.changed(tenant, 'x', connected);
    expect(lanes[1]!.sent.length).toBe(2);
  });

  it('who waits and throws holds up nobody else', () => {
    const { watchers, waits } = world();
    watchers.watch(a, tenant, 1);
    watchers.watch(a, other, 2);
    watchers.answers(a, 0);
    watchers.changed(other, 'y', connected);
    watchers.changed(tenant, 'x', connected);
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
  readonly topic: string;
}

describe('the side of the publishers', () => {
  function world(): {
    watches: Watches<Message>;
    lane: Lane;
    forwarded: string[];
    dropped: Message[];
    receipts: PendingReceipt[];
    told: (topic: string, kind?: Kind, watch?: number) => void;
    whole: () => void;
    /** `a` has answered, is proven at 0, and has this filter. */
    ready: (topic: string, kind?: Kind) => void;
    publish: (topic: string, nowMs: number, qos?: 0 | 1 | 2) => Receipt | undefined;
  } {
    const forwarded: string[] = [];
    const dropped: Message[] = [];
    const receipts: PendingReceipt[] = [];
    const watches = new Watches<Message>({
      forward(broker, _tenant, { topic }, needsReceipt) {
        forwarded.push(`${topic} to ${broker}`);
        if (topic === 'bad') throw new Error('planted');
        if (!needsReceipt) return undefined;
        const receipt = new PendingReceipt();
        receipts.push(receipt);
        return receipt;
      },
      keep: (message) => message,
      dropped: (message) => void dropped.push(message),
    });
    const lane = new Lane();
    watches.join(a, lane);
    // As `a` would tell it.
    const tells = new Lane();
    const telling = new Watchers({ of: () => [] });
    telling.join(b, tells);
    const say = (watch: number): void => {
      for (const frame of tells.sent.splice(0)) if (frame.type === 'interest') watches.heard(a, { ...frame, watch }, 0);
    };
    telling.watch(b, tenant, 1);
    tells.sent.length = 0;
    const told = (topic: string, kind: Kind = connected, watch = 1): void => {
      telling.changed(tenant, topic, kind);
      say(watch);
    };
    const whole = (): void => watches.heard(a, { type: 'interest', tenant, watch: 1, filters: [], isWhole: true }, 0);
    const publish = (topic: string, nowMs: number, qos: 0 | 1 | 2 = 1): Receipt | undefined =>
      watches.publish(tenant, { qos, topic }, nowMs);
    const ready = (topic: string, kind?: Kind): void => {
      publish('-', 0);
      told(topic, kind);
      whole();
      watches.proven(a, 0, 0);
    };
    return { watches, lane, forwarded, dropped, receipts, told, whole, ready, publish };
  }

  it('alone there is nobody to ask', () => {
    const watches = new Watches<Message>({ forward: () => undefined, keep: (message) => message, dropped: () => {} });
    expect([watches.publish(tenant, { qos: 1, topic: 'x' }, 0), watches.size]).toEqual([undefined, 0]);
  });

  it('the first message asks, and waits for the answer and its proof', () => {
    const { watches, lane, forwarded, told, whole, publish } = world();
    const [first, second] = [publish('x', 0), publish('y', 1)];
    expect(lane.sent).toEqual([{ type: 'watch', tenant, watch: 1 }]);
    told('x');
    whole();
    expect([first?.reasonCode, forwarded]).toEqual([undefined, []]);
    watches.proven(a, 0, 10);
    expect([first?.reasonCode, second?.reasonCode, forwarded]).toEqual([0, 0, ['x to a']]);
    expect(publish('y', 20)).toBeUndefined();
    expect(publish('x', 20)?.reasonCode).toBe(0);
  });

  it('not proven any more, a message is held, and goes before those that come later', () => {
    const { watches, forwarded, told, ready, publish } = world();
    ready('x');
    const held = publish('x', validMs);
    expect([held?.reasonCode, forwarded]).toEqual([undefined, []]);
    // What is told meanwhile counts for what is held.
    told('z');
    const later = publish('z', validMs + 1);
    watches.proven(a, validMs, validMs + 10);
    expect([held?.reasonCode, later?.reasonCode, forwarded]).toEqual([0, 0, ['x to a', 'z to a']]);
  });

  it('behind stored sessions it waits for the receipt; of QoS 0 for nothing', () => {
    const { receipts, ready, publish } = world();
    ready('x', durable);
    const receipt = publish('x', 1);
    expect(receipt?.reasonCode).toBeUndefined();
    receipts[0]!.settle(0x97);
    expect(receipt?.reasonCode).toBe(0x97);
    expect([publish('x', 1, 0)?.reasonCode, receipts.length]).toEqual([0, 1]);
  });

  it('of QoS 0 so many are held and no more', () => {
    const { watches, dropped, forwarded, told, whole, publish } = world();
    for (let i = 0; i < heldVolatileMax + 3; i++) expect(publish('x', 0, 0)).toBeUndefined();
    const safe = publish('x', 0, 1);
    told('x');
    whole();
    watches.proven(a, 0, 0);
    expect([dropped.length, forwarded.length, safe?.reasonCode]).toEqual([3, heldVolatileMax + 1, 0]);
  });

  it('a broker that dies settles what is held for it, and one that comes is asked', () => {
    const { watches, forwarded, ready, publish } = world();
    ready('x');
    const held = publish('x', validMs);
    const newcomer = new Lane();
    watches.join(b, newcomer);
    expect(newcomer.sent).toEqual([{ type: 'watch', tenant, watch: 1 }]);
    watches.died(a);
    expect([held?.reasonCode, forwarded]).toEqual([0, []]);
    expect(publish('x', 0)?.reasonCode).toBeUndefined();
  });

  it('what was told to a watch of before is nothing to this one', () => {
    const { watches, lane, forwarded, told, whole, publish } = world();
    publish('-', 0);
    whole();
    watches.unwatch(tenant);
    expect(watches.size).toBe(1); // Something is held.
    watches.proven(a, 0, 0);
    watches.unwatch(tenant);
    expect([watches.size, lane.sent.at(-1)]).toEqual([0, { type: 'unwatch', tenant, watch: 1 }]);
    publish('x', 1);
    told('x', connected, 1);
    watches.heard(a, { type: 'interest', tenant, watch: 2, filters: [], isWhole: true }, 1);
    expect(forwarded).toEqual([]);
  });

  it('one that cannot be forwarded is not acknowledged, and those behind it go', () => {
    const { watches, told, whole, publish } = world();
    const [bad, good] = [publish('bad', 0), publish('x', 0)];
    told('bad');
    told('x');
    whole();
    const faults = heardFaults();
    watches.proven(a, 0, 0);
    faults.stop();
    expect([bad?.reasonCode, good?.reasonCode, faults.counts]).toEqual([undefined, 0, { forward: 1 }]);
  });

  it('words that are no shape are passed over', () => {
    const { watches, forwarded, publish } = world();
    publish('x', 0);
    const filters = [{ pattern: '*', high: 1, low: 2, kind: connected }] as const;
    watches.heard(a, { type: 'interest', tenant, watch: 1, filters, isWhole: true }, 0);
    watches.proven(a, 0, 0);
    expect(forwarded).toEqual([]);
  });
});
