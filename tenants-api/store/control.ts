/** Appends to the control log, which brokers read once a second. Call it after the write that it tells of. */
import { monotonicFactory } from 'ulid';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { BrokerId, Clock } from '../../services/kernel/kernel.js';
import {
  controlCursorAt,
  type ControlEntry,
  controlFromItem,
  controlPartition,
  controlToItem,
  type Incarnation,
  type TenantEntry,
} from '../../services/tenancy/tenancy.js';

const nextUlid = monotonicFactory();

/** What has happened to which thing of a tenant; which tenant, `appendControl` says. */
type Told<Entry = TenantEntry> = Entry extends unknown ? Omit<Entry, 'tenant' | 'creationId'> : never;

export async function appendControl(
  dynamo: Dynamo,
  clock: Clock,
  { id, creationId }: Incarnation,
  told: Told,
): Promise<void> {
  await append(dynamo, clock, { tenant: id, ...(creationId !== undefined && { creationId }), ...told });
}

/** Asks one broker to send its clients away and to end. */
export function appendDrain(dynamo: Dynamo, clock: Clock, brokerId: BrokerId): Promise<void> {
  return append(dynamo, clock, { type: 'broker-drain', brokerId });
}

async function append(dynamo: Dynamo, clock: Clock, entry: ControlEntry): Promise<void> {
  const nowMs = clock.nowMs();
  await dynamo.put('cluster', controlToItem(entry, nextUlid(nowMs), nowMs));
}

/** A broker that was asked earlier has ended: its drain takes 100 s at most, and it is killed 15 s later. */
const drainingMsMax = 180_000;

/** Brokers that were asked to drain and may be at it. Reads what was appended of late, a unit for some 20 entries. */
export async function askedToDrain(dynamo: Dynamo, clock: Clock): Promise<ReadonlySet<BrokerId>> {
  const asked = new Set<BrokerId>();
  const sk = { after: controlCursorAt(clock.nowMs() - drainingMsMax) };
  for await (const items of dynamo.queryAll('cluster', { pk: controlPartition, sk, consistent: true }))
    for (const item of items) if (item['type'] === 'broker-drain') add(asked, controlFromItem(item));
  return asked;
}

function add(asked: Set<BrokerId>, entry: ControlEntry | undefined): void {
  if (entry?.type === 'broker-drain') asked.add(entry.brokerId);
}
