/**
 * What makes a session one that is stored, asleep or awake: the bookmark of its inbox, and what it has counted of the QoS 2
 * messages of its client. One object: there are as many as there are sessions.
 */
import type { ClientId } from '../../kernel/kernel.js';
import { Bookmark, Received, type ReceivedState } from '../inbox/inbox.js';
import type { DeliveryTerms, Message, Receipt } from '../message/message.js';
import type { Contents, Keeping, Restored, SessionHost } from './ports.js';

export class StoredState extends Bookmark {
  readonly keeping: Keeping;
  /** As an earlier owner has stored it until it is needed. */
  #received: Received | ReceivedState | undefined;

  constructor(keeping: Keeping) {
    super();
    this.keeping = keeping;
  }

  /** See `Exchanges`. */
  received(clientId: ClientId, isNeeded: boolean): Received | undefined {
    const known = this.#received;
    if (known instanceof Received) return known;
    if (known === undefined && !isNeeded) return undefined;
    const { keeping, epoch } = this;
    const received = new Received(keeping.partitionOf(clientId), keeping.log);
    received.renew(epoch);
    if (known) received.restore(known);
    return (this.#received = received);
  }

  override renew(epoch: number): void {
    super.renew(epoch);
    if (this.#received instanceof Received) this.#received.renew(epoch);
  }

  restoreFrom({ epoch, born, queuedMessages, droppedMessages }: Restored): void {
    this.renew(epoch);
    this.restore(born, queuedMessages);
    this.dropped = droppedMessages;
  }

  /** As `know`. */
  read({ received, stored, isOfLiving }: Contents): number {
    this.#received = received;
    return this.know(stored.messages, stored.origins, isOfLiving);
  }

  /** Settles when the table knows all that the client has sent so far; undefined: it does. */
  get receivedUnstored(): Receipt | undefined {
    return this.#received instanceof Received ? this.#received.unstored : undefined;
  }

  /** The session ends. */
  end(): void {
    if (this.#received instanceof Received) this.#received.end();
  }

  /** Whether the session can sleep on: the message is counted, or known. Otherwise it has to be kept. */
  passes(message: Message, terms: DeliveryTerms, { meters, limits }: SessionHost): boolean {
    if (message.qos === 0 || terms.qos === 0) meters.droppedOffline++;
    else if (this.knows(message, terms.group?.name)) return true;
    else if (this.isFull(this.unfinished, limits.queuedMessagesPerSession)) {
      this.dropped++;
      meters.droppedOverQuota++;
    } else return false;
    return true;
  }
}
