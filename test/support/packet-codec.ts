/**
 * MQTT 3.1, 3.1.1 and 5.0 packets for the conformance rows, independent of the broker's own codec.
 *
 * The decoder is strict on purpose: whatever a row is about, every packet that the broker sends is checked for reserved
 * bits, shortest length encoding, UTF-8, the properties and reason codes its type may carry. The encoder writes what it is
 * told, so that `bytes` below can also build packets no client should send. Used by PacketClient; never by the broker.
 */
import { packetNames, properties as propertyTable, serverReasonCodes, type PacketName } from './packet-tables.js';

/** 3 is MQTT 3.1 (MQIsdp), 4 is 3.1.1, 5 is 5.0: the protocol level on the wire. */
export type ProtocolLevel = 3 | 4 | 5;

export interface Properties {
  payloadFormatIndicator?: number;
  messageExpiryInterval?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Buffer;
  subscriptionIdentifier?: number | number[];
  sessionExpiryInterval?: number;
  assignedClientIdentifier?: string;
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Buffer;
  requestProblemInformation?: number;
  willDelayInterval?: number;
  requestResponseInformation?: number;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQoS?: number;
  retainAvailable?: number;
  /** In the order on the wire; names may repeat. */
  userProperties?: [string, string][];
  maximumPacketSize?: number;
  wildcardSubscriptionAvailable?: number;
  subscriptionIdentifiersAvailable?: number;
  sharedSubscriptionAvailable?: number;
}

/** One received packet; fields that its type does not have are absent. */
export interface Packet {
  cmd: PacketName;
  raw: Buffer;
  properties: Properties;
  packetId?: number;
  /** v5 reason code or v3 CONNACK return code. */
  reasonCode?: number;
  /** SUBACK and UNSUBACK, one for each filter. */
  reasonCodes?: number[];
  sessionPresent?: boolean;
  topic?: string;
  payload?: Buffer;
  qos?: number;
  dup?: boolean;
  retain?: boolean;
}

/** What the broker sent breaks the specification, whatever the row was looking at. */
export class BrokerFault extends Error {}

function fault(message: string): never {
  throw new BrokerFault(message);
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Reader {
  readonly #b: Buffer;
  #at = 0;
  constructor(b: Buffer) {
    this.#b = b;
  }
  get left(): number {
    return this.#b.length - this.#at;
  }
  take(n: number): Buffer {
    if (n > this.left) fault(`packet ends ${n - this.left} bytes early: ${this.#b.toString('hex')}`);
    this.#at += n;
    return this.#b.subarray(this.#at - n, this.#at);
  }
  u8 = () => this.take(1)[0]!;
  u16 = () => this.take(2).readUInt16BE();
  u32 = () => this.take(4).readUInt32BE();
  binary = () => this.take(this.u16());
  utf8(): string {
    const b = this.binary();
    let text: string;
    try {
      text = strictUtf8.decode(b);
    } catch {
      return fault(`ill-formed UTF-8 ${b.toString('hex')}`);
    }
    if (text.includes('\u0000')) fault('U+0000 in a string');
    return text;
  }
  varint(): number {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const b = this.u8();
      value += (b & 127) * 128 ** i;
      if (b < 128) {
        if (i > 0 && b === 0) fault('variable byte integer is longer than it needs to be');
        return value;
      }
    }
    return fault('variable byte integer of more than four bytes');
  }
  value(type: string): unknown {
    switch (type) {
      case 'u8':
        return this.u8();
      case 'u16':
        return this.u16();
      case 'u32':
        return this.u32();
      case 'varint':
        return this.varint();
      case 'utf8':
        return this.utf8();
      case 'binary':
        return this.binary();
      default:
        return [this.utf8(), this.utf8()];
    }
  }
}

function readProperties(cmd: PacketName, r: Reader): Properties {
  const body = new Reader(r.take(r.varint()));
  const out: Record<string, unknown> = {};
  while (body.left > 0) {
    const id = body.varint();
    const row = propertyTable.find((p) => p.id === id) ?? fault(`unknown property ${id}`);
    if (!row.fromServer.includes(cmd)) fault(`a server may not put ${row.name} on ${cmd}`);
    const value = body.value(row.type);
    if (row.many) ((out[row.name] ??= []) as unknown[]).push(value);
    else if (row.name in out) fault(`${row.name} twice on ${cmd}`);
    else out[row.name] = value;
    if (row.bool && (value as number) > 1) fault(`${row.name} is ${String(value)}`);
    if (row.notZero && value === 0) fault(`${row.name} is 0`);
  }
  return out;
}

