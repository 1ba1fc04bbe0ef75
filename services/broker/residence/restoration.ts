/**
 * What other brokers have left: their sessions of one tenant, with subscriptions, stored messages and wills. `restore` does it
 * before the first client of the tenant is let in, so that none of its messages misses a subscription; `inherit` when another
 * broker dies, that has served the tenant at the same time: what was published meanwhile waits for that elsewhere (decision 47).
 *
 * `inherit` and what clients do to the tenant meanwhile:
 *  - A client of one of these sessions connects: its claim meets the record and waits for it to be here (`arrival.ts`).
 *  - ... when it is here, but not all that comes with it: the client waits for the rest. Its will may be due (G8).
 *  - The store is out of reach before all is here: the next attempt goes on.
 *  - Two adoptions of the tenant: one after the other. What is here is left alone.
 *  - The tenant is deleted: nothing more is restored, and what is stored of it is removed by the tenant API.
 *
 * A record is inherited, and not written: what the table says is true for the next broker, too, should this one die. It is
 * written when there is something to tell: the session ends, its will is published or withdrawn, or it is not known since when its
 * client has been away. Wills are published when all sessions are there to get them.
 *
 * A session that cannot be read is left out; a store that is out of reach fails the whole, to be tried again.
 */
import { atOnce, type BrokerId, type ClientId, type Clock, type TenantScope } from '../../kernel/kernel.js';
import {
  accessWork,
  compileAccess,
  type Credential,
  neverExpiresSeconds,
  RecordUnreadable,
  type SessionRecord,
  splitUserName,
  type Tenant as TenantRecord,
} from '../../tenancy/tenancy.js';
import type { StoredOrigin } from '../inbox/inbox.js';
import { type Contents, Session } from '../session/session.js';
import { depthOf, isWill, type Job, type OwnRecord, Residence, type Tenant } from '../tenant/tenant.js';
import { type Departure, willEpochOf } from './departure.js';
import type { Incoming } from './incoming.js';
import type { Credentials, SessionStore, StoredSession } from './ports.js';
import { isOfDeleted } from './revoked-wills.js';
import { willFromStored } from './stored-will.js';
import { isAskedFor, type Unread } from './unread.js';
import type { Unreadable } from './unreadable.js';

/** Sessions of one tenant that are taken over at the same time. */
const atOnceMax = 32;

export interface RestorationOptions {
  readonly records: SessionStore;
  readonly accounts: Credentials;
  readonly departure: Departure;
  readonly unreadable: Unreadable;
  readonly unread: Unread;
  readonly incoming: Incoming;
  /** A record has been found of a session that is here: see `HandingOver.inherits`. */
  readonly returns: (known: Residence, found: SessionRecord) => void;
  readonly clock: Clock;
  /** When the lease of a broker that has gone ended, in milliseconds since the epoch. */
  readonly leaseEndedAtMs: (owner: BrokerId) => Promise<number | undefined>;
  readonly publishesRevokedWills: boolean;
}

export class Restoration {
  readonly #options: RestorationOptions;
  /** Of tenants that are open: the last adoption, and what is not finished of one, under way or failed. */
  readonly #inheriting = new WeakMap<Tenant, Promise<void>>();
  readonly #unfinished = new WeakMap<Tenant, Restoring>();

  constructor(options: RestorationOptions) {
    this.#options = options;
  }

  /** Before the tenant is open; the store is told later that all is here. */
  async restore(tenant: Tenant, { status }: TenantRecord): Promise<void> {
    const { records, unreadable } = this.#options;
    const restoring = restoringOf(tenant, status);
    if (await records.enter(tenant.scope)) await this.#restorePages(restoring);
    const queued = await tenant.queues.restore((name, error) => unreadable.shared(tenant.scope, name, error));
    await this.#finish(restoring, queued);
  }

