/** TCP, TLS and WebSocket as `ByteStream`. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { ByteSink, ByteStream } from './ports.js';

/** A plain or TLS socket. Sends small packets at once: the outbox has already put together what belongs together. */
export function socketStream(socket: Socket, sink: ByteSink): ByteStream {
  const remoteAddress = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => sink.onBytes(chunk));
  socket.on('drain', () => sink.onDrain());
  socket.on('error', ignore); // `close` follows.
  socket.on('close', () => sink.onClosed());
  return {
    remoteAddress,
    get unsentBytes() {
      return socket.writableLength;
    },
    write: (bytes) => void (socket.writable && socket.write(bytes)),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  };
}

/** [MQTT-6.0.0-1] … [MQTT-6.0.0-3] Binary frames, packets cut as they may be. */
export function webSocketStream(socket: WebSocket, remoteAddress: string, sink: ByteSink): ByteStream {
  let wasFull = false;
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) sink.onBytes(data);
    else socket.close(1003, 'MQTT uses binary frames');
  });
  socket.on('error', ignore);
  socket.on('close', () => sink.onClosed());
  const onSent = (): void => {
    if (!wasFull || socket.bufferedAmount > 0) return;
    wasFull = false;
    sink.onDrain();
  };
  return {
    remoteAddress,
    get unsentBytes() {
      return socket.bufferedAmount;
    },
    write(bytes) {
      if (socket.readyState !== socket.OPEN) return;
      socket.send(bytes, { binary: true }, onSent);
      wasFull ||= socket.bufferedAmount > 0;
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    end: () => socket.close(1000),
    destroy: () => socket.terminate(),
  };
}

function ignore(): void {}
