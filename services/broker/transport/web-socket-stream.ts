/**
 * MQTT over WebSocket as `ByteStream`. Frames come in cut as they may be, and go out one a packet (`packet-frames.ts`).
 *
 * `ws` reads, and writes the control frames; our frames go to the socket below it, all that leave together by one write.
 * Without compression `ws` writes at once and keeps nothing back, so that the order on the network is that of the calls.
 *
 * While the network is behind, what comes is collected and goes as one write when it has caught up: a write that waits
 * costs memory beside its bytes.
 */
import type { Socket } from 'node:net';
import type { PatientWebSocket } from './patient-web-socket.js';
import { framesOf, packetFrames } from './packet-frames.js';
import type { ByteSink, ByteStream } from './ports.js';
import type { Origin } from './proxy-header.js';
import { addressOf } from './socket-stream.js';

/** `below`: what carries the WebSocket. */
export function webSocketStream(socket: PatientWebSocket, below: Socket, sink: ByteSink, origin?: Origin): ByteStream {
  let wasFull = false;
  let isSending = false;
  let collected: Buffer[] = [];
  let collectedBytes = 0;
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    if (isBinary) sink.onBytes(data);
    else {
      // [MQTT-6.0.0-1]
      socket.finish(1003, 'MQTT uses binary frames');
      sink.onFault('a text frame: MQTT uses binary frames');
    }
  });
  socket.on('error', ({ message }) => sink.onFault(message));
  socket.on('close', () => sink.onClosed());
  socket.onPeerClose = () => sink.onEnd();
  const send = (pieces: readonly Buffer[]): void => {
    isSending = true;
    if (pieces.length === 1) return void below.write(pieces[0]!, onSent);
    below.cork();
    pieces.forEach((piece, i) => below.write(piece, i === pieces.length - 1 ? onSent : undefined));
    below.uncork();
  };
  const sendCollected = (): void => {
    if (collectedBytes === 0) return;
    const written = collected;
    collected = [];
    collectedBytes = 0;
    send(packetFrames(written));
  };
  const onSent = (): void => {
    isSending = false;
    if (socket.readyState === socket.OPEN) sendCollected();
    if (!wasFull || below.writableLength > 0) return;
    wasFull = false;
    sink.onDrain();
  };
  return {
    remoteAddress: origin?.address ?? addressOf(below),
    endpointId: origin?.endpointId,
    get unsentBytes() {
      return below.writableLength + collectedBytes;
    },
    write(packets) {
      if (socket.readyState !== socket.OPEN) return;
      if (isSending && below.writableLength > 0) {
        collected.push(packets);
        collectedBytes += packets.length;
      } else send(framesOf(packets));
      wasFull ||= below.writableLength > 0;
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
