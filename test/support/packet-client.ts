/**
 * An MQTT client of single packets over a real socket: it sends exactly what a row says, in any order and as malformed
 * as it likes, and takes what comes back one packet at a time. It answers nothing by itself.
 *
 * Besides what a row asks for, it checks on every packet what holds always: the size limit, the window, the aliases
 * and the wish for problem information that its own CONNECT named. Used by the conformance rows.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import {
  bytes,
  connectBytes,
  publishBytes,
  subscribeBytes,
  type ConnectFields,
  type PublishFields,
  type SubscriptionFields,
} from './packet-bytes.js';
import { BrokerFault, decode, frameBytes, type Packet, type Properties, type ProtocolLevel } from './packet-codec.js';
import { describe, hex, isSubset } from './packet-match.js';
import type { PacketName } from './packet-tables.js';

/** Fields to compare; a property given as undefined must be absent. */
export type Match = Partial<Omit<Packet, 'payload' | 'properties'>> & {
  payload?: string | Buffer;
  properties?: { [K in keyof Properties]: Properties[K] | undefined };
};

export class PacketClient {
  level: ProtocolLevel;
  /** The broker's answer to `connect`. */
  connack!: Packet;
  clientId = '';
  /** How long an awaited packet or close may take before the row fails. */
  boundMs = 5_000;
  /** For a peer that often closes without saying why: the close alone is enough for `expectClosed`. */
  reasonOptional = false;
  readonly #socket: Socket;
  #inbox: Packet[] = [];
  #waiting: (() => void) | undefined;
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #connected = false;
  #fault: BrokerFault | undefined;
  #lastPacketId = 0;
  #limits: Properties = {};
  #unacknowledged = new Set<number>();
  #aliases = new Map<number, string>();

  private constructor(socket: Socket, level: ProtocolLevel) {
    this.#socket = socket;
    this.level = level;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    const end = (): void => {
      this.#ended = true;
      this.#waiting?.();
    };
    // A reset counts as closed: a broker may drop unread input together with the connection.
    socket.on('error', end);
    socket.on('end', end);
    socket.on('close', end);
  }

  static async open(port: number, level: ProtocolLevel = 5, host = '127.0.0.1'): Promise<PacketClient> {
    const socket = connectSocket({ port, host });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new PacketClient(socket, level);
  }

  // ---- sending

  send(...parts: (Buffer | string)[]): void {
    this.#socket.write(Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p, 'hex') : p))));
  }

  /** Sends CONNECT only. */
  sendConnect(fields: ConnectFields): void {
    this.level = fields.version ?? this.level;
    this.#limits = this.level === 5 ? (fields.properties ?? {}) : {};
    this.clientId = fields.clientId ?? '';
    this.send(connectBytes({ ...fields, version: this.level }));
  }

  /** Sends CONNECT and requires a successful CONNACK. */
  async connect(fields: ConnectFields): Promise<this> {
    this.sendConnect(fields);
    this.connack = await this.expect('connack', { reasonCode: 0 });
    this.clientId = this.connack.properties.assignedClientIdentifier ?? this.clientId;
    return this;
  }

  nextPacketId(): number {
    return ++this.#lastPacketId;
  }

  /** Sends PUBLISH and returns its packet identifier (0 for QoS 0). */
  sendPublish(p: PublishFields): number {
    const qos = p.qos ?? 0;
    const packetId = qos > 0 ? (p.packetId ?? this.nextPacketId()) : 0;
    this.send(this.publishBytes({ ...p, packetId }));
    return packetId;
  }

  publishBytes(p: PublishFields): Buffer {
    return publishBytes(p, this.level);
  }

  /** Each byte in a write of its own. */
  sendBytewise(p: PublishFields): void {
    for (const byte of this.publishBytes(p)) this.send(bytes.u8(byte));
  }

  /** Publishes and completes the acknowledgement; returns the last packet of it (undefined for QoS 0). */
  async publish(p: PublishFields): Promise<Packet | undefined> {
    const packetId = this.sendPublish(p);
    if (!p.qos) return undefined;
    if (p.qos === 1) return this.answer('puback', packetId);
    const rec = await this.answer('pubrec', packetId);
    if (rec.reasonCode! >= 0x80) return rec;
    this.sendAck('pubrel', packetId);
    return this.answer('pubcomp', packetId);
  }

  sendAck(cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', packetId: number, reasonCode?: number): void {
    if (cmd === 'puback' || cmd === 'pubcomp' || (cmd === 'pubrec' && (reasonCode ?? 0) >= 0x80))
      this.#unacknowledged.delete(packetId);
    const reason = reasonCode === undefined ? [] : [bytes.u8(reasonCode)];
    this.send(bytes.packet(cmd, cmd === 'pubrel' ? 2 : 0, bytes.u16(packetId), ...reason));
  }

