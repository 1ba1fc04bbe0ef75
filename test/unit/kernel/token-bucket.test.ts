import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../services/kernel/kernel.js';
import { random, seed } from '../../support/seeds.js';

describe(`TokenBucket (seed ${seed})`, () => {
  it('gives one second at once, and then its rate', () => {
    const bucket = new TokenBucket(10, 0);
    const takes = (nowMs: number): number => {
      let count = 0;
      while (bucket.take(nowMs)) count++;
      return count;
    };
    expect(takes(0)).toBe(10);
    expect(takes(99)).toBe(0);
    expect(takes(100)).toBe(1);
    expect(takes(600)).toBe(5);
    expect(takes(100_000)).toBe(10);
  });

  it('never gives more than its rate allows', () => {
    const step = fc.record({ afterMs: fc.nat(3000), wanted: fc.nat(30) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.array(step), (perSecond, steps) => {
        const bucket = new TokenBucket(perSecond, 0);
        let nowMs = 0;
        let given = 0;
        for (const { afterMs, wanted } of steps) {
          nowMs += afterMs;
          for (let i = 0; i < wanted; i++) if (bucket.take(nowMs)) given++;
          expect(given).toBeLessThanOrEqual(perSecond + (nowMs / 1000) * perSecond + 1e-6);
        }
      }),
      random(200),
    );
  });

  it('says how long a debt takes, and means it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 100_000 }), (perSecond, spent) => {
        const bucket = new TokenBucket(perSecond, 0);
        bucket.spend(spent, 0);
        const waitMs = bucket.waitMs(0);
        expect(waitMs).toBe(spent <= perSecond ? 0 : Math.ceil(((spent - perSecond) / perSecond) * 1000));
        // Rounding may make it a millisecond more than it had to be, or leave a last bit of debt.
        if (waitMs > 2) expect(bucket.waitMs(waitMs - 2)).toBeGreaterThan(0);
        expect(bucket.waitMs(waitMs)).toBeLessThanOrEqual(1);
      }),
      random(200),
    );
  });

  it('counts no time twice when two have looked at the clock, and goes on from a corrected one', () => {
    const bucket = new TokenBucket(10, 0);
    bucket.spend(10, 0);
    for (let nowMs = 500; nowMs < 900; nowMs += 10) {
      bucket.available(nowMs);
      bucket.available(nowMs - 5);
    }
    expect(bucket.available(900)).toBeCloseTo(9);
    bucket.spend(9, 900);
    expect(bucket.available(-3_600_000)).toBeCloseTo(0);
    expect(bucket.available(-3_600_000 + 500)).toBeCloseTo(5);
  });

  it('knows no limit at Infinity, and gives nothing at zero', () => {
    const bucket = new TokenBucket(Infinity, 0);
    bucket.spend(1e12, 0);
    expect([bucket.take(0), bucket.waitMs(0)]).toEqual([true, 0]);
    bucket.setRate(0, 0);
    expect([bucket.take(0), bucket.take(60_000)]).toEqual([false, false]);
    bucket.spend(1, 60_000);
    expect(bucket.waitMs(60_000)).toBe(Infinity);
    bucket.setRate(Infinity, 60_000);
    expect([bucket.take(60_000), bucket.waitMs(60_000)]).toEqual([true, 0]);
  });

  it('forgives the debt of an old rate and saves up no more than a second of the new one', () => {
    const bucket = new TokenBucket(100, 0);
    bucket.spend(10_000, 0);
    bucket.setRate(5, 0);
    expect(bucket.waitMs(0)).toBe(0);
    const rich = new TokenBucket(100, 0);
    rich.setRate(2, 0);
    expect([rich.take(0), rich.take(0), rich.take(0)]).toEqual([true, true, false]);
  });

  it('gains nothing from a clock that goes back', () => {
    const bucket = new TokenBucket(1, 10_000);
    expect(bucket.take(10_000)).toBe(true);
    expect([bucket.take(5000), bucket.take(5500), bucket.take(6000)]).toEqual([false, false, true]);
  });
});
