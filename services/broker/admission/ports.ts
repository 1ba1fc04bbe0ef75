/** What admission needs of the world; `store` and `transport` implement it. */
import type { BrokerId, ClientId, TenantId, TenantScope } from '../../kernel/kernel.js';
import type { Credential, RecordUnreadable, SessionRecord, Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { StoredOrigin } from '../inbox/inbox.js';
import type { Channel, Outbox, Restored, Session } from '../session/session.js';
import type { Reason } from '../wire/wire.js';
import type { Tenant } from './tenant.js';

/** Tenants and credentials as they are stored now; undefined when there is none. Throws when the store is out of reach. */
export interface Accounts {
  tenant(id: TenantId): Promise<TenantRecord | undefined>;
  credential(scope: TenantScope, name: string): Promise<Credential | undefined>;
}

export type Claim = Omit<SessionRecord, 'epoch' | 'owner' | 'born'>;
/** A session's record, by its owner. */
export type OwnRecord = Omit<SessionRecord, 'owner'>;

/** The durable side of sessions: their records, and what is stored with them. */
export interface SessionStore {
  /**
   * Makes this broker the owner, in one conditional write, and returns the new epoch. `born`: of a session that goes
   * on; undefined begins a new one. Throws while another broker that is alive owns it.
   */
  claim(claim: Claim, born: number | undefined): Promise<{ readonly epoch: number; readonly born: number }>;
  /** Writes the record; it ends when `expirySeconds` is 0. Does nothing when others own it now. */
  release(record: OwnRecord): Promise<void>;
  /** Writes queue depth and drops alone. Does nothing when others own it now or it has ended. */
  note(record: OwnRecord): Promise<void>;
  /** All records of a tenant, page by page, without those that cannot be read. */
  records(
    scope: TenantScope,
    onUnreadable?: (clientId: ClientId, error: RecordUnreadable) => void,
  ): AsyncIterable<readonly SessionRecord[]>;
  /**
   * Takes over the record of a broker that has gone, with what `change` says; undefined when somebody else was faster.
   * Like `load` it throws `RecordUnreadable` for what is wrong with this one session, and anything else when the store is
   * out of reach.
   */
  adopt(
    record: SessionRecord,
    change: Pick<SessionRecord, 'connected'> & Partial<SessionRecord>,
  ): Promise<OwnRecord | undefined>;
  /** What is stored of the session beside its record. */
  load(record: OwnRecord): Promise<Restored>;
  /** Removes subscriptions and messages with epochs below `bornBelow`; those of a later session stay. */
  purge(scope: TenantScope, clientId: ClientId, bornBelow: number): Promise<void>;
  /** Removes a session, with all of it, that is in no broker's memory: it could not be read. Not one that began after `born`. */
  discard(scope: TenantScope, clientId: ClientId, born: number | undefined): Promise<void>;
  /** Of tenants of which a broker owns sessions. */
  scopesOf(owner: BrokerId): Promise<readonly TenantScope[]>;
}

/** What is stored of a shared subscription. */
export interface StoredShared {
  readonly messages: number;
  /** Of QoS 2 messages, in order, with the keys of their items. */
  readonly origins: readonly { readonly key: string; readonly origin: StoredOrigin }[];
  /** Of the newest item; 0 without. */
  readonly lastEpoch: number;
}

/** The messages of shared subscriptions (`name`: `$share/group/filter`) that no member has got yet. */
export interface SharedStore {
  loadShared(scope: TenantScope, name: string): Promise<StoredShared>;
  removeShared(scope: TenantScope, name: string, keys: readonly string[]): Promise<void>;
  /** Removes those of epochs below `epochBelow`. */
  purgeShared(scope: TenantScope, name: string, epochBelow: number): Promise<void>;
}

/** Whether this broker may acknowledge at all. */
export interface LeaseGate {
  /** `lapsed`: it may have been frozen past its lease, and nothing is acknowledged before that is known. */
  readonly state: 'held' | 'lapsed' | 'outage' | 'lost';
  /** Calls back once: at once unless it has lapsed, otherwise when it is held again or in an outage. */
  whenAwake(listener: () => void): void;
}

/** One client's connection, as far as admission needs it. */
export interface Connection extends Outbox {
  /** The client is in; called in the same step in which its session is attached. */
  admitted(admitted: Admitted): void;
  /** Of the client: `ip:port`. */
  readonly remoteAddress: string;
  readonly closed: boolean;
  /** Ends it at once: `disconnected` has been called when it returns. The client is told why where its protocol can. */
  close(reason: Reason, detail?: string): void;
}

/** A client that is in. */
export interface Admitted {
  readonly tenant: Tenant;
  readonly session: Session;
  readonly channel: Channel;
  readonly keepAliveSeconds: number;
}

/** How a connection ended. */
export interface Ending {
  /** False after a DISCONNECT that says so. */
  readonly publishWill: boolean;
  /** The broker stops and has sent the client elsewhere: nobody has died. */
  readonly isSentAway?: boolean;
  /** What the client's DISCONNECT changed the session's expiry to, if it did. */
  readonly expirySeconds?: number | undefined;
}
