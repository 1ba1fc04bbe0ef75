/** Where each record lives in the tables, and the bounds that the database's keys put on MQTT names. */
import { createHash } from 'node:crypto';
import type { BrokerId, ClientId, TenantId, TenantScope } from '../kernel/kernel.js';
import { topicBytesMax } from '../topic/topic.js';
import { stableHash } from './stable-hash.js';

export interface TableKey {
  readonly pk: string;
  readonly sk: string;
}

/** DynamoDB: at most 1024 bytes of UTF-8 in a sort key, 2048 in a partition key. */
const sortKeyBytesMax = 1024;
/** 1024: the client id is the sort key of its session. */
export const clientIdBytesMax = sortKeyBytesMax;

/** Whether a session can have this client id: [MQTT-1.5.4-1] [MQTT-1.5.4-2] and the length of its key. */
export const isClientId = (text: string): boolean =>
  text !== '' && !/[\0\p{Surrogate}]/u.test(text) && Buffer.byteLength(text) <= clientIdBytesMax;

/** What a broker answers with when a name is too long, and the documentation tells beforehand. */
export const keyBounds = [
  { name: 'topic', bytesMax: topicBytesMax, reason: 'a topic name is the sort key of its retained message' },
  { name: 'filter', bytesMax: topicBytesMax, reason: 'a topic filter is as long as a topic name may be' },
  { name: 'clientId', bytesMax: clientIdBytesMax, reason: 'a client id is the sort key of its session record' },
] as const;

/** Table `tenants`. */
export const tenantKey = (tenant: TenantId): TableKey => ({ pk: tenant, sk: 'meta' });
export const credentialPrefix = 'cred#';
export const credentialKey = (scope: TenantScope, name: string): TableKey => ({
  pk: scope,
  sk: credentialPrefix + name,
});
/** Of API keys: attributes of the tenant's row; items of their own where an earlier release has made them. */
export const apiKeyPrefix = 'key#';
export const apiKeyKey = (scope: TenantScope, keyId: string): TableKey => ({ pk: scope, sk: apiKeyPrefix + keyId });

/** A partition takes 1000 writes a second, so that a tenant gets 16 times that many connects. */
const sessionBucketCount = 16;

/** Table `sessions`. */
export const sessionKey = (scope: TenantScope, clientId: ClientId): TableKey => ({
  pk: bucketPartition(scope, stableHash(clientId) % sessionBucketCount),
  sk: clientId,
});

/** The partition keys that hold all sessions of a tenant. */
export function sessionBuckets(scope: TenantScope): readonly string[] {
  return Array.from({ length: sessionBucketCount }, (_, bucket) => bucketPartition(scope, bucket));
}

function bucketPartition(scope: TenantScope, bucket: number): string {
  return `${scope}#${twoDigits(bucket)}`;
}

function twoDigits(n: number): string {
  return n.toString().padStart(2, '0');
}

/**
 * Table `routes`: in the partition that the session's record has in `sessions`, so that all subscriptions of a tenant are
 * read page by page. The sort key begins with a hash of the client id, because client id and filter together may be longer
 * than a key; so does a filter that is too long beside it. Both are attributes of the item where the key does not tell them.
 */
export function routeKey(scope: TenantScope, clientId: ClientId, filter: string): TableKey {
  const { pk, prefix } = clientRoutes(scope, clientId);
  const sk = prefix + filter;
  return { pk, sk: Buffer.byteLength(sk) <= sortKeyBytesMax ? sk : `${prefix}${longFilterMark}${shortHash(filter)}` };
}

/** Where the subscriptions of one client are: all keys of `pk` that begin with `prefix`. */
export function clientRoutes(scope: TenantScope, clientId: ClientId): { readonly pk: string; readonly prefix: string } {
  return { pk: sessionKey(scope, clientId).pk, prefix: `${shortHash(clientId)}#` };
}

/** The filter that the sort key of a subscription ends with; undefined when it was too long for it. */
export function filterInRouteKey(sk: string): string | undefined {
  const filter = sk.slice(shortHashLength + 1);
  return filter.startsWith(longFilterMark) ? undefined : filter;
}

/** In no filter. */
const longFilterMark = '\0';
const shortHashLength = 22;

/** 128 bits: nobody finds two names that share one. Frozen, as `stableHash` is. */
function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, shortHashLength);
}

/** Table `inbox`: one partition a client. At most 49 + 1 + 1024 of 2048 bytes. */
export const clientPartition = (scope: TenantScope, clientId: ClientId): string => `${scope}#${clientId}`;

/** The client id in a key of `clientPartition`. */
export function clientOfPartition(pk: string): ClientId {
  return pk.slice(pk.indexOf('#') + 1) as ClientId;
}

/** The scope in a partition key, a shared subscription's included. */
export function scopeOfPartition(pk: string): TenantScope {
  // With each call of DynamoDB: a regular expression takes several times as long.
  const [hash, dollar] = [pk.indexOf('#'), pk.indexOf('$')];
  const end = hash < 0 || dollar < 0 ? Math.max(hash, dollar) : Math.min(hash, dollar);
  return (end < 0 ? pk : pk.slice(0, end)) as TenantScope;
}

/** The same for a shared subscription `$share/group/filter`; no client's, for a scope has no `$`. */
export const sharedPartition = (scope: TenantScope, name: string): string => `${scope}${name}`;

/** Table `retained`: how much there is in the partition of the tenant. One item. */
export const retainedTotalsKey = (scope: TenantScope): TableKey => ({ pk: `${scope}#totals`, sk: 'totals' });

/** Table `usage`; `month` is `2026-11`. */
export const usagePartition = (scope: TenantScope, month: string): string => `${scope}#${month}`;

/** Table `cluster`. */
export const brokersPartition = 'brokers';
export const brokerLeaseKey = (brokerId: BrokerId): TableKey => ({ pk: brokersPartition, sk: brokerId });
/** When the lease of a broker that nobody needs to know of any more has ended. */
export const leaseEndKey = (brokerId: BrokerId): TableKey => ({ pk: 'ended', sk: brokerId });
/**
 * Notes of which tenants a broker has sessions of. A broker that takes over reads all of another's, and a fleet of tenants that
 * comes at once writes as many as there are.
 */
export const tenantNoteKey = (brokerId: BrokerId, scope: TenantScope): TableKey => ({
  pk: tenantNoteShards[stableHash(scope) % sessionBucketCount]!,
  sk: tenantNotePrefix(brokerId) + scope,
});
export const tenantNoteShards: readonly string[] = Array.from(
  { length: sessionBucketCount },
  (_, shard) => `tenants#${twoDigits(shard)}`,
);
export const tenantNotePrefix = (brokerId: BrokerId): string => `${brokerId}#`;
/** One item: the broker that serves. */
export const servingLockKey: TableKey = { pk: 'serving', sk: 'lock' };
