/**
 * The tenants that have sessions on this broker. To open one takes as long as its sessions take to be read, and a great deal
 * can happen meanwhile; so nobody may take one that is being opened for one that is not there:
 *
 *      an entry of the control log comes     waits for the opening (`known`), and is obeyed then
 *      it came just before the opening       the record is read again when all sessions are there
 *      the tenant is deleted meanwhile       its sessions end, whoever waits for it is turned away
 *      its name is taken by another tenant   the one that is here ends first; their scopes tell them apart
 *
 * Opening one costs calls, so a tenant whose last session has ended is kept for a while: a device that wakes every few minutes
 * finds its tenant open, and costs its claim. An empty one takes 15 KB, and their number is limited.
 */
import {
  type Clock,
  eachGuarded,
  type Log,
  type Metrics,
  type TenantId,
  type TenantScope,
  unattended,
} from '../../kernel/kernel.js';
import { scopeOf, type Tenant as TenantRecord, tenantOf } from '../../tenancy/tenancy.js';
import type { RetainedStore } from '../fanout/fanout.js';
import type { CommitLog } from '../inbox/inbox.js';
import { type Meters, newMeters } from '../message/message.js';
import type { LeaseGate, SharedStore } from './ports.js';
import { Tenant } from './local-tenant.js';
import type { UnitLedger } from './units.js';
import type { Thread } from './thread.js';

/** How long an empty tenant is kept: longer than most devices sleep. */
const keptEmptyMs = 900_000;
/** 30 MB. Beyond them those that have been empty for longest go first. */
export const keptEmptyMax = 2000;

export interface TenantsOptions {
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly commitLog: CommitLog;
  readonly shared: SharedStore;
  readonly unsafeBytesMax: number;
  readonly holdBackMs: number;
  readonly topicLevelsMax: number;
  readonly lease: LeaseGate;
  readonly units: UnitLedger;
  readonly thread: Thread;
  /** Takes over what earlier brokers have left of it. */
  readonly restore: (tenant: Tenant, record: TenantRecord) => Promise<void>;
  /** Nothing can stand in the way any more: it is here. */
  readonly opened: (tenant: Tenant) => void;
  /** The record as it is now. */
  readonly current: (id: TenantId) => Promise<TenantRecord | undefined>;
  /** Ends all that is here of a tenant that has been deleted, and drops it. */
  readonly retire: (tenant: Tenant) => void;
}

/** Deleted, and its name is perhaps another's. */
export class TenantGone extends Error {
  override readonly name = 'TenantGone';
}

/** What the meters of all tenants come to, for the operator; CONNECTs are counted with those that are refused. */
const totals: Readonly<Record<Exclude<keyof Meters, 'connects'>, readonly [name: string, help: string]>> = {
  packetsReceived: ['shoal_packets_received_total', 'Packets of every type from clients that are in'],
  packetsSent: ['shoal_packets_sent_total', 'Packets of every type to clients that are in'],
  packetBytesReceived: ['shoal_packet_bytes_received_total', 'Bytes of these packets, without TLS and WebSocket'],
  packetBytesSent: ['shoal_packet_bytes_sent_total', 'Bytes of these packets, without TLS and WebSocket'],
  expiredSessions: ['shoal_sessions_expired_total', 'Sessions whose clients did not come back in time'],
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
  refusedSubscriptions: ['shoal_subscriptions_refused_total', 'Topic filters of SUBSCRIBE that were refused'],
  refusedOverMemory: [
    'shoal_memory_refusals_total',
    'Sessions and subscriptions refused because the memory of their tenant was used up',
  ],
  droppedOffline: ['shoal_messages_dropped_offline_total', 'QoS 0 messages for sessions whose client is away'],
  expiredMessages: ['shoal_messages_expired_total', 'Messages that expired before delivery'],
};

interface Emptiness {
  readonly sinceMs: number;
  /** CONNECTs of the tenant by then. */
  readonly connects: number;
}

interface Sums {
  connections: number;
  sessions: number;
  subscriptions: number;
  memoryBytes: number;
  memoryBytesMax: number;
  readonly meters: Meters;
}

export class Tenants {
  readonly #options: TenantsOptions;
  /** Of tenants that are not here any more: totals never go back. */
  readonly #past = newMeters();
  readonly #tenants = new Map<TenantId, Tenant>();
  readonly #opening = new Map<TenantId, Promise<Tenant>>();
  /** Those that were empty at the last look, the oldest first. */
  readonly #empty = new Map<Tenant, Emptiness>();
  #sums: Sums | undefined;

