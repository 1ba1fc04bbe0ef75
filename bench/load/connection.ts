/**
 * One MQTT connection of the load: handshake by request and answer, then raw bytes out and counted frames in. It does not
 * answer, number or keep messages; the scenarios do what little of that they need.
 */
import { connect, type Socket } from 'node:net';
import { connectPacket, subscribePacket, type Credentials, type Durable, type ProtocolVersion } from './packets.js';
import { FrameCounter } from './frames.js';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly version: ProtocolVersion;
  readonly credentials?: Credentials;
}

/** All connections read into one buffer: what was read is counted before the next read, and idle ones cost nothing. */
const readBuffer = Buffer.alloc(1 << 18);

/**
 * A source address has about 28 000 ephemeral ports; connections beyond this number use further loopback addresses. Only
 * those: binding to an address makes the kernel search for a free port, which takes milliseconds when many are taken.
 */
const connectionsPerAddress = 15_000;
const handshakeMs = 30_000;

let opened = 0;

export class Connection {
  readonly socket: Socket;
  readonly frames: FrameCounter;
  readonly #version: ProtocolVersion;
  /** A frame other than a QoS 0 message, after the handshake. */
  onFrame: (bytes: Uint8Array, body: number, end: number, type: number) => void = () => {};
  /** The bytes of one read have been counted: the place to answer them with one write. */
  onRead: () => void = () => {};
  /** The broker ended the connection although nobody here did. */
  onLost: (why: string) => void = () => {};
  #onAnswer: ((type: number, code: number) => void) | undefined;
  #closing = false;

  private constructor(target: Target) {
    this.#version = target.version;
    this.frames = new FrameCounter((bytes, at, body, end) => this.#frame(bytes, at, body, end));
    const address = Math.floor(opened++ / connectionsPerAddress);
    const onread = {
      buffer: readBuffer,
      callback: (length: number) => {
        this.frames.read(readBuffer, length);
        this.onRead();
        return true;
      },
    };
    const from = address === 0 ? {} : { localAddress: `127.0.0.${1 + address}` };
    this.socket = connect({ host: target.host, port: target.port, ...from, noDelay: true, onread });
    this.socket.on('error', (error) => this.#lost(error.message));
    this.socket.on('close', () => this.#lost('closed by the broker'));
  }

  /** Resolves after CONNACK; rejects with the reason code when the broker refuses. */
  static async open(
    target: Target,
    clientId: string,
    durable?: Durable,
    /** Before anything is sent: what waits for a session may arrive in one read with the CONNACK. */
    prepare: (connection: Connection) => void = () => {},
  ): Promise<Connection> {
    const connection = new Connection(target);
    prepare(connection);
    const code = await connection.#request(connectPacket(clientId, target.version, target.credentials, durable), 2);
    if (code !== 0) throw new Error(`CONNECT of ${clientId} refused with code ${code}`);
    return connection;
  }

  async subscribe(filter: string, qos: number): Promise<void> {
    const code = await this.#request(subscribePacket(filter, qos, this.#version), 9);
    if (code !== qos) throw new Error(`SUBSCRIBE to ${filter} answered with code ${code}`);
  }

  close(): void {
    this.#closing = true;
    this.socket.destroy();
  }

  #request(packet: Buffer, answerType: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#onAnswer = undefined;
        this.onLost = () => {};
      };
      const fail = (why: string): void => {
        settle();
        reject(new Error(why));
      };
      const timer = setTimeout(() => fail(`no answer within ${handshakeMs} ms`), handshakeMs);
      this.onLost = fail;
      this.#onAnswer = (type, code) => {
        if (type !== answerType) return fail(`packet type ${type} came instead of ${answerType}`);
        settle();
        resolve(code);
      };
      this.socket.write(packet);
    });
  }

  #frame(bytes: Uint8Array, at: number, body: number, end: number): void {
    const type = bytes[at]! >> 4;
    if (this.#onAnswer) return this.#onAnswer(type, type === 2 ? bytes[body + 1]! : bytes[end - 1]!);
    if (type === 14) return this.#lost(`DISCONNECT with code ${end > body ? bytes[body] : 0}`);
    this.onFrame(bytes, body, end, type);
  }

  #lost(why: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.socket.destroy();
    this.onLost(why);
  }
}

/** Opens many connections, a bounded number at a time: a burst of SYNs measures the listen queue, not the broker. */
export async function openAll(
  target: Target,
  clientIds: readonly string[],
  durable?: Durable,
  atOnce = 100,
): Promise<Connection[]> {
  const connections: Connection[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < clientIds.length; index = next++) {
      connections[index] = await Connection.open(target, clientIds[index]!, durable);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, clientIds.length) }, worker));
  return connections;
}
