/** What admission needs of the world; `store` implements it. */
import type { TenantId } from '../../kernel/kernel.js';
import type { Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { Credentials } from '../residence/residence.js';

/** Tenants and credentials as they are stored now; undefined when there is none. Throws when the store is out of reach. */
export interface Accounts extends Credentials {
  tenant(id: TenantId): Promise<TenantRecord | undefined>;
}
