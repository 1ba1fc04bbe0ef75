/**
 * A DynamoDB that costs next to nothing, for benches: the broker is measured, and not its database. It answers at once or
 * after a given time, keeps everything in memory and looks at no signature. It speaks the HTTP/1.1 that clients of DynamoDB
 * send (POST with a Content-Length) over plain sockets, because Node's HTTP server takes more time than the database.
 *
 * The contract suites in `test/contract/broker` run against it beside the other engines, so that it cannot drift from them.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Actions } from './actions.js';
import { Refusal } from './values.js';

export interface DatabaseOptions {
  readonly host?: string;
  /** 0 picks a free one. */
  readonly port?: number;
  /** From request to answer. */
  readonly delayMs?: number;
}

const headMax = 16 * 1024;
/** As DynamoDB has it. */
const bodyMax = 16 << 20;
const headEnd = Buffer.from('\r\n\r\n');

interface Answer {
  readonly status: string;
  readonly body: string;
}

export class Database {
  readonly #actions = new Actions();
  readonly #server: Server;
  readonly #delayMs: number;
  readonly #sockets = new Set<Socket>();
  /** Those of the broker's port. */
  readonly #brokerSockets = new Set<Socket>();
  #brokerDoor: Server | undefined;
  #answered = 0;

  private constructor(delayMs: number) {
    this.#delayMs = delayMs;
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
  }

  static async listen({ host = '127.0.0.1', port = 0, delayMs = 0 }: DatabaseOptions = {}): Promise<Database> {
    const database = new Database(delayMs);
    await new Promise<void>((resolve, reject) => {
      database.#server.once('error', reject);
      database.#server.listen(port, host, resolve);
    });
    return database;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** A second port, of the broker alone, as the embedded database has one (`services/local/broker-door.ts`). */
  async listenForBroker(port: number, host = '127.0.0.1'): Promise<number> {
    const door = createServer({ noDelay: true }, (socket) => {
      this.#brokerSockets.add(socket);
      socket.once('close', () => this.#brokerSockets.delete(socket));
      this.#serve(socket);
    });
    this.#brokerDoor = door;
    await new Promise<void>((resolve, reject) => {
      door.once('error', reject);
      door.listen(port, host, resolve);
    });
    return (door.address() as AddressInfo).port;
  }

  /** When the broker's process has gone: resolves once nothing that it has sent can change anything any more. */
  async quiet(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all(
      [...this.#brokerSockets].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
    );
  }

  async close(): Promise<void> {
    this.#brokerDoor?.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const requests = new Requests();
    socket.on('data', (chunk) => {
      requests.push(chunk);
      for (;;) {
        const next = requests.take();
        if (next === undefined) return;
        if (next === 'bad') return void socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
        const reply = this.#reply(next);
        if (this.#delayMs === 0) socket.write(reply);
        else setTimeout(() => socket.write(reply), this.#delayMs);
      }
    });
  }

  #reply(request: Received): string {
    const { status, body } = this.#answer(request);
    const head =
      `HTTP/1.1 ${status}\r\ndate: ${new Date().toUTCString()}\r\nx-amzn-requestid: fast-${++this.#answered}\r\n` +
      `content-type: application/x-amz-json-1.0\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return head + body;
  }

  #answer({ action, body }: Received): Answer {
    try {
      return { status: '200 OK', body: JSON.stringify(this.#actions.run(action, JSON.parse(body))) };
    } catch (error) {
      if (error instanceof SyntaxError) return refusal(new Refusal('SerializationException', error.message));
      if (error instanceof Refusal) return refusal(error);
      throw error;
    }
  }
}

function refusal({ type, message, item }: Refusal): Answer {
  const __type = `com.amazonaws.dynamodb.v20120810#${type}`;
  return { status: '400 Bad Request', body: JSON.stringify({ __type, message, ...(item && { Item: item }) }) };
}

interface Received {
  readonly action: string;
  readonly body: string;
}

/** Cuts what comes in over one connection into requests. */
class Requests {
  #chunks: Buffer[] = [];
  #held = 0;
  /** Of the first request, once its head is whole. */
  #head: { readonly action: string; readonly bodyAt: number; readonly end: number } | undefined;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** `bad`: what has come is not what a client of DynamoDB sends. */
  take(): Received | 'bad' | undefined {
    if (this.#held === 0 || (this.#head && this.#held < this.#head.end)) return undefined;
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    this.#chunks = [bytes];
    if (!this.#head) {
      const headBytes = bytes.indexOf(headEnd);
      if (headBytes < 0) return bytes.length > headMax ? 'bad' : undefined;
      const head = bytes.toString('latin1', 0, headBytes);
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1]);
      const action = /\r\nx-amz-target: *DynamoDB_20120810\.(\w+)/i.exec(head)?.[1];
      if (!head.startsWith('POST ') || !(length <= bodyMax) || action === undefined) return 'bad';
      const bodyAt = headBytes + headEnd.length;
      this.#head = { action, bodyAt, end: bodyAt + length };
      if (this.#held < this.#head.end) return undefined;
    }
    const { action, bodyAt, end } = this.#head;
    const body = bytes.toString('utf8', bodyAt, end);
    this.#head = undefined;
    this.#held -= end;
    this.#chunks = this.#held === 0 ? [] : [bytes.subarray(end)];
    return { action, body };
  }
}
