/** Waiting for a rate is a queue with one timer, whatever waits in it. */
import { describe, expect, it } from 'vitest';
import { RateQueue } from '../../../services/broker/tenant/rate-queue.js';
import { Thread } from '../../../services/broker/tenant/tenant.js';
import { TokenBucket } from '../../../services/kernel/kernel.js';
import { ManualClock } from '../../support/manual-clock.js';

class World {
  readonly clock = new ManualClock();
  #deferred: (() => void)[] = [];
  readonly time = new Thread(this.clock, (run) => void this.#deferred.push(run)).account();
  readonly bucket: TokenBucket;
  readonly log: number[] = [];
  wakes = 0;
  timersMax = 0;
  readonly queue: RateQueue<number>;

  /** Those who go on publish until the queue or the rate says that they have to wait. */
  constructor(perSecond: number) {
    this.bucket = new TokenBucket(perSecond, this.clock.nowMs());
    this.bucket.spend(perSecond, this.clock.nowMs());
    const kind = {
      waitMs: (bucket: TokenBucket, nowMs: number) => {
        this.wakes++;
        return bucket.waitMs(nowMs);
      },
      available: (bucket: TokenBucket, nowMs: number) => bucket.available(nowMs),
      goOn: (who: number, _queue: unknown, nowMs: number) => this.publish(who, nowMs),
    };
    this.queue = new RateQueue(kind, this.bucket, this.time, this.clock);
  }
  publish(who: number, nowMs: number): void {
    for (;;) {
      this.log.push(who);
      this.bucket.spend(1, nowMs);
      if (!this.queue.took() || this.bucket.waitMs(nowMs) > 0) return this.queue.join(who);
    }
  }
  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.clock.advance(1);
      this.timersMax = Math.max(this.timersMax, this.clock.timers);
      for (const run of this.#deferred.splice(0)) run();
    }
  }
  countOf(who: number): number {
    return this.log.filter((one) => one === who).length;
  }
}

describe('those that wait for a rate', () => {
  it.each([1, 10, 1000])('have one timer and are looked at as often as one: %d of them', (count) => {
    const world = new World(1000);
    for (let i = 0; i < count; i++) world.queue.join(i);
    world.wakes = 0;
    world.pass(3000);
    expect(world.log.length).toBeGreaterThan(2900);
    expect(world.log.length).toBeLessThan(3100);
    expect(world.timersMax).toBe(1);
    // Before, each of them was looked at for each message: 1000 times as often.
    expect(world.wakes).toBeLessThan(6 * 3000);
  });

  it('get the same each, and the first does not take it all', () => {
    const world = new World(1000);
    for (let i = 0; i < 10; i++) world.queue.join(i);
    world.pass(1000);
    for (let i = 0; i < 10; i++) expect(Math.abs(world.countOf(i) - world.log.length / 10)).toBeLessThan(5);
  });

  it('one that has gone is not served', () => {
    const world = new World(10);
    for (let i = 0; i < 3; i++) world.queue.join(i);
    world.queue.leave(1);
    world.pass(1000);
    expect(world.countOf(1)).toBe(0);
    expect(world.countOf(0) + world.countOf(2)).toBeGreaterThan(8);
  });

  it('whoever publishes meanwhile comes behind them', () => {
    const world = new World(1000);
    world.queue.join(1);
    expect(world.queue.took()).toBe(false);
  });

  it('are told when the rate has been changed, and within a second anyway', () => {
    const world = new World(0.001);
    world.queue.join(1);
    world.bucket.setRate(1000, world.clock.nowMs());
    world.bucket.spend(-1, world.clock.nowMs());
    world.queue.wake();
    expect(world.log).toEqual([]);
    world.pass(1);
    expect(world.countOf(1)).toBeGreaterThan(0);
  });

  it('one that could take nothing is asked later, not for ever', () => {
    const world = new World(1000);
    world.publish = (who) => {
      world.log.push(who);
      world.queue.join(who);
    };
    world.queue.join(1);
    world.pass(100);
    expect(world.log.length).toBeLessThanOrEqual(25);
  });
});
