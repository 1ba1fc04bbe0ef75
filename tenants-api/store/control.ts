/** Appends to the control log, which brokers read once a second. Call it after the write that it tells of. */
import { monotonicFactory } from 'ulid';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { Clock } from '../../services/kernel/kernel.js';
import { type ControlEntry, controlToItem } from '../../services/tenancy/tenancy.js';

const nextUlid = monotonicFactory();

export async function appendControl(dynamo: Dynamo, clock: Clock, entry: ControlEntry): Promise<void> {
  const nowMs = clock.nowMs();
  await dynamo.put('cluster', controlToItem(entry, nextUlid(nowMs), nowMs));
}
