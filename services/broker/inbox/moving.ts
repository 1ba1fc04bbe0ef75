/**
 * A message leaves one inbox for another: that of another member of a shared subscription. It is never in neither, and
 * a QoS 2 message is known to be the same one as long as it is in both. Order, and what a crash in between leaves:
 *
 *      1. the other inbox accepts a copy      crash: the first still has it
 *      2. the copy is stored or acknowledged  crash: both have it; QoS 1 may come twice, QoS 2 is told by its origin
 *      3. the item of the first is deleted    crash: the other has it
 *      4. the item of the other may go, too   (QoS 2, after PUBCOMP; not before 3, or 2 would look like 1)
 */
import { bothReceipts, handedOn, type Message, PendingReceipt, type Receipt } from '../message/message.js';
import type { Delivery } from './delivery.js';
import type { Inbox } from './session-inbox.js';

/** `give` hands the copy over, or says that there is nobody. Returns what settles after step 2, or undefined. */
export function moveOn(inbox: Inbox, delivery: Delivery, give: (copy: Message) => boolean): Receipt | undefined {
  const { message, qos } = delivery;
  const gone = new PendingReceipt();
  const origin = qos === 2 ? message.origin : undefined;
  const copy = message.withOrigin(
    origin && { ...origin, again: undefined, settled: bothReceipts(origin.settled, gone) },
  );
  if (!give(copy)) return undefined;
  delivery.movedOn = gone;
  if (origin) inbox.left(message, delivery.terms.group?.name);
  const safe = copy.pending ?? handedOn;
  safe.whenSettled(() => inbox.done(delivery));
  return safe;
}
