/**
 * Where outgoing packets are written: one block of memory shared by all connections, taken front to back and
 * replaced when it is full. Packets that one connection gets in a row lie side by side, so its outbox sees one range.
 * What has been written is never changed; a block lives as long as somebody still has to send from it.
 */

/** Enough for hundreds of small packets; small enough that a slow reader of one packet pins little. */
const blockBytes = 1 << 16;

export class Slab {
  bytes: Buffer = Buffer.allocUnsafeSlow(blockBytes);
  at = 0;

  /** After this call `count` bytes may be written at `bytes[at]`; the writer moves `at`. */
  reserve(count: number): void {
    if (this.at + count <= this.bytes.length) return;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(blockBytes, count));
    this.at = 0;
  }

  u16(value: number): void {
    this.bytes[this.at++] = value >> 8;
    this.bytes[this.at++] = value & 0xff;
  }

  u32(value: number): void {
    this.at = this.bytes.writeUInt32BE(value, this.at);
  }

  variableByteInteger(value: number): void {
    while (value >= 0x80) {
      this.bytes[this.at++] = (value & 0x7f) | 0x80;
      value >>>= 7;
    }
    this.bytes[this.at++] = value;
  }

  /** A loop beats the call into the runtime for short ranges. */
  copy(source: Buffer, start: number, end: number): void {
    if (end - start > 96) {
      source.copy(this.bytes, this.at, start, end);
      this.at += end - start;
      return;
    }
    // In locals: a field is read again after every byte that is written.
    const { bytes } = this;
    let at = this.at;
    for (let i = start; i < end; i++) bytes[at++] = source[i]!;
    this.at = at;
  }
}
