/**
 * What goes over a link, version 1. Every layout here is frozen: `test/unit/mesh/frames.test.ts` decodes it for ever.
 *
 *      frame   | length of what follows (4) | type (1) | body
 *      hello   | magic (4) | min (1) | max (1) | purpose (1) | incarnation (6) | from | to | cluster | address
 *      ping    | number (4)                       pong  | the number of the ping (4)
 *      credit  | bytes that may be sent in addition (4)
 *      bye     | code of the ending (1)
 *
 * Numbers are big-endian; a text is its length (1) and that many bytes of UTF-8. Both sides begin with a hello, which is the same in
 * all versions: a later one only appends to it, so whoever reads it leaves aside what it does not know. The version of the link is
 * the highest that both have. In it the type says what becomes of a frame that the reader does not know:
 *
 *      0x00 to 0x0f | control: needs no credit      | ends the link
 *      0x10 to 0x7f | content: counts by its length | ends the link: what it says matters
 *      0x80 to 0xff | content: counts by its length | is skipped, and counted: nobody's state depends on it
 *
 * So a release adds frames below 0x80 with a higher version only, and those above at any time.
 */
import { Buffer } from 'node:buffer';

export const versionMin = 1;
export const versionMax = 1;

/** "SHLK". */
const magic = 0x53_48_4c_4b;
const headerBytes = 5;

/** Before the hellos: whoever is that far has the key, but may have a fault. */
export const helloBytesMax = 1024;
/** The largest message (384 KiB) and what goes with it; it keeps a ping behind it waiting for 40 ms at 100 Mbit/s. */
export const frameBytesMax = 1 << 19;

export const types = { hello: 0x01, ping: 0x02, pong: 0x03, credit: 0x04, bye: 0x05 } as const;
const contentMin = 0x10;
const skippableMin = 0x80;

export const isContent = (type: number): boolean => type >= contentMin;
/** Of a frame that nobody here knows. */
export const maySkip = (type: number): boolean => type >= skippableMin;
/** What a frame takes of the credit. */
export const costOf = (body: Buffer): number => headerBytes + body.length;

export interface Hello {
  readonly min: number;
  readonly max: number;
  /** `knock`: the sender wants to be dialled, at `address`. */
  readonly purpose: 'link' | 'knock';
  /** Counts what the sender has dialled: of two connections of one broker that with the higher one is the later. */
  readonly incarnation: number;
  readonly from: string;
  /** Whom the sender believes to be at the other end. */
  readonly to: string;
  /** Two clusters may have one key by mistake. */
  readonly cluster: string;
  /** `host:port` of the sender's listener. */
  readonly address: string;
}

const purposes = ['link', 'knock'] as const;
const textBytesMax = 255;
const incarnationMax = 2 ** 48 - 1;

export function frame(type: number, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + body.length);
  bytes.writeUInt32BE(1 + body.length, 0);
  bytes[4] = type;
  body.copy(bytes, headerBytes);
  return bytes;
}

/** Of ping, pong and credit. */
export function numberFrame(type: number, value: number): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + 4);
  bytes.writeUInt32BE(5, 0);
  bytes[4] = type;
  bytes.writeUInt32BE(value, headerBytes);
  return bytes;
}

export const byeFrame = (code: number): Buffer => frame(types.bye, Buffer.of(code));

/** Throws for a text that is too long: names and addresses are judged long before. */
export function helloFrame({ min, max, purpose, incarnation, from, to, cluster, address }: Hello): Buffer {
  const fixed = Buffer.allocUnsafe(13);
  fixed.writeUInt32BE(magic, 0);
  fixed[4] = min;
  fixed[5] = max;
  fixed[6] = purposes.indexOf(purpose);
  fixed.writeUIntBE(incarnation, 7, 6);
  const texts = [from, to, cluster, address].map((text) => {
    const bytes = Buffer.from(text);
    if (bytes.length > textBytesMax) throw new RangeError('a text of a hello is longer than 255 bytes');
    return Buffer.concat([Buffer.of(bytes.length), bytes]);
  });
  return frame(types.hello, Buffer.concat([fixed, ...texts]));
}

