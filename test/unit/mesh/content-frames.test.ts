/** What brokers tell each other over links: what releases have sent is read for ever, and what is malformed is said to be. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameBytesMax } from '../../../services/broker/mesh/frames/v1.js';
import {
  contentTypes,
  type Encoded,
  handledContent,
  MalformedContent,
  numberOf,
  pingContent,
  pongContent,
  readHandled,
  readNumbers,
} from '../../../services/broker/mesh/frames/content.js';
import {
  type ForwardedMessage,
  ForwardsWriter,
  readForwards,
  type ToForward,
} from '../../../services/broker/mesh/frames/forwards.js';
import { type ControlContent, controlContent, readControl } from '../../../services/broker/mesh/frames/interest.js';
import { random } from '../../support/seeds.js';

const numbered = ({ type, body }: Encoded, number: number): string => {
  body.writeUIntBE(number, 0, 6);
  return `${type.toString(16)} ${body.toString('hex')}`;
};
const plain = ({ type, body }: Encoded): string => `${type.toString(16)} ${body.toString('hex')}`;

describe('what version 1 has sent of a channel is read and written', () => {
  const handled = { control: 2 ** 40 + 1, data: 7 };
  it.each([
    ['hello', '10 010000000001000000000007'],
    ['heard', '11 010000000001000000000007'],
  ] as const)('%s', (type, hex) => {
    expect(plain(handledContent(type, handled))).toBe(hex);
    expect(readHandled(Buffer.from(hex.slice(3), 'hex'))).toEqual(handled);
  });

  it('ping and pong', () => {
    expect([plain(pingContent(9)), plain(pongContent(9, 300))]).toEqual([
      '12 000000000009',
      '13 00000000000900000000012c',
    ]);
    expect(readNumbers(Buffer.from('00000000000900000000012c', 'hex'), 2)).toEqual([9, 300]);
  });

  it('has types that stay', () => {
    expect(contentTypes).toEqual({
      ...{ hello: 0x10, heard: 0x11, ping: 0x12, pong: 0x13, serves: 0x14 },
      ...{ watch: 0x15, unwatch: 0x16, interest: 0x17, receipts: 0x18, forwards: 0x19 },
      ...{ knows: 0x1a, barrier: 0x1b, passed: 0x1c },
    });
  });
});

const sent: readonly (readonly [content: ControlContent, hex: string])[] = [
  [{ type: 'serves' }, '14 000000000005'],
  [{ type: 'knows' }, '1a 000000000005'],
  [{ type: 'barrier', barrier: 7 }, '1b 000000000005000000000007'],
  [{ type: 'passed', barrier: 7 }, '1c 000000000005000000000007'],
  [{ type: 'watch', tenant: 'acme', watch: 3 }, '15 0000000000050000000000030461636d65'],
  [{ type: 'unwatch', tenant: 'é', watch: 1 }, '16 00000000000500000000000102c3a9'],
  [{ type: 'interest', tenant: 't', watch: 2, isWhole: true, filters: [] }, '17 00000000000500000000000201' + '0174'],
  [
    {
      ...{ type: 'interest', tenant: 't', watch: 2, isWhole: false },
      filters: [
        { pattern: '', high: 1, low: 0xffff_ffff, isThere: true },
        { pattern: '', high: 2, low: 3, isThere: false },
        { pattern: '+1,#3', high: 0x8000_0000, low: 0, isThere: true },
      ],
    },
    '17 000000000005000000000002000174' +
      '00000000000200000001ffffffff01000000020000000300' +
      '000000052b312c23330001800000000000000001',
  ],
  [
    {
      type: 'receipts',
      ranges: [
        { first: 1, count: 1000, reasonCode: 0 },
        { first: 2 ** 33, count: 1, reasonCode: 0x97 },
      ],
    },
    '18 000000000005000000000001000003e8000002000000000000000197',
  ],
];

describe('what version 1 has sent of subscriptions and receipts', () => {
  it.each(sent)('is read and written: %j', (content, hex) => {
    expect(numbered(controlContent(content), 5)).toBe(hex);
    const body = Buffer.from(hex.slice(3), 'hex');
    expect([numberOf(body), readControl(parseInt(hex, 16), body)]).toEqual([5, content]);
  });

  it.each(sent)('is malformed when a byte is missing, or one too many: %j', (_, hex) => {
    const [type, body] = [parseInt(hex, 16), Buffer.from(hex.slice(3), 'hex')];
    const longer = Buffer.concat([body, Buffer.of(0)]);
    for (const wrong of [...Array.from(body.subarray(1), (_byte, i) => body.subarray(0, i + 1)), longer]) {
      // A list may end with any of its parts.
      if (wrong.length < body.length && readsAs(type, wrong)) continue;
      expect(() => readControl(type, wrong)).toThrow(MalformedContent);
    }
    expect(() => readControl(type, longer)).toThrow(MalformedContent);
  });

  it('a type of another lane is none', () => {
    expect(readControl(contentTypes.forwards, Buffer.alloc(6))).toBeUndefined();
  });
});

/** A shorter list is one, too. */
function readsAs(type: number, body: Buffer): boolean {
  const lists: number[] = [contentTypes.interest, contentTypes.receipts];
  try {
    return lists.includes(type) && readControl(type, body) !== undefined;
  } catch {
    return false;
  }
}

