/**
 * MQTT 5.0 properties (section 2.2.2): one table of identifiers, types and the packets they may stand in; decoding
 * into a plain object and encoding from it. User properties stay a list of pairs, because their order counts.
 */
import { Cursor } from './cursor.js';
import { malformed, PeerFault, protocolError, reasons } from './reasons.js';

/** Ten times what programs send; and not so many that to look at them takes time that others miss. */
export const propertiesMax = 1000;
/** The longest Correlation Data or user property there is, or nearly. */
export const propertiesBytesMax = 1 << 16;

type Type = 'byte' | 'u16' | 'u32' | 'varint' | 'utf8' | 'binary' | 'pair';
export type PropertyHome =
  'connect' | 'connack' | 'publish' | 'will' | 'ack' | 'subscribe' | 'suback' | 'unsubscribe' | 'disconnect' | 'auth';

interface Row {
  readonly id: number;
  readonly type: Type;
  readonly homes: readonly PropertyHome[];
}

const row = <T extends Type>(id: number, type: T, ...homes: PropertyHome[]): Row & { readonly type: T } => ({
  id,
  type,
  homes,
});

const table = {
  payloadFormatIndicator: row(0x01, 'byte', 'publish', 'will'),
  messageExpiryInterval: row(0x02, 'u32', 'publish', 'will'),
  contentType: row(0x03, 'utf8', 'publish', 'will'),
  responseTopic: row(0x08, 'utf8', 'publish', 'will'),
  correlationData: row(0x09, 'binary', 'publish', 'will'),
  subscriptionIdentifier: row(0x0b, 'varint', 'publish', 'subscribe'),
  sessionExpiryInterval: row(0x11, 'u32', 'connect', 'connack', 'disconnect'),
  assignedClientIdentifier: row(0x12, 'utf8', 'connack'),
  serverKeepAlive: row(0x13, 'u16', 'connack'),
  authenticationMethod: row(0x15, 'utf8', 'connect', 'connack', 'auth'),
  authenticationData: row(0x16, 'binary', 'connect', 'connack', 'auth'),
  requestProblemInformation: row(0x17, 'byte', 'connect'),
  willDelayInterval: row(0x18, 'u32', 'will'),
  requestResponseInformation: row(0x19, 'byte', 'connect'),
  responseInformation: row(0x1a, 'utf8', 'connack'),
  serverReference: row(0x1c, 'utf8', 'connack', 'disconnect'),
  reasonString: row(0x1f, 'utf8', 'connack', 'ack', 'suback', 'disconnect', 'auth'),
  receiveMaximum: row(0x21, 'u16', 'connect', 'connack'),
  topicAliasMaximum: row(0x22, 'u16', 'connect', 'connack'),
  topicAlias: row(0x23, 'u16', 'publish'),
  maximumQos: row(0x24, 'byte', 'connack'),
  retainAvailable: row(0x25, 'byte', 'connack'),
  userProperties: row(
    0x26,
    'pair',
    'connect',
    'connack',
    'publish',
    'will',
    'ack',
    'subscribe',
    'suback',
    'unsubscribe',
    'disconnect',
    'auth',
  ),
  maximumPacketSize: row(0x27, 'u32', 'connect', 'connack'),
  wildcardSubscriptionAvailable: row(0x28, 'byte', 'connack'),
  subscriptionIdentifierAvailable: row(0x29, 'byte', 'connack'),
  sharedSubscriptionAvailable: row(0x2a, 'byte', 'connack'),
} as const satisfies Record<string, Row>;

type Name = keyof typeof table;
type ValueOf<T extends Type> = T extends 'utf8'
  ? string
  : T extends 'binary'
    ? Buffer
    : T extends 'pair'
      ? readonly (readonly [string, string])[]
      : number;

/** What a packet's properties say; absent ones are undefined. Numbers as in the specification (seconds, bytes). */
export type Properties = { readonly [N in Name]?: ValueOf<(typeof table)[N]['type']> | undefined };

const rows: readonly (Row & { readonly name: Name })[] = (Object.keys(table) as Name[]).map((name) => ({
  name,
  ...table[name],
}));
const byId = new Map(rows.map((r) => [r.id, r]));

