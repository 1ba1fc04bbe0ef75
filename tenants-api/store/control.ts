/** Appends to the control log, which brokers read once a second. Call it after the write that it tells of. */
import { monotonicFactory } from 'ulid';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { Clock } from '../../services/kernel/kernel.js';
import { type ControlEntry, controlToItem, type Incarnation } from '../../services/tenancy/tenancy.js';

const nextUlid = monotonicFactory();

/** What has happened to which thing of a tenant; which tenant, `appendControl` says. */
type Told<Entry = ControlEntry> = Entry extends unknown ? Omit<Entry, 'tenant' | 'creationId'> : never;

export async function appendControl(
  dynamo: Dynamo,
  clock: Clock,
  { id, creationId }: Incarnation,
  told: Told,
): Promise<void> {
  const nowMs = clock.nowMs();
  await dynamo.put(
    'cluster',
    controlToItem({ tenant: id, ...(creationId !== undefined && { creationId }), ...told }, nextUlid(nowMs), nowMs),
  );
}
