/** What admission needs of the world; `store` and `transport` implement it. */
import type { TenantId } from '../../kernel/kernel.js';
import type { Credential, SessionRecord, Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { Channel, Outbox, Session } from '../session/session.js';
import type { Tenant } from './tenant.js';

/** Tenants and credentials as they are stored now; undefined when there is none. Throws when the store is out of reach. */
export interface Accounts {
  tenant(id: TenantId): Promise<TenantRecord | undefined>;
  credential(tenant: TenantId, name: string): Promise<Credential | undefined>;
}

/** The durable records of who is connected. */
export interface SessionRecords {
  /** Makes this broker the owner, in one conditional write. Returns the new epoch. */
  claim(record: Omit<SessionRecord, 'epoch' | 'owner'>): Promise<number>;
  /** The client has gone; the record ends at once when `expirySeconds` is 0. Does nothing when others own it now. */
  release(record: Omit<SessionRecord, 'owner'>): Promise<void>;
}

/** One client's connection, as far as admission needs it. */
export interface Connection extends Outbox {
  /** The client is in; called in the same step in which its session is attached. */
  admitted(admitted: Admitted): void;
  /** Of the client: `ip:port`. */
  readonly remoteAddress: string;
  readonly closed: boolean;
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
  /** What the client's DISCONNECT changed the session's expiry to, if it did. */
  readonly expirySeconds?: number | undefined;
}
