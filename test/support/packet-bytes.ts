/**
 * Packets of a client as bytes. `bytes` builds any packet, also those that no client should send; the functions below it
 * write the well-formed ones. Used by PacketClient and by rows that take a packet apart.
 */
import type { Properties, ProtocolLevel } from './packet-codec.js';
import { packetNumbers, properties as propertyTable, type PacketName } from './packet-tables.js';

export interface Will {
  topic: string;
  payload: string | Buffer;
  qos?: number;
  retain?: boolean;
  properties?: Properties;
}

export interface ConnectFields {
  version?: ProtocolLevel;
  /** Sets the bridge bit of the protocol level. */
  bridge?: boolean;
  clientId?: string;
  /** Clean Session or Clean Start; true by default. */
  clean?: boolean;
  keepalive?: number;
  will?: Will;
  properties?: Properties;
  username?: string | undefined;
  password?: string | Buffer | undefined;
}

export interface PublishFields {
  topic: string;
  payload?: string | Buffer;
  qos?: 0 | 1 | 2;
  dup?: boolean;
  retain?: boolean;
  packetId?: number;
  properties?: Properties;
}

export interface SubscriptionFields {
  filter: string;
  qos?: number;
  noLocal?: boolean;
  retainAsPublished?: boolean;
  retainHandling?: number;
}

/** Byte builders, for well-formed and for broken packets alike. */
export const bytes = {
  u8: (n: number) => Buffer.from([n]),
  u16: (n: number) => Buffer.from([n >> 8, n & 255]),
  u32: (n: number) => Buffer.from([(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]),
  varint(n: number): Buffer {
    const out: number[] = [];
    do {
      const low = n % 128;
      n = Math.floor(n / 128);
      out.push(n > 0 ? low | 128 : low);
    } while (n > 0);
    return Buffer.from(out);
  },
  binary: (b: Buffer | string) => Buffer.concat([bytes.u16(Buffer.byteLength(b)), Buffer.from(b as Buffer)]),
  utf8: (s: string) => bytes.binary(Buffer.from(s, 'utf8')),
  /** A whole packet: first byte from the type and flags, then the length, then the parts. */
  packet(cmd: PacketName | number, flags: number, ...parts: Buffer[]): Buffer {
    const body = Buffer.concat(parts);
    const type = typeof cmd === 'number' ? cmd : packetNumbers[cmd];
    return Buffer.concat([bytes.u8((type << 4) | flags), bytes.varint(body.length), body]);
  },
  /** One property: identifier and value. */
  property(name: keyof Properties, value: unknown): Buffer {
    const row = propertyTable.find((p) => p.name === name)!;
    return Buffer.concat([bytes.u8(row.id), encodeValue(row.type, value)]);
  },
  /** Property length and properties; user properties and subscription identifiers are written one by one. */
  properties(p: Properties = {}): Buffer {
    const parts: Buffer[] = [];
    for (const name of Object.keys(p) as (keyof Properties)[]) {
      const value = p[name];
      if (value === undefined) continue;
      const many = name === 'userProperties' || Array.isArray(value);
      for (const one of many ? (value as unknown[]) : [value]) parts.push(bytes.property(name, one));
    }
    const body = Buffer.concat(parts);
    return Buffer.concat([bytes.varint(body.length), body]);
  },
};

function encodeValue(type: string, value: unknown): Buffer {
  switch (type) {
    case 'u8':
      return bytes.u8(value as number);
    case 'u16':
      return bytes.u16(value as number);
    case 'u32':
      return bytes.u32(value as number);
    case 'varint':
      return bytes.varint(value as number);
    case 'utf8':
      return bytes.utf8(value as string);
    case 'binary':
      return bytes.binary(value as Buffer);
    default: {
      const [name, text] = value as [string, string];
      return Buffer.concat([bytes.utf8(name), bytes.utf8(text)]);
    }
  }
}

/** The bytes of a CONNECT; rows that need a broken one take it apart with `bytes`. */
export function connectBytes(c: ConnectFields): Buffer {
  const level = c.version ?? 5;
  const will = c.will;
  const flags =
    ((c.clean ?? true) ? 2 : 0) |
    (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0) : 0) |
    (c.password !== undefined ? 64 : 0) |
    (c.username !== undefined ? 128 : 0);
  return bytes.packet(
    'connect',
    0,
    bytes.utf8(level === 3 ? 'MQIsdp' : 'MQTT'),
    bytes.u8(level | (c.bridge ? 0x80 : 0)),
    bytes.u8(flags),
    bytes.u16(c.keepalive ?? 0),
    ...(level === 5 ? [bytes.properties(c.properties)] : []),
    bytes.utf8(c.clientId ?? ''),
    ...(will && level === 5 ? [bytes.properties(will.properties)] : []),
    ...(will ? [bytes.utf8(will.topic), bytes.binary(will.payload)] : []),
    ...(c.username !== undefined ? [bytes.utf8(c.username)] : []),
    ...(c.password !== undefined ? [bytes.binary(c.password)] : []),
  );
}

export function publishBytes(p: PublishFields, level: ProtocolLevel): Buffer {
  const qos = p.qos ?? 0;
  return bytes.packet(
    'publish',
    (p.dup ? 8 : 0) | (qos << 1) | (p.retain ? 1 : 0),
    bytes.utf8(p.topic),
    ...(qos > 0 ? [bytes.u16(p.packetId ?? 1)] : []),
    ...(level === 5 ? [bytes.properties(p.properties)] : []),
    Buffer.from(p.payload ?? ''),
  );
}

/** A filter alone asks for QoS 2. */
export function subscribeBytes(
  subscriptions: (string | SubscriptionFields)[],
  level: ProtocolLevel,
  packetId: number,
  properties?: Properties,
): Buffer {
  const parts = subscriptions.map((s) => {
    const f = typeof s === 'string' ? { filter: s } : s;
    const options = (f.qos ?? 2) | (f.noLocal ? 4 : 0) | (f.retainAsPublished ? 8 : 0) | ((f.retainHandling ?? 0) << 4);
    return Buffer.concat([bytes.utf8(f.filter), bytes.u8(options)]);
  });
  return bytes.packet(
    'subscribe',
    2,
    bytes.u16(packetId),
    ...(level === 5 ? [bytes.properties(properties)] : []),
    ...parts,
  );
}
