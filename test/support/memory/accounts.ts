/** `Accounts` in memory: what a test puts into it is what is stored now. */
import type { Accounts } from '../../../services/broker/admission/admission.js';
import type { TenantId } from '../../../services/kernel/kernel.js';
import type { Credential, Tenant } from '../../../services/tenancy/tenancy.js';

export class MemoryAccounts implements Accounts {
  readonly tenants = new Map<TenantId, Tenant>();
  readonly credentials = new Map<TenantId, Map<string, Credential>>();
  /** What a read fails with, if it does. */
  fault: ((what: 'tenant' | 'credential', tenant: TenantId) => Error | undefined) | undefined;

  async tenant(id: TenantId): Promise<Tenant | undefined> {
    await this.#read('tenant', id);
    return this.tenants.get(id);
  }

  async credential(tenant: TenantId, name: string): Promise<Credential | undefined> {
    await this.#read('credential', tenant);
    return this.credentials.get(tenant)?.get(name);
  }

  put(credential: Credential): void {
    const { tenant, name } = credential;
    const known = this.credentials.get(tenant) ?? new Map<string, Credential>();
    this.credentials.set(tenant, known.set(name, credential));
  }

  async #read(what: 'tenant' | 'credential', tenant: TenantId): Promise<void> {
    await Promise.resolve();
    const error = this.fault?.(what, tenant);
    if (error) throw error;
  }
}
