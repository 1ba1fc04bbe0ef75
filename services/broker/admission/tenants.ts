/** The tenants that have sessions on this broker. */
import type { Clock, Log, Metrics, TenantId } from '../../kernel/kernel.js';
import type { Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { RetainedStore } from '../fanout/fanout.js';
import { Tenant } from './tenant.js';

export interface TenantsOptions {
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export class Tenants {
  readonly #options: TenantsOptions;
  readonly #tenants = new Map<TenantId, Tenant>();

  constructor(options: TenantsOptions) {
    this.#options = options;
    const { metrics } = options;
    const sum = (read: (tenant: Tenant) => number) => () => [...this].reduce((n, tenant) => n + read(tenant), 0);
    const connections = sum((tenant) => tenant.connections);
    const sessions = sum((tenant) => tenant.residences.size);
    const subscriptions = sum((tenant) => tenant.subscriptions);
    metrics.gauge('shoal_tenants', 'Tenants with sessions on this broker', () => this.#tenants.size);
    metrics.gauge('shoal_connections', 'Clients connected', connections);
    metrics.gauge('shoal_sessions', 'Sessions, connected or not', sessions);
    metrics.gauge('shoal_subscriptions', 'Subscriptions', subscriptions);
  }

  get(id: TenantId): Tenant | undefined {
    return this.#tenants.get(id);
  }

  /** The tenant of that record, made when its first client connects. */
  of(record: TenantRecord): Tenant {
    const { makeRetained, clock, log } = this.#options;
    let tenant = this.#tenants.get(record.id);
    if (!tenant) this.#tenants.set(record.id, (tenant = new Tenant(record, makeRetained, clock, log)));
    return tenant;
  }

  /** The tenant has been deleted. */
  drop(tenant: Tenant): void {
    tenant.routing.retained.close();
    this.#tenants.delete(tenant.id);
  }

  /** Forgets tenants whose last session has ended. */
  sweep(): void {
    for (const [id, tenant] of this.#tenants) if (tenant.isEmpty) this.#tenants.delete(id);
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#tenants.values();
  }
}
