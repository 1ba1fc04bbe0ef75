/** What a tenant on this broker needs of the world; `store`, `admission` and `transport` implement it. */
import type { BrokerId, TenantScope } from '../../kernel/kernel.js';
import type { SessionRecord } from '../../tenancy/tenancy.js';
import type { StoredOrigin } from '../inbox/inbox.js';
import type { Channel, Outbox, Session } from '../session/session.js';
import type { Reason } from '../wire/wire.js';
import type { Tenant } from './local-tenant.js';

/** A session's record, by its owner. */
export interface OwnRecord extends Omit<SessionRecord, 'owner'> {
  /** What the table says still, until this broker writes the record: by its last owner, which has died. */
  readonly inheritedFrom?: { readonly owner: BrokerId; readonly epoch: number };
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
  /** It has waited so long for its turn that it is told to try later. */
  readonly isTurnedAway?: boolean;
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
