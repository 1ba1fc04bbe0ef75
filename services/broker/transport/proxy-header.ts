/**
 * The header of the PROXY protocol, version 1 or 2, from bytes: who the client is that a load balancer speaks for. Called by
 * `proxied.ts` with what has come of a connection so far; it reads nothing itself and keeps nothing.
 *
 *      signature (12) | version, command (1) | family, transport (1) | length (2) | addresses | TLVs
 *      PROXY TCP4|TCP6 client server port port CR LF, or PROXY UNKNOWN ... CR LF
 *
 * TCP over IPv4 or IPv6; other families are refused.
 */
import { isIP, SocketAddress } from 'node:net';
import { crc32c } from './crc32c.js';

export interface Origin {
  /** Of the client: `ip:port`. */
  readonly address: string;
  /** The VPC endpoint that the client came through, when it used AWS PrivateLink. */
  readonly endpointId?: string;
}

export interface ProxyHeader {
  readonly kind: 'header';
  /** How much of the bytes it is. */
  readonly headerBytes: number;
  /** Undefined for LOCAL: the balancer speaks for itself. */
  readonly origin: Origin | undefined;
}

/** Why a header is refused: label of the metric, and the words of the log. */
export const headerFaults = {
  'no-proxy-header':
    'the connection does not begin with a PROXY protocol header: have the load balancer send it, or remove --trust-proxy (SHOAL_TRUST_PROXY)',
  'unsupported-version': 'unknown PROXY protocol version',
  'unsupported-command': 'unknown PROXY protocol command',
  'unsupported-family': 'the PROXY protocol header is not for TCP over IPv4 or IPv6',
  'header-too-long': 'the PROXY protocol header is too long',
  'malformed-header': 'the parts of the PROXY protocol header do not fit its length',
  'wrong-checksum': 'the checksum of the PROXY protocol header is wrong',
} as const;

export type HeaderFault = keyof typeof headerFaults;

export type HeaderReading = ProxyHeader | { readonly kind: 'incomplete' } | { readonly kind: HeaderFault };

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixedBytes = 16;
/**
 * The protocol allows 64 KiB. What balancers say is below 200 bytes, and the largest thing that a proxy may pass on is the
 * certificate of the client, some 2 KiB; strangers behind it should not get more memory than that before they are known.
 */
export const headerBytesMax = 4096;

const families = new Map([
  [0x11, { addressBytes: 4, text: ipv4Text }],
  [0x21, { addressBytes: 16, text: ipv6Text }],
]);

const checksumType = 0x03;
const awsType = 0xea;
const awsEndpointId = 0x01;
const incomplete = { kind: 'incomplete' } as const;

/** Section 2.1: the longest line that the text form can have, with its end. */
const textBytesMax = 107;
const textStart = Buffer.from('PROXY ');
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

export function readProxyHeader(bytes: Buffer): HeaderReading {
  return bytes[0] === textStart[0] ? readText(bytes) : readBinary(bytes);
}

function readText(bytes: Buffer): HeaderReading {
  const known = Math.min(bytes.length, textStart.length);
  if (textStart.compare(bytes, 0, known, 0, known) !== 0) return { kind: 'no-proxy-header' };
  const lineEnd = bytes.subarray(0, textBytesMax).indexOf(lineFeed);
  if (lineEnd < 0) return bytes.length < textBytesMax ? incomplete : { kind: 'header-too-long' };
  if (bytes[lineEnd - 1] !== carriageReturn) return { kind: 'malformed-header' };
  const headerBytes = lineEnd + 1;
  const [family, client = '', server = '', clientPort = '', serverPort = '', ...more] = bytes
    .toString('latin1', textStart.length, lineEnd - 1)
    .split(' ');
  // What else the line says is not looked at: the balancer speaks for itself, or does not know.
  if (family === 'UNKNOWN') return { kind: 'header', headerBytes, origin: undefined };
  if (family !== 'TCP4' && family !== 'TCP6') return { kind: 'unsupported-family' };
  const isAddress = (text: string): boolean => isIP(text) === (family === 'TCP4' ? 4 : 6) && !text.includes('%');
  if (more.length > 0 || ![client, server].every(isAddress) || ![clientPort, serverPort].every(isPort))
    return { kind: 'malformed-header' };
  const address = family === 'TCP4' ? client : ipv6Short(client);
  return { kind: 'header', headerBytes, origin: { address: `${address}:${clientPort}` } };
}

