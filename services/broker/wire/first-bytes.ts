/**
 * What a stranger speaks, by its first bytes. Clients come to the wrong port, and load balancers with headers that nobody
 * expects: whoever refuses them can say what has come. Called by the reader before CONNECT, and by listeners.
 */
import { packetType } from './packets.js';

export type Speech = 'mqtt' | 'tls' | 'http' | 'proxy-header' | 'unknown';

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PRI'];

const tlsHandshake = 0x16;

const openings: readonly { readonly speech: Speech; readonly bytes: Buffer }[] = [
  { speech: 'tls', bytes: Buffer.from([tlsHandshake, 0x03]) }, // A record, RFC 8446 section 5.1.
  { speech: 'proxy-header', bytes: Buffer.from('PROXY ') },
  { speech: 'proxy-header', bytes: Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1') },
  ...methods.map((method) => ({ speech: 'http' as const, bytes: Buffer.from(`${method} `) })),
];

/** Undefined while more bytes are needed, which are 12 at most: what is said does not depend on how they were cut. */
export function speechOf(bytes: Buffer, start = 0, end = bytes.length): Speech | undefined {
  const first = bytes[start]!;
  if (first >> 4 === packetType.connect && first !== tlsHandshake) return 'mqtt';
  let isPart = false;
  for (const opening of openings) {
    const length = Math.min(end - start, opening.bytes.length);
    if (opening.bytes.compare(bytes, start, start + length, 0, length) !== 0) continue;
    if (length === opening.bytes.length) return opening.speech;
    isPart = true;
  }
  if (isPart) return undefined;
  return first >> 4 === packetType.connect ? 'mqtt' : 'unknown';
}
