/**
 * Messages of a stored session that go to other members of a shared subscription: when its client leaves, or when it ends. Owned by
 * `DurableOutbound`; made when there is the first. It never decides when, and never touches what waits. `inbox/moving.ts` says how a
 * message changes hands without being lost.
 */
import type { ClientId } from '../../kernel/kernel.js';
import { type Delivery, type Inbox, moveOn } from '../inbox/inbox.js';
import { type Receipt, settled } from '../message/message.js';

export class PassedOn {
  readonly #clientId: ClientId;
  readonly #inbox: Inbox;
  /** Others have got them from here and have not made them safe. */
  readonly #unsafe = new Set<Receipt>();

  constructor(clientId: ClientId, inbox: Inbox) {
    this.#clientId = clientId;
    this.#inbox = inbox;
  }

  get isIdle(): boolean {
    return this.#unsafe.size === 0;
  }

  /** False where it stays: it is of no shared subscription, nobody takes it, or of QoS 2 and may have been sent. [MQTT-4.8.2-5] */
  pass(delivery: Delivery, sessionEnds: boolean, nowMs: number): boolean {
    const { terms, qos, packetId, stage } = delivery;
    if (!terms.group || stage === 'done' || (qos === 2 && packetId !== 0)) return false;
    const leaver = { clientId: this.#clientId, isDurable: true, sessionEnds };
    const safe = moveOn(this.#inbox, delivery, (copy) => terms.group!.handOn(copy, leaver, nowMs));
    if (safe === undefined) return false;
    this.#unsafe.add(safe);
    safe.whenSettled(() => this.#unsafe.delete(safe));
    return true;
  }

  /** Resolves when those that have gone so far are safe. */
  async safe(): Promise<void> {
    await Promise.all([...this.#unsafe].map(settled));
  }
}
