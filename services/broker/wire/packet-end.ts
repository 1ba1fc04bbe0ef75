/** Where the packet at `at` ends, of bytes that end at `end`; 0 when its end is not among them, or its length is none. */
export function packetEnd(bytes: Buffer, at: number, end: number): number {
  let length = 0;
  for (let i = 1; i < 5; i++) {
    if (at + i >= end) return 0;
    const byte = bytes[at + i]!;
    length += (byte & 0x7f) << (7 * (i - 1));
    if (byte < 0x80) return at + i + 1 + length <= end ? at + i + 1 + length : 0;
  }
  return 0;
}
