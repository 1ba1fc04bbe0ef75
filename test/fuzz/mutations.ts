/** Bytes that no honest client sends: random ones, plausible headers, and valid packets with small damage. */
import fc from 'fast-check';
import type { ProtocolVersion } from '../../services/broker/wire/wire.js';
import { clientPacket, connectPacket, encode } from './packets.js';

export const versions: readonly ProtocolVersion[] = [3, 4, 5];
export const offsets = fc.array(fc.nat(100_000), { maxLength: 12 });
const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength, size: 'max' }).map((array) => Buffer.from(array));

/** A first byte that is some packet's, a plausible length, and anything behind it. */
const headed = fc
  .tuple(fc.constantFrom(...[...Array(16).keys()].map((type) => type << 4)), fc.constantFrom(0, 0, 2, 4, 3), bytes(60))
  .map(([type, flags, body]) => Buffer.concat([Buffer.of(type | flags, body.length), body]));
const sloppyLength = fc
  .tuple(fc.nat(255), fc.array(fc.constantFrom(0x80, 0xff, 0x81, 0), { maxLength: 5 }), fc.nat(127))
  .map(([first, lengths, last]) => Buffer.from([first, ...lengths, last]));

export const streamOf = (version: ProtocolVersion): fc.Arbitrary<Buffer> =>
  fc
    .array(clientPacket(version), { minLength: 1, maxLength: 6 })
    .map((packets) => Buffer.concat(packets.map((packet) => encode(packet, version))));

/** Valid packets in which a few bytes have been changed, left out, doubled or put in. */
export const mutated = (stream: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc
    .tuple(
      stream,
      fc.array(fc.tuple(fc.constantFrom('set', 'drop', 'insert', 'cut'), fc.nat(), fc.nat(255)), { maxLength: 4 }),
    )
    .map(([original, changes]) => changes.reduce(mutate, original));

function mutate(stream: Buffer, [how, where, value]: [string, number, number]): Buffer {
  if (stream.length === 0) return stream;
  // The first bytes are where the lengths are.
  const at = (value % 2 === 0 ? where : where % 16) % stream.length;
  const tail = how === 'drop' || how === 'set' ? at + 1 : at;
  if (how === 'cut') return stream.subarray(0, at);
  return Buffer.concat([
    stream.subarray(0, at),
    how === 'drop' ? Buffer.alloc(0) : Buffer.of(value),
    stream.subarray(tail),
  ]);
}

export const anything = (version: ProtocolVersion | 0): fc.Arbitrary<Buffer> =>
  version === 0
    ? fc.oneof(bytes(80), headed, sloppyLength, ...versions.map((v) => mutated(connectStream(v))))
    : fc.oneof(
        bytes(80),
        fc.array(headed, { maxLength: 5 }).map(Buffer.concat),
        sloppyLength,
        mutated(streamOf(version)),
      );

export const connectStream = (version: ProtocolVersion): fc.Arbitrary<Buffer> =>
  fc
    .tuple(connectPacket(version), streamOf(version))
    .map(([first, rest]) => Buffer.concat([encode(first, version), rest]));
