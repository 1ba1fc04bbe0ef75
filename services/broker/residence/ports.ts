/** What the life of a session needs of the world; `store`, `admission` and `transport` implement it. */
import type { BrokerId, ClientId, TenantScope } from '../../kernel/kernel.js';
import type { Credential, RecordUnreadable, SessionRecord, WillContent } from '../../tenancy/tenancy.js';
import type { StoredRoute } from '../inbox/inbox.js';
import type { Contents } from '../session/session.js';
import type { Receipt } from '../message/message.js';
import type { OwnRecord, Tenant } from '../tenant/tenant.js';

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

/** What the table says of a record: whose it is, and since which claim. */
export type Owner = NonNullable<SessionRecord['takenFrom']>;
/** The record is another broker's, which lives. */
export interface Elsewhere extends Owner {
  readonly isAlive: true;
}

/** The durable side of sessions: their records, and what is stored with them. */
export interface SessionStore {
  /**
   * Makes this broker the owner, in one conditional write, and returns the new epoch. `born`: of a session that goes
   * on; undefined begins a new one. `known`: the record as this broker has it, if it does. Changes nothing while another broker that is
   * alive owns it, and says so. A will that is long is stored before, in an item of its own, unless the one of `known` has the same;
   * that one stays until `dropWill`.
   */
  claim(claim: Claim, born: number | undefined, known?: OwnRecord, hasLooked?: boolean): Promise<Claimed | Elsewhere>;
  /** The session of one client, as it is stored now. Throws `RecordUnreadable`, and anything else when the store is out of reach. */
  sessionOf(scope: TenantScope, clientId: ClientId): Promise<StoredSession | undefined>;
  /**
   * Makes this broker the owner of a record that says `says`, in one conditional write, and changes nothing else of it but `takenFrom`.
   * Returns the new epoch; undefined: it says something else.
   */
  take(client: Pick<SessionRecord, 'tenant' | 'clientId'>, says: Owner, takenFrom?: Owner): Promise<number | undefined>;
  /** Whether that broker's lease is not over. */
  isAlive(owner: BrokerId): Promise<boolean>;
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
  /**
   * Removes a session, with all of it, that is in no broker's memory: it could not be read. Not one that began after `born`. False:
   * it is another broker's that is alive, who has heard of it, too.
   */
  discard(scope: TenantScope, clientId: ClientId, born: number | undefined): Promise<boolean>;
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

/** What is asked of a broker that has a client's session. */
export interface TakeoverWish {
  readonly tenant: TenantScope;
  readonly clientId: ClientId;
  /** As the record was read. */
  readonly says: Owner;
  /** The session is to end: its client begins a new one. */
  readonly beginsAnew: boolean;
}

export type TakeoverAnswer =
  /** The record may be taken. The broker goes on storing under this epoch, which is the record's, until it is told to finish. */
  | { readonly kind: 'given'; readonly epoch: number }
  /** The session has ended. */
  | { readonly kind: 'over' }
  /** It has nothing of it in memory. */
  | { readonly kind: 'none' }
  /** The record says something else by now, or will. */
  | { readonly kind: 'changed' }
  /** To be asked again. */
  | { readonly kind: 'busy' };

/** A session that was given. */
export interface GivenSession {
  readonly tenant: TenantScope;
  readonly clientId: ClientId;
  readonly epoch: number;
}

/** Other brokers, as far as their sessions are wanted here (decision 46). Never rejects. */
export interface Takeover {
  /** Undefined: no answer came in time. To ask again does no harm. */
  from(owner: BrokerId, wish: TakeoverWish): Promise<TakeoverAnswer | undefined>;
  /** Everybody knows the session here: the broker is to store what it has of it and to let it go. False: no answer in time. */
  finish(owner: BrokerId, given: GivenSession): Promise<boolean>;
}

/** What others ask of this broker in the same way. */
export interface TakeoverHost {
  give(wish: TakeoverWish): Promise<TakeoverAnswer>;
  finish(given: GivenSession): Promise<boolean>;
}

/** What brokers know of each other's subscriptions, as far as a session that moves depends on it. */
export interface Interest {
  /** Settles when every broker that publishes to the tenant sends it what matches the subscriptions that are here now. */
  matched(tenant: Pick<Tenant, 'whenMatched'>): Receipt;
  /** Settles when everything of the tenant that others have sent to this broker so far has been published here. */
  arrived(tenant: Pick<Tenant, 'scope'>): Receipt;
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
