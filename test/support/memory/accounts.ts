/** `Accounts` in memory: what a test puts into it is what is stored now. */
import type { Accounts } from '../../../services/broker/admission/admission.js';
import type { TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import type { Credential, Tenant } from '../../../services/tenancy/tenancy.js';

export class MemoryAccounts implements Accounts {
  readonly tenants = new Map<TenantId, Tenant>();
  readonly credentials = new Map<TenantScope, Map<string, Credential>>();
  /** What a read fails with, if it does. */
  fault: ((what: 'tenant' | 'credential', tenant: TenantId | TenantScope) => Error | undefined) | undefined;

  async tenant(id: TenantId): Promise<Tenant | undefined> {
    await this.#read('tenant', id);
    return this.tenants.get(id);
  }

  async credential(scope: TenantScope, name: string): Promise<Credential | undefined> {
    await this.#read('credential', scope);
    return this.credentials.get(scope)?.get(name);
  }

  put(credential: Credential): void {
    const { scope, name } = credential;
    const known = this.credentials.get(scope) ?? new Map<string, Credential>();
    this.credentials.set(scope, known.set(name, credential));
  }

  async #read(what: 'tenant' | 'credential', tenant: TenantId | TenantScope): Promise<void> {
    await Promise.resolve();
    const error = this.fault?.(what, tenant);
    if (error) throw error;
  }
}
