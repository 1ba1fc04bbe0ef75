/** CRC-32C (Castagnoli), the checksum of RFC 3720, as an unsigned number. For small inputs: a bit at a time. */
const polynomialReversed = 0x82f63b78;

export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomialReversed : 0);
  }
  return ~crc >>> 0;
}
