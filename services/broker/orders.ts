/**
 * Who obeys the control log, and what. A broker that serves obeys what is about tenants, and the order to drain when it is the
 * one that is meant. One that stands by obeys that order alone: it has no tenants yet, and what was changed meanwhile it
 * reads before it serves.
 *
 * What may come in between, and why it does no harm:
 *  - The order is read twice, by the reader of the time of standing by and by the one that follows it, or once more by a
 *    repeated request: `onDrain` is told again, and stops once.
 *  - The order is there when the broker takes the lock: it is read before the first client is let in, and the broker ends without
 *    having served; another one takes the lock.
 *  - A broker reads orders of those before it: their ids are not its own, and no id is used again.
 */
import type { BrokerId } from '../kernel/kernel.js';
import type { BrokerDrain, ControlEntry } from '../tenancy/tenancy.js';
import type { Admission } from './admission/admission.js';
import type { ControlListener } from './store/store.js';

export interface Orders {
  readonly brokerId: BrokerId;
  /** Sends the clients away and ends the process; asked again it goes on. */
  onDrain(): void;
}

const isOrder = (entry: ControlEntry | undefined): entry is BrokerDrain => entry?.type === 'broker-drain';

export function whileStandingBy({ brokerId, onDrain }: Orders): ControlListener {
  return {
    concerns: (entry) => isOrder(entry) && entry.brokerId === brokerId,
    hear: () => undefined,
    apply: () => Promise.resolve(onDrain()),
  };
}

export function whileServing({ brokerId, onDrain }: Orders, admission: () => Admission): ControlListener {
  return {
    concerns: (entry) => !isOrder(entry) || entry.brokerId === brokerId,
    hear: (entry) => {
      if (!isOrder(entry)) admission().hear(entry);
    },
    apply: (entry, atMs) => (isOrder(entry) ? Promise.resolve(onDrain()) : admission().apply(entry, atMs)),
  };
}
