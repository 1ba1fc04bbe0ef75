/** Where brokers are dialled. */
import { expect, it } from 'vitest';
import { addressText, reachableHost, readAddress } from '../../../services/broker/mesh/address.js';

it.each(['10.0.0.1:7883', 'broker-1.internal:1', '[fd00::1]:65535'])('%s is an address', (text) => {
  expect(addressText(readAddress(text)!)).toBe(text);
});

it.each(['', '10.0.0.1', ':7883', '10.0.0.1:0', '10.0.0.1:65536', 'fd00::1:7883', '[10.0.0.1]:1', '[x]:1', 'a b:1'])(
  '"%s" is none',
  (text) => expect(readAddress(text)).toBeUndefined(),
);

const at = (address: string, family: 'IPv4' | 'IPv6' = 'IPv4', internal = false) =>
  ({ address, family, internal }) as NonNullable<
    ReturnType<typeof import('node:os').networkInterfaces>[string]
  >[number];

it.each([
  ['127.0.0.1', {}, '127.0.0.1'],
  ['0.0.0.0', { lo: [at('127.0.0.1', 'IPv4', true)], eth0: [at('169.254.172.2')], eth1: [at('10.0.0.7')] }, '10.0.0.7'],
  ['::', { eth1: [at('10.0.0.7'), at('fd00::7', 'IPv6')] }, '10.0.0.7'],
  ['0.0.0.0', { eth0: [at('10.0.0.7')], eth1: [at('10.1.0.7')] }, undefined],
  ['0.0.0.0', {}, undefined],
])('a listener bound to %s is reached by the one address that there is', (host, interfaces, reached) => {
  expect(reachableHost(host, interfaces)).toBe(reached);
});
