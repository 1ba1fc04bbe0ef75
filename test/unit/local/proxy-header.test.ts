/** What the front door writes is what brokers read. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readProxyHeader } from '../../../services/broker/transport/proxy-header.js';
import { proxyHeader } from '../../../services/local/front-door/proxy-header.js';
import { random } from '../../support/seeds.js';

const read = (client: string, listener: string, port: number): unknown => {
  const header = proxyHeader({ address: client, port }, { address: listener, port: 8883 });
  const reading = readProxyHeader(Buffer.concat([header, Buffer.from('more')]));
  return reading.kind === 'header' ? [reading.origin?.address, reading.headerBytes === header.length] : reading.kind;
};

test.each([
  ['192.0.2.7', '127.0.0.1', '192.0.2.7'],
  ['::ffff:192.0.2.7', '::ffff:127.0.0.1', '192.0.2.7'],
  ['2001:db8::7', '::1', '2001:db8::7'],
  ['::1', '::1', '::1'],
  ['fe80::1:2%eth0', 'fe80::9%eth0', 'fe80::1:2'],
  ['1:2:3:4:5:6:7:8', '::', '1:2:3:4:5:6:7:8'],
  ['64:ff9b::192.0.2.1', '::1', '64:ff9b::c000:201'],
])('%s at %s', (client, listener, told) => {
  expect(read(client, listener, 50_123)).toEqual([`${told}:50123`, true]);
});

test('its bytes, as the specification has them', () => {
  const header = proxyHeader({ address: '192.0.2.7', port: 0x1234 }, { address: '127.0.0.1', port: 8883 });
  expect(header.toString('hex')).toBe(
    '0d0a0d0a000d0a515549540a' + '2111000c' + 'c0000207' + '7f000001' + '1234' + '22b3',
  );
});

test('any address and port', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (address, port) => {
      const told = read(address, address, port) as [string, boolean];
      expect(told[1]).toBe(true);
      expect(told[0].endsWith(`:${port}`)).toBe(true);
      if (!address.includes(':')) expect(told[0]).toBe(`${address}:${port}`);
    }),
    random(300),
  );
});

test('a client that has gone is nobody', () => {
  expect(read(undefined as never, '127.0.0.1', 1)).toEqual([undefined, true]);
  expect(read('192.0.2.7', '::1', 1)).toEqual([undefined, true]);
});
