/** Headers of the PROXY protocol: the text form (version 1), and version 2 put together field by field: right ones, and wrong ones of every kind. */
import { isIPv6 } from 'node:net';

export const signature = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]);

export interface HeaderFields {
  readonly versionAndCommand?: number;
  readonly family?: number;
  /** Addresses, ports and TLVs. */
  readonly body: Buffer;
  /** What the length field says, if not the truth. */
  readonly length?: number;
}

export function header({ versionAndCommand = 0x21, family = 0x11, body, length = body.length }: HeaderFields): Buffer {
  return Buffer.concat([signature, Buffer.from([versionAndCommand, family, length >> 8, length & 0xff]), body]);
}

export const tlv = (type: number, value: Buffer | string): Buffer =>
  Buffer.concat([
    Buffer.from([type, Buffer.byteLength(value) >> 8, Buffer.byteLength(value) & 0xff]),
    Buffer.from(value),
  ]);

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);

/** `client` in full: four numbers, or eight groups. */
export function addresses(client: string, port: number): Buffer {
  const bytes = isIPv6(client)
    ? Buffer.concat(client.split(':').map((group) => u16(parseInt(group, 16))))
    : Buffer.from(client.split('.').map(Number));
  return Buffer.concat([bytes, Buffer.alloc(bytes.length, 9), u16(port), u16(8883)]);
}

export const proxied = (client: string, port: number, ...tlvs: Buffer[]): Buffer =>
  header({ family: isIPv6(client) ? 0x21 : 0x11, body: Buffer.concat([addresses(client, port), ...tlvs]) });

/** As the health checks of a load balancer begin. */
export const local = header({ versionAndCommand: 0x20, family: 0, body: Buffer.alloc(0) });

/** The text form. `client` in any form that its family has. */
export const proxiedText = (client: string, port: number): Buffer =>
  Buffer.from(
    `PROXY ${isIPv6(client) ? 'TCP6' : 'TCP4'} ${client} ${isIPv6(client) ? '::1' : '192.0.2.1'} ${port} 8883\r\n`,
  );