/** Undefined: not a hello of any version. */
export function readHello(body: Buffer): Hello | 'not-a-hello' | undefined {
  if (body.length < 13) return undefined;
  if (body.readUInt32BE(0) !== magic) return 'not-a-hello';
  const purpose = purposes[body[6]!];
  const incarnation = body.readUIntBE(7, 6);
  if (purpose === undefined || incarnation > incarnationMax) return undefined;
  const texts: string[] = [];
  for (let at = 13; texts.length < 4;) {
    const length = body[at];
    if (length === undefined || at + 1 + length > body.length) return undefined;
    texts.push(body.toString('utf8', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const [from = '', to = '', cluster = '', address = ''] = texts;
  return { min: body[4]!, max: body[5]!, purpose, incarnation, from, to, cluster, address };
}

/** Of ping, pong and credit; undefined when it is malformed. */
export const readNumber = (body: Buffer): number | undefined => (body.length === 4 ? body.readUInt32BE(0) : undefined);

/** Of bye; the same. */
export const readCode = (body: Buffer): number | undefined => (body.length === 1 ? body[0] : undefined);

/** The highest version that both have. */
export function commonVersion(a: Pick<Hello, 'min' | 'max'>, b: Pick<Hello, 'min' | 'max'>): number | undefined {
  const highest = Math.min(a.max, b.max);
  return highest >= Math.max(a.min, b.min) ? highest : undefined;
}

const nothing = Buffer.alloc(0);

/**
 * Bytes as they come, to frames. What is there of a frame is kept in memory that grows with it, and never to more than the longest frame
 * that is allowed, whatever its length says and in however small pieces it comes.
 */
export class FrameReader {
  /** Of what follows the length. */
  bytesMax = helloBytesMax;
  #begun = nothing;
  #begunBytes = 0;

  /**
   * Hands each whole frame to `take`, which says whether to go on. Its body is a range of `chunk`, or memory of its own. Returns
   * what is wrong with the bytes; nothing more may be pushed then.
   */
  push(
    chunk: Buffer,
    take: (type: number, body: Buffer) => boolean,
  ): 'frame-too-large' | 'malformed-frame' | undefined {
    for (let at = 0; at < chunk.length;) {
      if (this.#begunBytes === 0 && chunk.length - at >= 4) {
        const length = chunk.readUInt32BE(at);
        const fault = this.#faultOf(length);
        if (fault) return fault;
        const end = at + 4 + length;
        if (end <= chunk.length) {
          const goesOn = take(chunk[at + 4]!, chunk.subarray(at + headerBytes, end));
          at = end;
          if (goesOn) continue;
          return undefined;
        }
      }
      const length = this.#begunBytes < 4 ? 0 : this.#begun.readUInt32BE(0);
      const taken = chunk.subarray(at, at + 4 + length - this.#begunBytes);
      this.#keep(taken);
      at += taken.length;
      if (this.#begunBytes < 4) continue;
      if (length === 0) {
        const fault = this.#faultOf(this.#begun.readUInt32BE(0));
        if (fault) return fault;
      } else if (this.#begunBytes === 4 + length) {
        const whole = this.#begun.subarray(0, this.#begunBytes);
        this.#begun = nothing;
        this.#begunBytes = 0;
        if (!take(whole[4]!, whole.subarray(headerBytes))) return undefined;
      }
    }
    return undefined;
  }

  #faultOf(length: number): 'frame-too-large' | 'malformed-frame' | undefined {
    if (length === 0) return 'malformed-frame';
    return length > this.bytesMax ? 'frame-too-large' : undefined;
  }

  #keep(bytes: Buffer): void {
    const needed = this.#begunBytes + bytes.length;
    if (needed > this.#begun.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(needed, 2 * this.#begunBytes, 64), 4 + this.bytesMax));
      this.#begun.copy(larger, 0, 0, this.#begunBytes);
      this.#begun = larger;
    }
    bytes.copy(this.#begun, this.#begunBytes);
    this.#begunBytes = needed;
  }
}
