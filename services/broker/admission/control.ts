/**
 * Obeys the control log: what the tenant API has changed and this broker has to hear of.
 *
 * An entry tells that something has changed; what it is now is read. So it does no harm to obey it late or once more, as
 * a broker does that follows one that died: a session that began after its removal was asked for stays (`born`), and so do
 * clients of a tenant that is active again. A session is removed by the broker that has it (`Kicked` says how none is forgotten).
 * An entry names the creation id of its tenant: another one of that name, and its sessions, are none of its business. A tenant that is being opened is waited for.
 */
import { type Clock, type TenantScope } from '../../kernel/kernel.js';
import {
  accessWork,
  compileAccess,
  type Grant,
  scopeOf,
  type Tenant as TenantRecord,
  type TenantEntry,
  tenantOf,
} from '../../tenancy/tenancy.js';
import { reasons } from '../wire/wire.js';
import type { Tenants } from '../tenant/tenant.js';
import { type Job, type Residence, type Tenant, TenantGone } from '../tenant/tenant.js';
import type { CachedAccounts } from './accounts.js';
import {
  clockMarginMs,
  type Departure,
  type HandingOver,
  type Kicked,
  type SessionStore,
  wasDeleted,
} from '../residence/residence.js';

type SessionKick = Extract<TenantEntry, { type: 'session-kick' }>;
type CredentialChange = Extract<TenantEntry, { type: 'credential-changed' }>;

export interface ControlOptions {
  readonly accounts: CachedAccounts;
  readonly tenants: Tenants;
  readonly departure: Departure;
  readonly records: SessionStore;
  readonly handingOver: HandingOver;
  readonly kicked: Kicked;
  readonly clock: Clock;
  readonly publishesRevokedWills: boolean;
}

export class Control {
  readonly #accounts: CachedAccounts;
  readonly #tenants: Tenants;
  readonly #departure: Departure;
  readonly #records: SessionStore;
  readonly #handingOver: HandingOver;
  readonly #kicked: Kicked;
  readonly #clock: Clock;
  readonly #publishesRevokedWills: boolean;

  constructor(options: ControlOptions) {
    const { accounts, tenants, departure, records, clock, publishesRevokedWills } = options;
    this.#records = records;
    this.#handingOver = options.handingOver;
    this.#kicked = options.kicked;
    this.#accounts = accounts;
    this.#tenants = tenants;
    this.#departure = departure;
    this.#clock = clock;
    this.#publishesRevokedWills = publishesRevokedWills;
  }

  async apply(entry: TenantEntry, atMs: number): Promise<void> {
    const scope = scopeOf({ ...entry, id: entry.tenant });
    this.forget(entry);
    switch (entry.type) {
      case 'session-kick':
        return this.#kick(scope, entry, atMs);
      case 'credential-changed':
        if (entry.change === 'grants') return this.#renewAccess(scope, entry.name);
        return this.#closeRevoked(scope, entry, atMs);
      case 'tenant-changed':
        if (entry.change === 'quotas') return this.#renewLimits(scope);
        return this.#shut(scope, entry.change === 'deleted', atMs);
    }
  }

  /** What is remembered and may be older than the entry. Undefined: one that cannot be read. */
  forget(entry: TenantEntry | undefined): void {
    if (entry === undefined) return this.#accounts.forgetEverything();
    const scope = scopeOf({ ...entry, id: entry.tenant });
    if (entry.type === 'credential-changed') return this.#accounts.forgetCredential(scope, entry.name);
    if (entry.type !== 'tenant-changed') return;
    this.#accounts.forgetTenant(entry.tenant);
    if (entry.change !== 'quotas') this.#accounts.forgetCredentialsOf(scope);
  }

