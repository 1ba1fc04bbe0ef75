/** API keys in the table `tenants`. A key counts only while the tenant's row names it in `keyIds`. */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';
import type { TenantId } from '../../services/kernel/kernel.js';
import {
  type ApiKey,
  apiKeyFromItem,
  apiKeyKey,
  apiKeyPrefix,
  apiKeyToItem,
  tenantKey,
} from '../../services/tenancy/tenancy.js';
import { findTenant, type StoredTenant } from './tenants.js';

/** Enough to rotate keys and to tell scripts apart; the tenant's row names them all. */
export const keysMax = 20;

export async function findKey(dynamo: Dynamo, tenant: TenantId, keyId: string): Promise<ApiKey | undefined> {
  const item = await dynamo.get('tenants', apiKeyKey(tenant, keyId), { consistent: true });
  return item && apiKeyFromItem(item);
}

/** All keys of a tenant: at most `keysMax`, and strays that do not count. */
export async function listKeys(dynamo: Dynamo, tenant: StoredTenant): Promise<ApiKey[]> {
  const keys: ApiKey[] = [];
  const query = { pk: tenant.id, sk: { beginsWith: apiKeyPrefix }, consistent: true };
  for await (const items of dynamo.queryAll('tenants', query)) keys.push(...items.map(apiKeyFromItem));
  return keys.filter(({ id }) => tenant.keyIds.has(id));
}

/** False when the tenant has `keysMax` keys already. */
export async function addKey(dynamo: Dynamo, key: ApiKey): Promise<boolean> {
  await dynamo.put('tenants', apiKeyToItem(key));
  try {
    await dynamo.update('tenants', tenantKey(key.tenant), {
      update: 'ADD keyIds :id',
      condition: 'attribute_exists(pk) AND size(keyIds) < :max',
      values: { ':id': new Set([key.id]), ':max': keysMax },
    });
    return true;
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // Our own first attempt may have filled the last place.
    if ((await findTenant(dynamo, key.tenant))?.keyIds.has(key.id)) return true;
    await dynamo.delete('tenants', apiKeyKey(key.tenant, key.id));
    return false;
  }
}

/** One conditional write on the tenant's row decides, so that two requests at once never take the last two keys. */
export async function removeKey(
  dynamo: Dynamo,
  tenant: TenantId,
  keyId: string,
): Promise<'removed' | 'not found' | 'last key'> {
  try {
    await dynamo.update('tenants', tenantKey(tenant), {
      update: 'DELETE keyIds :ids',
      condition: 'contains(keyIds, :id) AND size(keyIds) > :one',
      values: { ':ids': new Set([keyId]), ':id': keyId, ':one': 1 },
    });
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    if ((await findTenant(dynamo, tenant))?.keyIds.has(keyId)) return 'last key';
    // Either there never was one, or an attempt before this one came half way.
    const stray = await dynamo.delete('tenants', apiKeyKey(tenant, keyId), { returnOld: true });
    return stray === undefined ? 'not found' : 'removed';
  }
  await dynamo.delete('tenants', apiKeyKey(tenant, keyId));
  return 'removed';
}
