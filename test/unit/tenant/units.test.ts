/** What a tenant uses of the database against its quotas, and who waits for that. */
import { describe, expect, it } from 'vitest';
import { type UnitLimits, TenantUnits, UnitLedger } from '../../../services/broker/tenant/units.js';
import { Metrics, silentLog, type TenantScope } from '../../../services/kernel/kernel.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryUsage } from '../../support/memory/usage.js';
import { until } from '../../support/until.js';
import { World } from '../admission/world.js';

const acme = 'acme' as TenantScope;
const days = 86_400_000;

async function account(limits: Partial<UnitLimits> = {}, clock = new ManualClock(), usage = new MemoryUsage()) {
  const metrics = new Metrics();
  const ledger = new UnitLedger({ store: usage, clock, log: silentLog, metrics });
  const all = { databaseUnitsPerSecond: 500, databaseUnitsPerMonth: 10_000_000, ...limits };
  const units = new TenantUnits(acme, all, clock);
  await ledger.begin(units);
  const waiting = () => [...metrics.samples()].find(({ name }) => name === 'shoal_tenants_over_database_units')!.value;
  return { ledger, units, clock, usage, limits: all, waiting };
}

describe('what a tenant uses of the database', () => {
  it('saves up for a minute, and what is beyond that waits', async () => {
    const { ledger, units, clock, waiting } = await account();
    ledger.charge(acme, 30_000);
    expect([units.waitMs(), waiting()]).toEqual([0, 0]);
    ledger.charge(acme, 1000);
    expect([units.waitMs(), ledger.waitMs(acme), waiting(), units.isOverdrawn]).toEqual([2000, 2000, 1, false]);
    ledger.charge(acme, 4500);
    expect(units.isOverdrawn).toBe(true);
    clock.advance(11_000);
    expect([units.waitMs(), units.isOverdrawn, waiting()]).toEqual([0, false, 0]);
    clock.advance(3_600_000);
    ledger.charge(acme, 30_500);
    expect(units.waitMs()).toBe(1000);
  });

  it('falls to what uses the quota up evenly when that of the month is used up, until the month is over', async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 10));
    const { ledger, units } = await account({ databaseUnitsPerMonth: 2_592_000 * 4 }, clock); // 4 a second.
    for (let used = 0; used < 2_592_000 * 4; used += 20_000) {
      ledger.charge(acme, 20_000);
      clock.advance(40_000);
    }
    expect(units.waitMs()).toBe(0);
    ledger.charge(acme, 4 * 60 + 40); // What is saved up now is a minute of the lower rate.
    expect(units.waitMs()).toBe(10_000);
    clock.advance(30 * days);
    expect([units.waitMs(), units.monthUnits]).toEqual([0, 0]);
    ledger.charge(acme, 20_000);
    expect(units.waitMs()).toBe(0);
  });

  it('costs at most twice its quota a month, whatever it does', async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 1));
    const quota = 10_000_000;
    const { ledger, units } = await account({ databaseUnitsPerMonth: quota, databaseUnitsPerSecond: 500 }, clock);
    let spent = 0;
    while (clock.nowMs() < Date.UTC(2026, 11, 1))
      if (units.waitMs() > 0) clock.advance(Math.min(units.waitMs(), Date.UTC(2026, 11, 1) - clock.nowMs()));
      else {
        ledger.charge(acme, 200);
        spent += 200;
      }
    expect(spent).toBeGreaterThan(quota * 1.5);
    expect(spent).toBeLessThan(quota * 2);
  });

  it('leaves a trickle to who may use nothing: what is stored can still be got', async () => {
    const { ledger, units } = await account({ databaseUnitsPerMonth: 0 });
    ledger.charge(acme, 70);
    expect(units.waitMs()).toBe(10_000);
  });

  it('is not limited without quotas, and is as soon as there are some', async () => {
    const { ledger, units, limits, clock } = await account({
      databaseUnitsPerSecond: Infinity,
      databaseUnitsPerMonth: Infinity,
    });
    ledger.charge(acme, 1e12);
    expect([units.waitMs(), units.monthUnits]).toEqual([0, 1e12]);
    limits.databaseUnitsPerSecond = 10;
    ledger.charge(acme, 601);
    expect(units.waitMs()).toBe(100);
    limits.databaseUnitsPerSecond = Infinity;
    clock.advance(1);
    expect(units.waitMs()).toBe(0);
  });

  it('is written down by day, and found by the next broker; a crash forgets what was not written', async () => {
    const { ledger, clock, usage } = await account({}, new ManualClock(Date.UTC(2026, 10, 30, 12)));
    await ledger.save();
    expect(usage.days.size).toBe(0); // Nothing used, nothing written.
    ledger.charge(acme, 10.5);
    await ledger.save();
    ledger.charge(acme, 5.5);
    await ledger.save();
    expect([...usage.days]).toEqual([['acme 2026-11-30', 16]]);
    ledger.charge(acme, 100);
    const next = await account({}, clock, usage);
    expect(next.units.monthUnits).toBe(16);
    clock.advance(days);
    next.ledger.charge(acme, 3);
    await next.ledger.save();
    expect([...usage.days]).toEqual([
      ['acme 2026-11-30', 16],
      ['acme 2026-12-01', 3],
    ]);
    expect((await account({}, clock, usage)).units.monthUnits).toBe(3);
  });

  it('is written down when the tenant goes, and charged to nobody then', async () => {
    const { ledger, units, usage } = await account();
    ledger.charge(acme, 7);
    await ledger.end(units);
    ledger.charge(acme, 7);
    await ledger.save();
    expect([...usage.days.values()]).toEqual([7]);
    expect(ledger.waitMs(acme)).toBe(0);
  });
});

