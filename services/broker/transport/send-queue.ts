/**
 * Bytes for one stream, collected as ranges of larger buffers. Ranges that continue each other become one, which is
 * why a burst of shared QoS 0 messages costs one comparison each.
 *
 * With acknowledgements among them that may not leave any more nothing leaves: the stream is destroyed, and the client
 * comes back to whoever serves it now.
 */
import type { Flusher } from './flusher.js';
import type { ByteStream } from './ports.js';

/** A write this large gains nothing from waiting for the end of the tick. */
const flushAtBytes = 1 << 16;
/** Up to here ranges are copied together; one large range goes out as it is. */
const copyBytesMax = 1 << 17;

export class SendQueue {
  /** Bytes pushed and not yet taken by the network. */
  waitingBytes = 0;
  readonly #stream: ByteStream;
  readonly #flusher: Flusher;
  /** The range that may still grow. */
  #source: Buffer | undefined;
  #start = 0;
  #end = 0;
  /** The ranges before it. */
  #parts: Buffer[] = [];
  #queuedBytes = 0;
  #isDirty = false;
  #holdsAcks = false;
  /** They were made before the gate closed. */
  #areAcksOld = false;

  constructor(stream: ByteStream, flusher: Flusher) {
    this.#stream = stream;
    this.#flusher = flusher;
  }

  push(source: Buffer, start: number, end: number, isAck = false): void {
    if (isAck) this.#holdsAcks = true;
    if (source === this.#source && start === this.#end) this.#end = end;
    else {
      if (this.#source !== undefined) this.#parts.push(this.#source.subarray(this.#start, this.#end));
      this.#source = source;
      this.#start = start;
      this.#end = end;
    }
    this.#queuedBytes += end - start;
    this.waitingBytes += end - start;
    if (!this.#isDirty) {
      this.#isDirty = true;
      this.#flusher.add(this);
    }
    // Where acknowledgements may not leave, the end of the tick decides.
    if (this.#queuedBytes >= flushAtBytes && (!this.#holdsAcks || this.#flusher.leave() === 'all')) this.#write();
  }

  flush(leave: 'all' | 'new' | 'none'): void {
    this.#isDirty = false;
    if (this.#source === undefined) return;
    if (leave !== 'all' && this.#holdsAcks && (leave === 'none' || this.#areAcksOld)) this.abandon();
    else this.#write();
  }

  /** Nothing that it holds leaves any more, and nobody knows what of it has: the connection is over. */
  abandon(): void {
    this.clear();
    this.#stream.destroy();
  }

  /** The time in which its acknowledgements were made has ended. */
  outdate(): void {
    this.#areAcksOld = this.#holdsAcks;
  }

  #write(): void {
    this.#holdsAcks = false;
    this.#areAcksOld = false;
    const last = this.#source!.subarray(this.#start, this.#end);
    this.#source = undefined;
    if (this.#parts.length === 0) this.#stream.write(this.#unpinned(last));
    else {
      this.#parts.push(last);
      if (this.#queuedBytes <= copyBytesMax) this.#stream.write(Buffer.concat(this.#parts, this.#queuedBytes));
      else for (const part of this.#parts) this.#stream.write(this.#unpinned(part));
      this.#parts = [];
    }
    this.#queuedBytes = 0;
    this.waitingBytes = this.#stream.unsentBytes;
  }

  /** A slow reader must not hold a large buffer for the sake of a small range of it (G7). */
  #unpinned(range: Buffer): Buffer {
    const isHeldBack = this.#stream.unsentBytes > 0;
    return isHeldBack && range.length * 2 < range.buffer.byteLength ? Buffer.from(range) : range;
  }

  /** The network has taken something: count again. */
  recount(): void {
    this.waitingBytes = this.#queuedBytes + this.#stream.unsentBytes;
  }

  clear(): void {
    this.#source = undefined;
    this.#parts = [];
    this.#queuedBytes = 0;
    this.#holdsAcks = false;
    this.#areAcksOld = false;
  }
}