  constructor(options: TenantsOptions) {
    this.#options = options;
    const { metrics } = options;
    metrics.beforeSamples(() => (this.#sums = undefined));
    const { thread } = options;
    metrics.total(
      'shoal_thread_seconds_total',
      'Seconds of the thread that tenants have used',
      () => thread.usedMs / 1000,
    );
    const waiting = 'Tenants that have used their share of the thread, and wait for their turn';
    metrics.gauge('shoal_tenants_waiting_for_time', waiting, () => thread.waiting);
    metrics.gauge('shoal_tenants', 'Tenants with sessions on this broker', () => this.#tenants.size);
    metrics.gauge('shoal_connections', 'Clients connected', () => this.#sum().connections);
    metrics.gauge('shoal_sessions', 'Sessions, connected or not', () => this.#sum().sessions);
    metrics.gauge('shoal_subscriptions', 'Subscriptions', () => this.#sum().subscriptions);
    const held = 'Memory that tenants hold, as their quotas count it';
    metrics.gauge('shoal_tenant_memory_bytes', held, () => this.#sum().memoryBytes);
    const most = 'The same of the tenant that holds most';
    metrics.gauge('shoal_tenant_memory_max_bytes', most, () => this.#sum().memoryBytesMax);
    const empty = 'Tenants without sessions that are kept open for a while';
    metrics.gauge('shoal_tenants_empty', empty, () => this.#empty.size);
    for (const [meter, [name, help]] of Object.entries(totals) as [keyof typeof totals, readonly [string, string]][])
      metrics.total(name, help, () => this.#past[meter] + this.#sum().meters[meter]);
  }

  /** In one walk for all numbers of a scrape. */
  #sum(): Sums {
    if (this.#sums) return this.#sums;
    const sums: Sums = {
      ...{ connections: 0, sessions: 0, subscriptions: 0, memoryBytes: 0, memoryBytesMax: 0 },
      meters: newMeters(),
    };
    const names = Object.keys(sums.meters) as (keyof Meters)[];
    for (const { connections, residences, subscriptions, memory, meters } of this.#tenants.values()) {
      sums.connections += connections;
      sums.sessions += residences.size;
      sums.subscriptions += subscriptions;
      const { bytes } = memory;
      sums.memoryBytes += bytes;
      if (bytes > sums.memoryBytesMax) sums.memoryBytesMax = bytes;
      for (const name of names) sums.meters[name] += meters[name];
    }
    this.#sums = sums;
    return sums;
  }

  /** If it is here, or as soon as it is: one that is being opened is waited for. */
  async known(scope: TenantScope): Promise<Tenant | undefined> {
    const id = tenantOf(scope);
    for (let opening = this.#opening.get(id); opening; opening = this.#opening.get(id))
      await opening.catch(() => undefined); // Told to whoever opens it.
    const found = this.#tenants.get(id);
    return found?.scope === scope ? found : undefined; // Not another one of that name.
  }

  /**
   * The tenant of that record: made, with the sessions that earlier brokers have left, when it is first asked for. Rejects with
   * `TenantGone` when it has been deleted.
   */
  async open(record: TenantRecord): Promise<Tenant> {
    const { id } = record;
    const scope = scopeOf(record);
    for (;;) {
      const opening = this.#opening.get(id);
      const known = opening ? await opening : this.#tenants.get(id);
      if (known?.scope === scope) return known;
      if (opening) continue;
      if (!known) break;
      const now = await this.#options.current(id);
      if (now === undefined || scopeOf(now) !== scope) throw new TenantGone(id);
      if (this.#tenants.get(id) === known) this.#options.retire(known);
      await known.turns.idle(); // What it had is removed, and will not be read as the next one's.
    }
    const opening = this.#open(record).finally(() => this.#opening.delete(id));
    this.#opening.set(id, opening);
    return await opening; // As those who come behind: they go on in the order in which they came.
  }

  async #open(record: TenantRecord): Promise<Tenant> {
    const { makeRetained, unsafeBytesMax, holdBackMs, lease, clock, log, shared: store, commitLog } = this.#options;
    const { restore, current, retire, thread, topicLevelsMax } = this.#options;
    const queues = { store, commitLog, clock, log };
    const pace = { unsafeBytesMax, holdBackMs, topicLevelsMax };
    const tenant = new Tenant(record, makeRetained, queues, pace, lease, thread, clock, log);
    await restore(tenant, record);
    await this.#options.units.begin(tenant.units);
    const now = await current(record.id);
    if (now === undefined || now.status === 'deleting' || scopeOf(now) !== tenant.scope) {
      retire(tenant);
      await tenant.turns.idle();
      throw new TenantGone(record.id);
    }
    tenant.limits.set(now, clock.nowMs());
    this.#tenants.set(record.id, tenant);
    this.#options.opened(tenant);
    return tenant;
  }

  /** The tenant has been deleted. */
  drop(tenant: Tenant): void {
    tenant.isGone = true;
    tenant.units.unsaved = 0; // All that is stored of it is being removed, and nothing may come after that.
    tenant.routing.retained.close();
    this.#forget(tenant);
  }

  /** Forgets tenants whose last session ended a while ago; of too many, those first that have been empty for longest. */
  sweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    eachGuarded('sweep', this.#tenants.values(), (tenant) => {
      const { connects } = tenant.meters;
      const known = this.#empty.get(tenant);
      if (tenant.isEmpty && known?.connects === connects) return;
      this.#empty.delete(tenant); // Somebody is there, or was between two looks.
      if (tenant.isEmpty) this.#empty.set(tenant, { sinceMs: nowMs, connects });
    });
    eachGuarded('sweep', this.#empty, ([tenant, { sinceMs }]) => {
      if (nowMs - sinceMs >= keptEmptyMs || this.#empty.size > keptEmptyMax) this.#forget(tenant);
    });
  }

  #forget(tenant: Tenant): void {
    if (this.#tenants.get(tenant.id) === tenant) this.#tenants.delete(tenant.id);
    this.#empty.delete(tenant);
    void this.#options.units.end(tenant.units);
    if (!tenant.isGone) unattended('retained', tenant.routing.retained.rest());
    for (const meter of Object.keys(this.#past) as (keyof Meters)[]) this.#past[meter] += tenant.meters[meter];
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#tenants.values();
  }
}