const isPort = (text: string): boolean => /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;

function readBinary(bytes: Buffer): HeaderReading {
  const known = Math.min(bytes.length, signature.length);
  if (signature.compare(bytes, 0, known, 0, known) !== 0) return { kind: 'no-proxy-header' };
  if (bytes.length > 12 && bytes[12]! >> 4 !== 2) return { kind: 'unsupported-version' };
  if (bytes.length > 12 && (bytes[12]! & 0x0f) > 1) return { kind: 'unsupported-command' };
  if (bytes.length < fixedBytes) return incomplete;
  const headerBytes = fixedBytes + bytes.readUInt16BE(14);
  if (headerBytes > headerBytesMax) return { kind: 'header-too-long' };
  const isLocal = (bytes[12]! & 0x0f) === 0;
  const family = families.get(bytes[13]!);
  if (!isLocal && !family) return { kind: 'unsupported-family' };
  if (bytes.length < headerBytes) return incomplete;
  // What LOCAL says beside that is to be skipped, whatever it is.
  if (isLocal) return { kind: 'header', headerBytes, origin: undefined };
  return readOrigin(bytes.subarray(0, headerBytes), family!);
}

function readOrigin(
  header: Buffer,
  { addressBytes, text }: { addressBytes: number; text: AddressText },
): HeaderReading {
  const portAt = fixedBytes + 2 * addressBytes; // Behind the client's address and the one that it connected to.
  const tlvsAt = portAt + 4;
  if (header.length < tlvsAt) return { kind: 'malformed-header' };
  const address = `${text(header.subarray(fixedBytes, fixedBytes + addressBytes))}:${header.readUInt16BE(portAt)}`;
  let endpointId: string | undefined;
  for (let at = tlvsAt; at < header.length;) {
    if (at + 3 > header.length) return { kind: 'malformed-header' };
    const type = header[at]!;
    const value = header.subarray(at + 3, at + 3 + header.readUInt16BE(at + 1));
    at += 3 + header.readUInt16BE(at + 1);
    if (at > header.length) return { kind: 'malformed-header' };
    if (type === awsType) endpointId = endpointIdIn(value) ?? endpointId;
    else if (type === checksumType && !isChecked(header, value)) return { kind: 'wrong-checksum' };
  }
  const origin = { address, ...(endpointId !== undefined && { endpointId }) };
  return { kind: 'header', headerBytes: header.length, origin };
}

type AddressText = (bytes: Buffer) => string;

function ipv4Text(bytes: Buffer): string {
  return bytes.join('.');
}

/** In the short form that the system itself gives. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return ipv6Short(groups.join(':'));
}

function ipv6Short(address: string): string {
  return new SocketAddress({ address, family: 'ipv6' }).address;
}

/** It ends up in logs, so what does not look like one is left out. */
function endpointIdIn(value: Buffer): string | undefined {
  const text = value[0] === awsEndpointId ? value.toString('latin1', 1) : '';
  return /^[a-zA-Z0-9-]{1,64}$/.test(text) ? text : undefined;
}

/** Over the whole header, with the checksum itself taken as zero. */
function isChecked(header: Buffer, checksum: Buffer): boolean {
  if (checksum.length !== 4) return false;
  const copy = Buffer.from(header);
  copy.fill(0, checksum.byteOffset - header.byteOffset, checksum.byteOffset - header.byteOffset + 4);
  return crc32c(copy) === checksum.readUInt32BE();
}
