import { expect, test } from 'vitest';
import { FrameCounter } from '../../../bench/load/frames.js';
import { publishPacket } from '../../../bench/load/packets.js';

const qos0 = publishPacket('bench/0', Buffer.alloc(8, 'x'), 4);
const longQos0 = publishPacket('bench/0', Buffer.alloc(130, 'x'), 5);
const qos1 = publishPacket('bench/1', Buffer.alloc(4, 'x'), 4, 7);
const puback = Buffer.from([0x40, 2, 1, 2]);
const stream = Buffer.concat([qos0, puback, longQos0, qos1, qos0, puback]);

function count(chunks: readonly Buffer[]): { qos0Messages: number; others: string[] } {
  const others: string[] = [];
  const frames = new FrameCounter((bytes, at, _body, end) => {
    others.push(Buffer.from(bytes.slice(at, end)).toString('hex'));
  });
  for (const chunk of chunks) frames.read(chunk, chunk.length);
  return { qos0Messages: frames.qos0Messages, others };
}

const expected = { qos0Messages: 3, others: [puback, qos1, puback].map((bytes) => bytes.toString('hex')) };

test('frames are counted wherever two reads split them', () => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second++) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      expect(count(chunks), `split at ${first} and ${second}`).toEqual(expected);
    }
  }
});

test('frames are counted when every byte comes by itself', () => {
  expect(count([...stream].map((byte) => Buffer.from([byte])))).toEqual(expected);
});

test('a remaining length of five bytes is an error', () => {
  expect(() => count([Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0])])).toThrow(/four bytes/);
});