  /** Into a tenant that is open: what has come to this broker since. `clientId`: the session of that client in any case. */
  inherit(tenant: Tenant, { status }: TenantRecord, clientId?: ClientId): Promise<void> {
    const before = this.#inheriting.get(tenant)?.catch(() => undefined); // Told to whoever has asked for that.
    const inherited = Promise.resolve(before).then(() => this.#inherit(tenant, status, clientId));
    this.#inheriting.set(tenant, inherited);
    return inherited;
  }

  /** What an attempt before this one, which has failed, has left to do is done with it. */
  async #inherit(tenant: Tenant, status: TenantRecord['status'], clientId?: ClientId): Promise<void> {
    const { records } = this.#options;
    const isMore = await records.enter(tenant.scope, clientId);
    const failed = this.#unfinished.get(tenant);
    if (!isMore && !failed) return;
    const restoring = failed ?? restoringOf(tenant, status);
    this.#unfinished.set(tenant, restoring);
    if (isMore) await this.#restorePages(restoring);
    await this.#finish(restoring, []);
    this.#unfinished.delete(tenant);
    if (isMore) records.entered(tenant.scope);
  }

  /** Whether its will and its end are looked at later, when all sessions of the tenant that have come with it are here. */
  isUnfinished(tenant: Tenant, residence: Residence): boolean {
    return this.#unfinished.get(tenant)?.restored.has(residence) ?? false;
  }

