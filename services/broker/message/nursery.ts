/**
 * Where the bytes of messages lie that will probably not be kept for long: QoS 1 and 2 on their way to clients that are
 * connected. Memory of its own for each would cost a microsecond a message; so they share blocks, and whatever is still
 * held when its block is two blocks old moves out, into memory of its own.
 *
 *      block n     [ being filled            ....]   its messages: young
 *      block n-1   [ full                        ]   older: when n is full, those still held move out
 *      block n-2                                     nothing that is held lies here: it can be collected
 *
 * So all that waits pins two blocks, whatever it is and however long it waits, and only what waits is copied twice.
 */
const blockBytes = 1 << 15;
/** Below it memory of its own is as cheap (see `ownBytes`); above it blocks would be full of gaps. */
const bytesMin = 65;
const bytesMax = blockBytes / 8;

export interface Lodger {
  /** Called once, when its block is old: copies what it still needs. */
  moveOut(): void;
}

export class Nursery {
  block: Buffer = Buffer.allocUnsafeSlow(blockBytes);
  #at = 0;
  #young: Lodger[] = [];
  #older: Lodger[] = [];

  fits(bytes: number): boolean {
    return bytes >= bytesMin && bytes <= bytesMax;
  }

  /** `bytes` that fit may be written to `block` from where this returns. */
  take(bytes: number, lodger: Lodger): number {
    if (this.#at + bytes > blockBytes) this.#turn();
    this.#young.push(lodger);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  #turn(): void {
    for (const lodger of this.#older) lodger.moveOut();
    this.#older = this.#young;
    this.#young = [];
    this.block = Buffer.allocUnsafeSlow(blockBytes);
    this.#at = 0;
  }
}
