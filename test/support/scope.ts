/** Where what a tenant has stored is found, for tests that look into the tables. */
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { TenantId, TenantScope } from '../../services/kernel/kernel.js';
import { scopeOf, tenantFromItem, tenantKey } from '../../services/tenancy/tenancy.js';

/** The scope of the tenant that has the name now. */
export async function scopeOfName(dynamo: Dynamo, name: string): Promise<TenantScope> {
  const item = await dynamo.get('tenants', tenantKey(name as TenantId), { consistent: true });
  if (item === undefined) throw new Error(`no tenant is called ${name}`);
  return scopeOf(tenantFromItem(item));
}
