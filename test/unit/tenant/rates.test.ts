/** What is counted together and what not: a tenant's rates, with a clock that stands unless a test moves it. */
import { describe, expect, it } from 'vitest';
import type { Session } from '../../../services/broker/session/session.js';
import { TenantLimits } from '../../../services/broker/tenant/limits.js';
import { TenantRates, uncounted } from '../../../services/broker/tenant/rates.js';
import { SafetyLedger } from '../../../services/broker/tenant/safety-ledger.js';
import { Thread } from '../../../services/broker/tenant/tenant.js';
import { TenantUnits } from '../../../services/broker/tenant/units.js';
import type { TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import type { Quotas } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';

const unlimited = {
  ...{ publishPerSecond: null, deliverPerSecond: null, bytesPerSecond: null },
  ...{ packetsPerSecond: null, subscribesPerSecond: null },
};

function open(quotas: Partial<Quotas>) {
  const clock = new ManualClock();
  const time = new Thread(clock, () => undefined).account();
  const record = { id: 'a' as TenantId, plan: 'free', status: 'active', createdAtMs: 0 } as const;
  const limits = new TenantLimits({ ...record, quotaOverrides: { ...unlimited, ...quotas } }, time, clock.nowMs());
  const units = new TenantUnits('a' as string as TenantScope, limits, clock);
  return { clock, rates: new TenantRates(limits, new SafetyLedger(1 << 20), units, time, clock) };
}

/** How many times `take` returns true. */
function times(take: () => boolean): number {
  let count = 0;
  while (take()) count++;
  return count;
}

describe('deliveries', () => {
  it('are as many at once as come in a second', () => {
    for (const deliverPerSecond of [1, 100, 1000]) {
      const { clock, rates } = open({ deliverPerSecond });
      expect(times(() => rates.takeDelivery(10, clock.nowMs()))).toBe(deliverPerSecond);
      clock.advance(100);
      expect(times(() => rates.takeDelivery(10, clock.nowMs()))).toBe(Math.floor(deliverPerSecond / 10));
    }
  });

  it('have as many bytes, and those of one more', () => {
    const { clock, rates } = open({ bytesPerSecond: 100_000 });
    expect(times(() => rates.takeDelivery(3000, clock.nowMs()))).toBe(34);
    clock.advance(1020);
    expect(times(() => rates.takeDelivery(20_000, clock.nowMs()))).toBe(6);
  });

  it('save up no more than 64 on top of that, which were taken with others and not used', () => {
    const { clock, rates } = open({ deliverPerSecond: 1000 });
    expect(rates.takeDelivery(10, clock.nowMs())).toBe(true);
    clock.advance(60_000);
    expect(times(() => rates.takeDelivery(10, clock.nowMs()))).toBe(1000 + 64);
  });
});

describe('a session that waits for deliveries', () => {
  it('gets what was taken in advance, and no time twice when the batch is of an earlier moment', () => {
    const { clock, rates } = open({ deliverPerSecond: 1000 });
    const batchMs = clock.nowMs();
    expect(rates.takeDelivery(10, batchMs)).toBe(true);
    const session = { pump: () => undefined } as unknown as Session;
    rates.pumpLater(session);
    clock.advance(3); // Its queue is looked at after 4.
    for (let i = 0; i < 100; i++) {
      rates.pumpLater(session);
      expect(rates.takeDelivery(10, batchMs)).toBe(true);
    }
    expect(times(() => rates.takeDelivery(10, batchMs))).toBe(1000 - 101);
  });
});

describe('PUBLISHes', () => {
  it('are counted together while there are enough of them, and one by one then', () => {
    const { clock, rates } = open({ publishPerSecond: 200 });
    const said = [1, uncounted.messages, 71, 1].map((count) => rates.spendPublish(count, 10 * count, clock.nowMs()));
    expect(said).toEqual(['go', 'go', 'go', 'count']);
    expect(times(() => rates.spendPublish(1, 10, clock.nowMs()) === 'count')).toBe(63);
    clock.advance(1000);
    expect(rates.spendPublish(1, 10, clock.nowMs())).toBe('go');
  });

  it('nor are those counted together that could use up the bytes', () => {
    const { clock, rates } = open({ bytesPerSecond: 2 * uncounted.messages * uncounted.bytes });
    expect(rates.spendPublish(1, uncounted.messages * uncounted.bytes, clock.nowMs())).toBe('go');
    rates.spendStored(uncounted.messages * uncounted.bytes + 1, clock.nowMs());
    expect(rates.spendPublish(1, 1, clock.nowMs())).toBe('count');
  });
});

describe('packets', () => {
  it('are as many as come in a second, and one more', () => {
    for (const packetsPerSecond of [10, 1000, 1030]) {
      const { clock, rates } = open({ packetsPerSecond });
      expect(times(() => !rates.spendPackets(1, 2, clock.nowMs()))).toBe(packetsPerSecond);
    }
  });
});
