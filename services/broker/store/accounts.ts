/** Tenants and credentials as the tenant API has written them; read consistently, so that what has just been made works. */
import type { TenantId, TenantScope } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import {
  type Credential,
  credentialFromItem,
  credentialKey,
  type Tenant,
  tenantFromItem,
  tenantKey,
} from '../../tenancy/tenancy.js';
import type { Accounts } from '../admission/admission.js';

export class DynamoAccounts implements Accounts {
  readonly #dynamo: Dynamo;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  async tenant(id: TenantId): Promise<Tenant | undefined> {
    const item = await this.#dynamo.get('tenants', tenantKey(id), { consistent: true });
    return item && tenantFromItem(item);
  }

  async credential(scope: TenantScope, name: string): Promise<Credential | undefined> {
    const item = await this.#dynamo.get('tenants', credentialKey(scope, name), { consistent: true });
    return item && credentialFromItem(item);
  }
}
