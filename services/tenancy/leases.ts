/**
 * What is stored of a running broker (table `cluster`): the lease that says until when it counts as alive, and the one
 * lock that says which broker serves. A lease has no time to live: until its broker's sessions are adopted it is the
 * only note that they have to be. After that its end alone is kept, for records that still name the broker.
 */
import type { BrokerId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import { brokerLeaseKey, leaseEndKey, servingLockKey, type TableKey } from './keys.js';

/** What a broker tells of itself with each renewal: for operators, nothing is decided by it. */
export interface BrokerLoad {
  /** Clients connected. */
  readonly connections: number;
  /** Connected or not. */
  readonly sessions: number;
}

/** To other brokers: for operators, too. */
export interface BrokerLinks {
  /** Those that can be relied on. */
  readonly up: number;
  /** One to each other broker that lives. */
  readonly expected: number;
}

export interface BrokerLease {
  readonly brokerId: BrokerId;
  /** By the wall clock. */
  readonly leaseUntilMs: number;
  readonly startedAtMs: number;
  /** The broker that has found the lease run out. From then on it is never renewed. */
  readonly takenBy?: BrokerId;
  /** By a clean stop. */
  readonly givenUp?: true;
  /** Of Shoal. Missing in leases of releases that did not say it. */
  readonly version?: string;
  /** As it was at the last renewal. */
  readonly load?: BrokerLoad;
  /** `host:port` where other brokers dial it; missing where it has no links. */
  readonly address?: string;
  /** As of the last renewal. */
  readonly links?: BrokerLinks;
}

export function brokerLeaseToItem(lease: BrokerLease): Item & TableKey {
  const { brokerId, leaseUntilMs, startedAtMs, takenBy, givenUp, version, load, address, links } = lease;
  return {
    ...brokerLeaseKey(brokerId),
    v: itemVersion,
    leaseUntilMs,
    startedAtMs,
    ...(takenBy !== undefined && { takenBy }),
    ...(givenUp && { givenUp }),
    ...(version !== undefined && { version }),
    ...load,
    ...(address !== undefined && { address }),
    ...(links && { linksUp: links.up, linksExpected: links.expected }),
  };
}

export function brokerLeaseFromItem(item: Item): BrokerLease {
  const read = new ItemReader('broker lease', item);
  const takenBy = read.optional('takenBy', (value) => (typeof value === 'string' ? value : undefined));
  const givenUp = read.optional('givenUp', (value) => (typeof value === 'boolean' ? value : undefined));
  const version = read.optional('version', (value) => (typeof value === 'string' ? value : undefined));
  const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  const connections = read.optional('connections', asNumber);
  const sessions = read.optional('sessions', asNumber);
  const address = read.optional('address', (value) => (typeof value === 'string' ? value : undefined));
  const up = read.optional('linksUp', asNumber);
  const expected = read.optional('linksExpected', asNumber);
  return {
    brokerId: read.text('sk') as BrokerId,
    leaseUntilMs: read.number('leaseUntilMs'),
    startedAtMs: read.number('startedAtMs'),
    ...(takenBy !== undefined && { takenBy: takenBy as BrokerId }),
    ...(givenUp && { givenUp }),
    ...(version !== undefined && { version }),
    ...(connections !== undefined && sessions !== undefined && { load: { connections, sessions } }),
    ...(address !== undefined && { address }),
    ...(up !== undefined && expected !== undefined && { links: { up, expected } }),
  };
}

/** Whether its broker may act on it, as far as a clock that is right can tell. */
export function isAlive({ takenBy, givenUp, leaseUntilMs }: BrokerLease, nowMs: number): boolean {
  return takenBy === undefined && !givenUp && nowMs < leaseUntilMs;
}

/** Of a lease whose item is gone. */
export interface LeaseEnd {
  readonly brokerId: BrokerId;
  readonly endedAtMs: number;
}

/** A record that has not been written for so long is nobody's who will ask. */
const leaseEndKeptSeconds = 400 * 86_400;

export function leaseEndToItem({ brokerId, endedAtMs }: LeaseEnd): Item & TableKey {
  return {
    ...leaseEndKey(brokerId),
    v: itemVersion,
    endedAtMs,
    ttl: Math.ceil(endedAtMs / 1000) + leaseEndKeptSeconds,
  };
}

export function leaseEndFromItem(item: Item): LeaseEnd {
  const read = new ItemReader('end of a lease', item);
  return { brokerId: read.text('sk') as BrokerId, endedAtMs: read.number('endedAtMs') };
}

/** The write that gives a lease up: of its own broker, or of one whose process is known to be gone. */
export function givenUpAt(nowMs: number) {
  return {
    update: 'SET givenUp = :yes, leaseUntilMs = :now',
    condition: 'attribute_exists(pk) AND attribute_not_exists(takenBy)',
    values: { ':yes': true, ':now': nowMs },
  };
}

export function servingLockToItem(brokerId: BrokerId): Item & TableKey {
  return { ...servingLockKey, v: itemVersion, brokerId };
}

/** Who serves. */
export function servingLockFromItem(item: Item): BrokerId {
  return new ItemReader('serving lock', item).text('brokerId') as BrokerId;
}
