/** The reader of PROXY protocol headers, by its table, cut at every byte, and under random bytes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32c } from '../../../services/broker/transport/crc32c.js';
import { headerBytesMax, type HeaderFault, readProxyHeader } from '../../../services/broker/transport/proxy-header.js';
import { addresses, header, local, proxied, proxiedText, signature, tlv } from '../../support/proxy-header.js';
import { random } from '../../support/seeds.js';

const endpoint = 'vpce-08d2bf15fac5001c9';
const awsEndpoint = tlv(0xea, `\x01${endpoint}`);

describe('a client that a balancer speaks for', () => {
  test.each<[what: string, bytes: Buffer, origin: object]>([
    ['over IPv4', proxied('203.0.113.7', 50_123), { address: '203.0.113.7:50123' }],
    ['with the highest port', proxied('255.255.255.255', 65_535), { address: '255.255.255.255:65535' }],
    ['over IPv6', proxied('2001:db8:0:0:0:0:0:1', 443), { address: '2001:db8::1:443' }],
    ['through an endpoint', proxied('10.0.0.9', 1, awsEndpoint), { address: '10.0.0.9:1', endpointId: endpoint }],
    [
      'with others around that one',
      proxied('10.0.0.9', 1, tlv(0x04, 'padding'), awsEndpoint, tlv(0xe0, ''), tlv(0x01, 'mqtt')),
      { address: '10.0.0.9:1', endpointId: endpoint },
    ],
    ['with another value of AWS', proxied('10.0.0.9', 1, tlv(0xea, `\x02${endpoint}`)), { address: '10.0.0.9:1' }],
    ['with an empty one', proxied('10.0.0.9', 1, tlv(0xea, '')), { address: '10.0.0.9:1' }],
    ['with what no log should have', proxied('10.0.0.9', 1, tlv(0xea, '\x01vpce\n{}')), { address: '10.0.0.9:1' }],
  ])('%s', (_what, bytes, origin) => {
    const reading = { kind: 'header', headerBytes: bytes.length, origin };
    expect(readProxyHeader(bytes)).toEqual(reading);
    expect(readProxyHeader(Buffer.concat([bytes, Buffer.from('what follows')]))).toEqual(reading);
  });

  test('LOCAL has no client, whatever else it says', () => {
    expect(readProxyHeader(local)).toEqual({ kind: 'header', headerBytes: 16, origin: undefined });
    const odd = header({ versionAndCommand: 0x20, family: 0x31, body: Buffer.alloc(300, 0xff) });
    expect(readProxyHeader(odd)).toEqual({ kind: 'header', headerBytes: 316, origin: undefined });
  });
});

describe('the text form', () => {
  const longest = `PROXY TCP6 ${Array(8).fill('ffff').join(':')} ${Array(8).fill('ffff').join(':')} 65535 65535\r\n`;
  test.each<[text: string, address: string | undefined]>([
    ['PROXY TCP4 203.0.113.7 192.0.2.1 50123 8883\r\n', '203.0.113.7:50123'],
    ['PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n', '255.255.255.255:0'],
    ['PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::1 443 8883\r\n', '2001:db8::1:443'],
    [longest, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535'],
    ['PROXY UNKNOWN\r\n', undefined],
    ['PROXY UNKNOWN ffff::1 whatever it is\r\n', undefined],
    [`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`, undefined],
  ])('%j', (text, address) => {
    const origin = address === undefined ? undefined : { address };
    const reading = { kind: 'header', headerBytes: text.length, origin };
    expect(readProxyHeader(Buffer.from(`${text}what follows\r\n`))).toEqual(reading);
    for (let cut = 0; cut < text.length; cut++)
      expect(readProxyHeader(Buffer.from(text.slice(0, cut))).kind, `cut at ${cut}`).toBe('incomplete');
  });

  test.each<[kind: HeaderFault, text: string]>([
    ['no-proxy-header', 'PROXX TCP4 203.0.113.7 192.0.2.1 50123 8883\r\n'],
    ['no-proxy-header', 'proxy TCP4 203.0.113.7 192.0.2.1 50123 8883\r\n'],
    ['no-proxy-header', 'POST /mqtt HTTP/1.1\r\n'],
    ['unsupported-family', 'PROXY \r\n'],
    ['unsupported-family', 'PROXY UDP4 203.0.113.7 192.0.2.1 50123 8883\r\n'],
    ['unsupported-family', 'PROXY unknown\r\n'],
    ['unsupported-family', 'PROXY UNKNOWNS\r\n'],
    ['header-too-long', `PROXY UNKNOWN ${'x'.repeat(92)}\r\n`],
    ['header-too-long', `PROXY ${'\r'.repeat(200)}`],
    ['malformed-header', 'PROXY UNKNOWN\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 50123 8883\n'],
    ['malformed-header', 'PROXY TCP4\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 50123\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 50123 8883 \r\n'],
    ['malformed-header', 'PROXY TCP4  203.0.113.7 192.0.2.1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7\t192.0.2.1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 50123 8883\r\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.007 192.0.2.1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.256 192.0.2.1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 localhost 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 65536 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 050 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 -1 8883\r\n'],
    ['malformed-header', 'PROXY TCP4 203.0.113.7 192.0.2.1 50123 x\r\n'],
    ['malformed-header', 'PROXY TCP4 2001:db8::1 ::1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP6 203.0.113.7 192.0.2.1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP6 fe80::1%eth0 ::1 50123 8883\r\n'],
    ['malformed-header', 'PROXY TCP6 [2001:db8::1] ::1 50123 8883\r\n'],
  ])('%s: %j', (kind, text) => {
    expect(readProxyHeader(Buffer.from(text))).toEqual({ kind });
  });
});

describe('a checksum', () => {
  test('is CRC-32C as RFC 3720 has it', () => {
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  const withChecksum = (): Buffer => {
    const bytes = proxied('203.0.113.7', 50_123, awsEndpoint, tlv(0x03, Buffer.alloc(4)), tlv(0x04, 'behind it'));
    bytes.writeUInt32BE(crc32c(bytes), bytes.length - 'behind it'.length - 3 - 4);
    return bytes;
  };

  test('is checked when there is one', () => {
    expect(readProxyHeader(withChecksum())).toMatchObject({ kind: 'header', origin: { address: '203.0.113.7:50123' } });
    for (let at = 16; at < 28; at++) {
      const bytes = withChecksum();
      bytes[at]! ^= 1;
      expect(readProxyHeader(bytes)).toEqual({ kind: 'wrong-checksum' });
    }
    expect(readProxyHeader(proxied('10.0.0.9', 1, tlv(0x03, 'abc')))).toEqual({ kind: 'wrong-checksum' });
  });
});

describe('what is refused', () => {
  const body = addresses('203.0.113.7', 50_123);
  test.each<[kind: HeaderFault, what: string, bytes: Buffer]>([
    ['no-proxy-header', 'an MQTT CONNECT', Buffer.from([0x10, 0x0c])],
    ['no-proxy-header', 'a signature that is nearly right', Buffer.from([...signature.subarray(0, 11), 0x0b])],
    ['unsupported-version', 'version 1 in binary', header({ versionAndCommand: 0x11, body })],
    ['unsupported-version', 'version 3', header({ versionAndCommand: 0x31, body })],
    ['unsupported-command', 'command 2', header({ versionAndCommand: 0x22, body })],
    ['unsupported-family', 'no family', header({ family: 0x00, body })],
    ['unsupported-family', 'UDP over IPv4', header({ family: 0x12, body })],
    ['unsupported-family', 'UDP over IPv6', header({ family: 0x22, body: addresses('0:0:0:0:0:0:0:1', 1) })],
    ['unsupported-family', 'a Unix socket', header({ family: 0x31, body: Buffer.alloc(216) })],
    ['unsupported-family', 'a family that is not known', header({ family: 0x41, body })],
    ['header-too-long', 'one byte too many', header({ body: Buffer.alloc(0), length: headerBytesMax - 15 })],
    ['header-too-long', 'the longest there is', header({ body: Buffer.alloc(0), length: 0xffff })],
    ['header-too-long', 'LOCAL, too', header({ versionAndCommand: 0x20, body: Buffer.alloc(0), length: 0xffff })],
    ['malformed-header', 'addresses that are cut short', header({ body: body.subarray(0, 11) })],
    ['malformed-header', 'IPv4 addresses for IPv6', header({ family: 0x21, body })],
    ['malformed-header', 'no addresses', header({ body: Buffer.alloc(0) })],
    ['malformed-header', 'a TLV without its length', header({ body: Buffer.concat([body, Buffer.from([0xea, 0])]) })],
    ['malformed-header', 'a TLV behind the end', header({ body: Buffer.concat([body, Buffer.from([4, 0, 2, 0])]) })],
  ])('%s: %s', (kind, _what, bytes) => {
    expect(readProxyHeader(bytes)).toEqual({ kind });
  });

  test('the longest header that is taken is taken', () => {
    const filled = tlv(0x04, Buffer.alloc(headerBytesMax - 16 - 12 - 3));
    const reading = readProxyHeader(proxied('203.0.113.7', 50_123, filled));
    expect(reading).toMatchObject({ kind: 'header', headerBytes: headerBytesMax });
  });
});

const ipv4 = fc.ipV4();
const ipv6 = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.map((group) => group.toString(16)).join(':'));
const tlvs = fc.array(
  fc
    .tuple(
      fc.integer({ min: 0, max: 255 }).filter((type) => type !== 0x03),
      fc.uint8Array({ maxLength: 300 }),
    )
    .map(([type, value]) => tlv(type, Buffer.from(value))),
  { maxLength: 5 },
);
const right = fc.tuple(fc.oneof(ipv4, ipv6), fc.integer({ min: 0, max: 65_535 }), tlvs);

test('a right header, cut anywhere, is incomplete before its end and the same after it', () => {
  fc.assert(
    fc.property(right, fc.uint8Array({ maxLength: 50 }), ([client, port, extra], rest) => {
      const whole = proxied(client, port, ...extra);
      const bytes = Buffer.concat([whole, rest]);
      const expected = readProxyHeader(whole);
      expect(expected).toMatchObject({ kind: 'header', headerBytes: whole.length });
      for (let cut = 0; cut < whole.length; cut++)
        expect(readProxyHeader(bytes.subarray(0, cut)).kind, `cut at ${cut}`).toBe('incomplete');
      for (let cut = whole.length; cut <= bytes.length; cut++)
        expect(readProxyHeader(bytes.subarray(0, cut))).toEqual(expected);
    }),
    random(40),
  );
});

test('whatever comes, the reading of a part never contradicts that of the whole, and nothing throws', () => {
  const damaged = fc
    .tuple(right, fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }))
    .map(([[client, port, extra], changes]) => {
      const bytes = proxied(client, port, ...extra);
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  const anything = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
  const text = fc.tuple(ipv4, fc.nat(70_000)).map(([client, port]) => proxiedText(client, port));
  const line = fc
    .tuple(anything, fc.constantFrom('', '\n', '\r\n'))
    .map(([rest, end]) => Buffer.concat([Buffer.from('PROXY '), rest, Buffer.from(end), rest]));
  const signed = anything.map((bytes) => Buffer.concat([signature, bytes]));
  fc.assert(
    fc.property(fc.oneof(damaged, anything, signed, text, line), (bytes) => {
      const whole = readProxyHeader(bytes);
      for (let cut = 0; cut < bytes.length; cut++) {
        const part = readProxyHeader(bytes.subarray(0, cut));
        if (part.kind !== 'incomplete') expect(part).toEqual(whole);
      }
      if (whole.kind === 'header')
        expect(whole.headerBytes).toBeLessThanOrEqual(Math.min(bytes.length, headerBytesMax));
      // What is incomplete is bounded: nobody waits for more than the longest header.
      if (whole.kind === 'incomplete') expect(bytes.length).toBeLessThan(headerBytesMax);
    }),
    random(2000),
  );
});