  async #restorePages(restoring: Restoring): Promise<void> {
    const { records, unreadable } = this.#options;
    const { scope } = restoring.tenant;
    const leftOut = (clientId: ClientId, error: RecordUnreadable): void => unreadable.session(scope, clientId, error);
    for await (const page of records.sessions(scope, leftOut)) await this.#restorePage(restoring, page, leftOut);
  }

  async #finish(restoring: Restoring, queued: readonly StoredOrigin[]): Promise<void> {
    const { tenant, origins, restored } = restoring;
    await this.#leaveOpen(
      tenant,
      [...origins, ...queued].filter((origin) => !isWill(origin)),
    );
    const left = restored.values();
    const step = (): boolean => {
      const next = left.next();
      if (next.done !== true) this.#setDue(next.value, restoring);
      return next.done !== true;
    };
    await tenant.time.through({ step: () => several(step) });
  }

  /** Its end, its will, and its record if that is to be written. */
  #setDue(residence: Residence, { tenant, toBeWritten }: Restoring): void {
    const { departure, clock } = this.#options;
    const { session, record } = residence;
    // Its client has come meanwhile, or it has ended: in a tenant that is open.
    if (tenant.residences.get(session.clientId) !== residence || residence.connection) return;
    const nowMs = clock.nowMs();
    const endsAtMs = session.expirySeconds === 0 ? 0 : record.disconnectedAtMs! + session.expirySeconds * 1000;
    if (endsAtMs <= nowMs) {
      if (session.expirySeconds > 0) tenant.meters.expiredSessions++;
      departure.endSession(tenant, residence, nowMs);
    } else {
      departure.scheduleEnd(residence);
      if (departure.resumeWill(residence) || toBeWritten.has(residence)) departure.write(tenant, residence);
    }
  }

  /**
   * First what many of them have in common; then one after the other, in slices of the tenant's time, with no promise for each:
   * there may be 100 000, and clients wait.
   */
  async #restorePage(
    restoring: Restoring,
    page: readonly StoredSession[],
    leftOut: (clientId: ClientId, error: RecordUnreadable) => void,
  ): Promise<void> {
    const { tenant } = restoring;
    const common = await this.#common(
      tenant,
      page.map(({ record }) => record),
    );
    const asked: StoredSession[] = [];
    const left = page.values();
    let work: Job | undefined;
    const step = (): boolean => {
      if (work) {
        if (!work.step()) work = undefined;
        return true;
      }
      const next = left.next();
      if (next.done === true) return false;
      const { record, routes } = next.value;
      const { takenFrom } = record;
      // One that was not brought here to the end is read when that is done.
      if (isDurable(record) && isAskedFor(routes) && !takenFrom) asked.push(next.value);
      else work = this.#restoreOne(restoring, common, next.value);
      return true;
    };
    await tenant.time.through({ step: () => several(step) });
    await atOnce(asked, atOnceMax, async (stored) => {
      const { records } = this.#options;
      const { record } = stored;
      try {
        const contents = await records.load({ ...record, ...records.inherit(record) });
        const checking = tenant.time.charge(() => this.#restoreOne(restoring, common, stored, contents));
        if (checking) await tenant.time.through(checking);
      } catch (error) {
        if (!(error instanceof RecordUnreadable)) throw error; // Out of reach, for all of them.
        leftOut(record.clientId, error);
      }
    });
  }

  /**
   * One session whose client has come, and that was taken from a broker that lives. What it had when that broker let it go is not known
   * before `Incoming` says so.
   */
  async bring(tenant: Tenant, { status }: TenantRecord, stored: StoredSession, epoch: number): Promise<void> {
    const restoring = restoringOf(tenant, status);
    const { record } = stored;
    const common = await this.#common(tenant, [record]);
    const checking = this.#restoreOne(restoring, common, stored, undefined, epoch);
    if (checking) await tenant.time.through(checking);
    for (const residence of restoring.restored) this.#setDue(residence, restoring);
  }

  /** Their publishers are told, each once what is stored of it is known. */
  async #leaveOpen(tenant: Tenant, origins: readonly StoredOrigin[]): Promise<void> {
    const publishers = new Set(origins.map(({ publisher }) => publisher as ClientId));
    await atOnce([...publishers], atOnceMax, async (clientId) => {
      const residence = tenant.residences.get(clientId);
      if (residence) await this.#options.unread.read(tenant, residence);
    });
    for (const origin of origins) tenant.residences.get(origin.publisher as ClientId)?.session.leftOpen(origin);
  }

  /** Returns what is left to do for it, if it is. */
  #restoreOne(
    { tenant, status, restored, origins, toBeWritten }: Restoring,
    { cameWith, leaseEnds }: Common,
    { record: found, routes }: StoredSession,
    contents?: Contents,
    taken?: number,
  ): Job | undefined {
    const { clientId } = found;
    if (tenant.isGone) return undefined;
    const known = tenant.residences.get(clientId);
    if (known) this.#options.returns(known, found);
    if (known) return undefined;
    const { name, stored } = cameWith.get(found.userName)!;
    const nowMs = this.#options.clock.nowMs();
    // Whoever was connected when its broker died has been away since that broker's lease ended.
    const leftAtMs = found.connected ? leaseEnds.get(found.owner) : found.disconnectedAtMs;
    const disconnectedAtMs = Math.min(leftAtMs ?? nowMs, nowMs);
    const will = found.will && !this.#isSilent(status, found, stored) ? found.will : undefined;
    const willAtMs = found.connected
      ? disconnectedAtMs + (will?.delaySeconds ?? 0) * 1000
      : (found.willAtMs ?? disconnectedAtMs);
    const inherited = taken === undefined ? this.#options.records.inherit(found) : { epoch: taken };
    const { epoch } = inherited;
    const own: Mutable<OwnRecord> = { ...found, ...inherited, connected: false, disconnectedAtMs, willAtMs };
    if (will) own.willEpoch = willEpochOf(found);

    const isThere = stored !== undefined && stored !== 'unreadable';
    const credential = isThere ? stored : goneCredential(tenant.scope, name);
    const access = compileAccess(credential.grants, { clientId, username: name });
    const isKept = isDurable(found);
    const session = new Session(clientId, tenant, access, isKept ? tenant.keeping : undefined);
    session.expirySeconds = found.expirySeconds === neverExpiresSeconds ? Infinity : found.expirySeconds;
    if (will) session.will = willFromStored(will);
    if (will?.qos === 2) tenant.wills.keep(clientId, willEpochOf(own), true);
    if (isKept) {
      const { born, queuedMessages, droppedMessages } = found;
      const waitsForEarlier = found.takenFrom !== undefined;
      session.restore({ epoch, born, queuedMessages, droppedMessages, routes, contents, waitsForEarlier });
      if (contents) origins.push(...contents.stored.origins);
    }
    const residence = new Residence(tenant, session, credential, own, depthOf(own, 0));
    tenant.residences.set(clientId, residence);
    restored.add(residence);
    if (isKept && found.takenFrom) this.#options.incoming.goOn(residence, found.takenFrom);
    // What its rules have come to while nobody looked. Without a credential nobody can say.
    const checking = isThere ? session.changeAccess(access) : undefined;
    const hasLostWill = found.will !== undefined && session.will === undefined;
    if (hasLostWill || leftAtMs === undefined) toBeWritten.add(residence);
    return checking;
  }

  /** Its will is not to be published; see `revoked-wills.ts`. Of a credential that cannot be read nobody can say. */
  #isSilent(status: TenantRecord['status'], record: SessionRecord, credential: Found): boolean {
    if (this.#options.publishesRevokedWills) return false;
    return status === 'suspended' || (credential !== 'unreadable' && isOfDeleted(record, credential));
  }

  /** What the sessions of a page have in common: read once, and access rules are compiled as far as the clients need them. */
  async #common({ scope, time }: Tenant, page: readonly SessionRecord[]): Promise<Common> {
    const cameWith = new Map<string, CameWith>();
    const leaseEnds = new Map<BrokerId, number | undefined>();
    const some = new Map<string, SessionRecord>();
    for (const record of page) {
      if (!some.has(record.userName)) some.set(record.userName, record);
      if (record.connected) leaseEnds.set(record.owner, undefined);
    }
    for (const owner of leaseEnds.keys()) leaseEnds.set(owner, await this.#options.leaseEndedAtMs(owner));
    await atOnce(some.values(), atOnceMax, async (record) => {
      const name = splitUserName(record.userName)?.name ?? '';
      cameWith.set(record.userName, { name, stored: await this.#credential(scope, name, record.clientId) });
    });
    for (const record of page) {
      const { name, stored } = cameWith.get(record.userName)!;
      if (stored === undefined || stored === 'unreadable') continue;
      const work = accessWork(stored.grants, { clientId: record.clientId, username: name });
      if (work) await time.through(work);
    }
    return { cameWith, leaseEnds };
  }

  /** When it cannot be read, its sessions are not lost with it. */
  async #credential(scope: TenantScope, name: string, clientId: ClientId): Promise<Found> {
    const { accounts, unreadable } = this.#options;
    try {
      return await accounts.credential(scope, name);
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      unreadable.credential(scope, name, clientId, error);
      return 'unreadable';
    }
  }
}

