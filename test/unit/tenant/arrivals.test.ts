/** Messages from other brokers take the time of their tenant, and wait for it in order. */
import { describe, expect, it } from 'vitest';
import { Routing } from '../../../services/broker/fanout/fanout.js';
import { Message, newMeters, type QoS, topicName } from '../../../services/broker/message/message.js';
import { Arrivals } from '../../../services/broker/tenant/arrivals.js';
import { Thread } from '../../../services/broker/tenant/tenant.js';
import { heardFaults } from '../../support/heard-faults.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryRetained } from '../../support/memory/retained.js';

function world() {
  const clock = new ManualClock();
  const deferred: (() => void)[] = [];
  const time = new Thread(clock, (run) => void deferred.push(run)).account();
  const routing = new Routing(new MemoryRetained({ clock }));
  const got: string[] = [];
  /** What a delivery takes. */
  const slow = { ms: 0 };
  const subscriber = {
    ...{ clientId: 'c' as never, readiness: 'now' as const, isDurable: false },
    deliver({ payload }: Message) {
      if (payload.toString() === 'bad') throw new Error('planted');
      got.push(payload.toString());
      clock.advance(slow.ms);
    },
    whenReady: () => undefined,
    hasStored: () => false,
  };
  routing.subscribe('x', undefined, subscriber, { qos: 2, noLocal: false, retainAsPublished: false, id: 0 });
  const meters = newMeters();
  const arrivals = new Arrivals({ routing, time, meters }, clock);
  const message = (text: string | Buffer, qos: QoS): Message =>
    Message.of({ topic: topicName('x'), payload: Buffer.from(text), qos, retain: false });
  const come = (text: string | Buffer, qos: QoS = 1) => comeTogether([text], qos)[0]!;
  const comeTogether = (texts: readonly (string | Buffer)[], qos: QoS = 1) => {
    arrivals.begin();
    const receipts = texts.map((text) => arrivals.take(message(text, qos)));
    arrivals.end();
    return receipts;
  };
  const turn = (): void => {
    for (const run of deferred.splice(0)) run();
  };
  /** It has had more than its share. */
  const spend = (): void => time.spend(50);
  return { arrivals, come, comeTogether, turn, spend, got, meters, clock, slow };
}

describe('a message from another broker', () => {
  it('is delivered as it comes while the tenant has time', () => {
    const { come, got } = world();
    expect([come('1').reasonCode, come('2', 0).reasonCode, got]).toEqual([0, 0, ['1', '2']]);
  });

  it('waits for the turn of its tenant, and so do those behind it', () => {
    const { come, turn, spend, got, clock } = world();
    spend();
    const receipts = [come('1'), come('2', 0)];
    clock.advance(1000); // Time enough, but it has its turn first.
    receipts.push(come('3', 2));
    expect([receipts.map(({ reasonCode }) => reasonCode), got]).toEqual([[undefined, undefined, undefined], []]);
    for (let i = 0; i < 20; i++) turn();
    expect([receipts.map(({ reasonCode }) => reasonCode), got]).toEqual([
      [0, 0, 0],
      ['1', '2', '3'],
    ]);
    clock.advance(1000);
    expect([come('4').reasonCode, got.at(-1)]).toEqual([0, '4']);
  });

  it('is known to have been delivered, before those that come later', () => {
    const { arrivals, come, turn, spend, got, clock } = world();
    const passed: string[][] = [];
    const look = (): void => arrivals.whenPassed(() => passed.push([...got]));
    look();
    spend();
    come('1');
    come('bad', 1);
    look();
    come('3');
    look();
    expect(passed).toEqual([[]]);
    clock.advance(1000);
    const faults = heardFaults();
    for (let i = 0; i < 20; i++) turn();
    faults.stop();
    expect(passed).toEqual([[], ['1'], ['1', '3']]);
  });

  it('waits with those behind it when its slice is over', () => {
    const { comeTogether, turn, got, slow } = world();
    slow.ms = 0.5;
    const texts = Array.from({ length: 100 }, (_, i) => String(i));
    const receipts = comeTogether(texts);
    expect(got).toEqual(texts.slice(0, 32));
    for (let i = 0; i < 200; i++) turn();
    expect([got, receipts.every(({ reasonCode }) => reasonCode === 0)]).toEqual([texts, true]);
  });

  it('of QoS 0 is dropped when very much waits, and counted; others are not', () => {
    const { come, turn, spend, got, meters } = world();
    spend();
    for (let i = 0; i < 5; i++) come(Buffer.alloc(1 << 19), 0);
    come('safe', 1);
    for (let i = 0; i < 20; i++) turn();
    expect([got.length, meters.droppedOverQuota, got.at(-1)]).toEqual([3, 3, 'safe']);
  });

  it('that cannot be delivered is not acknowledged, and those behind it are', () => {
    const { come, turn, spend } = world();
    spend();
    const faults = heardFaults();
    const receipts = [come('bad'), come('good')];
    for (let i = 0; i < 20; i++) turn();
    faults.stop();
    expect([receipts.map(({ reasonCode }) => reasonCode), faults.counts]).toEqual([[0x80, 0], { 'fan-out': 1 }]);
  });
});
