/**
 * API keys: attributes of the tenant's row, so that adding and removing one is one conditional write. A key counts only
 * while the row names it in `keyIds`. Earlier releases gave each key an item of its own, and those go on to work.
 */
import { ConditionFailed, type Dynamo } from '../../services/dynamo/dynamo.js';
import {
  type ApiKey,
  apiKeyFromItem,
  apiKeyKey,
  apiKeyPrefix,
  apiKeyToAttribute,
  tenantKey,
} from '../../services/tenancy/tenancy.js';
import { type Actor, findTenant, isStillAllowed, type StoredTenant, whileAllowed } from './tenants.js';

/** Enough to rotate keys and to tell scripts apart; the tenant's row holds them all, 3 KB of them. */
export const keysMax = 20;

/** Undefined when it does not count. */
export async function findKey(dynamo: Dynamo, tenant: StoredTenant, keyId: string): Promise<ApiKey | undefined> {
  if (!tenant.keyIds.has(keyId)) return undefined;
  const known = tenant.keys.get(keyId);
  if (known) return known;
  const item = await dynamo.get('tenants', apiKeyKey(tenant.scope, keyId), { consistent: true });
  return item && apiKeyFromItem(item);
}

/** At most `keysMax`, by id. */
export async function listKeys(dynamo: Dynamo, tenant: StoredTenant): Promise<ApiKey[]> {
  const found = await Promise.all([...tenant.keyIds].map((keyId) => findKey(dynamo, tenant, keyId)));
  return found.filter((key) => key !== undefined).sort((a, b) => (a.id < b.id ? -1 : 1));
}

export async function addKey(dynamo: Dynamo, actor: Actor, key: ApiKey): Promise<'added' | 'too many' | 'not allowed'> {
  const { condition, names, values } = whileAllowed(actor);
  try {
    await dynamo.update('tenants', tenantKey(actor.tenant.id), {
      update: 'SET #key = :key ADD keyIds :ids',
      condition: `${condition} AND size(keyIds) < :max`,
      names: { ...names, '#key': apiKeyPrefix + key.id },
      values: { ...values, ':key': apiKeyToAttribute(key), ':ids': new Set([key.id]), ':max': keysMax },
    });
    return 'added';
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    // Our own first attempt may have filled the last place.
    if ((await findTenant(dynamo, actor.tenant.id))?.keyIds.has(key.id)) return 'added';
    return (await isStillAllowed(dynamo, actor)) ? 'too many' : 'not allowed';
  }
}

/** One conditional write on the tenant's row decides, so that two requests at once never take the last two keys. */
export async function removeKey(
  dynamo: Dynamo,
  actor: Actor,
  keyId: string,
): Promise<'removed' | 'not found' | 'last key' | 'not allowed'> {
  const { tenant } = actor;
  const { condition, names, values } = whileAllowed(actor);
  try {
    await dynamo.update('tenants', tenantKey(tenant.id), {
      update: 'REMOVE #key DELETE keyIds :ids',
      condition: `${condition} AND contains(keyIds, :id) AND size(keyIds) > :one`,
      names: { ...names, '#key': apiKeyPrefix + keyId },
      values: { ...values, ':ids': new Set([keyId]), ':id': keyId, ':one': 1 },
    });
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error;
    const now = await findTenant(dynamo, tenant.id);
    // It was there a moment ago: a first attempt whose answer was lost has removed it, or somebody else.
    if (now?.scope === tenant.scope && tenant.keyIds.has(keyId) && !now.keyIds.has(keyId)) return 'removed';
    if (!(await isStillAllowed(dynamo, actor))) return 'not allowed';
    return now?.keyIds.has(keyId) ? 'last key' : 'not found';
  }
  if (!tenant.keys.has(keyId)) await dynamo.delete('tenants', apiKeyKey(tenant.scope, keyId));
  return 'removed';
}