  /** The tenant of that scope as it is stored now; undefined as well when its name is another one's. */
  async #record(scope: TenantScope): Promise<TenantRecord | undefined> {
    const record = await this.#accounts.tenant(tenantOf(scope));
    return record && scopeOf(record) === scope ? record : undefined;
  }

  /** Removed by its tenant: nothing of the session stays. */
  async #kick(scope: TenantScope, entry: SessionKick, atMs: number): Promise<void> {
    const { clientId, born } = entry;
    const tenant = (await this.#tenants.known(scope)) ?? (await this.#openStored(scope));
    if (!tenant) return;
    const residence = await this.#settledHere(tenant, clientId);
    if (!residence) {
      const isHere = await tenant.turns.take(clientId, async () => {
        if (tenant.residences.has(clientId)) return true;
        if (!(await this.#records.discard(scope, clientId, born))) this.#kicked.remember(scope, clientId, born, atMs);
        return false;
      });
      return isHere ? this.#kick(scope, entry, atMs) : undefined;
    }
    const isMeant = born === undefined ? isOlder(residence, atMs) : residence.record.born <= born;
    if (!isMeant) return;
    residence.session.expirySeconds = 0;
    if (residence.connection) residence.connection.close(reasons.administrativeAction);
    else this.#departure.endSession(tenant, residence, this.#clock.nowMs());
  }

  /** One that another broker is about to have is looked at when that is decided. */
  async #settledHere(tenant: Tenant, clientId: SessionKick['clientId']): Promise<Residence | undefined> {
    for (;;) {
      const residence = tenant.residences.get(clientId);
      const over = residence && this.#handingOver.over(residence);
      if (!over) return residence;
      await over;
    }
  }

  async #openStored(scope: TenantScope): Promise<Tenant | undefined> {
    const record = await this.#record(scope);
    if (record === undefined || record.status === 'deleting') return undefined;
    try {
      return await this.#tenants.open(record);
    } catch (error) {
      if (error instanceof TenantGone) return undefined;
      throw error;
    }
  }

  /** It has been deleted: nothing of it stays here. In slices of its own time, though whoever has its name now waits. */
  async retire(tenant: Tenant): Promise<void> {
    for (const step of [this.#silent(tenant), close, this.#ended(tenant)]) await inSlices(tenant, () => true, step);
    this.#tenants.drop(tenant); // Whatever has stopped one of its sessions from ending.
  }

  /** No will is published. */
  #silent(tenant: Tenant): (residence: Residence) => void {
    return (residence) => this.#departure.withdrawWill(tenant, residence);
  }

  /** Nothing of the session stays here, and nothing more is said in its name. */
  #ended(tenant: Tenant): (residence: Residence) => void {
    return (residence) => {
      if (tenant.residences.get(residence.session.clientId) !== residence) return;
      residence.session.will = undefined;
      this.#departure.endSession(tenant, residence, this.#clock.nowMs());
    };
  }

  /** Clients that came in with a password that is not valid any more; those with the new one may be here already. */
  async #closeRevoked(scope: TenantScope, { name, change }: CredentialChange, atMs: number): Promise<void> {
    const tenant = await this.#tenants.known(scope);
    if (!tenant) return;
    const current = await this.#accounts.credential(scope, name).catch(() => 'unknown' as const);
    const isRevoked = ({ credential }: Residence): boolean =>
      credential.name === name && (current === 'unknown' || credential.secretHash !== current?.secretHash);
    const isGone = (residence: Residence): boolean =>
      isRevoked(residence) &&
      (current === 'unknown' ? change === 'deleted' && isOlder(residence, atMs) : wasDeleted(residence, current));
    if (!this.#publishesRevokedWills) await inSlices(tenant, isGone, this.#silent(tenant));
    await inSlices(tenant, isRevoked, close);
  }

  /** Suspended or deleted, unless that is over: a tenant without a creation id may have been made anew by now. */
  async #shut(scope: TenantScope, isDeleted: boolean, atMs: number): Promise<void> {
    const tenant = await this.#tenants.known(scope);
    if (!tenant) return;
    const record = await this.#record(scope);
    const isThere = record !== undefined && record.status !== 'deleting';
    const affects = (residence: Residence): boolean => !isThere || isOlder(residence, atMs);
    const closes = isDeleted ? affects : () => true;
    if (record?.status !== 'active' || isDeleted) {
      if (isDeleted || !this.#publishesRevokedWills) await inSlices(tenant, closes, this.#silent(tenant));
      await inSlices(tenant, closes, close);
    }
    if (!isDeleted) return;
    await inSlices(tenant, affects, this.#ended(tenant));
    if (tenant.residences.size === 0) this.#tenants.drop(tenant);
  }

  /** New grants count for live sessions at once; sessions whose grants cannot be read are sent away, to come back. */
  async #renewAccess(scope: TenantScope, name: string): Promise<void> {
    const tenant = await this.#tenants.known(scope);
    if (!tenant) return;
    const affects = ({ credential }: Residence): boolean => credential.name === name;
    const credential = await this.#accounts.credential(scope, name).catch(() => 'unreadable' as const);
    if (credential === 'unreadable')
      return inSlices(tenant, affects, ({ connection }) => connection?.close(reasons.serverUnavailable));
    const grants = credential ? credential.grants : []; // Without any it may do everything.
    return tenant.time.eachThrough('control', [...tenant.residences.values()].filter(affects), ({ session }) =>
      renewal(session, grants, name),
    );
  }

  async #renewLimits(scope: TenantScope): Promise<void> {
    const tenant = await this.#tenants.known(scope);
    if (!tenant) return;
    const record = await this.#record(scope);
    if (record) tenant.limits.set(record, this.#clock.nowMs());
  }
}

/** For all sessions that it affects, however many there are, in slices of the tenant's time. */
function inSlices(
  tenant: Tenant,
  affects: (residence: Residence) => boolean,
  step: (residence: Residence) => void,
): Promise<void> {
  return tenant.time.each('control', [...tenant.residences.values()].filter(affects), step);
}

/** The rules are compiled for the first session of its kind; then the subscriptions of each are looked at. */
function renewal(session: Residence['session'], grants: readonly Grant[] | undefined, username: string): Job {
  const who = { clientId: session.clientId, username };
  const compiling = accessWork(grants, who);
  let checking: Job | undefined;
  return {
    step: () => {
      if (!checking && compiling?.step()) return true;
      checking ??= session.changeAccess(compileAccess(grants, who)) ?? { step: () => false };
      return checking.step();
    },
  };
}

function close({ connection }: Residence): void {
  connection?.close(reasons.administrativeAction);
}

/** Whether its client came in before; in doubt it did. */
function isOlder({ record }: Residence, atMs: number): boolean {
  return record.connectedAtMs <= atMs + clockMarginMs;
}
