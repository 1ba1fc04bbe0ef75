/**
 * Counts MQTT frames in place: only fixed headers are looked at, no object is made for a packet. QoS 0 messages are
 * counted here, in the innermost loop; every other frame goes to `onFrame`, whole and contiguous.
 */

/** `bytes[at]` is the frame's first byte, `body` the first one after its remaining length, `end` the first one behind it. */
export type OnFrame = (bytes: Uint8Array, at: number, body: number, end: number) => void;

const lengthBytesMax = 4;
/** Enough for every frame the load subscribes to; a longer one is an error of the broker or of the scenario. */
const carriedBytesMax = 1 << 16;

export class FrameCounter {
  qos0Messages = 0;
  readonly #onFrame: OnFrame;
  /** The beginning of a frame whose end has not arrived; allocated when a read first ends inside a frame. */
  #carry: Uint8Array | undefined;
  #carried = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  read(chunk: Uint8Array, end: number): void {
    const at = this.#scan(chunk, this.#finishCarried(chunk, end), end);
    if (at < end) this.#keep(chunk, at, end);
  }

  /** Returns where the first incomplete frame begins. */
  #scan(bytes: Uint8Array, from: number, end: number): number {
    let at = from;
    while (at + 1 < end) {
      let remaining = bytes[at + 1]!;
      let body = at + 2;
      if (remaining > 127) {
        remaining &= 0x7f;
        for (let shift = 7, more = true; more; shift += 7) {
          if (body - at > lengthBytesMax) throw new Error('the broker sent a remaining length of more than four bytes');
          if (body >= end) return at;
          const byte = bytes[body++]!;
          remaining |= (byte & 0x7f) << shift;
          more = byte > 127;
        }
      }
      const next = body + remaining;
      if (next > end) return at;
      // PUBLISH with QoS 0; DUP and RETAIN do not matter here.
      if ((bytes[at]! & 0xf6) === 0x30) this.qos0Messages++;
      else this.#onFrame(bytes, at, body, next);
      at = next;
    }
    return at;
  }

  #keep(chunk: Uint8Array, at: number, end: number): void {
    this.#carry ??= new Uint8Array(carriedBytesMax);
    if (this.#carried + end - at > carriedBytesMax) throw new Error('the broker sent a frame longer than expected');
    this.#carry.set(chunk.subarray(at, end), this.#carried);
    this.#carried += end - at;
  }

  /** Completes the carried frame from the chunk and returns how much of the chunk that took. */
  #finishCarried(chunk: Uint8Array, end: number): number {
    let at = 0;
    while (this.#carried > 0 && at < end) {
      const take = Math.min(missingBytes(this.#carry!, this.#carried), end - at);
      this.#keep(chunk, at, at + take);
      at += take;
      if (this.#scan(this.#carry!, 0, this.#carried) > 0) this.#carried = 0;
    }
    return at;
  }
}

/** How many bytes the frame is known to lack; one at a time until its remaining length is complete. */
function missingBytes(bytes: Uint8Array, length: number): number {
  let remaining = 0;
  for (let at = 1; at < length; at++) {
    const byte = bytes[at]!;
    remaining |= (byte & 0x7f) << (7 * (at - 1));
    if (byte <= 127) return at + 1 + remaining - length;
  }
  return 1;
}
