/** Obeys the control log: what the tenant API has changed and this broker has to hear of. */
import type { ClientId, Clock, TenantId } from '../../kernel/kernel.js';
import { compileAccess, type ControlEntry } from '../../tenancy/tenancy.js';
import { reasons } from '../wire/wire.js';
import type { CachedAccounts } from './accounts.js';
import type { Departure } from './departure.js';
import type { Residence } from './residence.js';
import type { Tenants } from './tenants.js';

export class Control {
  readonly #accounts: CachedAccounts;
  readonly #tenants: Tenants;
  readonly #departure: Departure;
  readonly #clock: Clock;

  constructor(accounts: CachedAccounts, tenants: Tenants, departure: Departure, clock: Clock) {
    this.#accounts = accounts;
    this.#tenants = tenants;
    this.#departure = departure;
    this.#clock = clock;
  }

  async apply(entry: ControlEntry): Promise<void> {
    switch (entry.type) {
      case 'session-kick':
        return this.#kick(entry.tenant, entry.clientId);
      case 'credential-changed':
        this.#accounts.forgetCredential(entry.tenant, entry.name);
        if (entry.change === 'grants') return this.#renewAccess(entry.tenant, entry.name);
        return this.#closeRevoked(entry.tenant, entry.name);
      case 'tenant-changed':
        this.#accounts.forgetTenant(entry.tenant);
        if (entry.change === 'quotas') return this.#renewLimits(entry.tenant);
        this.#accounts.forgetCredentialsOf(entry.tenant);
        this.#closeAll(entry.tenant, () => true);
        if (entry.change === 'deleted') this.#endAll(entry.tenant);
        return;
    }
  }

  /** Removed by its tenant: nothing of the session stays. */
  async #kick(id: TenantId, clientId: ClientId): Promise<void> {
    const record = this.#tenants.get(id) ? undefined : await this.#accounts.tenant(id);
    const tenant = record ? await this.#tenants.open(record) : this.#tenants.get(id);
    const residence = tenant?.residences.get(clientId);
    if (!tenant || !residence) return;
    residence.session.expirySeconds = 0;
    if (residence.connection) residence.connection.close(reasons.administrativeAction);
    else this.#departure.endSession(tenant, residence, this.#clock.nowMs());
  }

  #closeAll(id: TenantId, affects: (residence: Residence) => boolean): void {
    for (const residence of [...(this.#tenants.get(id)?.residences.values() ?? [])])
      if (affects(residence)) residence.connection?.close(reasons.administrativeAction);
  }

  /** Clients that came in with a password that is not valid any more; those with the new one may be here already. */
  async #closeRevoked(id: TenantId, name: string): Promise<void> {
    if (!this.#tenants.get(id)) return;
    const current = await this.#accounts.credential(id, name).catch(() => undefined);
    this.#closeAll(id, ({ credential }) => credential.name === name && credential.secretHash !== current?.secretHash);
  }

  /** Nothing of the tenant stays here, and nothing more is said in its name. */
  #endAll(id: TenantId): void {
    const tenant = this.#tenants.get(id);
    if (!tenant) return;
    for (const residence of [...tenant.residences.values()]) {
      residence.session.will = undefined;
      this.#departure.endSession(tenant, residence, this.#clock.nowMs());
    }
    this.#tenants.drop(tenant);
  }

  /** New grants count for live sessions at once; sessions whose grants cannot be read are sent away, to come back. */
  async #renewAccess(id: TenantId, name: string): Promise<void> {
    const tenant = this.#tenants.get(id);
    if (!tenant) return;
    const affected = (): Residence[] =>
      [...tenant.residences.values()].filter((residence) => residence.credential.name === name);
    try {
      const credential = await this.#accounts.credential(id, name);
      for (const { session } of affected())
        session.setAccess(
          compileAccess(credential ? credential.grants : [], { clientId: session.clientId, username: name }),
        );
    } catch {
      for (const { connection } of affected()) connection?.close(reasons.serverUnavailable);
    }
  }

  async #renewLimits(id: TenantId): Promise<void> {
    const tenant = this.#tenants.get(id);
    const record = tenant && (await this.#accounts.tenant(id));
    if (record) tenant.limits.set(record, this.#clock.nowMs());
  }
}
