/**
 * A peer of a real Transport that goes as far as a test says and then does nothing, or too little: half a PROXY header,
 * half a ClientHello, half a request, half a CONNECT; and what the listeners need to be that slow with by a clock of the test.
 */
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import type { Log } from '../../../services/kernel/kernel.js';
import { type ListenerOptions, Transport, trustedProxies } from '../../../services/broker/transport/transport.js';
import { wheelTickMs } from '../../../services/broker/transport/wheel.js';
import { Thread } from '../../../services/broker/tenant/tenant.js';
import { TopicTable } from '../../../services/broker/wire/wire.js';
import { connectBytes, type ConnectFields, publishBytes } from '../../support/packet-bytes.js';
import { proxied } from '../../support/proxy-header.js';
import { until } from '../../support/until.js';
import { World } from '../admission/world.js';
import type { Tls } from './test-tls.js';

export type Listener = ListenerOptions['kind'];
export const listeners: readonly Listener[] = ['mqtt', 'mqtts', 'ws', 'wss'];
export const hasTls = (kind: Listener): boolean => kind === 'mqtts' || kind === 'wss';
export const hasHttp = (kind: Listener): boolean => kind === 'ws' || kind === 'wss';

/** A Transport on the admission of tests, whose clock stands until a test moves it. */
export class Door {
  readonly world = new World({ publishPerSecond: null, deliverPerSecond: null, bytesPerSecond: null });
  readonly transport: Transport;
  readonly kind: Listener;
  readonly behindProxy: boolean;
  readonly lines: { level: keyof Log; fields: object; message: string }[] = [];
  port = 0;

  constructor(
    kind: Listener,
    behindProxy = false,
    places: { max?: number; share?: number; perAddress?: number } = {},
    isWebSocketAtRoot = true,
  ) {
    const trusted = trustedProxies('127.0.0.0/8');
    if ('notANetwork' in trusted) throw new Error('not a network');
    this.kind = kind;
    this.behindProxy = behindProxy;
    const { admission, clock, metrics } = this.world;
    const note = (level: keyof Log) => (fields: object, message: string) =>
      void this.lines.push({ level, fields, message });
    const log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') };
    this.transport = new Transport({
      ...{ admission, clock, metrics, log, topics: new TopicTable(), thread: new Thread(clock) },
      connectionsMax: places.max ?? 1000,
      newcomersPercentMax: places.share ?? 100,
      newcomersPerAddressPercentMax: places.perAddress ?? 100,
      trustedProxies: behindProxy ? trusted : undefined,
      isWebSocketAtRoot,
      gate: { leave: () => 'all', onLapsed: () => undefined },
    });
  }

  async listen(tls: Tls): Promise<this> {
    this.port = await this.transport.listen({ kind: this.kind, host: '127.0.0.1', port: 0, tls });
    return this;
  }

  /** Sockets at a stage, or all. */
  sockets(state?: string): number {
    return [...this.world.metrics.samples()]
      .filter(({ name, labels }) => name === 'shoal_sockets' && (state ?? labels['state']) === labels['state'])
      .reduce((sum, { value }) => sum + value, 0);
  }

  counted(name: string, label?: string): number {
    return [...this.world.metrics.samples()]
      .filter((sample) => sample.name === name && (!label || Object.values(sample.labels).includes(label)))
      .reduce((sum, { value }) => sum + value, 0);
  }

  /** Moves the clock; resolves when the wheel, which turns by a timer set before, has looked at what is due then. */
  async advance(ms: number): Promise<void> {
    this.world.clock.advance(ms);
    await new Promise((resolve) => setTimeout(resolve, wheelTickMs + 1));
  }
}

export type Stage = 'proxy' | 'tls' | 'http' | 'connect' | 'closing' | 'refused' | 'admission' | 'open';

/** Written for the frames of a client: masked, with a mask of zeros. */
function frame(payload: Buffer): Buffer {
  const length = Buffer.alloc(payload.length < 126 ? 1 : payload.length < 1 << 16 ? 3 : 9);
  if (length.length === 1) length[0] = payload.length;
  else if (length.length === 3) length.writeUInt16BE(payload.length, 1);
  else length.writeBigUInt64BE(BigInt(payload.length), 1);
  length[0]! |= length.length === 1 ? 0x80 : length.length === 3 ? 0x80 | 126 : 0x80 | 127;
  return Buffer.concat([Buffer.from([0x82]), length, Buffer.alloc(4), payload]);
}

