/**
 * The control log: what brokers must hear within two seconds. The API writes its change first and appends an entry
 * after it; every broker reads what came past its cursor once a second and looks at the change itself. The sort key
 * is a ULID of the writer's clock: a reader goes back a few seconds each time, because clocks differ, and takes an
 * entry that it sees twice once.
 */
import type { ClientId, TenantId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import type { TableKey } from './keys.js';

export type ControlEntry =
  | {
      readonly type: 'credential-changed';
      readonly tenant: TenantId;
      readonly name: string;
      readonly change: 'deleted' | 'rotated' | 'grants';
    }
  | {
      readonly type: 'tenant-changed';
      readonly tenant: TenantId;
      readonly change: 'deleted' | 'suspended' | 'quotas';
    }
  | { readonly type: 'session-kick'; readonly tenant: TenantId; readonly clientId: ClientId };

/** In table `cluster`. */
export const controlPartition = 'control';

export const controlKey = (ulid: string): TableKey => ({ pk: controlPartition, sk: ulid });

/** Longer than any broker lags without having lost its lease; a new broker reads the records themselves. */
const keptSeconds = 6 * 3600;

export function controlToItem(entry: ControlEntry, ulid: string, nowMs: number): Item & TableKey {
  return { ...controlKey(ulid), v: itemVersion, ...entry, ttl: Math.ceil(nowMs / 1000) + keptSeconds };
}

/** Undefined for a type, a change or a version that a later release writes: it means nothing to this one. */
export function controlFromItem(item: Item): ControlEntry | undefined {
  if (item['v'] !== itemVersion) return undefined;
  const read = new ItemReader('control entry', item);
  const tenant = item['tenant'] as TenantId;
  const type = item['type'] as ControlEntry['type'];
  switch (type) {
    case 'credential-changed': {
      const change = known(item['change'], ['deleted', 'rotated', 'grants']);
      return change && { type, tenant, name: read.text('name'), change };
    }
    case 'tenant-changed': {
      const change = known(item['change'], ['deleted', 'suspended', 'quotas']);
      return change && { type, tenant, change };
    }
    case 'session-kick':
      return { type, tenant, clientId: read.text('clientId') as ClientId };
    default:
      return undefined;
  }
}

function known<const T extends string>(value: unknown, values: readonly T[]): T | undefined {
  return values.find((one) => one === value);
}

const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** The cursor before every entry written at `timeMs` or later: the least ULID of that time. */
export function controlCursorAt(timeMs: number): string {
  let time = '';
  for (let left = Math.max(0, Math.floor(timeMs)); time.length < 10; left = Math.floor(left / 32))
    time = crockford[left % 32]! + time;
  return time + '0'.repeat(16);
}
