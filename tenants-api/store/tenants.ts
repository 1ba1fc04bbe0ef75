/**
 * Tenants in the table `tenants`: one row each, which decides. Its API keys are attributes of it, so that who may do
 * something and whether the tenant is still there are one condition. A row may have become that of the name's next owner
 * since it was read: every write names the creation id that was read.
 */
import { ConditionFailed, type Dynamo, type Item, type WriteCondition } from '../../services/dynamo/dynamo.js';
import type { TenantId, TenantScope } from '../../services/kernel/kernel.js';
import {
  type ApiKey,
  apiKeyFromAttribute,
  apiKeyPrefix,
  apiKeyToAttribute,
  type Quotas,
  scopeOf,
  type Tenant,
  tenantFromItem,
  tenantKey,
  tenantToItem,
} from '../../services/tenancy/tenancy.js';

export interface StoredTenant extends Tenant {
  readonly scope: TenantScope;
  /** The ids of the API keys that count. */
  readonly keyIds: ReadonlySet<string>;
  /** Those that the row holds: all but those that an earlier release has made. */
  readonly keys: ReadonlyMap<string, ApiKey>;
  /** How many credentials it has, or a few more: see `credential-places.ts`. */
  readonly credentials?: { readonly count: number; readonly countedAtMs: number };
}

/** On whose behalf something is done, as it was when the request was let in. */
export interface Actor {
  readonly tenant: StoredTenant;
  /** Of the API key that was sent; undefined for the operator's. */
  readonly keyId?: string;
}

export async function findTenant(dynamo: Dynamo, id: TenantId): Promise<StoredTenant | undefined> {
  const item = await dynamo.get('tenants', tenantKey(id), { consistent: true });
  return item && fromItem(item);
}

/** False when the name is taken. */
export async function createTenant(dynamo: Dynamo, tenant: Tenant, key: ApiKey): Promise<boolean> {
  const item = {
    ...tenantToItem(tenant),
    keyIds: new Set([key.id]),
    credentialCount: 0,
    credentialsCountedAtMs: tenant.createdAtMs,
    [apiKeyPrefix + key.id]: apiKeyToAttribute(key),
  };
  try {
    await dynamo.put('tenants', item, { condition: 'attribute_not_exists(pk)' });
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // Our own first attempt may have been the one that took the name: its answer can get lost.
    return (await findTenant(dynamo, tenant.id))?.scope === scopeOf(tenant);
  }
}

/** Whether `actor` may still do what it was let in for. */
export async function isStillAllowed(dynamo: Dynamo, { tenant, keyId }: Actor): Promise<boolean> {
  const now = await findTenant(dynamo, tenant.id);
  const isThere = now?.scope === tenant.scope && now.status !== 'deleting';
  return isThere && (keyId === undefined || now.keyIds.has(keyId));
}

/** The same as a condition on the tenant's row. */
export function whileAllowed({ tenant, keyId }: Actor): Required<WriteCondition> {
  const { condition, names, values } = isSame(tenant);
  return {
    condition: `${condition} AND #status <> :deleting${keyId === undefined ? '' : ' AND contains(keyIds, :caller)'}`,
    names: { ...names, '#status': 'status' },
    values: { ...values, ':deleting': 'deleting', ...(keyId !== undefined && { ':caller': keyId }) },
  };
}

/** Holds while the row is that of this tenant, and not of one before or after it. */
function isSame({ creationId, createdAtMs }: Tenant): Required<WriteCondition> {
  return creationId === undefined
    ? {
        condition: 'attribute_not_exists(creationId) AND createdAtMs = :createdAtMs',
        names: {},
        values: { ':createdAtMs': createdAtMs },
      }
    : { condition: 'creationId = :creationId', names: {}, values: { ':creationId': creationId } };
}

/** Changes the given kinds and leaves the others. Undefined when the tenant is gone. */
export async function setQuotas(
  dynamo: Dynamo,
  actor: Actor,
  quotas: Partial<Quotas>,
): Promise<StoredTenant | undefined> {
  const kinds = Object.entries(quotas);
  if (kinds.length === 0) return actor.tenant;
  const { condition, names, values } = whileAllowed(actor);
  const item = await unlessGone(() =>
    dynamo.update('tenants', tenantKey(actor.tenant.id), {
      update: `SET ${kinds.map((_, i) => `#overrides.#k${i} = :v${i}`).join(', ')}`,
      condition,
      names: {
        ...names,
        '#overrides': 'quotaOverrides',
        ...Object.fromEntries(kinds.map(([kind], i) => [`#k${i}`, kind])),
      },
      values: { ...values, ...Object.fromEntries(kinds.map(([, value], i) => [`:v${i}`, value])) },
      returns: 'new',
    }),
  );
  return item && fromItem(item);
}

/** From here on the tenant does not exist for anybody but whoever finishes deleting it. Undefined when it is gone. */
export async function markDeleting(dynamo: Dynamo, tenant: StoredTenant): Promise<StoredTenant | undefined> {
  const { condition, names, values } = isSame(tenant);
  const item = await unlessGone(() =>
    dynamo.update('tenants', tenantKey(tenant.id), {
      update: 'SET #status = :deleting',
      condition,
      names: { ...names, '#status': 'status' },
      values: { ...values, ':deleting': 'deleting' },
      returns: 'new',
    }),
  );
  return item && fromItem(item);
}

/** Frees the name, unless it is another one's by now. */
export async function removeTenant(dynamo: Dynamo, tenant: StoredTenant): Promise<void> {
  const { condition, values } = isSame(tenant);
  await unlessGone(() => dynamo.delete('tenants', tenantKey(tenant.id), { condition, values }));
}

async function unlessGone(write: () => Promise<Item | undefined>): Promise<Item | undefined> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof ConditionFailed) return undefined;
    throw error;
  }
}

function fromItem(item: Item): StoredTenant {
  const { keyIds, credentialCount, credentialsCountedAtMs } = item;
  const tenant = tenantFromItem(item);
  return {
    ...tenant,
    scope: scopeOf(tenant),
    keyIds: keyIds instanceof Set ? (keyIds as Set<string>) : new Set(),
    keys: new Map(keysOf(item).map((key) => [key.id, key])),
    ...(typeof credentialCount === 'number' && {
      credentials: { count: credentialCount, countedAtMs: Number(credentialsCountedAtMs ?? 0) },
    }),
  };
}

function keysOf(item: Item): ApiKey[] {
  return Object.entries(item)
    .filter(([name]) => name.startsWith(apiKeyPrefix))
    .map(([name, value]) => apiKeyFromAttribute(name.slice(apiKeyPrefix.length), value))
    .filter((key) => key !== undefined);
}
