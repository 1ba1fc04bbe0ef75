/**
 * What is stored of a running broker (table `cluster`): the lease that says until when it counts as alive, and the one
 * lock that says which broker serves. A lease has no time to live: until its broker's sessions are adopted it is the
 * only note that they have to be. After that its end alone is kept, for records that still name the broker.
 */
import type { BrokerId } from '../kernel/kernel.js';
import { type Item, ItemReader, itemVersion } from './item.js';
import { brokerLeaseKey, leaseEndKey, servingLockKey, type TableKey } from './keys.js';

export interface BrokerLease {
  readonly brokerId: BrokerId;
  /** By the wall clock. */
  readonly leaseUntilMs: number;
  readonly startedAtMs: number;
  /** The broker that has found the lease run out. From then on it is never renewed. */
  readonly takenBy?: BrokerId;
  /** By a clean stop. */
  readonly givenUp?: true;
}

export function brokerLeaseToItem(lease: BrokerLease): Item & TableKey {
  const { brokerId, leaseUntilMs, startedAtMs, takenBy, givenUp } = lease;
  return {
    ...brokerLeaseKey(brokerId),
    v: itemVersion,
    leaseUntilMs,
    startedAtMs,
    ...(takenBy !== undefined && { takenBy }),
    ...(givenUp && { givenUp }),
  };
}

export function brokerLeaseFromItem(item: Item): BrokerLease {
  const read = new ItemReader('broker lease', item);
  const takenBy = read.optional('takenBy', (value) => (typeof value === 'string' ? value : undefined));
  const givenUp = read.optional('givenUp', (value) => (typeof value === 'boolean' ? value : undefined));
  return {
    brokerId: read.text('sk') as BrokerId,
    leaseUntilMs: read.number('leaseUntilMs'),
    startedAtMs: read.number('startedAtMs'),
    ...(takenBy !== undefined && { takenBy: takenBy as BrokerId }),
    ...(givenUp && { givenUp }),
  };
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
