/**
 * What a tenant's messages take, and how far they are from being safe: of each message once, however many sessions have it,
 * and a little for each of these.
 *
 *      held      QoS 1 and 2 messages in the memory of sessions; what is above the limit is dropped and counted
 *      unsafe    messages that sessions which outlive their connections have yet to store; above the limit publishers wait
 */
import { deliveryBytes, type Message } from '../message/message.js';

/** QoS 1 and 2 messages that a tenant's sessions hold in memory, counted once each, and a little for each further session. */
const heldBytesMax = 128 << 20;

export class SafetyLedger {
  readonly #unsafeBytesMax: number;
  #heldBytes = 0;
  #unsafeBytes = 0;

  constructor(unsafeBytesMax: number) {
    this.#unsafeBytesMax = unsafeBytesMax;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** More is on its way to safety than may be. */
  get isBehind(): boolean {
    return this.#unsafeBytes > this.#unsafeBytesMax;
  }

  hold(message: Message): boolean {
    const bytes = message.holders === 0 ? message.heldBytes : deliveryBytes;
    if (this.#heldBytes + bytes > heldBytesMax) return false;
    this.#heldBytes += bytes;
    message.holders++;
    return true;
  }

  letGo(message: Message): void {
    this.#heldBytes -= --message.holders === 0 ? message.heldBytes : deliveryBytes;
  }

  owe(message: Message): void {
    if (message.owed === 0) this.#unsafeBytes += message.heldBytes;
    message.owe();
  }

  pay(message: Message, reasonCode: number): void {
    message.pay(reasonCode);
    if (message.owed === 0) this.#unsafeBytes -= message.heldBytes;
  }
}
