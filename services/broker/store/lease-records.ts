/**
 * The items behind leases, each change one conditional write: `brokers/<broker id>`, one a broker, and the serving lock; and the
 * ends of those that are gone.
 * Called by `Membership`; it decides nothing.
 *
 * The answer of a write may be lost after the write has happened, and the next attempt then meets its own effect. So
 * whenever a condition does not hold, the item is read and counts as written if it says what was to be written.
 */
import type { BrokerId } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo } from '../../dynamo/dynamo.js';
import {
  adoptedByAttribute,
  type BrokerLease,
  type BrokerLinks,
  type BrokerLoad,
  brokerLeaseFromItem,
  brokerLeaseKey,
  brokerLeaseToItem,
  brokersPartition,
  givenUpAt,
  markOf,
  type LeaseEnd,
  leaseEndFromItem,
  leaseEndKey,
  leaseEndToItem,
  type ServingLock,
  servingLockFromItem,
  servingLockKey,
  servingLockToItem,
  type Shares,
  sharesToText,
  slotsToText,
} from '../../tenancy/tenancy.js';

/** Of a lease that is its broker's own still. A late duplicate of an older write never makes it shorter again. */
const isOwn =
  'attribute_exists(pk) AND attribute_not_exists(takenBy) AND attribute_not_exists(givenUp) AND leaseUntilMs < :until';

/** What goes with a renewal. */
export interface Told {
  readonly load?: BrokerLoad;
  readonly links?: BrokerLinks;
}

export class LeaseRecords {
  readonly #dynamo: Dynamo;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  /** As `renew`. Broker ids are new at each start: an item that is there already is of an attempt before. */
  async create(lease: BrokerLease): Promise<boolean> {
    const write = this.#dynamo.put('cluster', brokerLeaseToItem(lease), { condition: 'attribute_not_exists(pk)' });
    return (await held(write)) || (await this.renew(lease.brokerId, lease.leaseUntilMs, lease));
  }

