/** The brokers as their leases tell of them: for operators. Two reads, which cost a unit for some twenty brokers. */
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { BrokerId } from '../../services/kernel/kernel.js';
import {
  type BrokerLease,
  brokerLeaseFromItem,
  brokersPartition,
  servingLockFromItem,
  servingLockKey,
} from '../../services/tenancy/tenancy.js';

export async function listBrokers(
  dynamo: Dynamo,
): Promise<{ readonly leases: readonly BrokerLease[]; readonly serving: BrokerId | undefined }> {
  const leases: BrokerLease[] = [];
  for await (const items of dynamo.queryAll('cluster', { pk: brokersPartition, consistent: true }))
    leases.push(...items.map(brokerLeaseFromItem));
  const lock = await dynamo.get('cluster', servingLockKey, { consistent: true });
  return { leases, serving: lock && servingLockFromItem(lock).brokerId };
}
