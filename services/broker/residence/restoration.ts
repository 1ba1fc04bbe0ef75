/**
 * What brokers before this one have left: their sessions of one tenant, with subscriptions, stored messages and wills.
 * Done before the first client of the tenant is let in, so that none of its messages misses a subscription.
 *
 * A record is inherited, and not written: what the table says is true for the next broker, too, should this one die. It is
 * written when there is something to tell: the session ends, its will is published or withdrawn, or it is not known since when its
 * client has been away. Wills are published when all sessions are there to get them.
 *
 * A session that cannot be read is left out; a store that is out of reach fails the whole, to be tried again.
 */
import { atOnce, type BrokerId, type ClientId, type Clock, type TenantScope } from '../../kernel/kernel.js';
import {
  type Credential,
  RecordUnreadable,
  type SessionRecord,
  splitUserName,
  type Tenant as TenantRecord,
} from '../../tenancy/tenancy.js';
import type { StoredOrigin, StoredRoute } from '../inbox/inbox.js';
import { type Restored, Session } from '../session/session.js';
import { accessOf, depthOf, isWill, type OwnRecord, Residence, type Tenant } from '../tenant/tenant.js';
import { type Departure, willEpochOf, willFromStored } from './departure.js';
import type { Credentials, SessionStore } from './ports.js';
import { isOfDeleted } from './revoked-wills.js';
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
  readonly clock: Clock;
  /** When the lease of a broker that has gone ended, in milliseconds since the epoch. */
  readonly leaseEndedAtMs: (owner: BrokerId) => Promise<number | undefined>;
  readonly publishesRevokedWills: boolean;
}

export class Restoration {
  readonly #options: RestorationOptions;

  constructor(options: RestorationOptions) {
    this.#options = options;
  }

  async restore(tenant: Tenant, { status }: TenantRecord): Promise<void> {
    const { records, unreadable } = this.#options;
    const restored: RestoredOne[] = [];
    /** What subscribers have stored of QoS 2 messages: their publishers may send them again. */
    const origins: StoredOrigin[] = [];
    const leftOut = (clientId: ClientId, error: RecordUnreadable): void =>
      unreadable.session(tenant.scope, clientId, error);
    const pages = (await records.enter(tenant.scope)) ? records.sessions(tenant.scope, leftOut) : [];
    for await (const page of pages) {
      await atOnce(page, atOnceMax, async ({ record, routes }) => {
        try {
          const one = await this.#restoreOne(tenant, status, record, routes, origins);
          if (one) restored.push(one);
        } catch (error) {
          if (!(error instanceof RecordUnreadable)) throw error; // Out of reach, for all of them.
          leftOut(record.clientId, error);
        }
      });
    }
    const queued = await tenant.queues.restore((name, error) => unreadable.shared(tenant.scope, name, error));
    await this.#leaveOpen(
      tenant,
      [...origins, ...queued].filter((origin) => !isWill(origin)),
    );
    const { departure, clock } = this.#options;
    for (const { residence, isToBeWritten } of restored) {
      const { session, record } = residence;
      const endsAtMs = session.expirySeconds === 0 ? 0 : record.disconnectedAtMs! + session.expirySeconds * 1000;
      if (endsAtMs <= clock.nowMs()) {
        if (session.expirySeconds > 0) tenant.meters.expiredSessions++;
        departure.endSession(tenant, residence, clock.nowMs());
      } else {
        departure.scheduleEnd(residence);
        if (departure.resumeWill(residence) || isToBeWritten) departure.write(tenant, residence);
      }
    }
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

