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
  type BrokerId,
  type Clock,
  eachGuarded,
  guarded,
  type Log,
  type Metrics,
  type TenantId,
  type TenantScope,
  unattended,
} from '../../kernel/kernel.js';
import { type BrokerLoad, scopeOf, type Tenant as TenantRecord, tenantOf } from '../../tenancy/tenancy.js';
import type { RemoteRoutes, RetainedStore } from '../fanout/fanout.js';
import type { CommitLog } from '../inbox/inbox.js';
import type { LeaseGate, SharedStore } from './ports.js';
import { Activity } from './activity.js';
import { Tenant, type TenantWorld } from './local-tenant.js';
import type { Thread } from './thread.js';
import { Totals } from './totals.js';
import type { UnitLedger } from './units.js';

/** How long an empty tenant is kept: longer than most devices sleep. */
const keptEmptyMs = 900_000;
/** 30 MB. Beyond them those that have been empty for longest go first. */
export const keptEmptyMax = 2000;
/** Of what is done for many tenants, before others have their turn. */
const sliceMs = 1;

export interface TenantsOptions {
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly commitLog: CommitLog;
  readonly shared: SharedStore;
  /** Where brokers serve together: this one, which has shared queues of its own. */
  readonly sharedOf?: BrokerId | undefined;
  readonly unsafeBytesMax: number;
  readonly holdBackMs: number;
  readonly topicLevelsMax: number;
  readonly lease: LeaseGate;
  readonly units: UnitLedger;
  readonly thread: Thread;
  /** What a tenant has of the other brokers, if there may be any. */
  readonly remotes?: ((tenant: Tenant) => RemoteRoutes) | undefined;
  /** Takes over what earlier brokers have left of it. */
  readonly restore: (tenant: Tenant, record: TenantRecord) => Promise<void>;
  /** Nothing can stand in the way any more: it is here. */
  readonly opened: (tenant: Tenant) => void;
  /** The record as it is now. */
  readonly current: (id: TenantId) => Promise<TenantRecord | undefined>;
  /** Ends all that is here of a tenant that has been deleted, and drops it. */
  readonly retire: (tenant: Tenant) => Promise<void>;
}

/** Deleted, and its name is perhaps another's. */
export class TenantGone extends Error {
  override readonly name = 'TenantGone';
}

interface Emptiness {
  readonly sinceMs: number;
  /** CONNECTs of the tenant by then. */
  readonly connects: number;
}

export class Tenants {
  readonly #options: TenantsOptions;
  readonly #tenants = new Map<TenantId, Tenant>();
  readonly #opening = new Map<TenantId, Promise<Tenant>>();
  readonly #retiring = new Map<Tenant, Promise<void>>();
  readonly #dropped = new WeakSet<Tenant>();
  readonly #activity = new Activity<Tenant>();
  readonly #totals: Totals;
  readonly #world: TenantWorld;
  /** Those that were empty at the last look, the oldest first. */
  readonly #empty = new Map<Tenant, Emptiness>();
  /** Those that had no session at the last look, but something under way. */
  #nearlyEmpty = new Set<Tenant>();
  readonly #recentForSweep = this.#activity.look();
  readonly #recentForSystem = this.#activity.look();
  /** Those with subscribers of `$SYS`. */
  readonly #told = new Set<Tenant>();
  readonly #systemLooks = { lastMs: 0 };
  #isTelling = false;

