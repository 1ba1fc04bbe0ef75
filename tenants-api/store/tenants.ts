/** Tenants in the table `tenants`. The row `meta` decides: what it does not name (a key, the tenant) does not count. */
import { ConditionFailed, type Dynamo, type Item } from '../../services/dynamo/dynamo.js';
import type { TenantId } from '../../services/kernel/kernel.js';
import {
  type ApiKey,
  apiKeyKey,
  apiKeyToItem,
  type Quotas,
  type Tenant,
  tenantFromItem,
  tenantKey,
  tenantToItem,
} from '../../services/tenancy/tenancy.js';

export interface StoredTenant extends Tenant {
  /** The ids of the API keys that count. */
  readonly keyIds: ReadonlySet<string>;
  readonly deletingSinceMs?: number;
}

export async function findTenant(dynamo: Dynamo, id: TenantId): Promise<StoredTenant | undefined> {
  const item = await dynamo.get('tenants', tenantKey(id), { consistent: true });
  return item && fromItem(item);
}

/** False when the name is taken. The key is written first: it counts once the tenant's row names it. */
export async function createTenant(dynamo: Dynamo, tenant: Tenant, key: ApiKey): Promise<boolean> {
  await dynamo.put('tenants', apiKeyToItem(key));
  const item = { ...tenantToItem(tenant), keyIds: new Set([key.id]) };
  try {
    await dynamo.put('tenants', item, { condition: 'attribute_not_exists(pk)' });
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // Our own first attempt may have been the one that took the name: its answer can get lost.
    const found = await findTenant(dynamo, tenant.id);
    if (found?.keyIds.has(key.id)) return true;
    await dynamo.delete('tenants', apiKeyKey(tenant.id, key.id));
    return false;
  }
}

/** Changes the given kinds and leaves the others. Undefined when the tenant is gone. */
export async function setQuotas(
  dynamo: Dynamo,
  id: TenantId,
  quotas: Partial<Quotas>,
): Promise<StoredTenant | undefined> {
  const kinds = Object.entries(quotas);
  if (kinds.length === 0) return await findTenant(dynamo, id);
  const item = await unlessGone(() =>
    dynamo.update('tenants', tenantKey(id), {
      update: `SET ${kinds.map((_, i) => `#overrides.#k${i} = :v${i}`).join(', ')}`,
      condition: '#status <> :deleting',
      names: {
        '#overrides': 'quotaOverrides',
        '#status': 'status',
        ...Object.fromEntries(kinds.map(([kind], i) => [`#k${i}`, kind])),
      },
      values: { ':deleting': 'deleting', ...Object.fromEntries(kinds.map(([, value], i) => [`:v${i}`, value])) },
      returns: 'new',
    }),
  );
  return item && fromItem(item);
}

/** From here on the tenant does not exist for anybody but whoever finishes deleting it. */
export async function markDeleting(dynamo: Dynamo, id: TenantId, nowMs: number): Promise<StoredTenant | undefined> {
  const item = await unlessGone(() =>
    dynamo.update('tenants', tenantKey(id), {
      update: 'SET #status = :deleting, deletingSinceMs = if_not_exists(deletingSinceMs, :now)',
      condition: 'attribute_exists(pk)',
      names: { '#status': 'status' },
      values: { ':deleting': 'deleting', ':now': nowMs },
      returns: 'new',
    }),
  );
  return item && fromItem(item);
}

export async function removeTenant(dynamo: Dynamo, id: TenantId): Promise<void> {
  await dynamo.delete('tenants', tenantKey(id));
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
  const { keyIds, deletingSinceMs } = item;
  return {
    ...tenantFromItem(item),
    keyIds: keyIds instanceof Set ? (keyIds as Set<string>) : new Set(),
    ...(typeof deletingSinceMs === 'number' && { deletingSinceMs }),
  };
}