  /** False once the lease is its broker's no more; otherwise it counts until `untilMs` at least. */
  async renew(brokerId: BrokerId, untilMs: number, { load, links }: Told = {}): Promise<boolean> {
    const loadSet = load ? ', connections = :connections, sessions = :sessions' : '';
    const linksSet = links ? ', linksUp = :linksUp, linksExpected = :linksExpected' : '';
    const write = this.#dynamo.update('cluster', brokerLeaseKey(brokerId), {
      update: `SET leaseUntilMs = :until${loadSet}${linksSet}`,
      condition: isOwn,
      values: {
        ':until': untilMs,
        ...(load && { ':connections': load.connections, ':sessions': load.sessions }),
        ...(links && { ':linksUp': links.up, ':linksExpected': links.expected }),
      },
    });
    if (await held(write)) return true;
    const lease = await this.find(brokerId);
    return lease !== undefined && lease.takenBy === undefined && !lease.givenUp;
  }

  async giveUp(brokerId: BrokerId, nowMs: number): Promise<void> {
    const write = this.#dynamo.update('cluster', brokerLeaseKey(brokerId), givenUpAt(nowMs));
    await held(write); // When it is taken there is nothing left to give.
  }

  /**
   * The mark, with the shares of those who inherit. Returns the lease as it is now if it is marked, by whomever; undefined when it
   * was renewed or removed since `lease` was read.
   */
  async take(lease: BrokerLease, by: BrokerId, shares: Shares): Promise<BrokerLease | undefined> {
    const write = this.#dynamo.update('cluster', brokerLeaseKey(lease.brokerId), {
      update: 'SET takenBy = :by, shares = :shares REMOVE #ttl',
      condition: 'leaseUntilMs = :seen AND attribute_not_exists(takenBy)',
      names: { '#ttl': 'ttl' }, // Of leases that releases before have written.
      values: { ':by': by, ':shares': sharesToText(shares), ':seen': lease.leaseUntilMs },
    });
    if (await held(write)) return { ...lease, takenBy: by, shares };
    const found = await this.find(lease.brokerId);
    return found?.takenBy === undefined ? undefined : found;
  }

  /** Other shares in place of some that lead to nobody. Returns the lease as it is now. */
  async shareAnew(lease: BrokerLease, by: BrokerId, shares: Shares): Promise<BrokerLease | undefined> {
    const was = saysShares(markOf(lease)!);
    const write = this.#dynamo.update('cluster', brokerLeaseKey(lease.brokerId), {
      update: 'SET takenBy = :by, shares = :next',
      condition: was.condition,
      values: { ...was.values, ':by': by, ':next': sharesToText(shares) },
    });
    return (await held(write)) ? { ...lease, takenBy: by, shares } : await this.find(lease.brokerId);
  }

  async find(brokerId: BrokerId): Promise<BrokerLease | undefined> {
    const item = await this.#dynamo.get('cluster', brokerLeaseKey(brokerId), { consistent: true });
    return item && brokerLeaseFromItem(item);
  }

  async all(): Promise<BrokerLease[]> {
    const leases: BrokerLease[] = [];
    for await (const items of this.#dynamo.queryAll('cluster', { pk: brokersPartition, consistent: true }))
      leases.push(...items.map(brokerLeaseFromItem));
    return leases;
  }

  async remove(brokerId: BrokerId): Promise<void> {
    await this.#dynamo.delete('cluster', brokerLeaseKey(brokerId));
  }

  /** An heir says which slots it has adopted, all of them. */
  async adopted(brokerId: BrokerId, by: BrokerId, slots: Iterable<number>): Promise<void> {
    const write = this.#dynamo.update('cluster', brokerLeaseKey(brokerId), {
      update: 'SET #by = :slots',
      condition: 'attribute_exists(takenBy)',
      names: { '#by': adoptedByAttribute(by) },
      values: { ':slots': slotsToText(slots) },
    });
    await held(write); // It is gone: all are.
  }

  /** Removes a lease, and keeps its end and its shares. It does no harm however often it is done. */
  async end(brokerId: BrokerId): Promise<void> {
    for (;;) {
      const lease = await this.find(brokerId);
      if (!lease) return;
      const shares = markOf(lease);
      const { leaseUntilMs: endedAtMs } = lease;
      const end = leaseEndToItem({ brokerId, endedAtMs, ...(shares && { shares }) });
      // One that is there may have been composed since.
      await held(this.#dynamo.put('cluster', end, { condition: 'attribute_not_exists(pk)' }));
      const isAsRead = shares ? saysShares(shares) : { condition: 'attribute_not_exists(takenBy)' };
      if (await held(this.#dynamo.delete('cluster', brokerLeaseKey(brokerId), isAsRead))) return;
    }
  }

  async endOf(brokerId: BrokerId): Promise<LeaseEnd | undefined> {
    const item = await this.#dynamo.get('cluster', leaseEndKey(brokerId), { consistent: true });
    return item && leaseEndFromItem(item);
  }

  /** What these shares, kept with its end, lead to, in their place. Does nothing when they are others by now. */
  async compose(brokerId: BrokerId, shares: Shares, next: Shares): Promise<void> {
    const values = { ':was': sharesToText(shares), ':next': sharesToText(next) };
    const write = { update: 'SET shares = :next', condition: 'shares = :was', values };
    await held(this.#dynamo.update('cluster', leaseEndKey(brokerId), write));
  }

  /** The broker that serves, dead or alive. */
  async lock(): Promise<ServingLock | undefined> {
    const item = await this.#dynamo.get('cluster', servingLockKey, { consistent: true });
    return item && servingLockFromItem(item);
  }

  /** Unless somebody else was faster. Whether it was moved, the next look at it tells. */
  async moveLock(from: BrokerId | undefined, to: ServingLock): Promise<void> {
    const isUnmoved =
      from === undefined
        ? { condition: 'attribute_not_exists(pk)' }
        : { condition: 'brokerId = :from', values: { ':from': from } };
    await held(this.#dynamo.put('cluster', servingLockToItem(to), isUnmoved));
  }

  async releaseLock(brokerId: BrokerId): Promise<void> {
    const isMine = { condition: 'brokerId = :me', values: { ':me': brokerId } };
    await held(this.#dynamo.delete('cluster', servingLockKey, isMine));
  }
}

/** A mark of a release before has none. */
const saysShares = (shares: Shares) => ({
  condition: 'shares = :was OR (attribute_not_exists(shares) AND takenBy = :only)',
  values: { ':was': sharesToText(shares), ':only': shares[0] },
});

/** Whether the condition of a write did hold. */
async function held(write: Promise<unknown>): Promise<boolean> {
  try {
    await write;
    return true;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}
