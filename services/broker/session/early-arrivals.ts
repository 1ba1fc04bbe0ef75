/**
 * Messages for a session that has come from a broker which lives, until what that one has for it is stored and known: they are behind
 * it (G3), and some of them may be the same ones. Memory only, and not acknowledged to their publishers; as all that is not
 * safe they count for the tenant, whose publishers wait when it is too much (G7). The broker may die: nobody was told that it has them.
 */
import { eachGuarded } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message } from '../message/message.js';
import type { SessionHost } from './ports.js';

export class EarlyArrivals {
  readonly #host: SessionHost;
  #held: { readonly message: Message; readonly terms: DeliveryTerms }[] = [];

  constructor(host: SessionHost) {
    this.#host = host;
  }

  /** `message`: one that may be held. */
  hold(message: Message, terms: DeliveryTerms): void {
    this.#host.owe(message);
    this.#host.backlog.hold(message);
    this.#held.push({ message, terms });
  }

  /** In order. What `deliver` makes of one is owed by then. One that it throws at is not acknowledged, and those behind it go on. */
  letGo(deliver: (message: Message, terms: DeliveryTerms) => void): void {
    const held = this.#held;
    this.#held = [];
    eachGuarded('fan-out', held, ({ message, terms }) => {
      let reasonCode = 0x80; // Unspecified error
      try {
        deliver(message, terms);
        reasonCode = 0;
      } finally {
        this.#host.backlog.letGo(message);
        this.#host.pay(message, reasonCode);
      }
    });
  }
}
