/** Messages that wait keep their bytes and only their own memory, wherever they were read and whoever else waited. */
import { describe, expect, it } from 'vitest';
import { Message, topicName } from '../../../services/broker/message/message.js';

const topic = topicName('a/b');
const volatile = Message.volatile();

function arrived(payload: Buffer, properties?: Buffer): Message {
  volatile.renew();
  volatile.topic = topic;
  volatile.qos = 1;
  volatile.source = Buffer.concat([Buffer.from('before'), payload, Buffer.from('behind')]);
  volatile.payloadStart = 6;
  volatile.payloadEnd = 6 + payload.length;
  if (properties) volatile.properties = properties;
  return volatile;
}

const filled = (bytes: number, i: number): Buffer => Buffer.alloc(bytes, `${i} `);
const sizes = [0, 1, 64, 65, 100, 1000, 4096, 4097, 9000];
/** More than two blocks of others. */
const passTime = (): void => {
  for (let i = 0; i < 100; i++) arrived(Buffer.alloc(1000)).keepBriefly();
};

describe('a message that is kept briefly', () => {
  it('is one copy for all, and what it was, whatever becomes of the buffer that it came in', () => {
    for (const bytes of sizes) {
      const payload = filled(bytes, bytes);
      const properties = Buffer.from('properties');
      const message = arrived(payload, properties);
      const kept = message.keepBriefly();
      expect(message.keepBriefly()).toBe(kept);
      message.source.fill(0);
      properties.fill(0);
      expect([kept.payload.equals(payload), kept.properties.toString(), kept.payloadBytes]).toEqual([
        true,
        'properties',
        bytes,
      ]);
    }
  });

  it('moves into memory of its own when its block is old, if it is still held', () => {
    const held = sizes.map((bytes, i) => {
      const kept = arrived(filled(bytes, i), filled(bytes && 80, i)).keepBriefly();
      kept.holders = 1;
      return { kept, bytes, i };
    });
    passTime();
    for (const { kept, bytes, i } of held) {
      expect([kept.payload.equals(filled(bytes, i)), kept.properties.equals(filled(bytes && 80, i))]).toEqual([
        true,
        true,
      ]);
      expect([kept.source.buffer.byteLength, kept.properties.buffer.byteLength]).toEqual([bytes, bytes && 80]);
    }
  });

  it('is not copied again when nobody holds it any more', () => {
    const kept = arrived(filled(500, 1)).keepBriefly();
    const { source } = kept;
    passTime();
    expect(kept.source).toBe(source);
  });

  it('moves at once when somebody keeps it for longer', () => {
    const message = arrived(filled(500, 1));
    const kept = message.keepBriefly();
    expect(kept.source.length).toBeGreaterThan(500);
    for (const again of [message, kept]) expect(again.keep()).toBe(kept);
    expect([kept.source.buffer.byteLength, kept.payload.equals(filled(500, 1))]).toEqual([500, true]);
    passTime();
    expect(kept.payload.equals(filled(500, 1))).toBe(true);
  });
});
