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
  type BrokerLease,
  type BrokerLinks,
  type BrokerLoad,
  brokerLeaseFromItem,
  brokerLeaseKey,
  brokerLeaseToItem,
  brokersPartition,
  givenUpAt,
  leaseEndFromItem,
  leaseEndKey,
  leaseEndToItem,
  servingLockFromItem,
  servingLockKey,
  servingLockToItem,
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

  /** False when it was renewed, taken by another or removed since `lease` was read. */
  async take(lease: BrokerLease, by: BrokerId): Promise<boolean> {
    const write = this.#dynamo.update('cluster', brokerLeaseKey(lease.brokerId), {
      update: 'SET takenBy = :by REMOVE #ttl',
      condition: 'leaseUntilMs = :seen AND attribute_not_exists(takenBy)',
      names: { '#ttl': 'ttl' }, // Of leases that releases before have written.
      values: { ':by': by, ':seen': lease.leaseUntilMs },
    });
    return (await held(write)) || (await this.find(lease.brokerId))?.takenBy === by;
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

  /** Keeps the end of a lease that is about to be removed. It says the same however often it is written. */
  async keepEnd(brokerId: BrokerId): Promise<void> {
    const lease = await this.find(brokerId);
    if (lease) await this.#dynamo.put('cluster', leaseEndToItem({ brokerId, endedAtMs: lease.leaseUntilMs }));
  }

  async endOf(brokerId: BrokerId): Promise<number | undefined> {
    const item = await this.#dynamo.get('cluster', leaseEndKey(brokerId), { consistent: true });
    return item && leaseEndFromItem(item).endedAtMs;
  }

  /** The broker that serves, dead or alive. */
  async lockHolder(): Promise<BrokerId | undefined> {
    const item = await this.#dynamo.get('cluster', servingLockKey, { consistent: true });
    return item && servingLockFromItem(item);
  }

  /** Unless somebody else was faster. Whether it was moved, the next look at it tells. */
  async moveLock(from: BrokerId | undefined, to: BrokerId): Promise<void> {
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