/** Length of the first whole packet in `b`, or 0 when more bytes are needed. */
export function frameBytes(b: Buffer): number {
  for (let i = 1, length = 0; i <= 4; i++) {
    if (i >= b.length) return 0;
    const digit = b[i]!;
    length += (digit & 127) * 128 ** (i - 1);
    if (digit < 128) {
      if (i > 1 && digit === 0) fault('remaining length is longer than it needs to be');
      return b.length >= 1 + i + length ? 1 + i + length : 0;
    }
  }
  return fault('remaining length of more than four bytes');
}

function checkReason(cmd: PacketName, code: number, level: ProtocolLevel): number {
  const allowed = serverReasonCodes[level === 5 ? 'v5' : 'v3'][cmd];
  if (allowed && !allowed.includes(code)) fault(`a server may not send reason 0x${code.toString(16)} in ${cmd}`);
  return code;
}

/** Decodes one whole packet from a server, or throws BrokerFault. */
export function decode(raw: Buffer, level: ProtocolLevel): Packet {
  const cmd = packetNames[raw[0]! >> 4] ?? fault(`packet type ${raw[0]! >> 4}`);
  const flags = raw[0]! & 15;
  const r = new Reader(raw.subarray(1));
  const packet: Packet = { cmd, raw, properties: {} };
  if (r.varint() !== r.left) fault('remaining length does not fit the packet');
  if (cmd !== 'publish' && flags !== (cmd === 'pubrel' ? 2 : 0)) fault(`reserved flags ${flags} on ${cmd}`);
  switch (cmd) {
    case 'connack': {
      const ack = r.u8();
      if (ack > 1) fault(`CONNACK flags ${ack}`);
      packet.sessionPresent = ack === 1;
      packet.reasonCode = checkReason(cmd, r.u8(), level);
      if (level === 5) packet.properties = readProperties(cmd, r);
      if (packet.reasonCode !== 0 && packet.sessionPresent) fault('session present on a refused CONNECT');
      break;
    }
    case 'publish':
      readPublish(packet, flags, r, level);
      break;
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      packet.packetId = r.u16() || fault(`packet identifier 0 on ${cmd}`);
      packet.reasonCode = level === 5 && r.left > 0 ? checkReason(cmd, r.u8(), level) : 0;
      if (level === 5 && r.left > 0) packet.properties = readProperties(cmd, r);
      break;
    case 'suback':
    case 'unsuback':
      packet.packetId = r.u16() || fault(`packet identifier 0 on ${cmd}`);
      if (level === 5) packet.properties = readProperties(cmd, r);
      packet.reasonCodes = [...r.take(cmd === 'unsuback' && level < 5 ? 0 : r.left)].map((c) =>
        checkReason(cmd, c, level),
      );
      break;
    case 'pingresp':
      break;
    case 'disconnect':
    case 'auth':
      if (level < 5) fault(`a server never sends ${cmd} in MQTT 3`);
      packet.reasonCode = r.left > 0 ? checkReason(cmd, r.u8(), level) : 0;
      if (r.left > 0) packet.properties = readProperties(cmd, r);
      break;
    default:
      fault(`a server never sends ${cmd}`);
  }
  if (r.left > 0) fault(`${r.left} bytes too many on ${cmd}`);
  return packet;
}

function readPublish(packet: Packet, flags: number, r: Reader, level: ProtocolLevel): void {
  packet.retain = (flags & 1) === 1;
  packet.qos = (flags >> 1) & 3;
  packet.dup = (flags & 8) !== 0;
  if (packet.qos === 3) fault('PUBLISH with QoS 3');
  if (packet.qos === 0 && packet.dup) fault('DUP on a QoS 0 PUBLISH');
  packet.topic = r.utf8();
  if (/[+#]/.test(packet.topic)) fault(`wildcard in the topic name ${packet.topic}`);
  if (packet.qos > 0) packet.packetId = r.u16() || fault('packet identifier 0 on publish');
  if (level === 5) packet.properties = readProperties('publish', r);
  if (packet.topic === '' && packet.properties.topicAlias === undefined) fault('PUBLISH without a topic');
  packet.payload = r.take(r.left);
}
