/**
 * The machinery of one session, as long as there is something for it to do. A session that is not stored has it as
 * long as it lives. One that is stored is *asleep* without, and most are: their clients are away, and all that they
 * will get is in the table. Asleep it keeps its subscriptions, a bookmark of its inbox, and the numbers of the QoS 2
 * messages that its client has sent, if it has sent any (`Received`, which has a life of its own).
 *
 * It wakes, in one step and without asking anybody, when something is to be done that the bookmark cannot answer.
 * It falls asleep (`Session.rest`) when the client is away and each part is idle: nothing of the inbox is in memory or
 * being written, moved or read; no subscription is being written; no retained messages are owed; no QoS 2 message of
 * the client waits for PUBREL. Asked whenever one of these may have become true: the client has left, a commit is
 * confirmed, a read is over.
 *
 *  | what happens               | asleep                                       | awake, the client is away                      |
 *  | -------------------------- | -------------------------------------------- | ---------------------------------------------- |
 *  | message, QoS 0             | dropped and counted                          | the same                                       |
 *  | message, QoS 1 or 2        | wakes; asleep again when it is stored        | stored with what waits                         |
 *  |   queue full, or known     | dropped and counted; ignored                 | the same                                       |
 *  | CONNECT                    | wakes, reads what is unread page by page     | sends again what is in flight, then the same   |
 *  | a claim renews the epoch   | the bookmark has it: keys go on behind it    | the same                                       |
 *  | clean start, expiry, DELETE| ends; wakes only for messages of shared      | ends, when what is under way is over           |
 *  |                            |   subscriptions, which go to other members   |                                                |
 *  | access changes             | wakes if a subscription goes, to remove it   | removes it                                     |
 *  | shared: who is ready?      | 'disconnected'                               | the same                                       |
 *  | shared: is it stored?      | the bookmark knows what was inherited        | the same                                       |
 *  | restored by a broker       | asleep, unless something is owed or open     | (it begins asleep)                             |
 *  | what was stored is read    | the bookmark is put right                    | the same: what is under way is behind it       |
 *  | commit confirmed, late     | cannot be: while one is under way it is awake| sleeps if that was the last                    |
 *  | a commit that was asked for| of a part that was let go: has nothing       | of this part or an earlier one of the same lane|
 *  | how deep is the queue?     | the bookmark says                            | the same, and what is held back                |
 *  | the broker stops           | nothing is to be written                     | the log writes what waits                      |
 */
import { StoredRoutes } from '../inbox/inbox.js';
import { settled } from '../message/message.js';
import { CleanOutbound } from './clean-outbound.js';
import type { Session } from './client-session.js';
import { DurableOutbound } from './durable-outbound.js';
import { Inbound } from './inbound.js';
import type { Outbound } from './outbound.js';
import { OwedRetained } from './owed-retained.js';
import type { SessionHost } from './ports.js';
import type { StoredState } from './stored-state.js';

export class Awake {
  readonly inbound: Inbound;
  readonly outbound: Outbound;
  readonly owed: OwedRetained;
  /** Present when the session is stored. */
  readonly durable: DurableOutbound | undefined;
  readonly routes: StoredRoutes | undefined;

  constructor(session: Session, host: SessionHost, stored?: StoredState) {
    if (stored) {
      const { keeping } = stored;
      const partition = keeping.partitionOf(session.clientId);
      this.durable = new DurableOutbound(session, host, partition, keeping.log, stored);
      this.routes = new StoredRoutes(partition, keeping.log, stored, () => session.rest());
    }
    this.outbound = this.durable ?? new CleanOutbound(session, host);
    this.inbound = new Inbound(session.clientId, host, session);
    this.owed = new OwedRetained(session, host, this.routes);
  }

  /** See `Session.stored`. */
  get unstored(): Promise<void> | undefined {
    return this.durable?.unstored ?? this.unstoredRoutes;
  }

  get unstoredRoutes(): Promise<void> | undefined {
    return this.routes === undefined || this.routes.isIdle ? undefined : settled(this.routes.stored);
  }

  /** Lets go of all of it, unless something would be lost. */
  letGo(): boolean {
    const { inbound, durable, owed, routes } = this;
    if (!durable?.isIdle || !routes!.isIdle || !owed.isIdle || !inbound.isIdle) return false;
    durable.letGo();
    return true;
  }
}