describe('a tenant that has used too much of the database', () => {
  /** A client is in, and the tenant owes so many seconds. */
  async function indebted(seconds: number) {
    const world = new World();
    const client = await world.admit({ clientId: 'in' });
    const { tenant } = client.in!;
    world.units.charge(tenant.scope, (60 + seconds) * 500);
    return { world, tenant };
  }

  it('has its publishers wait', async () => {
    const { world, tenant } = await indebted(3);
    expect(tenant.rates.publishWaitMs(world.clock.nowMs())).toBe(3000);
    world.clock.advance(3000);
    expect(tenant.rates.publishWaitMs(world.clock.nowMs())).toBe(0);
  });

  it('is let in as long as that is little, and refused with a reason that says so', async () => {
    const { world, tenant } = await indebted(9);
    await world.admit({ clientId: 'next' });
    world.units.charge(tenant.scope, 1500);
    const claimed = world.tables.records.size;
    await expect(world.admit({ clientId: 'late' })).rejects.toThrow(
      'the tenant has used up its database units; try again later',
    );
    expect(world.tables.records.size).toBe(claimed);
    world.clock.advance(2500);
    await world.admit({ clientId: 'late' });
  });

  it('leaves nothing behind when it is deleted', async () => {
    const { world, tenant } = await indebted(3);
    await world.admission.apply({ type: 'tenant-changed', tenant: tenant.id, change: 'deleted' }, world.clock.nowMs());
    await until(() => tenant.isGone);
    await world.units.save();
    expect(world.usage.days.size).toBe(0);
  });

  it('is counted from its own month, and its sum is saved once a minute', async () => {
    const world = new World();
    world.usage.days.set('acme 2026-01-01', 10_000_000); // All of the quota.
    const client = await world.admit({ clientId: 'in' });
    const { tenant } = client.in!;
    world.units.charge(tenant.scope, 300);
    expect(tenant.units.waitMs()).toBeGreaterThan(10_000);
    world.clock.advance(60_000);
    await until(() => world.usage.days.get('acme 2026-01-01') === 10_000_300);
  });
});
