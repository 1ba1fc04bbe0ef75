/** TCP, TLS and WebSocket as `ByteStream`. */
import type { Socket } from 'node:net';
import type { PatientWebSocket } from './patient-web-socket.js';
import type { ByteSink, ByteStream } from './ports.js';
import type { Origin } from './proxy-header.js';

/**
 * A plain or TLS socket. Sends small packets at once: the outbox has already put together what belongs together.
 * A class whose handlers are shared: closures of its own for each of many idle connections would be most of their cost.
 */
export class SocketStream implements ByteStream {
  readonly #socket: SinkSocket;
  readonly #origin: Origin | undefined;

  /** `origin`: who the client is, when a load balancer has said so. */
  constructor(socket: Socket, sink: ByteSink, origin?: Origin) {
    this.#socket = socket as SinkSocket;
    this.#origin = origin;
    this.#socket[sinkOf] = sink;
    socket.setNoDelay(true);
    socket.allowHalfOpen = true; // The peer's end comes before what we still have to say about what it has sent.
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.on('error', ignore); // `close` follows.
    socket.on('close', onClose);
  }

  get remoteAddress(): string {
    return this.#origin?.address ?? addressOf(this.#socket);
  }

  get endpointId(): string | undefined {
    return this.#origin?.endpointId;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
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

const addressOf = (socket: Socket): string => `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;

/**
 * [MQTT-6.0.0-1] … [MQTT-6.0.0-3] Binary frames, packets cut as they may be. `below`: what carries the WebSocket.
 *
 * `ws` takes the head of each frame from Node's shared blocks, so each frame that waits could keep one of 8 KB. While the
 * network is behind, what comes is collected and goes as one frame.
 */
export function webSocketStream(socket: PatientWebSocket, below: Socket, sink: ByteSink, origin?: Origin): ByteStream {
  let wasFull = false;
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) sink.onBytes(data);
    else socket.finish(1003, 'MQTT uses binary frames');
  });
  socket.on('error', ignore);
  socket.on('close', () => sink.onClosed());
  socket.onPeerClose = () => sink.onEnd();
  let isSending = false;
  let collected: Buffer[] = [];
  let collectedBytes = 0;
  const send = (bytes: Buffer): void => {
    isSending = true;
    socket.send(bytes, { binary: true }, onSent);
  };
  const sendCollected = (): void => {
    if (collectedBytes === 0) return;
    const bytes = collected.length === 1 ? collected[0]! : Buffer.concat(collected, collectedBytes);
    collected = [];
    collectedBytes = 0;
    send(bytes);
  };
  const onSent = (): void => {
    isSending = false;
    if (socket.readyState === socket.OPEN) sendCollected();
    if (!wasFull || socket.bufferedAmount > 0) return;
    wasFull = false;
    sink.onDrain();
  };
  return {
    remoteAddress: origin?.address ?? addressOf(below),
    endpointId: origin?.endpointId,
    get unsentBytes() {
      return socket.bufferedAmount + collectedBytes;
    },
    write(bytes) {
      if (socket.readyState !== socket.OPEN) return;
      if (isSending && socket.bufferedAmount > 0) {
        collected.push(bytes);
        collectedBytes += bytes.length;
      } else send(bytes);
      wasFull ||= socket.bufferedAmount > 0;
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end() {
      if (socket.readyState === socket.OPEN) sendCollected();
      socket.finish(1000);
    },
    destroy: () => socket.terminate(),
  };
}

function ignore(): void {}
