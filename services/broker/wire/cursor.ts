/**
 * Reads the data types of MQTT 5.0 section 1.5 out of one packet. Every read checks the end of the packet, so
 * whatever a length field says, nothing beyond it is touched.
 */
import { isUtf8 } from 'node:buffer';
import { ownBytes } from '../../kernel/kernel.js';
import { malformed } from './reasons.js';

export class Cursor {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  get left(): number {
    return this.end - this.at;
  }

  u8(): number {
    return this.bytes[this.#take(1)]!;
  }

  u16(): number {
    return this.bytes.readUInt16BE(this.#take(2));
  }

  u32(): number {
    return this.bytes.readUInt32BE(this.#take(4));
  }

  /** [MQTT-1.5.5-1] The shortest encoding of at most four bytes. */
  variableByteInteger(): number {
    let value = 0;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed('a variable byte integer is longer than necessary');
        return value;
      }
    }
    throw malformed('a variable byte integer has more than four bytes');
  }

  /** A copy: what a packet says outlives the read buffer. A will is kept as long as its session. */
  binary(): Buffer {
    const length = this.u16();
    const start = this.#take(length);
    return ownBytes(this.bytes, start, start + length);
  }

  utf8(): string {
    const length = this.u16();
    const start = this.#take(length);
    return decodeUtf8(this.bytes, start, start + length);
  }

  /** Checked as `utf8` checks it, and not made a string. */
  skipUtf8(): void {
    const start = this.at + 2;
    this.skipBinary();
    checkUtf8(this.bytes, start, this.at);
  }

  skipBinary(): void {
    this.#take(this.u16());
  }

  rest(): Buffer {
    return ownBytes(this.bytes, this.at, this.end);
  }

  #take(count: number): number {
    const start = this.at;
    if (start + count > this.end) throw malformed('a field extends beyond the end of its packet');
    this.at = start + count;
    return start;
  }
}

/**
 * [MQTT-1.5.4-1] Well-formed UTF-8 without surrogates; [MQTT-1.5.4-2] without U+0000. [MQTT-1.5.4-3] U+FEFF stays.
 */
export function decodeUtf8(bytes: Buffer, start: number, end: number): string {
  checkUtf8(bytes, start, end);
  return bytes.toString('utf8', start, end);
}

export function checkUtf8(bytes: Buffer, start: number, end: number): void {
  if (end - start <= shortMax && isAscii(bytes, start, end)) return;
  const view = bytes.subarray(start, end);
  if (!isUtf8(view)) throw malformed('a string is not well-formed UTF-8');
  if (view.includes(0)) throw malformed('a string contains a null character');
}

/** To look at so few bytes costs less than a view of them. */
const shortMax = 64;

/** Without U+0000. */
function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if ((bytes[i]! - 1) >>> 0 >= 0x7f) return false;
  return true;
}
