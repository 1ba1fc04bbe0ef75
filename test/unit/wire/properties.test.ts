/** Every property of MQTT 5.0 in every packet that a client sends: where table 2-4 allows it, and where it does not. */
import { describe, expect, it } from 'vitest';
import { Cursor } from '../../../services/broker/wire/cursor.js';
import {
  encodeProperties,
  encodeVariableByteInteger,
  lengthPrefixed,
  type PropertyHome,
  readProperties,
} from '../../../services/broker/wire/properties.js';
import { scanPublishProperties } from '../../../services/broker/wire/publish-properties.js';
import { PeerFault } from '../../../services/broker/wire/reasons.js';

const homes: readonly PropertyHome[] = [
  'connect',
  'will',
  'publish',
  'ack',
  'subscribe',
  'unsubscribe',
  'disconnect',
  'auth',
];

/** Table 2-4: identifier, a valid value on the wire, and the packets of a client that may carry it. */
const table: readonly [id: number, value: string, allowed: readonly PropertyHome[]][] = [
  [0x01, '01', ['publish', 'will']],
  [0x02, '0000003c', ['publish', 'will']],
  [0x03, '000161', ['publish', 'will']],
  [0x08, '000161', ['publish', 'will']],
  [0x09, '000161', ['publish', 'will']],
  [0x0b, '01', ['subscribe']],
  [0x11, '0000003c', ['connect', 'disconnect']],
  [0x12, '000161', []],
  [0x13, '003c', []],
  [0x15, '000161', ['connect', 'auth']],
  [0x16, '000161', ['connect', 'auth']],
  [0x17, '01', ['connect']],
  [0x18, '0000003c', ['will']],
  [0x19, '01', ['connect']],
  [0x1a, '000161', []],
  [0x1c, '000161', ['disconnect']],
  [0x1f, '000161', ['ack', 'disconnect', 'auth']],
  [0x21, '0001', ['connect']],
  [0x22, '0001', ['connect']],
  [0x23, '0001', ['publish']],
  [0x24, '01', []],
  [0x25, '01', []],
  [0x26, '000161000162', homes],
  [0x27, '00000100', ['connect']],
  [0x28, '01', []],
  [0x29, '01', []],
  [0x2a, '01', []],
  [0x00, '', []],
  [0x7f, '01', []],
];

function read(home: PropertyHome, encoded: Buffer): void {
  // PUBLISH looks at its properties in place, by other code.
  if (home === 'publish')
    scanPublishProperties(encoded, 0, encoded.length, { topicAlias: 0, expirySeconds: -1, forwarded: encoded });
  else {
    const bytes = Buffer.concat([encodeVariableByteInteger(encoded.length), encoded]);
    readProperties(new Cursor(bytes, 0, bytes.length), home);
  }
}

const codeOf = (step: () => void): number | undefined => {
  try {
    step();
    return undefined;
  } catch (error) {
    if (error instanceof PeerFault) return error.reason.code;
    throw error;
  }
};

describe.each(table)('property 0x%s', (id, value, allowed) => {
  const encoded = Buffer.concat([Buffer.of(id), Buffer.from(value, 'hex')]);

  it.each(homes)(`in %s`, (home) => {
    const code = codeOf(() => read(home, encoded));
    if (allowed.includes(home)) expect(code).toBeUndefined();
    else expect([0x81, 0x82]).toContain(code);
  });

  it('stands once, but for user properties', () => {
    for (const home of allowed)
      expect(codeOf(() => read(home, Buffer.concat([encoded, encoded])))).toBe(id === 0x26 ? undefined : 0x82);
  });

  it('is not cut off by the end of its packet', () => {
    for (const home of allowed)
      for (let end = 1; end < encoded.length; end++)
        expect(codeOf(() => read(home, encoded.subarray(0, end)))).toBe(0x81);
  });
});

describe('values that are protocol errors', () => {
  it.each([
    ['connect', '170002'],
    ['connect', '1902'],
    ['connect', '210000'],
    ['connect', '2700000000'],
    ['subscribe', '0b00'],
    ['publish', '0102'],
    ['publish', '08000323'],
  ] as const)('in %s: %s', (home, hex) => {
    expect([0x81, 0x82]).toContain(codeOf(() => read(home, Buffer.from(hex, 'hex'))));
  });
});

describe('user properties', () => {
  it('keep their order and their repetitions', () => {
    const userProperties = [
      ['a', '1'],
      ['b', '2'],
      ['a', '3'],
    ] as const;
    const encoded = encodeProperties({ contentType: 'text', userProperties });
    const bytes = Buffer.concat([Buffer.of(encoded.length), encoded]);
    expect(readProperties(new Cursor(bytes, 0, bytes.length), 'will')).toEqual({ contentType: 'text', userProperties });
  });
});

describe.each(homes)('the user properties of %s', (home) => {
  const property = (name: Buffer | string, value = ''): Buffer =>
    Buffer.concat([Buffer.of(0x26), lengthPrefixed(name), lengthPrefixed(value)]);
  const of = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, () => property('')));

  it('are at most 1000', () => {
    expect(codeOf(() => read(home, of(1000)))).toBeUndefined();
    expect(codeOf(() => read(home, of(1001)))).toBe(0x97);
    expect(codeOf(() => read(home, of(40_000)))).toBe(0x97);
  });

  it('have at most 64 KiB', () => {
    const most = property('', 'x'.repeat((1 << 16) - 5));
    expect(codeOf(() => read(home, most))).toBeUndefined();
    expect(codeOf(() => read(home, Buffer.concat([most, property('')])))).toBe(0x97);
  });

  it('are strings, whether or not anybody wants them', () => {
    expect(codeOf(() => read(home, property(Buffer.from([0xc3, 0x28]))))).toBe(0x81);
    expect(codeOf(() => read(home, property('a', '\0')))).toBe(0x81);
    expect(codeOf(() => read(home, property('a', 'b').subarray(0, -1)))).toBe(0x81);
  });
});

it('user properties that go nowhere are no objects', () => {
  const encoded = encodeProperties({ reasonString: 'why', userProperties: [['a', '1']] });
  const bytes = Buffer.concat([Buffer.of(encoded.length), encoded]);
  expect(readProperties(new Cursor(bytes, 0, bytes.length), 'ack')).toEqual({ reasonString: 'why' });
});

describe('what a PUBLISH hands on', () => {
  it('is everything but alias and expiry, in order, byte for byte', () => {
    const [before, alias, between, expiry, after] = [
      '0101',
      '230005',
      '26000161000162',
      '020000003c',
      '26000161000163',
    ];
    const encoded = Buffer.from([before, alias, between, expiry, after].join(''), 'hex');
    const out = { topicAlias: 0, expirySeconds: -1, forwarded: Buffer.alloc(0) };
    scanPublishProperties(encoded, 0, encoded.length, out);
    expect([out.topicAlias, out.expirySeconds, out.forwarded.toString('hex')]).toEqual([
      5,
      60,
      before + between + after,
    ]);
  });
});
