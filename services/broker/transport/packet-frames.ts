/**
 * Packets to WebSocket frames, one each. [MQTT-6.0.0-2] lets frames be cut anywhere, but there are clients (Paho C) that take one
 * packet of a frame and look at the rest when the socket is readable again. Called by `web-socket-stream.ts` with all
 * that is to leave at once; decision "a frame a packet" in docs/decisions says what it costs.
 */
import { packetEnd } from '../wire/wire.js';

/** The last frame of a message, binary: [MQTT-6.0.0-1]. What a server sends is not masked (RFC 6455, section 5.1). */
const wholeBinary = 0x82;
/** A packet that is larger is sent from where it lies; below, one more entry of the write costs more than the copy. */
const copyBytesMax = 1 << 10;
/** A loop beats the call into the runtime for short ranges. */
const loopBytesMax = 32;

/** What is kept for the next who is written the same. */
const sharedBytesMax = 1 << 17;
let last: { readonly bytes: Buffer; readonly pieces: readonly Buffer[] } | undefined;

/** Of one write. A message to many subscribers is written to one after the other from the same place: framed once for all. */
export function framesOf(bytes: Buffer): readonly Buffer[] {
  if (last && isSame(last.bytes, bytes)) return last.pieces;
  const pieces = packetFrames([bytes]);
  last = bytes.length <= sharedBytesMax ? { bytes, pieces } : undefined;
  return pieces;
}

/** What has been written is never changed, so the place says it all. */
function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && a.byteOffset === b.byteOffset && a.buffer === b.buffer;
}

/** In order, ready to be written: small packets and all heads in one piece of memory, large packets as they are. */
export function packetFrames(written: readonly Buffer[]): Buffer[] {
  const own = Buffer.allocUnsafe(ownBytes(written));
  const pieces: Buffer[] = [];
  let at = 0;
  let pieceStart = 0;
  for (const bytes of written)
    for (let start = 0, end; start < bytes.length; start = end) {
      end = endOf(bytes, start);
      at = writeHead(own, at, end - start);
      if (end - start <= loopBytesMax) for (let i = start; i < end; i++) own[at++] = bytes[i]!;
      else if (end - start <= copyBytesMax) at += bytes.copy(own, at, start, end);
      else {
        pieces.push(own.subarray(pieceStart, at), bytes.subarray(start, end));
        pieceStart = at;
      }
    }
  if (pieceStart < at) pieces.push(own.subarray(pieceStart, at));
  return pieces;
}

function ownBytes(written: readonly Buffer[]): number {
  let count = 0;
  for (const bytes of written)
    for (let start = 0, end; start < bytes.length; start = end) {
      end = endOf(bytes, start);
      const packetBytes = end - start;
      count += headBytes(packetBytes) + (packetBytes <= copyBytesMax ? packetBytes : 0);
    }
  return count;
}

/** What were no packet would go as one frame, which is as legal: nothing is lost for the sake of this. */
function endOf(bytes: Buffer, start: number): number {
  return packetEnd(bytes, start, bytes.length) || bytes.length;
}

function headBytes(payloadBytes: number): number {
  if (payloadBytes < 126) return 2;
  return payloadBytes < 1 << 16 ? 4 : 10;
}

/** RFC 6455, section 5.2. Returns where the payload begins. */
function writeHead(own: Buffer, at: number, payloadBytes: number): number {
  own[at++] = wholeBinary;
  if (payloadBytes < 126) {
    own[at++] = payloadBytes;
    return at;
  }
  if (payloadBytes < 1 << 16) {
    own[at++] = 126;
    return own.writeUInt16BE(payloadBytes, at);
  }
  own[at++] = 127;
  return own.writeUInt32BE(payloadBytes, own.writeUInt32BE(0, at));
}
