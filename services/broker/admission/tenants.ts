/** The tenants that have sessions on this broker. */
import { type Clock, eachGuarded, type Log, type Metrics, type TenantId } from '../../kernel/kernel.js';
import type { Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { RetainedStore } from '../fanout/fanout.js';
import type { CommitLog } from '../inbox/inbox.js';
import { type Meters, newMeters } from '../message/message.js';
import type { LeaseGate, SharedStore } from './ports.js';
import { Tenant } from './tenant.js';

export interface TenantsOptions {
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly commitLog: CommitLog;
  readonly shared: SharedStore;
  readonly unsafeBytesMax: number;
  readonly holdBackMs: number;
  readonly lease: LeaseGate;
  /** Takes over what earlier brokers have left of it. */
  readonly restore: (tenant: Tenant) => Promise<void>;
}

/** What the meters of all tenants come to, for the operator. */
const totals: Readonly<Record<keyof Meters, readonly [name: string, help: string]>> = {
  messagesReceived: ['shoal_messages_received_total', 'PUBLISH packets from clients'],
  messagesSent: ['shoal_messages_sent_total', 'PUBLISH packets to clients'],
  bytesReceived: ['shoal_payload_bytes_received_total', 'Payload bytes from clients'],
  bytesSent: ['shoal_payload_bytes_sent_total', 'Payload bytes to clients'],
  droppedSlowSubscriber: [
    'shoal_messages_dropped_slow_subscriber_total',
    'QoS 0 messages to clients that read too slowly',
  ],
  droppedOverQuota: ['shoal_messages_dropped_over_quota_total', 'Messages over a queue, memory or delivery limit'],
  heldBack: ['shoal_messages_held_back_total', 'QoS 1 and 2 messages whose publishers waited for a slower subscriber'],
  refusedPublishes: ['shoal_messages_refused_total', 'Messages that access rules refused'],
  droppedOffline: ['shoal_messages_dropped_offline_total', 'QoS 0 messages for sessions whose client is away'],
  expiredMessages: ['shoal_messages_expired_total', 'Messages that expired before delivery'],
};

export class Tenants {
  readonly #options: TenantsOptions;
  /** Of tenants that are not here any more: totals never go back. */
  readonly #past = newMeters();
  readonly #tenants = new Map<TenantId, Tenant>();
  readonly #opening = new Map<TenantId, Promise<Tenant>>();

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
    for (const [meter, [name, help]] of Object.entries(totals) as [keyof Meters, readonly [string, string]][])
      metrics.total(name, help, () => this.#past[meter] + sum((tenant) => tenant.meters[meter])());
  }

  get(id: TenantId): Tenant | undefined {
    return this.#tenants.get(id);
  }

  /** The tenant of that record: made, with the sessions that earlier brokers have left, when it is first asked for. */
  async open(record: TenantRecord): Promise<Tenant> {
    const known = this.#tenants.get(record.id);
    if (known) return known;
    let opening = this.#opening.get(record.id);
    if (!opening) {
      opening = this.#open(record).finally(() => this.#opening.delete(record.id));
      this.#opening.set(record.id, opening);
    }
    return opening;
  }

  async #open(record: TenantRecord): Promise<Tenant> {
    const {
      makeRetained,
      unsafeBytesMax,
      holdBackMs,
      lease,
      clock,
      log,
      restore,
      shared: store,
      commitLog,
    } = this.#options;
    const queues = { store, commitLog, clock, log };
    const tenant = new Tenant(record, makeRetained, queues, { unsafeBytesMax, holdBackMs }, lease, clock, log);
    await restore(tenant);
    this.#tenants.set(record.id, tenant);
    return tenant;
  }

  /** The tenant has been deleted. */
  drop(tenant: Tenant): void {
    tenant.routing.retained.close();
    this.#forget(tenant);
  }

  /** Forgets tenants whose last session has ended. */
  sweep(): void {
    eachGuarded('sweep', this.#tenants.values(), (tenant) => {
      if (tenant.isEmpty) this.#forget(tenant);
    });
  }

  #forget(tenant: Tenant): void {
    this.#tenants.delete(tenant.id);
    for (const meter of Object.keys(this.#past) as (keyof Meters)[]) this.#past[meter] += tenant.meters[meter];
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#tenants.values();
  }
}
