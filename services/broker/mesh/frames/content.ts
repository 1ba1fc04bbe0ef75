/**
 * What brokers tell each other of subscriptions and messages over a link: content frames 0x10 to 0x1c of version 1. Every layout here
 * is frozen: `test/unit/mesh/content-frames.test.ts` decodes it for ever. A frame that is not exactly of its layout is malformed.
 *
 *      hello     0x10 | handled on the lane control (6) | handled on the lane data (6)
 *      heard     0x11 | the same
 *      ping      0x12 | number (6)
 *      pong      0x13 | number of the ping (6) | last number given on the lane control (6)
 *      serves    0x14 | frame (6)
 *      watch     0x15 | frame (6) | watch (6) | tenant
 *      unwatch   0x16 | the same
 *      interest  0x17 | frame (6) | watch (6) | whole (1) | tenant | groups: length of the pattern (4), pattern, filters (2), and
 *                     |   of each filter its fingerprint (8) and whether it is there (1)
 *      receipts  0x18 | frame (6) | ranges: first (6), how many (4), reason code (1)
 *      forwards  0x19 | frame (6) | messages: length of what follows (4), flags (1), tenant, then as the flags say receipt (6) and
 *                     |   expiry in ms from now on (6), topic with a length (2), properties with a length (4), and the payload
 *      knows     0x1a | frame (6): the answer to serves
 *      barrier   0x1b | frame (6) | number (6)
 *      passed    0x1c | frame (6) | the number of the barrier (6), behind all messages that had been sent before it came
 *
 * Numbers are big-endian; a text is its length (1) and that many bytes of UTF-8. Flags: QoS (0x03), retain (0x04), expires (0x08). QoS 1
 * and 2 have a receipt. An empty tenant of a message is that of the message before. Forwards and passed are of the lane data, all others
 * with a frame number of the lane control (`channel.ts`).
 */
import { Buffer } from 'node:buffer';
import type { Handled } from '../channel.js';

export const contentTypes = {
  hello: 0x10,
  heard: 0x11,
  ping: 0x12,
  pong: 0x13,
  serves: 0x14,
  watch: 0x15,
  unwatch: 0x16,
  interest: 0x17,
  receipts: 0x18,
  forwards: 0x19,
  knows: 0x1a,
  barrier: 0x1b,
  passed: 0x1c,
} as const;

/** What a numbered frame begins with. */
export const numberBytes = 6;

/** What is to be sent, with room for the number of the frame. */
export interface Encoded {
  readonly type: number;
  readonly body: Buffer;
}

export class MalformedContent extends Error {
  override readonly name = 'MalformedContent';
}

export const numbers = (...all: readonly number[]): Buffer => {
  const bytes = Buffer.allocUnsafe(all.length * numberBytes);
  for (const [i, one] of all.entries()) bytes.writeUIntBE(one, i * numberBytes, numberBytes);
  return bytes;
};

export const handledContent = (type: 'hello' | 'heard', { control, data }: Handled): Encoded => ({
  type: contentTypes[type],
  body: numbers(control, data),
});
export const pingContent = (ping: number): Encoded => ({ type: contentTypes.ping, body: numbers(ping) });
export const pongContent = (ping: number, told: number): Encoded => ({
  type: contentTypes.pong,
  body: numbers(ping, told),
});

/** What is to be read, from front to back; throws where it ends too early. */
export class Reading {
  readonly #body: Buffer;
  #at: number;
  readonly #end: number;

  constructor(body: Buffer, at: number, end: number) {
    this.#body = body;
    this.#at = at;
    this.#end = end;
  }

  get isOver(): boolean {
    return this.#at === this.#end;
  }

  /** Moves on. */
  take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#end) throw new MalformedContent('a frame ends too early');
    this.#at = at + bytes;
    return at;
  }

  byte(): number {
    return this.#body[this.take(1)]!;
  }

  flag(): boolean {
    const value = this.byte();
    if (value > 1) throw new MalformedContent('a flag is neither 0 nor 1');
    return value === 1;
  }

  number(bytes: 2 | 4 | 6): number {
    return this.#body.readUIntBE(this.take(bytes), bytes);
  }

  text(length = this.byte()): string {
    if (length === 0) return '';
    const at = this.take(length);
    return this.#body.toString('utf8', at, at + length);
  }

  get at(): number {
    return this.#at;
  }

  end(): void {
    if (!this.isOver) throw new MalformedContent('a frame is longer than its layout');
  }
}

/** Of the lane to which the type belongs. */
export function numberOf(body: Buffer): number {
  return new Reading(body, 0, body.length).number(6);
}

export function readHandled(body: Buffer): Handled {
  const [control, data] = readNumbers(body, 2);
  return { control: control!, data: data! };
}

export function readNumbers(body: Buffer, count: number): number[] {
  const reading = new Reading(body, 0, body.length);
  const read = Array.from({ length: count }, () => reading.number(6));
  reading.end();
  return read;
}
