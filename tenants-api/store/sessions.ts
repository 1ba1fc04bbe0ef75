/** Sessions as brokers record them, and the leases that tell whether a record's owner still lives. Read only. */
import type { Dynamo, Item } from '../../services/dynamo/dynamo.js';
import type { BrokerId, ClientId, TenantScope } from '../../services/kernel/kernel.js';
import {
  brokerLeaseFromItem,
  brokerLeaseKey,
  brokersPartition,
  isClientId,
  leaseEndFromItem,
  leaseEndKey,
  RecordUnreadable,
  sessionBuckets,
  sessionFromItem,
  sessionKey,
  type SessionRecord,
} from '../../services/tenancy/tenancy.js';
import type { OwnerLease } from '../domain/sessions.js';
import { decodeCursor, type List, type ListPage, type PageRequest, toPage } from './paging.js';

export async function findSession(
  dynamo: Dynamo,
  scope: TenantScope,
  clientId: ClientId,
): Promise<SessionRecord | 'unreadable' | undefined> {
  const item = await dynamo.get('sessions', sessionKey(scope, clientId), { consistent: true });
  return item && (readable(item, () => {}) ?? 'unreadable');
}

/** Or its end, if the broker has been followed: that is written before the lease is removed. */
export async function findLease(dynamo: Dynamo, brokerId: BrokerId): Promise<OwnerLease | undefined> {
  const item = await dynamo.get('cluster', brokerLeaseKey(brokerId), { consistent: true });
  return item ? brokerLeaseFromItem(item) : await findLeaseEnd(dynamo, brokerId);
}

async function findLeaseEnd(dynamo: Dynamo, brokerId: BrokerId): Promise<OwnerLease | undefined> {
  const item = await dynamo.get('cluster', leaseEndKey(brokerId), { consistent: true });
  return item && { leaseUntilMs: leaseEndFromItem(item).endedAtMs };
}

/** For one request: all leases in one read; the ends of others, of which a tenant's records name few, as they are asked for. */
export async function findLeases(dynamo: Dynamo): Promise<(owner: BrokerId) => Promise<OwnerLease | undefined>> {
  const leases = new Map<BrokerId, Promise<OwnerLease | undefined>>();
  for await (const items of dynamo.queryAll('cluster', { pk: brokersPartition }))
    for (const item of items) {
      const lease = brokerLeaseFromItem(item);
      leases.set(lease.brokerId, Promise.resolve(lease));
    }
  return (owner) => {
    const known = leases.get(owner) ?? findLease(dynamo, owner);
    leases.set(owner, known);
    return known;
  };
}

const listOf = (scope: TenantScope): List => ({
  name: 'sessions',
  scope,
  isPosition: ([bucket, after]) =>
    isClientId(after) && sessionBuckets(scope)[bucket] === sessionKey(scope, after as ClientId).pk,
});

/**
 * Bucket by bucket, by client id inside a bucket. `view` answers undefined for a session that is over. A record that cannot
 * be read is left out and told: it hides none of the others.
 */
export async function listSessions<T>(
  dynamo: Dynamo,
  scope: TenantScope,
  { limit, cursor }: PageRequest,
  view: (session: SessionRecord) => Promise<T | undefined>,
  onUnreadable: (clientId: string, error: RecordUnreadable) => void,
): Promise<ListPage<T>> {
  const list = listOf(scope);
  const [firstBucket, after] = cursor === undefined ? [0, undefined] : decodeCursor(list, cursor);
  const found: { bucket: number; clientId: string; session: T }[] = [];
  for (const [bucket, pk] of sessionBuckets(scope).entries()) {
    if (bucket < firstBucket || found.length > limit) continue;
    const from = bucket === firstBucket && after !== undefined ? { pk, sk: after } : undefined;
    const query = { pk, limit: limit + 1 - found.length, consistent: true, ...(from && { from }) };
    for await (const items of dynamo.queryAll('sessions', query)) {
      for (const item of items) {
        const clientId = item['sk'] as string;
        const record = readable(item, (error) => onUnreadable(clientId, error));
        const session = record && (await view(record));
        if (session !== undefined) found.push({ bucket, clientId, session });
      }
      if (found.length > limit) break;
    }
  }
  return toPage(
    list,
    limit,
    found,
    ({ bucket, clientId }) => [bucket, clientId],
    ({ session }) => session,
  );
}

function readable(item: Item, onUnreadable: (error: RecordUnreadable) => void): SessionRecord | undefined {
  try {
    return sessionFromItem(item);
  } catch (error) {
    if (!(error instanceof RecordUnreadable)) throw error;
    onUnreadable(error);
    return undefined;
  }
}
