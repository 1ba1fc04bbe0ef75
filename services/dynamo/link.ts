/**
 * One connection to DynamoDB, for one request at a time. All that a socket can do to whoever waits for an answer comes down to
 * one rejection with the system's code. Called by `http.ts`, which keeps those that are idle.
 *
 * Node reads into one buffer for all of them (`onread`): an answer is read where it lies, and nothing goes through a stream.
 */
import {
  connect as connectTcp,
  isIP,
  type Socket,
  type SocketConstructorOpts,
  type TcpSocketConnectOpts,
} from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Answer, AnswerReader } from './answer.js';

export interface LinkOptions {
  /** Its protocol, host and port. */
  readonly url: URL;
  readonly ca: Buffer | undefined;
  /** Of TLS: of an earlier link, which saves a round trip and half of the handshake. */
  readonly session: Buffer | undefined;
  readonly onSession: (session: Buffer) => void;
  /** It has closed; asked for or not. */
  readonly onClosed: (link: Link) => void;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  readonly over: () => void;
}

/** As much as one read of a socket brings. */
const readBuffer = Buffer.allocUnsafeSlow(1 << 16);
/** A connection that nothing was sent on for so long is closed: a handshake is dear, and a broker makes a call a second. */
const idleMsMax = 30_000;
/** A server that names its own time closes a little before it is over, or the request on its way would be lost. */
const aheadMs = 1000;

export class Link {
  /** Until when the other side keeps it open while nothing is sent: of `performance.now()`. */
  idleUntilMs = 0;
  /** When what is under way takes too long: the same. */
  dueAtMs = Infinity;
  readonly #socket: Socket;
  #reader = new AnswerReader();
  #waiting: Waiting | undefined;
  #error: Error | undefined;
  #hint = '';
  #idleMs = idleMsMax;

  constructor(options: LinkOptions) {
    this.#socket = this.#connect(options);
    this.#socket.on('error', (error) => (this.#error ??= error));
    this.#socket.on('end', () => this.destroy());
    this.#socket.on('close', () => {
      this.#fail();
      options.onClosed(this);
    });
  }

  #connect({ url, ca, session, onSession }: LinkOptions): Socket {
    const isTls = url.protocol === 'https:';
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const options: TcpSocketConnectOpts & Pick<SocketConstructorOpts, 'onread'> = {
      host,
      port: Number(url.port) || (isTls ? 443 : 80),
      noDelay: true,
      keepAlive: true,
      onread: { buffer: readBuffer, callback: (length) => this.#read(length) },
    };
    if (!isTls) return connectTcp(options);
    const name = isIP(host) === 0 ? { servername: host } : {};
    return connectTls({ ...options, ...name, ...(ca && { ca }), ...(session && { session }) }).on('session', onSession);
  }

  /** Rejects with an error that has a code. `text`: the whole request. `over`: called before anybody hears of the answer, or of none. */
  request(text: string, encoding: BufferEncoding, over: () => void): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject, over };
      // It has closed already; what it says to a write would come later.
      if (this.#socket.destroyed) this.#fail();
      else this.#socket.write(text, encoding);
    });
  }

  #read(length: number): boolean {
    const waiting = this.#waiting;
    if (!waiting) return this.#refuse(undefined);
    let answer: Answer | undefined;
    try {
      answer = this.#reader.read(readBuffer.subarray(0, length));
    } catch (error) {
      return this.#refuse(error as Error);
    }
    if (!answer) return true;
    this.#waiting = undefined;
    if (answer.goesOn) this.#noteIdleTime(answer.head);
    else this.destroy();
    waiting.over();
    waiting.resolve(answer);
    return true;
  }

  /** It says what nobody has asked for, or what cannot be read. */
  #refuse(error: Error | undefined): boolean {
    this.#error ??= error;
    this.destroy();
    return false;
  }

  #noteIdleTime(head: string): void {
    const hint = keepAlive.exec(head)?.[1] ?? '';
    if (hint !== this.#hint) {
      this.#hint = hint;
      this.#idleMs = hint === '' ? idleMsMax : Math.min(Number(hint) * 1000 - aheadMs, idleMsMax);
    }
    this.idleUntilMs = performance.now() + this.#idleMs;
  }

  /** An end that is not asked for is a reset for whoever waits. */
  #fail(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.over();
    waiting?.reject(this.#error ?? Object.assign(new Error('DynamoDB closed the connection'), { code: 'ECONNRESET' }));
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  /** At once; `error` is told to whoever waits. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
    this.#fail();
  }
}

const keepAlive = /\r\nkeep-alive:[^\r]*timeout=(\d+)/i;
