/** A tenant that does not come to be here leaves nothing behind. */
import { expect, it } from 'vitest';
import { Thread } from '../../../services/broker/tenant/thread.js';
import { type Tenant, TenantGone, Tenants } from '../../../services/broker/tenant/tenant.js';
import type { TenantsOptions } from '../../../services/broker/tenant/tenants.js';
import { Metrics, silentLog, type TenantId } from '../../../services/kernel/kernel.js';
import type { Tenant as TenantRecord } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryRetained } from '../../support/memory/retained.js';

const record: TenantRecord = {
  id: 'acme' as TenantId,
  plan: 'free',
  status: 'active',
  quotaOverrides: {},
  createdAtMs: 0,
};

function open(more: Partial<TenantsOptions>) {
  const clock = new ManualClock();
  const made: Tenant[] = [];
  const options = {
    ...{ clock, log: silentLog, metrics: new Metrics(), thread: new Thread(clock) },
    makeRetained: () => new MemoryRetained({ clock }),
    units: { begin: () => Promise.resolve(), end: () => Promise.resolve() },
    restore: (tenant: Tenant) => {
      made.push(tenant);
      tenant.time.spend(1); // Something happens to it.
      return Promise.resolve();
    },
    current: () => Promise.resolve(record),
    retire: (tenant: Tenant): Promise<void> => Promise.resolve(tenants.drop(tenant)),
    opened() {},
    ...more,
  };
  const tenants: Tenants = new Tenants(options as unknown as TenantsOptions);
  const look = tenants.look();
  return { tenants, made, found: () => [...look()].length };
}

it('is told to have gone when it is deleted while it is being opened', async () => {
  const { tenants, made, found } = open({ current: () => Promise.resolve({ ...record, status: 'deleting' }) });
  await expect(tenants.open(record)).rejects.toThrow(TenantGone);
  expect([[...tenants].length, found()]).toEqual([0, 0]);
  made[0]!.connections--; // What was under way of it ends.
  expect(found()).toBe(0);
});

it('is in no look when it could not be opened', async () => {
  let isAway = true;
  const current = () => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(record));
  const { tenants, made, found } = open({ current });
  await expect(tenants.open(record)).rejects.toThrow('away');
  expect([[...tenants].length, found()]).toEqual([0, 0]);
  isAway = false;
  const tenant = await tenants.open(record);
  expect([made.length, [...tenants], found()]).toEqual([2, [tenant], 1]);
});