  sendSubscribe(subscriptions: (string | SubscriptionFields)[], properties?: Properties, packetId?: number): number {
    const id = packetId ?? this.nextPacketId();
    this.send(subscribeBytes(subscriptions, this.level, id, properties));
    return id;
  }

  /** Subscribes (QoS 2 unless told) and returns the SUBACK. */
  async subscribe(...subscriptions: (string | SubscriptionFields)[]): Promise<Packet> {
    return this.answer('suback', this.sendSubscribe(subscriptions));
  }

  sendUnsubscribe(...filters: string[]): number {
    const id = this.nextPacketId();
    const props = this.level === 5 ? [bytes.properties()] : [];
    this.send(bytes.packet('unsubscribe', 2, bytes.u16(id), ...props, ...filters.map(bytes.utf8)));
    return id;
  }

  async unsubscribe(...filters: string[]): Promise<Packet> {
    return this.answer('unsuback', this.sendUnsubscribe(...filters));
  }

  sendDisconnect(reasonCode?: number, properties?: Properties): void {
    const body: Buffer[] = reasonCode === undefined ? [] : [bytes.u8(reasonCode)];
    if (properties) body.push(bytes.properties(properties));
    this.send(bytes.packet('disconnect', 0, ...body));
  }

  /** Ends the connection as a well-behaved client does, and waits until the broker has closed it. */
  async disconnect(reasonCode?: number, properties?: Properties): Promise<void> {
    this.sendDisconnect(reasonCode, properties);
    await this.#wait(() => this.#ended, 'the broker to close after DISCONNECT');
    this.destroy();
  }