  async #restoreOne(
    tenant: Tenant,
    status: TenantRecord['status'],
    found: SessionRecord,
    routes: readonly StoredRoute[],
    origins: StoredOrigin[],
  ): Promise<RestoredOne | undefined> {
    const { records, clock, leaseEndedAtMs } = this.#options;
    if (tenant.residences.has(found.clientId)) return undefined;
    const inherited = records.inherit(found);
    const credential = await this.#credential(tenant.scope, found);
    const record = this.#isSilent(status, found, credential) ? withoutWill(inherited) : inherited;
    const nowMs = clock.nowMs();
    // Whoever was connected when its broker died has been away since that broker's lease ended.
    const leftAtMs = record.connected ? await leaseEndedAtMs(found.owner) : record.disconnectedAtMs;
    const disconnectedAtMs = Math.min(leftAtMs ?? nowMs, nowMs);
    const willAtMs = record.connected
      ? disconnectedAtMs + (record.will?.delaySeconds ?? 0) * 1000
      : (record.willAtMs ?? disconnectedAtMs);
    const willEpoch = record.will && { willEpoch: willEpochOf(found) };
    // One that ends now had more than its record if it was longer-lived before its last CONNECT.
    const isDurable = found.expirySeconds > 0 || found.born < found.epoch;
    const contents = isDurable && isAskedFor(routes) ? await records.load(record) : undefined;
    const { epoch, born, queuedMessages, droppedMessages } = record;
    const restored = isDurable ? { epoch, born, queuedMessages, droppedMessages, routes, contents } : undefined;
    const own = { ...record, connected: false, disconnectedAtMs, willAtMs, ...willEpoch };
    const residence = await this.#reside(tenant, own, credential, restored, origins);
    const hasLostWill = found.will !== undefined && residence.session.will === undefined;
    return { residence, isToBeWritten: hasLostWill || leftAtMs === undefined };
  }

  /** Its will is not to be published; see `revoked-wills.ts`. Of a credential that cannot be read nobody can say. */
  #isSilent(status: TenantRecord['status'], record: SessionRecord, credential: Found): boolean {
    if (this.#options.publishesRevokedWills) return false;
    return status === 'suspended' || (credential !== 'unreadable' && isOfDeleted(record, credential));
  }

  async #reside(
    tenant: Tenant,
    record: OwnRecord,
    found: Found,
    restored: Restored | undefined,
    origins: StoredOrigin[],
  ): Promise<Residence> {
    const name = splitUserName(record.userName)?.name ?? '';
    const isThere = found !== undefined && found !== 'unreadable';
    const credential = isThere ? found : goneCredential(tenant.scope, name);
    const access = await accessOf(tenant.time, credential.grants, { clientId: record.clientId, username: name });
    const session = new Session(record.clientId, tenant, access, restored ? tenant.keeping : undefined);
    session.expirySeconds = record.expirySeconds === 0xffff_ffff ? Infinity : record.expirySeconds;
    if (record.will) session.will = willFromStored(record.will);
    if (record.will?.qos === 2) tenant.wills.keep(record.clientId, willEpochOf(record), true);
    if (restored) {
      session.restore(restored);
      for (const origin of restored.contents?.stored.origins ?? []) origins.push(origin);
    }
    const residence = new Residence(tenant, session, credential, record, depthOf(record, 0));
    tenant.residences.set(record.clientId, residence);
    // What its rules have come to while nobody looked. Without a credential nobody can say.
    const checking = isThere ? session.changeAccess(access) : undefined;
    if (checking) await tenant.time.through(checking);
    return residence;
  }

  /** When it cannot be read, its sessions are not lost with it. */
  async #credential(scope: TenantScope, { userName, clientId }: SessionRecord): Promise<Found> {
    const { accounts, unreadable } = this.#options;
    const name = splitUserName(userName)?.name ?? '';
    try {
      return await accounts.credential(scope, name);
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      unreadable.credential(scope, name, clientId, error);
      return 'unreadable';
    }
  }
}

/** A credential as it is stored now. */
type Found = Credential | 'unreadable' | undefined;

interface RestoredOne {
  readonly residence: Residence;
  /** What its record says does not hold for the next broker. */
  readonly isToBeWritten: boolean;
}

function withoutWill({ will: _, ...record }: OwnRecord): OwnRecord {
  return record;
}

/** Of a session whose credential has been deleted: it lives on, and no secret fits. */
function goneCredential(scope: TenantScope, name: string): Credential {
  return { scope, name, secretHash: '' as Credential['secretHash'], createdAtMs: 0, revision: 0 };
}
