/**
 * Clients in a hurry: everything they have to say in one write, and then they leave in one of the ways there are. Bytes
 * over TCP, TLS and both kinds of WebSocket; the frames are written by hand, so that nothing waits for an answer.
 */
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoints } from '../../services/local/endpoints.js';
import { until } from '../support/until.js';

export type Scheme = 'mqtt' | 'mqtts' | 'ws' | 'wss';
/** `frame`: a close frame, and the peer waits for ours. `frame+fin`: it does not wait. */
export type Leaving = 'half-close' | 'close' | 'reset' | 'frame' | 'frame+fin';

const binary = 0x2;
const closing = 0x8;

/** Masked with zeros, which leaves the payload as it is. */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
  if (length > 0xffff) throw new Error('too long for a frame of these tests');
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head, 0, 0, 0, 0]), payload]);
}

/** Payloads of the binary frames that have come in full. */
function unframe(bytes: Buffer): Buffer {
  const payloads: Buffer[] = [];
  for (let at = 0; at + 2 <= bytes.length;) {
    const short = bytes[at + 1]! & 0x7f;
    const start = at + (short === 126 ? 4 : 2);
    const end = start + (short === 126 ? bytes.readUInt16BE(at + 2) : short);
    if ((bytes[at]! & 0x0f) === binary) payloads.push(bytes.subarray(start, end));
    at = end;
  }
  return Buffer.concat(payloads);
}

export class Hasty {
  ended = false;
  readonly #socket: Socket;
  readonly #isWebSocket: boolean;
  #bytes = Buffer.alloc(0);

  private constructor(socket: Socket, isWebSocket: boolean) {
    this.#socket = socket;
    this.#isWebSocket = isWebSocket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => (this.#bytes = Buffer.concat([this.#bytes, chunk])));
    for (const over of ['end', 'close', 'error']) socket.on(over, () => (this.ended = true));
  }

  static async open(endpoints: Endpoints, scheme: Scheme): Promise<Hasty> {
    const { port } = endpoints[scheme];
    const { host } = endpoints;
    const isSecure = scheme === 'mqtts' || scheme === 'wss';
    // Half open, so that what the broker still says is seen.
    const socket = isSecure
      ? connectTls({ port, host, ca: readFileSync(endpoints.caFile), allowHalfOpen: true } as never)
      : connectSocket({ port, host, allowHalfOpen: true });
    const hasty = new Hasty(socket, scheme.startsWith('ws'));
    await new Promise<void>((resolve, reject) => {
      socket.once(isSecure ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
    if (hasty.#isWebSocket) await hasty.#upgrade(host);
    return hasty;
  }

  async #upgrade(host: string): Promise<void> {
    const head = ['GET /mqtt HTTP/1.1', `Host: ${host}`, 'Connection: Upgrade', 'Upgrade: websocket'];
    const wish = [
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
      'Sec-WebSocket-Protocol: mqtt',
    ];
    this.#socket.write([...head, ...wish, '', ''].join('\r\n'));
    await until(() => this.#bytes.includes('\r\n\r\n'), 'the upgrade');
    this.#bytes = this.#bytes.subarray(this.#bytes.indexOf('\r\n\r\n') + 4);
  }

  send(packets: Buffer): void {
    this.#socket.write(this.#isWebSocket ? frame(binary, packets) : packets);
  }

  /** The last words and the end in one write, as far as the system allows. */
  leave(how: Leaving, lastWords = Buffer.alloc(0)): void {
    const socket = this.#socket;
    const parts = lastWords.length === 0 ? [] : [this.#isWebSocket ? frame(binary, lastWords) : lastWords];
    if (how.startsWith('frame')) parts.push(frame(closing, Buffer.from([0x03, 0xe8])));
    const all = Buffer.concat(parts);
    if (how === 'reset') socket.write(all, () => socket.resetAndDestroy());
    else if (how === 'close') {
      socket.write(all);
      socket.destroySoon();
    } else if (how === 'frame') socket.write(all);
    else socket.end(all);
  }

  /** MQTT bytes that the broker has sent. */
  get heard(): Buffer {
    return this.#isWebSocket ? unframe(this.#bytes) : this.#bytes;
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