  /** Closes without DISCONNECT, as a client whose process ends, and waits until the broker has noticed. */
  async drop(): Promise<void> {
    this.#socket.end();
    await this.#wait(() => this.#ended, 'the broker to close after the client did');
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Ends with RST, as a network does that has forgotten the connection. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** Closes its own direction only, without DISCONNECT. */
  hangUp(): void {
    this.#socket.end();
  }

  /** A client that does not read: what the broker sends stays in the network. */
  stopReading(): void {
    this.#socket.pause();
  }

  readOn(): void {
    this.#socket.resume();
  }

  // ---- receiving

  #receive(chunk: Buffer): void {
    this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, chunk]) : chunk;
    try {
      for (let n = frameBytes(this.#bytes); n > 0; n = frameBytes(this.#bytes)) {
        const packet = decode(this.#bytes.subarray(0, n), this.level);
        this.#bytes = this.#bytes.subarray(n);
        this.#check(packet);
        this.#inbox.push(packet);
      }
    } catch (error) {
      this.#fault = error as BrokerFault;
      this.#socket.destroy();
    }
    this.#waiting?.();
  }

  /** What must hold for every packet, given this client's own CONNECT. */
  #check(p: Packet): void {
    const { maximumPacketSize, receiveMaximum, topicAliasMaximum, requestProblemInformation } = this.#limits;
    if (p.raw.length > (maximumPacketSize ?? Infinity)) throw new BrokerFault(`${p.cmd} of ${p.raw.length} bytes`);
    const problem = p.properties.reasonString !== undefined || p.properties.userProperties !== undefined;
    if (requestProblemInformation === 0 && problem && !['publish', 'connack', 'disconnect'].includes(p.cmd))
      throw new BrokerFault(`problem information on ${p.cmd} though the client declined it`);
    if (!this.#connected && p.cmd !== 'connack') throw new BrokerFault(`${p.cmd} before a successful CONNACK`);
    if (this.#connected && p.cmd === 'connack') throw new BrokerFault('a second CONNACK');
    if (p.cmd === 'connack') this.#connected = p.reasonCode === 0;
    if (p.cmd !== 'publish') return;
    const alias = p.properties.topicAlias;
    if (alias !== undefined) {
      if (alias > (topicAliasMaximum ?? 0)) throw new BrokerFault(`topic alias ${alias}`);
      if (p.topic) this.#aliases.set(alias, p.topic);
      else p.topic = this.#aliases.get(alias) ?? never(`topic alias ${alias} was never set`);
    }
    if (p.qos === 0) return;
    if (this.#unacknowledged.has(p.packetId!)) throw new BrokerFault(`packet identifier ${p.packetId} is in use`);
    this.#unacknowledged.add(p.packetId!);
    if (this.#unacknowledged.size > (receiveMaximum ?? 65_535)) throw new BrokerFault('Receive Maximum exceeded');
  }

  async #wait(done: () => boolean, what: string): Promise<void> {
    const deadline = performance.now() + this.boundMs;
    while (!done()) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`waited ${this.boundMs} ms for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#waiting = undefined;
    }
  }

  /** The next packet, whatever it is; fails when the connection ends instead. */
  async next(what = 'a packet'): Promise<Packet> {
    await this.#wait(() => this.#inbox.length > 0 || this.#ended || this.#fault !== undefined, what);
    const packet = this.#inbox.shift();
    if (packet) return packet;
    throw this.#fault ?? new Error(`connection closed while waiting for ${what}`);
  }

  /** The answer to an exchange: messages that arrive before it stay in line. */
  async answer(cmd: PacketName, packetId: number): Promise<Packet> {
    const find = (): number => this.#inbox.findIndex((p) => p.cmd !== 'publish' && p.packetId === packetId);
    const urgent = (): boolean => this.#inbox.some((p) => p.cmd === 'disconnect');
    await this.#wait(() => find() >= 0 || urgent() || this.#ended || this.#fault !== undefined, cmd);
    const [packet] = find() >= 0 ? this.#inbox.splice(find(), 1) : [];
    if (packet?.cmd === cmd) return packet;
    if (this.#fault) throw this.#fault;
    const instead = packet ?? this.#inbox.at(-1);
    throw new Error(`expected ${cmd} ${packetId}, got ${instead ? describe(instead) : 'the end of the connection'}`);
  }

  /** The next packet must be of this type and agree with `match` in every field that it names. */
  async expect(cmd: PacketName, match: Match = {}): Promise<Packet> {
    const packet = await this.next(cmd);
    if (packet.cmd !== cmd) throw new Error(`expected ${cmd}, got ${describe(packet)}`);
    const { payload, ...fields } = match;
    for (const [field, wanted] of Object.entries(fields))
      if (!isSubset(wanted, packet[field as keyof Packet]))
        throw new Error(`${cmd}.${field}: expected ${JSON.stringify(wanted)}, got ${describe(packet)}`);
    if (payload !== undefined && !packet.payload?.equals(Buffer.from(payload)))
      throw new Error(`payload: expected ${String(payload).slice(0, 80)}, got ${describe(packet)}`);
    return packet;
  }

  /** Receives a PUBLISH and acknowledges it in full. */
  async receive(match: Match = {}): Promise<Packet> {
    const p = await this.expect('publish', match);
    if (p.qos === 1) this.sendAck('puback', p.packetId!);
    if (p.qos === 2) {
      this.sendAck('pubrec', p.packetId!);
      await this.answer('pubrel', p.packetId!);
      this.sendAck('pubcomp', p.packetId!);
    }
    return p;
  }

  /** Nothing is on its way: a PINGREQ is answered before anything else. */
  async expectNothing(): Promise<void> {
    this.send('c000');
    await this.expect('pingresp');
  }

  /**
   * The broker must close. With a reason in v5: the last packet must be DISCONNECT (or CONNACK, when there was none yet)
   * with that code; in v3 nothing may come before the end, except a CONNACK with that return code.
   */
  async expectClosed(reason?: number | number[]): Promise<void> {
    const reasons = reason === undefined ? undefined : [reason].flat();
    const said: Packet[] = [];
    for (;;) {
      await this.#wait(() => this.#inbox.length > 0 || this.#ended || !!this.#fault, 'the broker to close');
      const packet = this.#inbox.shift();
      if (packet) said.push(packet);
      else if (this.#fault) throw this.#fault;
      else break;
    }
    const last = said.pop();
    if (said.length > 0) throw new Error(`before the close came ${said.map(describe).join(', ')}`);
    if (last && last.cmd !== 'disconnect' && last.cmd !== 'connack')
      throw new Error(`before the close: ${describe(last)}`);
    if (!reasons || (!last && this.reasonOptional)) return;
    const code = last?.reasonCode;
    if (code === undefined || !reasons.includes(code))
      throw new Error(`closed with ${last ? describe(last) : 'no packet'}, expected ${reasons.map(hex).join(' or ')}`);
  }

  /** The broker must close without a word. */
  async expectSilentClose(): Promise<void> {
    await this.#wait(() => this.#inbox.length > 0 || this.#ended, 'the broker to close');
    const packet = this.#inbox.shift();
    if (packet) throw new Error(`before the close: ${describe(packet)}`);
  }

  /** Packets received and not yet looked at. */
  get pending(): number {
    return this.#inbox.length;
  }

  /** The connection has been closed by the broker, and nothing unread is left. */
  get closed(): boolean {
    return this.#ended && this.#inbox.length === 0;
  }
}

function never(message: string): never {
  throw new BrokerFault(message);
}
