/**
 * Bytes for one stream, collected as ranges of larger buffers. Ranges that continue each other become one, which is
 * why a burst of shared QoS 0 messages costs one comparison each.
 *
 * With acknowledgements among them that may not leave any more nothing leaves: the stream is destroyed, and the client
 * comes back to whoever serves it now.
 */
import type { Meters } from '../message/message.js';
import type { Flusher } from './flusher.js';
import type { OutboxStream, Payer } from './ports.js';

/** A write this large gains nothing from waiting for the end of the tick. */
const flushAtBytes = 1 << 16;
/** Ranges up to here, on the average, are copied together; larger ones go out as they are, which takes no longer. */
const copyBytesMax = 1 << 14;
/** Of writes that the network has not taken; small enough for tens of thousands of slow readers. */
const blockBytesMax = 1 << 14;
/** A view, an entry of the stream's queue and a callback: what a write that waits takes beside its bytes. */
const writeBytes = 200;
const noBlock = Buffer.alloc(0);
/** Shared by all queues that have none; never written to. */
const noParts: Buffer[] = [];

export class SendQueue {
  /** Memory for what has been pushed and not yet taken by the network. */
  waitingBytes = 0;
  /** Of the client's tenant, once it is in: told of what has been written, once a write. */
  meters: Pick<Meters, 'packetsSent' | 'packetBytesSent'> | undefined;
  /** The same: what the network has not taken is counted there, from each write to the next. */
  memory: { outboxBytes: number } | undefined;
  /** The same: pays for its writes. Set while nothing waits. */
  payer: Payer | undefined;
  #countedBytes = 0;
  /** Packets that wait to be written. */
  #queuedPackets = 0;
  readonly #stream: OutboxStream;
  readonly #flusher: Flusher;
  /** The range that may still grow. */
  #source: Buffer | undefined;
  #start = 0;
  #end = 0;
  /** The ranges before it. */
  #parts = noParts;
  #queuedBytes = 0;
  #isDirty = false;
  #holdsAcks = false;
  /** They were made before the gate closed. */
  #areAcksOld = false;
  /** Writes that the network had not taken when they were made. */
  #heldWrites = 0;
  /** Memory of its own for them, filled up to `#blockAt`. */
  #block = noBlock;
  #blockAt = 0;

  constructor(stream: OutboxStream, flusher: Flusher) {
    this.#stream = stream;
    this.#flusher = flusher;
  }

  push(source: Buffer, start: number, end: number, isAck = false): void {
    if (isAck) this.#holdsAcks = true;
    if (source === this.#source && start === this.#end) this.#end = end;
    else {
      if (this.#source !== undefined) this.#addPart(this.#source.subarray(this.#start, this.#end));
      this.#source = source;
      this.#start = start;
      this.#end = end;
    }
    this.#queuedPackets++;
    this.#queuedBytes += end - start;
    this.waitingBytes += end - start;
    if (!this.#isDirty) {
      this.#isDirty = true;
      this.#flusher.add(this);
    }
    // Where acknowledgements may not leave, the end of the tick decides.
    if (this.#queuedBytes >= flushAtBytes && (!this.#holdsAcks || this.#flusher.leave() === 'all')) this.#write();
  }

  #addPart(part: Buffer): void {
    if (this.#parts === noParts) this.#parts = [part];
    else this.#parts.push(part);
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
    if (this.meters) {
      this.meters.packetsSent += this.#queuedPackets;
      this.meters.packetBytesSent += this.#queuedBytes;
    }
    this.#queuedPackets = 0;
    this.#holdsAcks = false;
    this.#areAcksOld = false;
    const last = this.#source!.subarray(this.#start, this.#end);
    this.#source = undefined;
    if (this.#stream.unsentBytes === 0) this.#release();
    if (this.#parts.length === 0) this.#hand(last);
    else {
      this.#addPart(last);
      if (this.#queuedBytes > copyBytesMax * this.#parts.length) for (const part of this.#parts) this.#hand(part);
      else if (this.#stream.unsentBytes > 0) this.#hand(this.#joined());
      else this.#hand(Buffer.concat(this.#parts, this.#queuedBytes));
      this.#parts = noParts;
    }
    this.#queuedBytes = 0;
    this.recount();
  }

  #hand(range: Buffer): void {
    this.#stream.write(this.#stream.unsentBytes > 0 ? this.#unpinned(range) : range);
    if (this.#stream.unsentBytes > 0) this.#heldWrites++;
  }

  /** A slow reader must not hold a large buffer for the sake of a small range of it (G7). */
  #unpinned(range: Buffer): Buffer {
    if (range.buffer === this.#block.buffer || range.length * 2 >= range.buffer.byteLength) return range;
    const own = this.#room(range.length);
    own.set(range);
    return own;
  }

  #joined(): Buffer {
    const own = this.#room(this.#queuedBytes);
    let at = 0;
    for (const part of this.#parts) {
      own.set(part, at);
      at += part.length;
    }
    return own;
  }

  /** Of a block of this queue's own, which is no larger than what waits already. */
  #room(bytes: number): Buffer {
    if (this.#blockAt + bytes > this.#block.length) {
      const wanted = Math.min(blockBytesMax, this.#stream.unsentBytes);
      this.#block = Buffer.allocUnsafeSlow(Math.max(bytes, wanted));
      this.#blockAt = 0;
    }
    return this.#block.subarray(this.#blockAt, (this.#blockAt += bytes));
  }

  /** The network has taken everything. */
  #release(): void {
    this.#heldWrites = 0;
    this.#block = noBlock;
    this.#blockAt = 0;
  }

  /** The network has taken something: count again. */
  recount(): void {
    const { unsentBytes } = this.#stream;
    if (unsentBytes === 0) this.#release();
    this.waitingBytes = this.#queuedBytes + unsentBytes + this.#heldWrites * writeBytes;
    this.#countTo(this.waitingBytes);
  }

  #countTo(bytes: number): void {
    if (!this.memory) return;
    this.memory.outboxBytes += bytes - this.#countedBytes;
    this.#countedBytes = bytes;
  }

  /** The stream has closed: nothing waits any more. */
  end(): void {
    this.#countTo(0);
    this.memory = undefined;
  }

  clear(): void {
    this.#source = undefined;
    this.#parts = noParts;
    this.#queuedPackets = 0;
    this.#queuedBytes = 0;
    this.#holdsAcks = false;
    this.#areAcksOld = false;
  }
}
