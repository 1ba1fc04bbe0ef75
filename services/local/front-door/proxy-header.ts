/**
 * The header of the PROXY protocol, version 2, as a load balancer writes it in front of a client's first byte: who the client
 * is and what it connected to. `services/broker/transport/proxy-header.ts` reads it and has the picture.
 */
import { isIPv4, isIPv6 } from 'node:net';

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Version 2; PROXY, that is on behalf of somebody else, or LOCAL, for itself. */
const proxy = 0x21;
const local = 0x20;
/** TCP over each family. */
const tcp4 = 0x11;
const tcp6 = 0x21;
const unspecified = 0x00;

/** One end of a connection, as `node:net` tells it: not at all when it has gone. */
export interface End {
  readonly address: string | undefined;
  readonly port: number | undefined;
}

/** LOCAL, without addresses, when the client has gone already: then the broker takes the connection for the balancer's own. */
export function proxyHeader(client: End, listener: End): Buffer {
  const ends = [client, listener].map(({ address = '', port = 0 }) => ({ address: unmapped(address), port }));
  if (ends.every(({ address }) => isIPv4(address))) return header(proxy, tcp4, ends, ipv4Bytes);
  if (ends.every(({ address }) => isIPv6(address))) return header(proxy, tcp6, ends, ipv6Bytes);
  return header(local, unspecified, [], ipv4Bytes);
}

function header(
  command: number,
  family: number,
  ends: readonly { readonly address: string; readonly port: number }[],
  bytesOf: (address: string) => Buffer,
): Buffer {
  const ports = Buffer.alloc(2 * ends.length);
  for (const [at, { port }] of ends.entries()) ports.writeUInt16BE(port, 2 * at);
  const body = Buffer.concat([...ends.map(({ address }) => bytesOf(address)), ports]);
  const fixed = Buffer.from([command, family, 0, 0]);
  fixed.writeUInt16BE(body.length, 2);
  return Buffer.concat([signature, fixed, body]);
}

/** A listener on `::` has IPv4 clients as `::ffff:192.0.2.1`. */
const unmapped = (address: string): string => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '').split('%')[0]!;

const ipv4Bytes = (address: string): Buffer => Buffer.from(address.split('.').map(Number));

/** What the system writes short: `::` stands for as many zeros as are missing, and the end may be an IPv4 address. */
function ipv6Bytes(address: string): Buffer {
  const groups = (text: string): number[] =>
    text === ''
      ? []
      : text.split(':').flatMap((group) => {
          if (!group.includes('.')) return [parseInt(group, 16)];
          const bytes = ipv4Bytes(group);
          return [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
        });
  const [before = '', after] = address.split('::');
  const [head, tail] = [groups(before), groups(after ?? '')];
  const all = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  const bytes = Buffer.alloc(16);
  for (const [at, group] of all.entries()) bytes.writeUInt16BE(group, 2 * at);
  return bytes;
}
