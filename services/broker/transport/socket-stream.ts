/** TCP and TLS as `ByteStream`. */
import type { Socket } from 'node:net';
import { type Above, type Below, takeBelow } from './below.js';
import type { ByteSink, ByteStream } from './ports.js';
import type { Origin } from './proxy-header.js';

/**
 * A plain or TLS socket. Sends small packets at once: the outbox has already put together what belongs together.
 * A class whose handlers are shared: closures of its own for each of many idle connections would be most of their cost.
 */
export class SocketStream implements ByteStream, Above {
  readonly #socket: SinkSocket;
  readonly #origin: Origin | undefined;
  readonly #below: Below | undefined;

  /** `origin`: who the client is, when a load balancer has said so. `below`: for tests. */
  constructor(socket: Socket, sink: ByteSink, origin?: Origin, below = takeBelow) {
    this.#socket = socket as SinkSocket;
    this.#origin = origin;
    this.#socket[sinkOf] = sink;
    socket.setNoDelay(true);
    socket.allowHalfOpen = true; // The peer's end comes before what we still have to say about what it has sent.
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    if (socket.listenerCount('error') === 0) socket.on('error', ignore); // `close` follows. Of a plain socket its place listens.
    socket.on('close', onClose);
    this.#below = below(socket, this);
  }

  onBytes(chunk: Buffer): void {
    this.#socket[sinkOf].onBytes(chunk);
  }

  onTaken(): void {
    if (this.#socket.writableLength === 0) this.#socket[sinkOf].onDrain();
  }

  get remoteAddress(): string {
    return this.#origin?.address ?? addressOf(this.#socket);
  }

  get endpointId(): string | undefined {
    return this.#origin?.endpointId;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength + (this.#below?.unsentBytes ?? 0);
  }

  write(bytes: Buffer): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    if (this.#below === undefined || socket.writableLength > 0 || !this.#below.write(bytes)) socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
    this.#below?.pause();
  }

  resume(): void {
    this.#socket.resume();
    this.#below?.resume();
  }

  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

const sinkOf = Symbol('sink');
type SinkSocket = Socket & { [sinkOf]: ByteSink };

function onData(this: SinkSocket, chunk: Buffer): void {
  this[sinkOf].onBytes(chunk);
}

function onDrain(this: SinkSocket): void {
  this[sinkOf].onDrain();
}

function onEnd(this: SinkSocket): void {
  this[sinkOf].onEnd();
}

function onClose(this: SinkSocket): void {
  // After a reset what has been read of the network and waits in the stream is there, but nobody brings it.
  this.off('data', onData);
  for (let rest: unknown; (rest = this.read()) !== null;) this[sinkOf].onBytes(rest as Buffer);
  this[sinkOf].onClosed();
}

export const addressOf = (socket: Socket): string => `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;

function ignore(): void {}