const request = (path: string, protocol: string): Buffer =>
  Buffer.from(
    [
      `GET ${path} HTTP/1.1`,
      ...['Host: x', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'],
      ...['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', `Sec-WebSocket-Protocol: ${protocol}`, '', ''],
    ].join('\r\n'),
  );

/** What a TLS client says first. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hello = new Promise<Buffer>((resolve) =>
    server.on('connection', (socket) =>
      socket.on('error', () => undefined).once('data', (data: Buffer) => (resolve(data), socket.destroy())),
    ),
  );
  tlsConnect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }).on('error', () => undefined);
  await hello;
  server.close();
  return hello;
}

export const hello = await clientHello();

export class Peer {
  /** As far as the client can tell: closed from the other side, both ways. */
  isOver = false;
  /** The same, one way. */
  isEnded = false;
  received = Buffer.alloc(0);
  readonly raw: Socket;
  readonly #door: Door;
  #top: Socket;
  /** What it would have to send next. */
  rest: Buffer = Buffer.alloc(0);

  private constructor(door: Door, raw: Socket) {
    this.#door = door;
    this.raw = raw;
    this.#top = raw;
    this.#follow(raw);
  }

  /** Accepted and, behind a proxy, announced as a client of that address. */
  static async open(door: Door, address = '203.0.113.7'): Promise<Peer> {
    const raw = connect({ port: door.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const peer = new Peer(door, raw);
    await new Promise<void>((resolve, reject) => raw.once('connect', resolve).once('error', reject));
    if (door.behindProxy) peer.rest = proxied(address, 50_123);
    return peer;
  }

  #follow(socket: Socket): void {
    socket.on('error', () => (this.isOver = true)).on('close', () => (this.isOver = true));
    socket.on('end', () => (this.isEnded = true));
    socket.on('data', (data: Buffer) => (this.received = Buffer.concat([this.received, data])));
  }

  /** Goes as far as that stage of its listener and stays there: half of what would end it is sent. */
  async go(stage: Stage, fields: ConnectFields = {}): Promise<void> {
    const { kind } = this.#door;
    if (stage === 'proxy') return this.#half(this.rest);
    this.raw.write(this.rest);
    if (stage === 'tls') return this.#half(hello);
    if (hasTls(kind)) await this.#secure();
    if (stage === 'http') return this.#half(request('/mqtt', 'mqtt'));
    this.rest = Buffer.alloc(100);
    if (stage === 'refused') return this.#say(request('/elsewhere', 'mqtt'));
    if (hasHttp(kind)) {
      this.#say(request('/mqtt', 'mqtt'));
      await until(() => this.received.includes('\r\n\r\n'), 'the upgrade');
      this.received = Buffer.alloc(0);
    }
    const account = { clientId: 'c', username: 'device@acme', password: 'correct horse', version: 4 as const };
    const packet = connectBytes({ ...account, ...fields, ...(stage === 'closing' && { password: 'wrong' }) });
    if (stage === 'connect') return this.#half(this.wrapped(packet));
    this.#say(this.wrapped(packet));
    this.rest = this.wrapped(publishBytes({ topic: 'a', payload: Buffer.alloc(100) }, 4));
    if (stage !== 'admission') await until(() => this.received.length >= 4, 'CONNACK');
  }

  /** MQTT bytes as they go through this listener. */
  wrapped(packet: Buffer): Buffer {
    return hasHttp(this.#door.kind) ? frame(packet) : packet;
  }

  async #secure(): Promise<void> {
    this.raw.removeAllListeners('data');
    const secure = tlsConnect({ socket: this.raw, rejectUnauthorized: false });
    secure.allowHalfOpen = true;
    this.#top = secure;
    this.#follow(secure);
    await new Promise<void>((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject));
  }

  #half(bytes: Buffer): void {
    const middle = bytes.length >> 1;
    this.#say(bytes.subarray(0, middle));
    this.rest = bytes.subarray(middle);
  }

  #say(bytes: Buffer): void {
    this.#top.write(bytes);
  }

  /** One byte more. */
  drop(): void {
    this.#say(this.rest.subarray(0, 1));
    this.rest = this.rest.subarray(1);
  }

  write(packet: Buffer): void {
    this.#say(this.wrapped(packet));
  }

  halfClose(): void {
    this.#top.end();
  }

  reset(): void {
    this.raw.resetAndDestroy();
  }

  /** It has not gone: it only reads nothing more and sends nothing. */
  vanish(): void {
    this.#top.pause();
  }

  /** It reads again. */
  comeBack(): void {
    this.#top.resume();
  }

  /** Whether the other side has let go of the socket: it answers what is sent now with a reset. */
  async isLetGo(): Promise<void> {
    this.#top.resume();
    const isOver = (): boolean => {
      if (this.#top.writable) this.#top.write('x');
      return this.isOver;
    };
    await until(isOver, 'the socket to be let go of');
  }
}
