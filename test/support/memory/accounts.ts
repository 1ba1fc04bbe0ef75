/** `Accounts` in memory: what a test puts into it is what is stored now. */
import type { Accounts } from '../../../services/broker/admission/admission.js';
import type { TenantId } from '../../../services/kernel/kernel.js';
import type { Credential, Tenant } from '../../../services/tenancy/tenancy.js';

export class MemoryAccounts implements Accounts {
  readonly tenants = new Map<TenantId, Tenant>();
  readonly credentials = new Map<TenantId, Map<string, Credential>>();
  /** Whether reads fail. */
  isAway = false;

  async tenant(id: TenantId): Promise<Tenant | undefined> {
    await this.#wayThereAndBack();
    return this.tenants.get(id);
  }

  async credential(tenant: TenantId, name: string): Promise<Credential | undefined> {
    await this.#wayThereAndBack();
    return this.credentials.get(tenant)?.get(name);
  }

  put(credential: Credential): void {
    const { tenant, name } = credential;
    const known = this.credentials.get(tenant) ?? new Map<string, Credential>();
    this.credentials.set(tenant, known.set(name, credential));
  }

  async #wayThereAndBack(): Promise<void> {
    await Promise.resolve();
    if (this.isAway) throw new Error('the accounts are out of reach');
  }
}
