/** Frames of links: what releases have sent is read for ever, and nothing that comes does more than end its link. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { endings, endingOf } from '../../../services/broker/mesh/endings.js';
import {
  byeFrame,
  commonVersion,
  frame,
  frameBytesMax,
  FrameReader,
  type Hello,
  helloBytesMax,
  helloFrame,
  numberFrame,
  readCode,
  readHello,
  readNumber,
  types,
} from '../../../services/broker/mesh/frames/v1.js';
import { LinkState } from '../../../services/broker/mesh/link-state.js';
import { random } from '../../support/seeds.js';
import { sentFrames } from './frames.js';

const hello: Hello = {
  ...{ min: 1, max: 1, purpose: 'link', incarnation: 7 },
  ...{ from: 'broker-a', to: 'broker-b', cluster: 'shoal-', address: '10.0.0.1:7883' },
};

/** All that comes of bytes that arrive in pieces of a size. */
function readAll(bytes: Buffer, pieceBytes = bytes.length, bytesMax = helloBytesMax) {
  const reader = new FrameReader();
  reader.bytesMax = bytesMax;
  const read: [type: number, body: string][] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const fault = reader.push(bytes.subarray(at, at + pieceBytes), (type, body) => {
      read.push([type, body.toString('hex')]);
      return true;
    });
    if (fault) return { read, fault };
  }
  return { read };
}

describe('what version 1 has sent', () => {
  it.each(sentFrames)('is read and written: $name', ({ hex, says }) => {
    const bytes = Buffer.from(hex, 'hex');
    const { read } = readAll(bytes);
    expect(read).toHaveLength(1);
    const [[type, body]] = read as [[number, string]];
    const content = Buffer.from(body, 'hex');
    if ('hello' in says) {
      expect([type, readHello(content)]).toEqual([types.hello, says.hello]);
      if (!says.isLater) expect(helloFrame(says.hello).toString('hex')).toBe(hex);
    } else if ('code' in says) {
      expect([type, readCode(content)]).toEqual([types.bye, says.code]);
      expect(byeFrame(says.code).toString('hex')).toBe(hex);
    } else if ('number' in says) {
      expect([type, readNumber(content)]).toEqual([types[says.type], says.number]);
      expect(numberFrame(types[says.type], says.number).toString('hex')).toBe(hex);
    } else expect([type, body]).toEqual([says.content, says.body]);
  });

  it('has codes for byes that stay', () => {
    const codes = Object.values(endings).flatMap(({ name, code }) => (code === undefined ? [] : [`${code} ${name}`]));
    expect(codes).toEqual([
      ...['1 malformed-frame', '2 frame-too-large', '3 unknown-frame', '4 unexpected-frame', '5 not-a-hello'],
      ...['6 no-common-version', '7 other-cluster', '8 other-broker', '9 wrong-dialler', '10 credit-exceeded'],
      ...['11 greeting-late', '12 silent', '13 replaced', '14 outdated', '15 lease-ended', '16 stopping'],
      ...['17 knock-heard', '18 own-fault', '19 too-many-members'],
    ]);
    expect(endingOf(250).name).toBe('bye');
  });
});

it.each([
  [1, 1, 1, 1, 1],
  [1, 3, 2, 5, 3],
  [2, 2, 1, 2, 2],
  [1, 1, 2, 3, undefined],
  [4, 9, 1, 3, undefined],
])('of versions %i to %i and %i to %i the link has %s', (min, max, otherMin, otherMax, common) => {
  expect(commonVersion({ min, max }, { min: otherMin, max: otherMax })).toBe(common);
  expect(commonVersion({ min: otherMin, max: otherMax }, { min, max })).toBe(common);
});

it('frames come whole, however they are cut', () => {
  const some = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 300 })), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(some, fc.integer({ min: 1, max: 400 }), (frames, pieceBytes) => {
      const bytes = Buffer.concat(frames.map(([type, body]) => frame(type, Buffer.from(body))));
      const expected = frames.map(([type, body]) => [type, Buffer.from(body).toString('hex')]);
      expect(readAll(bytes, pieceBytes)).toEqual({ read: expected });
    }),
    random(200),
  );
});

describe('a length', () => {
  const lengthOnly = (length: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length);
    return bytes;
  };
  it.each([
    ['of nothing', 0, 'malformed-frame'],
    ['above what a hello may have', helloBytesMax + 1, 'frame-too-large'],
    ['of four gigabytes', 0xffff_ffff, 'frame-too-large'],
  ])('%s is refused before anything follows it', (_, length, fault) => {
    for (const pieceBytes of [1, 4]) expect(readAll(lengthOnly(length), pieceBytes).fault).toBe(fault);
  });

  it('takes no memory before its bytes have come', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 500 }, () => {
      const reader = new FrameReader();
      reader.bytesMax = frameBytesMax;
      reader.push(lengthOnly(frameBytesMax), () => true);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(readers.length * 1024);
  });
});

/** What a link does with bytes: the reason why it ended, or nothing. */
function linkOn(bytes: Buffer, isUp: boolean, pieceBytes: number): string | undefined {
  let ended: string | undefined;
  const state = new LinkState(
    { role: 'accepts', hello: { ...hello, from: 'broker-b', to: '' } },
    {
      unsentBytes: 0,
      write: () => undefined,
      judge: () => undefined,
      onUp: () => undefined,
      onStage: () => undefined,
      onContent: (type) => type === 0x20,
      onSkipped: () => undefined,
      onPong: () => undefined,
      onRoom: () => undefined,
      onEnd(ending) {
        expect(ended).toBeUndefined();
        ended = ending.name;
      },
    },
    0,
  );
  state.opened();
  if (isUp) state.received(helloFrame(hello), 0);
  for (let at = 0; at < bytes.length; at += pieceBytes) state.received(bytes.subarray(at, at + pieceBytes), 0);
  return ended;
}

describe('whatever comes', () => {
  const names = new Set(Object.values(endings).map(({ name }) => name));
  const piece = fc.integer({ min: 1, max: 100 });

  it('random bytes end the link with a reason of the table, or it waits for more', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 600 }), fc.boolean(), piece, (bytes, isUp, pieceBytes) => {
        const ended = linkOn(Buffer.from(bytes), isUp, pieceBytes);
        if (ended !== undefined) expect(names).toContain(ended);
      }),
      random(2000),
    );
  });

  it('frames of any type with any body do, too', () => {
    const one = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }));
    fc.assert(
      fc.property(fc.array(one, { maxLength: 6 }), fc.boolean(), piece, (frames, isUp, pieceBytes) => {
        const ended = linkOn(
          Buffer.concat(frames.map(([type, body]) => frame(type, Buffer.from(body)))),
          isUp,
          pieceBytes,
        );
        if (ended !== undefined) expect(names).toContain(ended);
      }),
      random(2000),
    );
  });

  it('and so do real frames with some bytes changed', () => {
    const real = sentFrames.map(({ hex }) => Buffer.from(hex, 'hex'));
    const change = fc.tuple(fc.nat({ max: 5000 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.shuffledSubarray(real),
        fc.array(change, { maxLength: 4 }),
        fc.boolean(),
        piece,
        (some, changes, isUp, pieceBytes) => {
          const bytes = Buffer.concat(some);
          for (const [at, to] of changes) if (bytes.length > 0) bytes[at % bytes.length] = to;
          const ended = linkOn(bytes, isUp, pieceBytes);
          if (ended !== undefined) expect(names).toContain(ended);
        },
      ),
      random(2000),
    );
  });
});
