/**
 * Bytes of a connection that have come and are not handed over: the beginning of a packet whose end has not come, or
 * while reading is stopped everything behind the packet at which it was. Used by `reader.ts`, and only while there are some.
 *
 *      handed over | looked at, waits | not looked at | beginning of a packet
 *                start              seen                                   end
 *
 * What lies before `start` is never written over: subscribers may be sent it from where it lies.
 */
import { packetEnd } from './packet-end.js';
import { packetType } from './packets.js';

/**
 * How a packet behaves behind a PUBLISH that waits. Acknowledgements of what we have sent overtake it: they give back memory
 * of the tenant, which may be what the PUBLISH waits for, and the client's window. So does PINGREQ: a client that is slowed
 * down is not to think that the broker has gone. Neither has an order with what the client publishes (section 4.6 orders
 * the acknowledgements of one direction among themselves). PUBREL waits: it belongs to the PUBLISHes of its own direction,
 * and before one of the same identifier it would end the wrong exchange. All others wait, and behind DISCONNECT,
 * or what is no packet for an open connection, nothing is looked at.
 */
const behindWaiting = new Map<number, 'overtakes' | 'waits'>([
  [packetType.puback, 'overtakes'],
  [packetType.pubrec, 'overtakes'],
  [packetType.pubcomp, 'overtakes'],
  [packetType.pingreq, 'overtakes'],
  [packetType.publish, 'waits'],
  [packetType.pubrel, 'waits'],
  [packetType.subscribe, 'waits'],
  [packetType.unsubscribe, 'waits'],
]);

/** Taken out at once: few enough for a small part of a slice, enough to pay for closing the gaps. */
const takenMax = 256;

const noBytes = Buffer.alloc(0);

export class HeldBytes {
  bytes: Buffer = noBytes;
  start = 0;
  end = 0;
  #seen = 0;

  get length(): number {
    return this.end - this.start;
  }

  /**
   * Keeps a large rest of a chunk where it is: nobody else has these bytes. Copies others, so that a small rest does not pin a large
   * chunk; takes at most twice the bytes that have come.
   */
  add(source: Buffer, from: number, to: number, packetBytesMax: number): void {
    const wanted = this.length + to - from;
    if (this.length === 0 && to === source.length && 2 * wanted >= source.buffer.byteLength) {
      this.bytes = source;
      this.start = from;
      this.end = to;
      this.#seen = from;
      return;
    }
    if (wanted > this.bytes.length - this.start) {
      const larger = Buffer.allocUnsafeSlow(Math.max(wanted, Math.min(this.length * 2, packetBytesMax)));
      this.bytes.copy(larger, 0, this.start, this.end);
      this.#seen = Math.max(0, this.#seen - this.start);
      this.end = this.length;
      this.start = 0;
      this.bytes = larger;
    }
    source.copy(this.bytes, this.end, from, to);
    this.end += to - from;
  }

  /** Where the packet at `at` ends; 0 when its end has not come, or when its length is none. */
  packetEnd(at: number): number {
    return packetEnd(this.bytes, at, this.end);
  }

  typeAt(at: number): number {
    return this.bytes[at]! >> 4;
  }

  /**
   * Takes out packets that overtake, a few, and closes their gaps. Those that wait are looked at once, however long they do.
   * Undefined when there are none.
   */
  takeOvertaking(): Buffer | undefined {
    let at = Math.max(this.start, this.#seen);
    const from = at;
    let count = 0;
    let takenBytes = 0;
    for (let next = this.packetEnd(at); next > 0 && count < takenMax; next = this.packetEnd(at)) {
      const behaviour = behindWaiting.get(this.typeAt(at));
      if (behaviour === undefined) break;
      if (behaviour === 'overtakes') {
        takenBytes += next - at;
        count++;
      }
      at = next;
    }
    this.#seen = at;
    return count > 0 ? this.#takeOut(from, at, takenBytes) : undefined;
  }

  /** Those that overtake, of the packets from `from` to `to`. */
  #takeOut(from: number, to: number, takenBytes: number): Buffer {
    const taken = Buffer.allocUnsafe(takenBytes);
    let takenAt = 0;
    let kept = from;
    for (let at = from, next; at < to; at = next) {
      next = this.packetEnd(at);
      if (behindWaiting.get(this.typeAt(at)) === 'overtakes') takenAt += this.bytes.copy(taken, takenAt, at, next);
      else {
        if (kept < at) this.bytes.copyWithin(kept, at, next);
        kept += next - at;
      }
    }
    this.bytes.copyWithin(kept, to, this.end);
    this.end -= to - kept;
    this.#seen = kept;
    return taken;
  }
}
