/**
 * What a tenant's work in the database costs: the write units that calls report (five read units are one), against two quotas.
 *
 *      per second    saved up for a minute; what is used beyond that is a debt, and until it is paid publishers, commits, retained
 *                    messages and their replays wait, and nothing is lost. With more than ten seconds of debt CONNECTs are refused
 *                    (0x97): each would claim a record and release it again.
 *      per month     (UTC) when it is used up, the rate falls to what would have used it up evenly, at least 1 unit a second: clients
 *                    that are known come back slowly, and the month costs at most twice the quota (or 2.7 million units above it)
 *
 * What has to be done is done and charged afterwards, so a debt has no limit: who makes a thousand clients with large wills leave at
 * once pays for that with time.
 *
 * Not counted: what restoring the tenant's sessions takes when a broker begins to serve it, which is not its doing, and look-ups
 * of its name and its credentials, which anybody can cause.
 *
 * The month's sum is in the table `usage`, by day, added to once a minute. A crash forgets a minute, and so does an answer that
 * is lost: rather the operator's loss than the tenant's. What is saved up begins anew with a broker.
 */
import { atOnce, type Clock, type Log, type Metrics, type TenantScope } from '../../kernel/kernel.js';

export interface UsageStore {
  /** What the tenant has used in that month, `2026-11`. */
  read(scope: TenantScope, month: string): Promise<number>;
  /** Adds to a day, `2026-11-27`. */
  add(scope: TenantScope, day: string, units: number): Promise<void>;
}

export interface UnitLimits {
  readonly databaseUnitsPerSecond: number;
  readonly databaseUnitsPerMonth: number;
}

export const saveUnitsEveryMs = 60_000;
/** A fleet of a thousand stored sessions comes back within seconds. */
const savedUpSeconds = 60;
const refusedDebtMs = 10_000;
const perSecondMin = 1;
const savesAtOnceMax = 8;

const dayOf = (nowMs: number): string => new Date(nowMs).toISOString().slice(0, 10);
const monthOf = (nowMs: number): string => dayOf(nowMs).slice(0, 7);
function monthEndMs(nowMs: number): number {
  const now = new Date(nowMs);
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
}

export class TenantUnits {
  readonly scope: TenantScope;
  readonly #limits: UnitLimits;
  readonly #clock: Clock;
  /** Since the first of the month, on whichever broker. */
  monthUnits = 0;
  /** Not in the table yet. */
  unsaved = 0;
  #monthEndsAtMs: number;
  #monthSeconds: number;
  #savedUp = Infinity;
  #filledAtMs: number;

  constructor(scope: TenantScope, limits: UnitLimits, clock: Clock) {
    this.scope = scope;
    this.#limits = limits;
    this.#clock = clock;
    const nowMs = clock.nowMs();
    this.#filledAtMs = nowMs;
    this.#monthEndsAtMs = monthEndMs(nowMs);
    this.#monthSeconds = monthSecondsOf(nowMs);
  }

  spend(units: number): void {
    this.#fill(this.#clock.nowMs());
    this.#savedUp -= units;
    this.monthUnits += units;
    this.unsaved += units;
  }

  /** There is no debt, as far as that is known without looking at the time. */
  get isPaid(): boolean {
    return this.#savedUp >= 0;
  }

  /** Milliseconds until the debt is paid; 0 without debt. */
  waitMs(): number {
    if (this.isPaid) return 0;
    const perSecond = this.#fill(this.#clock.nowMs());
    return this.#savedUp >= 0 ? 0 : Math.ceil((-this.#savedUp / perSecond) * 1000);
  }

  /** The debt is so large that nobody is to come in. */
  get isOverdrawn(): boolean {
    return this.waitMs() > refusedDebtMs;
  }

  /** Returns how many come a second. Time that went backwards (a corrected wall clock) adds nothing. */
  #fill(nowMs: number): number {
    if (nowMs >= this.#monthEndsAtMs) {
      this.monthUnits = 0;
      this.#monthEndsAtMs = monthEndMs(nowMs);
      this.#monthSeconds = monthSecondsOf(nowMs);
    }
    const { databaseUnitsPerSecond, databaseUnitsPerMonth } = this.#limits;
    const evenly = Math.max(perSecondMin, databaseUnitsPerMonth / this.#monthSeconds);
    const isUsedUp = this.monthUnits >= databaseUnitsPerMonth;
    const perSecond = isUsedUp ? Math.min(databaseUnitsPerSecond, evenly) : databaseUnitsPerSecond;
    const seconds = Math.max(0, nowMs - this.#filledAtMs) / 1000;
    this.#filledAtMs = nowMs;
    this.#savedUp =
      perSecond === Infinity ? Infinity : Math.min(perSecond * savedUpSeconds, this.#savedUp + seconds * perSecond);
    return perSecond;
  }
}

const monthSecondsOf = (nowMs: number): number =>
  (monthEndMs(nowMs) - Date.UTC(new Date(nowMs).getUTCFullYear(), new Date(nowMs).getUTCMonth())) / 1000;

export interface UnitLedgerOptions {
  readonly store: UsageStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** The accounts of the tenants that are here. */
export class UnitLedger {
  readonly #options: UnitLedgerOptions;
  readonly #accounts = new Map<TenantScope, TenantUnits>();
  /** Those with something to be written down. Who has used nothing costs nothing. */
  readonly #unsaved = new Set<TenantUnits>();
  /** Those that were in debt when they were last charged. */
  readonly #inDebt = new Set<TenantUnits>();

  constructor(options: UnitLedgerOptions) {
    this.#options = options;
    options.metrics.gauge(
      'shoal_tenants_over_database_units',
      'Tenants that wait because they have used more of the database than their quotas allow',
      () => this.#indebted.size,
    );
  }

  /** From now on what the tenant uses is counted, onto what it has used this month. */
  async begin(account: TenantUnits): Promise<void> {
    const { store, clock } = this.#options;
    account.monthUnits += await store.read(account.scope, monthOf(clock.nowMs()));
    this.#accounts.set(account.scope, account);
  }

  charge(scope: TenantScope, units: number): void {
    const account = this.#accounts.get(scope);
    if (!account) return;
    account.spend(units);
    this.#unsaved.add(account);
    if (!account.isPaid) this.#inDebt.add(account);
  }

  get #indebted(): ReadonlySet<TenantUnits> {
    for (const account of this.#inDebt) if (account.waitMs() === 0) this.#inDebt.delete(account);
    return this.#inDebt;
  }

  /** How long its work has to wait. */
  waitMs(scope: TenantScope): number {
    return this.#accounts.get(scope)?.waitMs() ?? 0;
  }

  /** The tenant is not here any more. */
  async end(account: TenantUnits): Promise<void> {
    if (this.#accounts.get(account.scope) === account) this.#accounts.delete(account.scope);
    this.#inDebt.delete(account);
    await this.#save(account);
  }

  /** Writes what has been used since the last time. */
  async save(): Promise<void> {
    await atOnce([...this.#unsaved], savesAtOnceMax, (account) => this.#save(account));
  }

  async #save(account: TenantUnits): Promise<void> {
    this.#unsaved.delete(account);
    const units = Math.floor(account.unsaved);
    if (units < 1) return;
    account.unsaved -= units;
    const { store, clock, log } = this.#options;
    try {
      await store.add(account.scope, dayOf(clock.nowMs()), units);
    } catch (error) {
      log.warn({ tenant: account.scope, units, error }, 'the database usage of a tenant could not be stored');
    }
  }
}
