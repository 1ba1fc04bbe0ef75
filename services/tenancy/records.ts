/** What is stored of a tenant in the table `tenants`, as records and as items. */
import type { TenantId } from '../kernel/kernel.js';
import type { Grant } from './access.js';
import { type Item, isObject, ItemReader, itemVersion } from './item.js';
import { apiKeyKey, credentialKey, tenantKey, type TableKey } from './keys.js';
import { type PlanName, plans, quotaKinds, type Quotas } from './quotas.js';
import type { SecretHash } from './secrets.js';

export interface Tenant {
  readonly id: TenantId;
  readonly plan: PlanName;
  readonly status: 'active' | 'suspended' | 'deleting';
  /** What the operator set differently from the plan. */
  readonly quotaOverrides: Partial<Quotas>;
  readonly createdAtMs: number;
}

export interface Credential {
  readonly tenant: TenantId;
  readonly name: string;
  readonly secretHash: SecretHash;
  /** Missing: everything in the tenant. */
  readonly grants?: readonly Grant[];
  readonly createdAtMs: number;
  /** Grows with every change of the secret or the grants. */
  readonly revision: number;
}

export interface ApiKey {
  readonly tenant: TenantId;
  readonly id: string;
  readonly secretHash: SecretHash;
  readonly createdAtMs: number;
}

export function tenantToItem(tenant: Tenant): Item & TableKey {
  const { id, plan, status, quotaOverrides, createdAtMs } = tenant;
  return { ...tenantKey(id), v: itemVersion, plan, status, quotaOverrides: { ...quotaOverrides }, createdAtMs };
}

export function tenantFromItem(item: Item): Tenant {
  const read = new ItemReader('tenant', item);
  return {
    id: read.text('pk') as TenantId,
    plan: read.oneOf('plan', Object.keys(plans) as PlanName[]),
    status: read.oneOf('status', ['active', 'suspended', 'deleting']),
    quotaOverrides: read.optional('quotaOverrides', toOverrides) ?? {},
    createdAtMs: read.number('createdAtMs'),
  };
}

/** Kinds that this release does not know are left out: a later one may have written them. */
function toOverrides(value: unknown): Partial<Quotas> | undefined {
  if (!isObject(value)) return undefined;
  const known = quotaKinds.filter(({ kind }) => value[kind] === null || typeof value[kind] === 'number');
  return Object.fromEntries(known.map(({ kind }) => [kind, value[kind]]));
}

export function credentialToItem(credential: Credential): Item & TableKey {
  const { tenant, name, secretHash, grants, createdAtMs, revision } = credential;
  return {
    ...credentialKey(tenant, name),
    v: itemVersion,
    name,
    secretHash,
    ...(grants && { grants: grants.map(({ effect, action, topic }) => ({ effect, action, topic })) }),
    createdAtMs,
    revision,
  };
}

export function credentialFromItem(item: Item): Credential {
  const read = new ItemReader('credential', item);
  const grants = read.optional('grants', toGrants);
  return {
    tenant: read.text('pk') as TenantId,
    name: read.text('name'),
    secretHash: read.text('secretHash') as SecretHash,
    ...(grants && { grants }),
    createdAtMs: read.number('createdAtMs'),
    revision: read.number('revision'),
  };
}

/** All or nothing: a grant that cannot be read might be a deny. */
function toGrants(value: unknown): Grant[] | undefined {
  const isGrants = Array.isArray(value) && value.every(isGrant);
  return isGrants ? value.map(({ effect, action, topic }) => ({ effect, action, topic })) : undefined;
}

function isGrant(value: unknown): value is Grant {
  return (
    isObject(value) &&
    (value['effect'] === 'allow' || value['effect'] === 'deny') &&
    (value['action'] === 'publish' || value['action'] === 'subscribe' || value['action'] === 'all') &&
    typeof value['topic'] === 'string'
  );
}

export function apiKeyToItem(key: ApiKey): Item & TableKey {
  const { tenant, id, secretHash, createdAtMs } = key;
  return { ...apiKeyKey(tenant, id), v: itemVersion, id, secretHash, createdAtMs };
}

export function apiKeyFromItem(item: Item): ApiKey {
  const read = new ItemReader('API key', item);
  return {
    tenant: read.text('pk') as TenantId,
    id: read.text('id'),
    secretHash: read.text('secretHash') as SecretHash,
    createdAtMs: read.number('createdAtMs'),
  };
}
