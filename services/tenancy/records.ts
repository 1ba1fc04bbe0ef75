/** What is stored of a tenant in the table `tenants`, as records and as items. */
import type { TenantId, TenantScope } from '../kernel/kernel.js';
import type { Grant } from './access.js';
import { type Item, isObject, ItemReader, itemVersion } from './item.js';
import { credentialKey, tenantKey, type TableKey } from './keys.js';
import { type PlanName, plans, quotaKinds, type Quotas } from './quotas.js';
import type { SecretHash } from './secrets.js';

export interface Tenant {
  readonly id: TenantId;
  readonly plan: PlanName;
  readonly status: 'active' | 'suspended' | 'deleting';
  /** What the operator set differently from the plan. */
  readonly quotaOverrides: Partial<Quotas>;
  readonly createdAtMs: number;
  /** New at each sign-up, also of a name that was taken before. Missing: signed up before there were such ids. */
  readonly creationId?: string;
}

export interface Credential {
  readonly scope: TenantScope;
  readonly name: string;
  readonly secretHash: SecretHash;
  /** Missing: everything in the tenant. */
  readonly grants?: readonly Grant[];
  readonly createdAtMs: number;
  /** Grows with every change of the secret or the grants. */
  readonly revision: number;
}

export interface ApiKey {
  readonly id: string;
  readonly secretHash: SecretHash;
  readonly createdAtMs: number;
}

export function tenantToItem(tenant: Tenant): Item & TableKey {
  const { id, plan, status, quotaOverrides, createdAtMs, creationId } = tenant;
  return {
    ...tenantKey(id),
    v: itemVersion,
    plan,
    status,
    quotaOverrides: { ...quotaOverrides },
    createdAtMs,
    ...(creationId !== undefined && { creationId }),
  };
}

export function tenantFromItem(item: Item): Tenant {
  const read = new ItemReader('tenant', item);
  const creationId = read.optional('creationId', (value) => (typeof value === 'string' ? value : undefined));
  return {
    id: read.text('pk') as TenantId,
    plan: read.oneOf('plan', Object.keys(plans) as PlanName[]),
    status: read.oneOf('status', ['active', 'suspended', 'deleting']),
    quotaOverrides: read.optional('quotaOverrides', toOverrides) ?? {},
    createdAtMs: read.number('createdAtMs'),
    ...(creationId !== undefined && { creationId }),
  };
}

/** Kinds that this release does not know are left out: a later one may have written them. */
function toOverrides(value: unknown): Partial<Quotas> | undefined {
  if (!isObject(value)) return undefined;
  const known = quotaKinds.filter(({ kind }) => value[kind] === null || typeof value[kind] === 'number');
  return Object.fromEntries(known.map(({ kind }) => [kind, value[kind]]));
}

export function credentialToItem(credential: Credential): Item & TableKey {
  const { scope, name, secretHash, grants, createdAtMs, revision } = credential;
  return {
    ...credentialKey(scope, name),
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
    scope: read.text('pk') as TenantScope,
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

/** As an attribute of the tenant's row. */
export function apiKeyToAttribute({ secretHash, createdAtMs }: ApiKey): Record<string, unknown> {
  return { secretHash, createdAtMs };
}

export function apiKeyFromAttribute(id: string, value: unknown): ApiKey | undefined {
  if (!isObject(value)) return undefined;
  const { secretHash, createdAtMs } = value;
  if (typeof secretHash !== 'string' || typeof createdAtMs !== 'number') return undefined;
  return { id, secretHash: secretHash as SecretHash, createdAtMs };
}

/** An item of its own, as earlier releases made one for each key. */
export function apiKeyFromItem(item: Item): ApiKey {
  const read = new ItemReader('API key', item);
  return {
    id: read.text('id'),
    secretHash: read.text('secretHash') as SecretHash,
    createdAtMs: read.number('createdAtMs'),
  };
}
