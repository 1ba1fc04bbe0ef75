/**
 * What a tenant's messages take, and how far they are from being safe: of each message once, however many sessions have it,
 * and a little for each of these.
 *
 *      held      QoS 1 and 2 messages in the memory of sessions; bounded by the tenant's memory (`memory.ts`)
 *      unsafe    messages that sessions which outlive their connections have yet to store; above the limit publishers wait,
 *                and so do fan-outs that are under way
 *      hindered  another broker, for which messages are kept, has as many of the tenant as it may have; above it publishers wait
 *      in line   messages that wait for fan-outs before them (`fanout/fan-out-line.ts`); above the limit publishers wait
 */
import { SparseSet } from '../../kernel/kernel.js';
import { deliveryBytes, type Message, storedDeliveryBytes } from '../message/message.js';

/** Some eighty small messages: publishers are to wait, not messages. */
const lineBytesMax = 1 << 16;

export class SafetyLedger {
  readonly #unsafeBytesMax: number;
  readonly #becameLess: () => void;
  /** Called whenever it is not behind any more: in the middle of the work of whoever has paid. */
  whenInTime: () => void = () => undefined;
  /** Publishers have to wait. Read with every message, so it is kept and not computed. */
  isBehind = false;
  #heldBytes = 0;
  #unsafeBytes = 0;
  #lineBytes = 0;
  #hindrances = 0;
  /** Called once when `isUnsafe` is over. */
  #listeners = new SparseSet<() => void>();

  /** `becameLess`: called for whoever counts; it becomes more only in time that is used for the tenant. */
  constructor(unsafeBytesMax: number, becameLess: () => void = () => undefined) {
    this.#unsafeBytesMax = unsafeBytesMax;
    this.#becameLess = becameLess;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get unsafeBytes(): number {
    return this.#unsafeBytes;
  }

  get lineBytes(): number {
    return this.#lineBytes;
  }

  /** More is on its way to safety than may be. */
  get isUnsafe(): boolean {
    return this.#unsafeBytes > this.#unsafeBytesMax;
  }

  #look(): void {
    this.isBehind = this.#unsafeBytes > this.#unsafeBytesMax || this.#lineBytes > lineBytesMax || this.#hindrances > 0;
  }

  hold(message: Message): void {
    this.#heldBytes += message.holders++ === 0 ? message.heldBytes : deliveryBytes;
  }

  letGo(message: Message): void {
    this.#heldBytes -= --message.holders === 0 ? message.heldBytes : deliveryBytes;
    this.#becameLess();
  }

  owe(message: Message): void {
    this.#unsafeBytes += storedDeliveryBytes;
    if (message.owed === 0) this.#unsafeBytes += message.heldBytes;
    message.owe();
    this.#look();
  }

  pay(message: Message, reasonCode: number): void {
    const { isUnsafe: wasUnsafe, isBehind: wasBehind } = this;
    this.#becameLess();
    message.pay(reasonCode);
    this.#unsafeBytes -= storedDeliveryBytes;
    if (message.owed === 0) this.#unsafeBytes -= message.heldBytes;
    this.#look();
    if (wasUnsafe && this.#listeners.size > 0 && !this.isUnsafe) this.#tell();
    if (wasBehind && !this.isBehind) this.whenInTime();
  }

  lineUp(message: Message): void {
    this.#lineBytes += message.heldBytes;
    this.#look();
  }

  leaveLine(message: Message): void {
    const wasBehind = this.isBehind;
    this.#lineBytes -= message.heldBytes;
    this.#look();
    this.#becameLess();
    if (wasBehind && !this.isBehind) this.whenInTime();
  }

  /** Publishers are to wait until `unhinder` has been called as often. */
  hinder(): void {
    this.#hindrances++;
    this.#look();
  }

  unhinder(): void {
    const wasBehind = this.isBehind;
    this.#hindrances--;
    this.#look();
    if (wasBehind && !this.isBehind) this.whenInTime();
  }

  whenSafer(listener: () => void): void {
    if (this.isUnsafe) this.#listeners.add(listener);
    else listener();
  }

  #tell(): void {
    const listeners = this.#listeners;
    this.#listeners = new SparseSet();
    for (const listener of listeners) listener();
  }
}
