/** What admission needs of the world; `store` and `transport` implement it. */
import type { TenantId } from '../../kernel/kernel.js';
import type { Credential, SessionRecord, Tenant } from '../../tenancy/tenancy.js';
import type { Outbox } from '../session/session.js';

/** Tenants and credentials as they are stored now; undefined when there is none. Throws when the store is out of reach. */
export interface Accounts {
  tenant(id: TenantId): Promise<Tenant | undefined>;
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
  /** Of the client: `ip:port`. */
  readonly remoteAddress: string;
  readonly closed: boolean;
}

/** How a connection ended. */
export interface Ending {
  /** False after a DISCONNECT that says so. */
  readonly publishWill: boolean;
  /** What the client's DISCONNECT changed the session's expiry to, if it did. */
  readonly expirySeconds?: number | undefined;
}