type Mutable<T> = { -readonly [field in keyof T]: T[field] };

/** A credential as it is stored now. */
type Found = Credential | 'unreadable' | undefined;

/** By the user name in a record. */
interface CameWith {
  readonly name: string;
  readonly stored: Found;
}

/** Of the sessions of a page. */
interface Common {
  readonly cameWith: ReadonlyMap<string, CameWith>;
  /** Of owners that had connections when they died. */
  readonly leaseEnds: ReadonlyMap<BrokerId, number | undefined>;
}

interface Restoring {
  readonly tenant: Tenant;
  readonly status: TenantRecord['status'];
  readonly restored: Set<Residence>;
  /** What subscribers have stored of QoS 2 messages: their publishers may send them again. */
  readonly origins: StoredOrigin[];
  /** What their records say does not hold for the next broker. */
  readonly toBeWritten: Set<Residence>;
}

const restoringOf = (tenant: Tenant, status: TenantRecord['status']): Restoring => ({
  ...{ tenant, status },
  ...{ restored: new Set(), origins: [], toBeWritten: new Set() },
});

/** Between two looks at the clock. */
const stepsAtOnce = 8;

function several(step: () => boolean): boolean {
  for (let i = 0; i < stepsAtOnce; i++) if (!step()) return false;
  return true;
}

/** One that ends now had more than its record if it was longer-lived before its last CONNECT. */
const isDurable = ({ expirySeconds, born, epoch }: SessionRecord): boolean => expirySeconds > 0 || born < epoch;

/** Of a session whose credential has been deleted: it lives on, and no secret fits. */
function goneCredential(scope: TenantScope, name: string): Credential {
  return { scope, name, secretHash: '' as Credential['secretHash'], createdAtMs: 0, revision: 0 };
}
