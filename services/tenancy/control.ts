/**
 * The control log: what brokers must hear within two seconds. The API writes its change first and appends an entry
 * after it; every broker reads what came past its cursor once a second and looks at the change itself. The sort key
 * is a ULID of the writer's clock: a reader goes back a few seconds each time, because clocks differ, and takes an
 * entry that it sees twice once. A broker that starts reads what was appended while none ran, and some of what the one
 * before it has obeyed; so obeying an entry once more, however late, must do no harm to what came after it.
 */
import type { BrokerId, ClientId, TenantId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import type { TableKey } from './keys.js';

/** Which tenant an entry is about: nothing that it asks for is done to another one of that name. */
interface About {
  readonly tenant: TenantId;
  /** Missing: of a tenant without one. */
  readonly creationId?: string;
}

export type ControlEntry = TenantEntry | BrokerDrain;

export type TenantEntry = About & Change;

/** For one broker and about no tenant: it sends its clients away and ends. Ids are used once, so no later one obeys it. */
export interface BrokerDrain {
  readonly type: 'broker-drain';
  readonly brokerId: BrokerId;
}

type Change =
  | {
      readonly type: 'credential-changed';
      readonly name: string;
      readonly change: 'deleted' | 'rotated' | 'grants';
    }
  | {
      readonly type: 'tenant-changed';
      readonly change: 'deleted' | 'suspended' | 'quotas';
    }
  | {
      readonly type: 'session-kick';
      readonly clientId: ClientId;
      /** Of the session that is meant: one that begins later stays. Missing in entries of before this was told. */
      readonly born?: number;
    };

/** In table `cluster`. */
export const controlPartition = 'control';

export const controlKey = (ulid: string): TableKey => ({ pk: controlPartition, sk: ulid });

/** A broker that starts reads what was appended since the last one ran: much longer than a service is down. */
const keptSeconds = 7 * 86_400;

export function controlToItem(entry: ControlEntry, ulid: string, nowMs: number): Item & TableKey {
  return { ...controlKey(ulid), v: itemVersion, ...entry, ttl: Math.ceil(nowMs / 1000) + keptSeconds };
}

/** Undefined for a type, a change or a version that a later release writes: it means nothing to this one. */
export function controlFromItem(item: Item): ControlEntry | undefined {
  if (item['v'] !== itemVersion) return undefined;
  const read = new ItemReader('control entry', item);
  const type = item['type'] as ControlEntry['type'];
  if (type === 'broker-drain') return { type, brokerId: read.text('brokerId') as BrokerId };
  const creationId = read.optional('creationId', (value) => (typeof value === 'string' ? value : undefined));
  const about: About = { tenant: item['tenant'] as TenantId, ...(creationId !== undefined && { creationId }) };
  switch (type) {
    case 'credential-changed': {
      const change = known(item['change'], ['deleted', 'rotated', 'grants']);
      return change && { ...about, type, name: read.text('name'), change };
    }
    case 'tenant-changed': {
      const change = known(item['change'], ['deleted', 'suspended', 'quotas']);
      return change && { ...about, type, change };
    }
    case 'session-kick': {
      const born = read.optional('born', (value) => (typeof value === 'number' ? value : undefined));
      return { ...about, type, clientId: read.text('clientId') as ClientId, ...(born !== undefined && { born }) };
    }
    default:
      return undefined;
  }
}

function known<const T extends string>(value: unknown, values: readonly T[]): T | undefined {
  return values.find((one) => one === value);
}

const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** When an entry was written, by the writer's clock. */
export function controlTimeMs(ulid: string): number {
  let time = 0;
  for (const digit of ulid.slice(0, 10)) time = time * 32 + crockford.indexOf(digit);
  return time;
}

/** The cursor before every entry written at `timeMs` or later: the least ULID of that time. */
export function controlCursorAt(timeMs: number): string {
  let time = '';
  for (let left = Math.max(0, Math.floor(timeMs)); time.length < 10; left = Math.floor(left / 32))
    time = crockford[left % 32]! + time;
  return time + '0'.repeat(16);
}
