/** Where bytes that wait lie. What may overtake them, and that nothing is lost of them, is in `test/fuzz/decoder.test.ts`. */
import { describe, expect, it } from 'vitest';
import { HeldBytes } from '../../../services/broker/wire/held-bytes.js';

const publish = Buffer.from([0x30, 4, 0, 1, 0x74, 0x78]);
const pingreq = Buffer.from([0xc0, 0]);

function chunkOf(packets: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(packets);
  const own = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(own);
  return own;
}

describe('bytes that wait', () => {
  it('stay in their chunk when they are most of it', () => {
    const chunk = chunkOf([publish, publish, publish]);
    const held = new HeldBytes();
    held.add(chunk, publish.length, chunk.length, 1 << 10);
    expect([held.bytes, held.start, held.end]).toEqual([chunk, publish.length, chunk.length]);
    expect(held.bytes.buffer).toBe(chunk.buffer);
  });

  it('leave it as it was before them when others overtake, and when more come', () => {
    const chunk = chunkOf([publish, publish, pingreq, publish]);
    const before = Buffer.from(chunk.subarray(0, publish.length));
    const held = new HeldBytes();
    held.add(chunk, publish.length, chunk.length, 1 << 10);
    expect(held.takeOvertaking()).toEqual(pingreq);
    expect(chunk.subarray(0, publish.length)).toEqual(before);
    held.add(publish, 0, publish.length, 1 << 10);
    expect(held.bytes.buffer).not.toBe(chunk.buffer);
    expect(held.bytes.subarray(held.start, held.end)).toEqual(Buffer.concat([publish, publish, publish]));
  });

  it('have memory of their own when they are a small part of it, or of what it is a part of', () => {
    const chunk = chunkOf([publish, publish, publish]);
    const block = Buffer.allocUnsafeSlow(8 * chunk.length);
    for (const [source, from] of [
      [chunk, 2 * publish.length],
      [block.subarray(0, 10), 0],
    ] as const) {
      const held = new HeldBytes();
      held.add(source, from, source.length, 1 << 10);
      expect(held.bytes.buffer).not.toBe(source.buffer);
      expect(held.bytes.subarray(held.start, held.end)).toEqual(source.subarray(from));
    }
  });
});
