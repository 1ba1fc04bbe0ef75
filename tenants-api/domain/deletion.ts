/**
 * Deleting a tenant: mark it (from here on it does not exist for anybody), tell the brokers, remove what it has, wait
 * until the brokers have let go of it, remove what they wrote meanwhile, and its own row last, which frees the name.
 * Every step can be repeated, so that a deletion that was cut off is finished by asking again, and every step names the
 * creation id: one that comes late finds nothing, and leaves alone whoever has the name by then.
 */
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { Clock } from '../../services/kernel/kernel.js';
import { appendControl } from '../store/control.js';
import { OutOfTime, purgeKeys, purgeTenantData } from '../store/purge.js';
import { markDeleting, removeTenant, type StoredTenant } from '../store/tenants.js';

/** Brokers hear of the control log within two seconds, or believe nothing that they remember. */
const settleMsDefault = 2500;
/** Below the 30 seconds that an HTTP API waits. */
const budgetMs = 20_000;

/** False when time ran out with something left: call again. True as well when it was gone before. */
export async function deleteTenant(
  dynamo: Dynamo,
  clock: Clock,
  found: StoredTenant,
  settleMs = settleMsDefault,
): Promise<boolean> {
  const endsAtMs = clock.monotonicMs() + budgetMs;
  const checkTime = (): void => {
    if (clock.monotonicMs() > endsAtMs) throw new OutOfTime();
  };
  const tenant = await markDeleting(dynamo, found);
  if (tenant === undefined) return true;
  await appendControl(dynamo, clock, tenant, { type: 'tenant-changed', change: 'deleted' });
  const toldAtMs = clock.monotonicMs();
  const months = monthsBetween(tenant.createdAtMs, clock.nowMs());
  try {
    await purgeTenantData(dynamo, tenant.scope, months, checkTime);
    const leftMs = toldAtMs + settleMs - clock.monotonicMs();
    if (leftMs > 0) await new Promise<void>((resolve) => clock.after(leftMs, resolve));
    if (settleMs > 0) await purgeTenantData(dynamo, tenant.scope, months, checkTime);
    await purgeKeys(dynamo, tenant.scope, checkTime);
  } catch (error) {
    if (error instanceof OutOfTime) return false;
    throw error;
  }
  await removeTenant(dynamo, tenant);
  return true;
}

/** `2026-11` and so on, with a month at both ends for clocks that differ. */
export function monthsBetween(fromMs: number, toMs: number): string[] {
  const from = new Date(fromMs);
  const months: string[] = [];
  for (let n = -1; ; n++) {
    const month = new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + n, 1));
    months.push(month.toISOString().slice(0, 7));
    if (month.getTime() > toMs) return months;
  }
}