/** Values that are a protocol error, property by property. */
const checks: Partial<Record<Name, (value: number) => boolean>> = {
  payloadFormatIndicator: (v) => v <= 1,
  requestProblemInformation: (v) => v <= 1, // section 3.1.2.11.7
  requestResponseInformation: (v) => v <= 1, // section 3.1.2.11.6
  receiveMaximum: (v) => v > 0, // section 3.1.2.11.3
  maximumPacketSize: (v) => v > 0, // section 3.1.2.11.4
  subscriptionIdentifier: (v) => v > 0, // section 3.8.2.1.2
};

/** Asked before any of them is looked at. */
export function checkPropertiesBytes(bytes: number): void {
  if (bytes > propertiesBytesMax) throw tooMany(`${bytes} bytes of properties; the limit is ${propertiesBytesMax}`);
}

export function tooManyProperties(): PeerFault {
  return tooMany(`more than ${propertiesMax} properties in one packet`);
}

const tooMany = (detail: string): PeerFault => new PeerFault(reasons.tooManyProperties, detail);

/**
 * Reads the property length and the properties at the cursor. User properties are kept where they travel on, which is in a
 * will; elsewhere they are looked at and left out.
 */
export function readProperties(cursor: Cursor, home: PropertyHome): Properties {
  const length = cursor.variableByteInteger();
  if (length === 0) return {};
  if (length > cursor.left) throw malformed('the properties extend beyond the end of their packet');
  checkPropertiesBytes(length);
  const found: Record<string, unknown> = {};
  const inner = new Cursor(cursor.bytes, cursor.at, cursor.at + length);
  for (let count = 1; inner.left > 0; count++) {
    if (count > propertiesMax) throw tooManyProperties();
    const id = inner.variableByteInteger();
    const property = byId.get(id);
    if (!property || !property.homes.includes(home))
      throw malformed(`property 0x${id.toString(16)} is not allowed in this packet`);
    const { name } = property;
    if (name === 'userProperties' && home !== 'will') {
      inner.skipUtf8();
      inner.skipUtf8();
      continue;
    }
    const value = readValue(inner, property.type);
    if (name === 'userProperties') ((found[name] ??= []) as unknown[]).push(value);
    else if (found[name] !== undefined) throw protocolError(`property ${name} appears twice`);
    else if (typeof value === 'number' && checks[name]?.(value) === false)
      throw protocolError(`property ${name} cannot have the value ${value}`);
    else found[name] = value;
  }
  cursor.at += length;
  return found;
}

function readValue(cursor: Cursor, type: Type): number | string | Buffer | [string, string] {
  switch (type) {
    case 'byte':
      return cursor.u8();
    case 'u16':
      return cursor.u16();
    case 'u32':
      return cursor.u32();
    case 'varint':
      return cursor.variableByteInteger();
    case 'utf8':
      return cursor.utf8();
    case 'binary':
      return cursor.binary();
    case 'pair':
      return [cursor.utf8(), cursor.utf8()];
  }
}

/** The properties, encoded in the order of the object's keys, without the length in front. */
export function encodeProperties(properties: Properties): Buffer {
  const parts: Buffer[] = [];
  for (const name of Object.keys(properties) as Name[]) {
    const value: number | string | Buffer | readonly (readonly [string, string])[] | undefined = properties[name];
    if (value === undefined) continue;
    const { id, type } = table[name];
    if (typeof value === 'object' && !Buffer.isBuffer(value))
      for (const [key, text] of value) parts.push(Buffer.of(id), lengthPrefixed(key), lengthPrefixed(text));
    else parts.push(Buffer.of(id), encodeValue(type, value));
  }
  return Buffer.concat(parts);
}

function encodeValue(type: Type, value: number | string | Buffer): Buffer {
  if (typeof value !== 'number') return lengthPrefixed(value);
  if (type === 'varint') return encodeVariableByteInteger(value);
  const bytes = Buffer.alloc(type === 'byte' ? 1 : type === 'u16' ? 2 : 4);
  bytes.writeUIntBE(value, 0, bytes.length);
  return bytes;
}

export function lengthPrefixed(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  const prefix = Buffer.alloc(2);
  prefix.writeUInt16BE(bytes.length, 0);
  return Buffer.concat([prefix, bytes]);
}

export function encodeVariableByteInteger(value: number): Buffer {
  const bytes: number[] = [];
  do {
    const low = value % 128;
    value = Math.floor(value / 128);
    bytes.push(value > 0 ? low | 0x80 : low);
  } while (value > 0);
  return Buffer.from(bytes);
}

export function variableByteIntegerBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}
