/** What the life of a session needs of the world; `store`, `admission` and `transport` implement it. */
import type { BrokerId, ClientId, TenantScope } from '../../kernel/kernel.js';
import type { Credential, RecordUnreadable, SessionRecord, WillContent } from '../../tenancy/tenancy.js';
import type { StoredRoute } from '../inbox/inbox.js';
import type { Contents } from '../session/session.js';
import type { OwnRecord } from '../tenant/tenant.js';

/** Credentials as they are stored now; undefined when there is none. Throws when the store is out of reach. */
export interface Credentials {
  credential(scope: TenantScope, name: string): Promise<Credential | undefined>;
}

export type Claim = Omit<SessionRecord, 'epoch' | 'owner' | 'born' | 'willItem'>;
/** What the record says now that no claim can know before. */
export type Claimed = Pick<SessionRecord, 'epoch' | 'born' | 'willItem'>;
/** A new epoch, and what the table says still. */
export type Inherited = Required<Pick<OwnRecord, 'epoch' | 'inheritedFrom'>>;
export interface StoredSession {
  readonly record: SessionRecord;
  readonly routes: readonly StoredRoute[];
}

/** The durable side of sessions: their records, and what is stored with them. */
export interface SessionStore {
  /**
   * Makes this broker the owner, in one conditional write, and returns the new epoch. `born`: of a session that goes
   * on; undefined begins a new one. `known`: the record as this broker has it, if it does. Throws while another broker that is
   * alive owns it. A will that is long is stored before, in an item of its own, unless the one of `known` has the same; that one stays
   * until `dropWill`.
   */
  claim(claim: Claim, born: number | undefined, known?: OwnRecord, hasLooked?: boolean): Promise<Claimed>;
  /** What the item of a will has; undefined: it is not there. Throws `RecordUnreadable`, and anything else when the store is out of reach. */
  will(scope: TenantScope, clientId: ClientId, willItem: string): Promise<WillContent | undefined>;
  /** No record names that item any more. */
  dropWill(scope: TenantScope, clientId: ClientId, willItem: string): Promise<void>;
  /**
   * Writes the record; it ends when `expirySeconds` is 0. Does nothing when others own it now. Afterwards it is inherited no
   * more.
   */
  release(record: OwnRecord): Promise<void>;
  /** Writes queue depth and drops alone. Does nothing when others own it now or it has ended. */
  note(record: OwnRecord): Promise<void>;
  /** All sessions of a tenant that have come to this broker, after `enter`, with their subscriptions, page by page, without those that cannot be read. */
  sessions(
    scope: TenantScope,
    onUnreadable?: (clientId: ClientId, error: RecordUnreadable) => void,
  ): AsyncIterable<readonly StoredSession[]>;
  /** What is this broker's own of a record that `sessions` has just read, from now on. Nothing is written. */
  inherit(record: SessionRecord): Inherited;
  /**
   * What is stored of the session beside its record and its subscriptions, of messages those below the epoch of `record`.
   * `isClientThere`: it waits for that. Throws `RecordUnreadable` for what is wrong with this one session, and anything else when
   * the store is out of reach.
   */
  load(record: OwnRecord, isClientThere?: boolean): Promise<Contents>;
  /** Removes subscriptions, messages and items of wills with epochs below `bornBelow`; those of a later session stay. */
  purge(scope: TenantScope, clientId: ClientId, bornBelow: number): Promise<void>;
  /** Removes a session, with all of it, that is in no broker's memory: it could not be read. Not one that began after `born`. */
  discard(scope: TenantScope, clientId: ClientId, born: number | undefined): Promise<void>;
  /**
   * To be called before anything is claimed or inherited: from now on this broker may have sessions of the tenant. Returns whether
   * others may have left some to it that are not here yet. `clientId`: whoever has left that client's.
   */
  enter(scope: TenantScope, clientId?: ClientId): Promise<boolean>;
  /** All of these are here, and stay as long as it lives. */
  entered(scope: TenantScope): void;
  /** Of tenants of which a broker that has died may have left sessions to this one. */
  scopesOf(owner: BrokerId): Promise<readonly TenantScope[]>;
  /** All of these have been adopted. */
  forget(owner: BrokerId): Promise<void>;
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
