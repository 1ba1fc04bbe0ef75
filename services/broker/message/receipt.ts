/**
 * What a publisher's acknowledgement waits for. `fanout.publish` gives one for every message; PUBACK or PUBREC
 * leaves when it has settled, never before ("acknowledge after it is safe"). A receipt that is settled from the
 * start is shared, so the common case allocates nothing.
 */
import { caught } from '../../kernel/kernel.js';

export interface Receipt {
  /** The MQTT 5.0 reason code of the acknowledgement, or undefined while it is pending. */
  readonly reasonCode: number | undefined;
  /** Calls `listener` once, as soon as the receipt has settled (at once when it already has). */
  whenSettled(listener: () => void): void;
}

class Settled implements Receipt {
  readonly reasonCode: number;
  constructor(reasonCode: number) {
    this.reasonCode = reasonCode;
  }
  whenSettled(listener: () => void): void {
    listener();
  }
}

/** Handed on: 0x00 Success. */
export const handedOn: Receipt = new Settled(0x00);
/** 0x10 No matching subscribers. */
export const noSubscribers: Receipt = new Settled(0x10);

/** Resolves when it has settled, whatever its reason code. */
export function settled(receipt: Receipt): Promise<void> {
  return new Promise((resolve) => receipt.whenSettled(resolve));
}

/** Settles when both have, with the worse of their reason codes. */
export function bothReceipts(one: Receipt, other: Receipt | undefined): Receipt {
  if (!other) return one;
  const both = new PendingReceipt();
  const settle = (): void => {
    if (one.reasonCode !== undefined && other.reasonCode !== undefined)
      both.settle(Math.max(one.reasonCode, other.reasonCode));
  };
  one.whenSettled(settle);
  other.whenSettled(settle);
  return both;
}

/** A receipt that somebody else settles later, exactly once. */
export class PendingReceipt implements Receipt {
  #reasonCode: number | undefined;
  #listeners: (() => void)[] = [];

  get reasonCode(): number | undefined {
    return this.#reasonCode;
  }

  whenSettled(listener: () => void): void {
    if (this.#reasonCode === undefined) this.#listeners.push(listener);
    else listener();
  }

  /** Later calls change nothing. Never throws: who settles is not who waits, and those who wait are of several clients. */
  settle(reasonCode: number): void {
    if (this.#reasonCode !== undefined) return;
    this.#reasonCode = reasonCode;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners)
      try {
        listener();
      } catch (error) {
        caught('receipt', error);
      }
  }
}
