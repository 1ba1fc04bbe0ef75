/**
 * What is stored of a running broker (table `cluster`): the lease that says until when it counts as alive, and the one
 * lock that says which broker serves. A lease has no time to live: until its broker's sessions are adopted it is the
 * only note that they have to be. After that its end alone is kept, for records that still name the broker.
 */
import type { BrokerId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import { brokerLeaseKey, leaseEndKey, servingLockKey, type TableKey } from './keys.js';
import { type Shares, sharesFromText, sharesOf, sharesToText, slotsFromText } from './shares.js';

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
  /** With `takenBy`: who inherits what. */
  readonly shares?: Shares;
  /** Slots that heirs have adopted. Each says it in an attribute of its own. */
  readonly adopted?: ReadonlySet<number>;
  /** It serves together with others. */
  readonly isTogether?: true;
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
  const { brokerId, leaseUntilMs, startedAtMs, takenBy, shares, isTogether } = lease;
  const { givenUp, version, load, address, links } = lease;
  return {
    ...brokerLeaseKey(brokerId),
    v: itemVersion,
    leaseUntilMs,
    startedAtMs,
    ...(takenBy !== undefined && { takenBy }),
    ...(shares && { shares: sharesToText(shares) }),
    ...(isTogether && { isTogether }),
    ...(givenUp && { givenUp }),
    ...(version !== undefined && { version }),
    ...load,
    ...(address !== undefined && { address }),
    ...(links && { linksUp: links.up, linksExpected: links.expected }),
  };
}

/** An attribute for each heir, with its slots, so that none writes over what another one says. */
export const adoptedByAttribute = (heir: BrokerId): string => `${adoptedByPrefix}${heir}`;
const adoptedByPrefix = 'adoptedBy ';

function adoptedIn(item: Item, read: ItemReader): ReadonlySet<number> | undefined {
  const names = Object.keys(item).filter((name) => name.startsWith(adoptedByPrefix));
  return names.length > 0 ? new Set(names.flatMap((name) => [...read.optional(name, slotsFromText)!])) : undefined;
}

/** Who inherits what of a broker that has a mark. A release before has left all to the broker that has marked it. */
export const markOf = ({ takenBy, shares }: BrokerLease): Shares | undefined =>
  takenBy && (shares ?? sharesOf(takenBy));

export function brokerLeaseFromItem(item: Item): BrokerLease {
  const read = new ItemReader('broker lease', item);
  const takenBy = read.optional('takenBy', (value) => (typeof value === 'string' ? (value as BrokerId) : undefined));
  const shares = read.optional('shares', sharesFromText);
  const adopted = adoptedIn(item, read);
  const isTogether = read.optional('isTogether', (value) => (typeof value === 'boolean' ? value : undefined));
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
    ...(takenBy !== undefined && { takenBy }),
    ...(shares && { shares }),
    ...(adopted && { adopted }),
    ...(isTogether && { isTogether }),
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
  /** Who inherits what of records that name it still. Missing in those of releases that did not say it. */
  readonly shares?: Shares;
}

/** A record that has not been written for so long is nobody's who will ask. */
const leaseEndKeptSeconds = 400 * 86_400;

export function leaseEndToItem({ brokerId, endedAtMs, shares }: LeaseEnd): Item & TableKey {
  return {
    ...leaseEndKey(brokerId),
    v: itemVersion,
    endedAtMs,
    ...(shares && { shares: sharesToText(shares) }),
    ttl: Math.ceil(endedAtMs / 1000) + leaseEndKeptSeconds,
  };
}

export function leaseEndFromItem(item: Item): LeaseEnd {
  const read = new ItemReader('end of a lease', item);
  const shares = read.optional('shares', sharesFromText);
  return { brokerId: read.text('sk') as BrokerId, endedAtMs: read.number('endedAtMs'), ...(shares && { shares }) };
}

/** The write that gives a lease up: of its own broker, or of one whose process is known to be gone. */
export function givenUpAt(nowMs: number) {
  return {
    update: 'SET givenUp = :yes, leaseUntilMs = :now',
    condition: 'attribute_exists(pk) AND attribute_not_exists(takenBy)',
    values: { ':yes': true, ':now': nowMs },
  };
}

/** Who serves. */
export interface ServingLock {
  readonly brokerId: BrokerId;
  /** Others serve with it. */
  readonly isTogether?: true;
}

export function servingLockToItem({ brokerId, isTogether }: ServingLock): Item & TableKey {
  return { ...servingLockKey, v: itemVersion, brokerId, ...(isTogether && { isTogether }) };
}

export function servingLockFromItem(item: Item): ServingLock {
  const read = new ItemReader('serving lock', item);
  const isTogether = read.optional('isTogether', (value) => (typeof value === 'boolean' ? value : undefined));
  return { brokerId: read.text('brokerId') as BrokerId, ...(isTogether && { isTogether }) };
}
