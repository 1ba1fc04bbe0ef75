/** Bytes for one stream: in order, coalesced, written at the end of the tick or at 64 KB, and pinning little. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { OutboxStream } from '../../../services/broker/outbox/ports.js';
import { SendQueue } from '../../../services/broker/outbox/send-queue.js';
import { random, seed } from '../../support/seeds.js';

class FakeStream implements OutboxStream {
  unsentBytes = 0;
  readonly writes: Buffer[] = [];
  write(bytes: Buffer): void {
    this.writes.push(bytes);
  }
  destroy(): void {}
}

function open() {
  const stream = new FakeStream();
  const dirty: SendQueue[] = [];
  const flusher = { add: (queue: SendQueue) => void dirty.push(queue) } as unknown as Flusher;
  return { stream, dirty, queue: new SendQueue(stream, flusher) };
}

describe(`SendQueue (seed ${seed})`, () => {
  it('writes what a plain concatenation would', () => {
    const step = fc.oneof(
      { weight: 10, arbitrary: fc.record({ source: fc.nat(3), length: fc.nat(3000), skip: fc.nat(2) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          source: fc.nat(3),
          length: fc.integer({ min: 60_000, max: 140_000 }),
          skip: fc.constant(0),
        }),
      },
      { weight: 2, arbitrary: fc.constant('flush' as const) },
      { weight: 1, arbitrary: fc.constantFrom('held back' as const, 'drained' as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { stream, dirty, queue } = open();
        // Ranges of four buffers, taken front to back; a range often begins where the last one of that buffer ended.
        const sources = Array.from({ length: 4 }, (_, i) => ({ bytes: Buffer.alloc(1 << 20, i + 65), at: 0 }));
        const expected: Buffer[] = [];
        for (const { bytes } of sources) for (let i = 0; i < bytes.length; i += 7) bytes[i] = i & 0xff;
        for (const one of steps) {
          if (one === 'flush') dirty.splice(0).forEach((each) => each.flush('all'));
          else if (one === 'held back') stream.unsentBytes = 1000;
          else if (one === 'drained') stream.unsentBytes = 0;
          else {
            const source = sources[one.source]!;
            const start = source.at + one.skip;
            if (start + one.length > source.bytes.length) continue;
            source.at = start + one.length;
            expected.push(Buffer.from(source.bytes.subarray(start, source.at)));
            queue.push(source.bytes, start, source.at);
          }
          expect(dirty.length).toBeLessThanOrEqual(1); // Added once a tick.
        }
        dirty.splice(0).forEach((each) => each.flush('all'));
        expect(Buffer.concat(stream.writes).equals(Buffer.concat(expected))).toBe(true);
      }),
      random(60),
    );
  });

  it('makes one write of a tick, without copying what lies side by side', () => {
    const { stream, dirty, queue } = open();
    const source = Buffer.from('abcdefgh');
    for (let i = 0; i < 8; i++) queue.push(source, i, i + 1);
    expect([stream.writes.length, queue.waitingBytes]).toEqual([0, 8]);
    dirty[0]!.flush('all');
    expect(stream.writes.map(String)).toEqual(['abcdefgh']);
    expect(stream.writes[0]!.buffer).toBe(source.buffer);
    queue.push(Buffer.from('x'), 0, 1);
    expect(dirty).toHaveLength(2);
  });

  it('does not wait for the end of the tick with 64 KB', () => {
    const { stream, queue } = open();
    const source = Buffer.alloc(1 << 17);
    queue.push(source, 0, 65_535);
    expect(stream.writes).toHaveLength(0);
    queue.push(source, 65_535, 65_536);
    expect(stream.writes.map(({ length }) => length)).toEqual([65_536]);
  });

  it('copies small ranges together, and none of large ones', () => {
    const { stream, dirty, queue } = open();
    const [one, other] = [Buffer.alloc(1 << 15, 'a'), Buffer.alloc(1 << 15, 'b')];
    const write = (bytes: number): Buffer[] => {
      queue.push(one, 0, bytes);
      queue.push(other, 0, bytes);
      dirty.splice(0).forEach((each) => each.flush('all'));
      return stream.writes.splice(0);
    };
    expect(write(100).map(({ length }) => length)).toEqual([200]);
    expect(write(20_000).map(({ buffer }) => buffer)).toEqual([one.buffer, other.buffer]);
  });

  it('does not let a slow reader hold a large buffer for a small range', () => {
    const { stream, dirty, queue } = open();
    const source = Buffer.alloc(1 << 20);
    const write = (start: number, end: number): Buffer => {
      queue.push(source, start, end);
      dirty.splice(0).forEach((each) => each.flush('all'));
      return stream.writes.at(-1)!;
    };
    expect(write(0, 100).buffer).toBe(source.buffer);
    stream.unsentBytes = 1;
    expect(write(100, 200).buffer).not.toBe(source.buffer);
  });

  it('puts small ranges that a slow reader keeps waiting side by side', () => {
    const { stream, dirty, queue } = open();
    stream.unsentBytes = 5000;
    const source = Buffer.alloc(1 << 16, 'abcdefg');
    for (let i = 0; i < 100; i++) {
      queue.push(source, 70 * i, 70 * i + 20);
      if (i % 3 === 0) queue.push(source, 70 * i + 30, 70 * i + 50);
      dirty.splice(0).forEach((each) => each.flush('all'));
    }
    expect(new Set(stream.writes.map(({ buffer }) => buffer)).size).toBe(1);
    expect(stream.writes[0]!.buffer.byteLength).toBe(5000);
    expect(stream.writes.slice(0, 2).map(String)).toEqual([
      'abcdefgabcdefgabcdefcdefgabcdefgabcdefga',
      'abcdefgabcdefgabcdef',
    ]);
    expect(queue.waitingBytes).toBe(5000 + 100 * 200);
    stream.unsentBytes = 0;
    queue.recount();
    expect(queue.waitingBytes).toBe(0);
  });

  it('counts what the network has not taken', () => {
    const { stream, dirty, queue } = open();
    stream.unsentBytes = 500;
    queue.push(Buffer.alloc(10), 0, 10);
    dirty[0]!.flush('all');
    // And what a write that waits takes beside its bytes.
    expect(queue.waitingBytes).toBe(700);
    queue.push(Buffer.alloc(10), 0, 10);
    stream.unsentBytes = 0;
    queue.recount();
    expect(queue.waitingBytes).toBe(10);
  });
});