  constructor(options: TenantsOptions) {
    this.#options = options;
    const { metrics } = options;
    const { thread } = options;
    metrics.total(
      'shoal_thread_seconds_total',
      'Seconds of the thread that tenants have used',
      () => thread.usedMs / 1000,
    );
    const waiting = 'Tenants that have used their share of the thread, and wait for their turn';
    metrics.gauge('shoal_tenants_waiting_for_time', waiting, () => thread.waiting);
    metrics.gauge('shoal_tenants', 'Tenants with sessions on this broker', () => this.#tenants.size);
    const empty = 'Tenants without sessions that are kept open for a while';
    metrics.gauge('shoal_tenants_empty', empty, () => this.#empty.size);
    this.#totals = new Totals(this.#activity.look(), metrics);
    const { makeRetained, unsafeBytesMax, holdBackMs, topicLevelsMax, lease, clock, log, shared, commitLog } = options;
    const { remotes } = options;
    this.#world = {
      makeRetained,
      queues: { store: shared, of: options.sharedOf, commitLog, clock, log },
      pace: { unsafeBytesMax, holdBackMs, topicLevelsMax },
      activity: this.#activity,
      systemLooks: this.#systemLooks,
      ...{ lease, thread, remotes, clock, log },
    };
  }

  /** Of all of them. */
  get load(): BrokerLoad {
    return this.#totals.load(this.#options.clock.monotonicMs());
  }

  /** For one more that looks at tenants now and then. Returns those that something has happened to since the last call. */
  look(): () => Iterable<Tenant> {
    return this.#activity.look();
  }

  /** If it is here, or as soon as it is: one that is being opened is waited for. */
  async known(scope: TenantScope): Promise<Tenant | undefined> {
    const id = tenantOf(scope);
    for (let opening = this.#opening.get(id); opening; opening = this.#opening.get(id))
      await opening.catch(() => undefined); // Told to whoever opens it.
    return this.#here(scope);
  }

  #here(scope: TenantScope): Tenant | undefined {
    const found = this.#tenants.get(tenantOf(scope));
    return found?.scope === scope ? found : undefined; // Not another one of that name.
  }

  /** For work that was done for the tenant, if it is still here, elsewhere: `ms` of the thread. */
  pay(scope: TenantScope, ms: number): void {
    this.#here(scope)?.time.spend(ms);
  }

  /** The tenant of that record, where `open` would have nothing to do. */
  here(record: TenantRecord): Tenant | undefined {
    return this.#opening.has(record.id) ? undefined : this.#here(scopeOf(record));
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
      if (this.#tenants.get(id) === known) await this.#retire(known);
      await known.turns.idle(); // What it had is removed, and will not be read as the next one's.
    }
    const opening = this.#open(record).finally(() => this.#opening.delete(id));
    this.#opening.set(id, opening);
    return await opening; // As those who come behind: they go on in the order in which they came.
  }

  async #open(record: TenantRecord): Promise<Tenant> {
    const { clock, restore, current, units } = this.#options;
    const tenant = new Tenant(record, this.#world);
    let now: TenantRecord | undefined;
    try {
      await restore(tenant, record);
      await units.begin(tenant.units);
      now = await current(record.id);
    } catch (error) {
      tenant.leave();
      this.#activity.forget(tenant); // The next attempt has another one.
      throw error;
    }
    if (now === undefined || now.status === 'deleting' || scopeOf(now) !== tenant.scope) {
      await this.#retire(tenant);
      await tenant.turns.idle();
      tenant.leave();
      throw new TenantGone(record.id);
    }
    tenant.limits.set(now, clock.nowMs());
    this.#tenants.set(record.id, tenant);
    this.#totals.add(tenant);
    this.#activity.touch(tenant);
    this.#options.opened(tenant);
    return tenant;
  }

  /** Nobody comes in from now on; what is here ends in slices, once for all who wait for the name. */
  #retire(tenant: Tenant): Promise<void> {
    const known = this.#retiring.get(tenant);
    if (known) return known;
    tenant.isGone = true;
    const retiring = this.#options.retire(tenant).finally(() => this.#retiring.delete(tenant));
    this.#retiring.set(tenant, retiring);
    return retiring;
  }

  /** The tenant has been deleted, and nothing of it is left here. Once more does nothing. */
  drop(tenant: Tenant): void {
    if (this.#dropped.has(tenant)) return;
    this.#dropped.add(tenant);
    tenant.isGone = true;
    tenant.units.unsaved = 0; // All that is stored of it is being removed, and nothing may come after that.
    tenant.routing.retained.close();
    this.#forget(tenant);
  }

  /** Forgets tenants whose last session ended a while ago; of too many, those first that have been empty for longest. */
  sweep(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const recent = new Set([...this.#nearlyEmpty, ...this.#recentForSweep()]);
    this.#nearlyEmpty = new Set();
    eachGuarded('sweep', recent, (tenant) => {
      if (this.#tenants.get(tenant.id) !== tenant) return;
      const { connects } = tenant.meters;
      const known = this.#empty.get(tenant);
      if (tenant.isEmpty && known?.connects === connects) return;
      this.#empty.delete(tenant); // Somebody is there, or was between two looks.
      if (tenant.isEmpty) this.#empty.set(tenant, { sinceMs: nowMs, connects });
      else if (tenant.residences.size === 0) this.#nearlyEmpty.add(tenant); // Nothing touches it when that ends.
    });
    for (const [tenant, { sinceMs }] of this.#empty) {
      if (nowMs - sinceMs < keptEmptyMs && this.#empty.size <= keptEmptyMax) break;
      guarded('sweep', () => this.#forget(tenant));
    }
  }

  /** Tells subscribers of `$SYS`, and brings the load averages of the others up to date: in slices, for all may have been busy. */
  publishSystemTopics(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    const startedMs = this.#options.clock.monotonicMs();
    const recent = this.#recentForSystem();
    const others = [...this.#told].filter((tenant) => !recent.has(tenant));
    this.#tell(oneAfterTheOther(recent, others), startedMs);
  }

  #tell(left: Iterator<Tenant>, startedMs: number): void {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + sliceMs;
    for (let next = left.next(); !next.done; next = left.next()) {
      const tenant = next.value;
      if (tenant.hasSystemSubscribers) this.#told.add(tenant);
      else this.#told.delete(tenant);
      guarded('system-topics', () => tenant.publishSystemTopics());
      if (clock.monotonicMs() < untilMs) continue;
      setImmediate(() => this.#tell(left, startedMs));
      return;
    }
    this.#systemLooks.lastMs = startedMs;
    this.#isTelling = false;
  }

  #forget(tenant: Tenant): void {
    if (this.#tenants.get(tenant.id) === tenant) this.#tenants.delete(tenant.id);
    this.#empty.delete(tenant);
    this.#told.delete(tenant);
    tenant.leave();
    void this.#options.units.end(tenant.units);
    if (!tenant.isGone) unattended('retained', tenant.routing.retained.rest());
    this.#activity.forget(tenant);
    this.#totals.forget(tenant);
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#tenants.values();
  }
}

function* oneAfterTheOther<T>(...all: Iterable<T>[]): Generator<T, void, void> {
  for (const some of all) yield* some;
}
