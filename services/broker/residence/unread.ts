/**
 * What is stored of a session beside its record and its subscriptions: how many messages wait, which of them are QoS 2 and whose,
 * and the packet identifiers that its client has sent. It is one query, and most sessions of a broker that has died do
 * without until their clients come: what is new goes behind what is stored, whatever that is.
 *
 *  | whose                                                | read                      | because                                             |
 *  | ---------------------------------------------------- | ------------------------- | --------------------------------------------------- |
 *  | a session with a subscription of QoS 2               | when the tenant is opened | a publisher may send again what it has stored       |
 *  | a session with a shared subscription                 | when the tenant is opened | its group asks it, and cannot wait for the answer   |
 *  | a publisher of QoS 2 that one of these has stored    | when the tenant is opened | items wait for its state; it must know what is open |
 *  | any other session                                    | when its client comes     | before CONNACK: its client may go on where it was   |
 *  | one that ends before that                            | never                     | all of it is removed                                |
 *
 * What may happen meanwhile to one that is not read:
 *  - Messages come, of QoS 1 or for a subscription of QoS 1: they are stored under this broker's epoch, which is above all that was
 *    stored before. What is read later ends below it (`SessionStore.load`), so nothing is counted twice, whatever commit is under way.
 *  - Its queue is as long as the record says, which may be some seconds old. So it is not full before it has taken as many messages
 *    as a queue may hold beside those (`Bookmark.isFull`).
 *  - It expires, its will is due, it is kicked: none of that needs to know what it has stored.
 *  - The broker dies: the next one finds it as it was, with more messages.
 *  - It cannot be read when its client comes: the client begins a new session, as with one that could not be restored. DynamoDB is out of
 *    reach: 0x88, and nothing has been claimed.
 *  - It has QoS 2 messages of a subscription that it had at QoS 2 and has no more: a publisher that sends one of these again reaches it
 *    with QoS 1 at most, at least once.
 */
import type { Clock } from '../../kernel/kernel.js';
import { RecordUnreadable } from '../../tenancy/tenancy.js';
import type { StoredRoute } from '../inbox/inbox.js';
import type { Residence, Tenant } from '../tenant/tenant.js';
import type { Departure } from './departure.js';
import type { SessionStore } from './ports.js';
import type { Unreadable } from './unreadable.js';

/** Whether somebody may ask what such a session has stored before its client comes. */
export const isAskedFor = (routes: readonly StoredRoute[]): boolean =>
  routes.some(({ qos, filter }) => qos === 2 || filter.startsWith('$share/'));

export interface UnreadOptions {
  readonly records: SessionStore;
  readonly departure: Departure;
  readonly unreadable: Unreadable;
  readonly clock: Clock;
}

export class Unread {
  readonly #options: UnreadOptions;

  constructor(options: UnreadOptions) {
    this.#options = options;
  }

  /**
   * Resolves when nothing of it is unread: it is known, or left out. `isClientThere`: it waits for CONNACK. `isOfLiving`: the broker that
   * has stored it lives.
   */
  async read(tenant: Tenant, residence: Residence, isClientThere = false, isOfLiving = false): Promise<void> {
    const { records, departure, unreadable, clock } = this.#options;
    const { session, record } = residence;
    if (!session.isUnread) return;
    const isHere = (): boolean => tenant.residences.get(session.clientId) === residence; // It may end meanwhile.
    try {
      const contents = await records.load({ ...record, epoch: session.unreadBelow }, isClientThere);
      if (isHere()) session.read({ ...contents, isOfLiving });
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      unreadable.session(tenant.scope, session.clientId, error);
      if (isHere()) departure.leaveOut(tenant, residence, clock.nowMs());
    }
  }
}
