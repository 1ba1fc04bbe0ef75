/** Where each record lives in the tables, and the bounds that the database's keys put on MQTT names. */
import type { BrokerId, ClientId, TenantId, TenantScope } from '../kernel/kernel.js';
import { topicBytesMax } from '../topic/topic.js';

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
  { name: 'filter', bytesMax: topicBytesMax, reason: 'a topic filter is the sort key of its stored subscription' },
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
  return `${scope}#${bucket.toString().padStart(2, '0')}`;
}

/** FNV-1a over UTF-16 code units. Frozen: stored records are found by it. */
function stableHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Tables `routes` and `inbox`: one partition a client. At most 49 + 1 + 1024 of 2048 bytes. */
export const clientPartition = (scope: TenantScope, clientId: ClientId): string => `${scope}#${clientId}`;

/** The scope in a partition key, a shared subscription's included. */
export function scopeOfPartition(pk: string): TenantScope {
  const end = pk.search(/[#$]/);
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
/** One item: the broker that serves. */
export const servingLockKey: TableKey = { pk: 'serving', sk: 'lock' };