const of = (more: Partial<ToForward> & { text?: string; name?: string }): ToForward => {
  const { text = '', name = 't', ...rest } = more;
  const source = Buffer.from(`..${text}..`);
  return {
    ...{ qos: 0, retain: false, topic: { bytes: Buffer.from(name) } },
    ...{ properties: Buffer.alloc(0), source, payloadStart: 2, payloadEnd: source.length - 2 },
    ...rest,
  };
};

function readAll(body: Buffer): unknown[] {
  const read: unknown[] = [];
  readForwards(body, ({ topicStart, topicEnd, propertiesStart, payloadStart, payloadEnd, ...more }: ForwardedMessage) =>
    read.push({
      ...more,
      topic: body.toString('utf8', topicStart, topicEnd),
      properties: body.toString('hex', propertiesStart, payloadStart),
      payload: body.toString('utf8', payloadStart, payloadEnd),
    }),
  );
  return read;
}

describe('messages', () => {
  const hex =
    '19 000000000005' +
    '00000011000461636d650003612f62000000006869' +
    '000000240e000000000000090000000003e8000174000000050102030405' +
    '7061796c6f61642e2e2e';
  const firstBytes = 17;

  it('are read and written as version 1 has sent them', () => {
    const writer = new ForwardsWriter();
    writer.add(of({ name: 'a/b', text: 'hi' }), 'acme', 0, undefined);
    const properties = Buffer.from('0102030405', 'hex');
    writer.add(of({ qos: 2, retain: true, properties, text: 'payload...' }), 'acme', 9, 1000);
    expect(numbered(writer.end(), 5)).toBe(hex);
    expect(readAll(Buffer.from(hex.slice(3), 'hex'))).toEqual([
      {
        ...{ qos: 0, retain: false, tenant: 'acme', receipt: 0, expiresInMs: undefined },
        ...{ topic: 'a/b', properties: '', payload: 'hi' },
      },
      {
        ...{ qos: 2, retain: true, tenant: '', receipt: 9, expiresInMs: 1000 },
        ...{ topic: 't', properties: '0102030405', payload: 'payload...' },
      },
    ]);
  });

  it('are malformed when a byte is missing, and with flags that mean nothing', () => {
    const body = Buffer.from(hex.slice(3), 'hex');
    const first = 6 + 4 + firstBytes;
    for (let end = 7; end < body.length; end++)
      if (end !== first) expect(() => readAll(body.subarray(0, end))).toThrow(MalformedContent);
    for (const flags of [0x03, 0x10, 0x80]) {
      const wrong = Buffer.from(body);
      wrong[10] = flags;
      expect(() => readAll(wrong)).toThrow(MalformedContent);
    }
  });

  it('come out as they went in, however many and long they are', () => {
    const message = fc.record({
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      retain: fc.boolean(),
      name: fc.string({ maxLength: 300, unit: 'grapheme' }),
      text: fc.string({ maxLength: 3000 }),
      tenant: fc.constantFrom('a', 'b', 'tenant-é'),
      receipt: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
      expiresInMs: fc.option(fc.integer({ min: 0, max: 2 ** 48 - 1 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 30 }), (messages) => {
        const writer = new ForwardsWriter();
        let last = '';
        const expected = messages.map(({ tenant, receipt, expiresInMs, name, text, ...more }) => {
          writer.add(of({ ...more, name, text }), tenant, receipt, expiresInMs);
          const isSame = tenant === last;
          last = tenant;
          return {
            ...{ qos: more.qos, retain: more.retain, tenant: isSame ? '' : tenant },
            ...{ receipt: more.qos > 0 ? receipt : 0, expiresInMs, topic: name, properties: '', payload: text },
          };
        });
        expect(readAll(writer.end().body)).toEqual(expected);
      }),
      random(100),
    );
  });

  it('the longest fits into a frame', () => {
    const writer = new ForwardsWriter();
    const long = Buffer.alloc(65_535, 'x');
    const source = Buffer.alloc(384 * 1024 - long.length);
    writer.add(
      of({ qos: 2, topic: { bytes: long }, source, payloadStart: 0, payloadEnd: source.length }),
      't'.repeat(255),
      1,
      1,
    );
    expect(writer.end().body.length + 5).toBeLessThan(frameBytesMax);
  });
});

it('whatever comes is read or malformed, and nothing else', () => {
  const bodies = [...sent.map(([, hex]) => Buffer.from(hex.slice(3), 'hex')), Buffer.alloc(0)];
  const some = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    fc
      .tuple(fc.constantFrom(...bodies), fc.nat(), fc.nat({ max: 255 }))
      .map(([body, at, byte]) => Object.assign(Buffer.from(body), body.length > 0 ? { [at % body.length]: byte } : {})),
  );
  fc.assert(
    fc.property(some, fc.integer({ min: 0x10, max: 0x1f }), (bytes, type) => {
      const body = Buffer.from(bytes);
      for (const read of [
        () => readControl(type, body),
        () => readAll(body),
        () => readHandled(body),
        () => readNumbers(body, 1),
        () => numberOf(body),
      ])
        try {
          read();
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedContent);
        }
    }),
    random(2000),
  );
});
