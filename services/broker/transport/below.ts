/**
 * A plain TCP socket below Node's stream classes: what is read comes straight from the handle, into one buffer for all
 * sockets, and what is written goes straight to it. Around packets as small as MQTT's the classes take longer than the
 * broker does. Everything else stays with the socket: its end, its destruction, and what waits in its stream.
 *
 * The handle is Node's own business. `takeBelow` looks at what is there; where anything is not as it is known to be, the socket
 * is used as a stream, as with TLS.
 *
 *  - Reading keeps its order: what waits in the stream when this begins (behind a PROXY header) flows before the next poll of
 *    the network brings anything, and is paused together with the handle.
 *  - Writing keeps its order: with something under way, of this or of the stream, the next write is the stream's. libuv keeps
 *    the order of all that goes to a handle, and shuts down behind it.
 *  - A handle that closes under a write completes it with an error; `close` follows.
 *  - Ends take turns: when thousands of peers go in the same moment, each is noticed as soon as some others have been dealt with,
 *    and whoever is still there is served between them. Until then the connection is open, as if its end were still on its way.
 *  - Who is given bytes may pause or destroy the socket in the middle of it: libuv looks before it reads again.
 */
import { Socket } from 'node:net';
import { systemClock } from '../../kernel/kernel.js';
import { Turnstile } from '../tenant/tenant.js';
import { hasReadInto } from './young-collection.js';

/** Whose bytes these are. */
export interface Above {
  onBytes(chunk: Buffer): void;
  /** The network has taken what `write` could not hand over at once; or never will. */
  onTaken(): void;
  /** The connection is broken: nothing more comes, and nothing more goes. */
  destroy(): void;
}

interface WriteRequest {
  /** `status`: negative for an error of the system. */
  oncomplete: (this: WriteRequest, status: number) => void;
  /** Keeps the bytes while the network takes them. */
  buffer: Buffer | undefined;
  below: Below | undefined;
}

interface Handle {
  reading: boolean;
  onread: (this: Handle, bytes: unknown) => unknown;
  useUserBuffer(buffer: Buffer): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: WriteRequest, bytes: Buffer): number;
  [aboveOf]?: Above;
}

/** How the handles of streams tell of the last read and the last write. */
interface Binding {
  readonly WriteWrap: new () => WriteRequest;
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
}

/** libuv's UV_EOF: not an error, the other side has said all. */
const eof = -4095;
const aboveOf = Symbol('above');
const functions = ['onread', 'useUserBuffer', 'readStart', 'readStop', 'writeBuffer'] as const;

/** As much as libuv reads at once. */
const readBytes = 1 << 16;
/** Reads up to here share a block, so that a small one takes no memory of its own. What is kept of them is copied anyway. */
const sharedBytes = 1 << 13;
const blockBytes = 1 << 16;

/** Those whose ends have come. */
const ends = new Turnstile(systemClock);

const binding = findBinding();
const readBuffer = Buffer.allocUnsafeSlow(readBytes);
let block = Buffer.allocUnsafeSlow(blockBytes);
let blockAt = 0;
/** The request of a write that the system took at once: nobody has kept it. */
let spare: WriteRequest | undefined;
/** What Node does with a read: still asked for ends. */
let nodesOnread: Handle['onread'] | undefined;

function findBinding(): Binding | undefined {
  try {
    const { binding: find } = process as unknown as { binding(name: string): Partial<Binding> };
    const found = find.call(process, 'stream_wrap');
    const isKnown =
      typeof found.WriteWrap === 'function' &&
      found.streamBaseState instanceof Int32Array &&
      Number.isInteger(found.kReadBytesOrError) &&
      Number.isInteger(found.kLastWriteWasAsync);
    return isKnown ? (found as Binding) : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined where it cannot be done: TLS, a Node that is built otherwise, a socket that has gone. */
export function takeBelow(socket: Socket, above: Above): Below | undefined {
  const handle = (socket as unknown as { _handle: Handle | null })._handle;
  if (!binding || !handle || socket.destroyed || Object.getPrototypeOf(socket) !== Socket.prototype) return undefined;
  if (functions.some((name) => typeof handle[name] !== 'function')) return undefined;
  nodesOnread ??= handle.onread;
  if (handle.onread !== nodesOnread) return undefined; // Somebody else has it.
  return new Below(socket, handle, above);
}

export class Below {
  /** Handed over and not taken by the network. */
  unsentBytes = 0;
  readonly #socket: Socket;
  readonly #handle: Handle;

  constructor(socket: Socket, handle: Handle, above: Above) {
    this.#socket = socket;
    this.#handle = handle;
    handle[aboveOf] = above;
    handle.useUserBuffer(readBuffer);
    handle.onread = onRead;
  }

  /** The stream is paused or resumed besides. */
  pause(): void {
    if (this.#socket.destroyed || !this.#handle.reading) return;
    this.#handle.reading = false;
    this.#handle.readStop();
  }

  resume(): void {
    if (this.#socket.destroyed || this.#handle.reading) return;
    this.#handle.reading = true;
    const error = this.#handle.readStart();
    if (error !== 0) this.#socket.destroy();
  }

  /** Nothing may wait in the stream. False when the socket has to write it. */
  write(bytes: Buffer): boolean {
    if (this.unsentBytes > 0) return false;
    const request = spare ?? new binding!.WriteWrap();
    spare = undefined;
    const error = this.#handle.writeBuffer(request, bytes);
    if (error !== 0) this.#socket.destroy();
    else if (binding!.streamBaseState[binding!.kLastWriteWasAsync] === 0) spare = request;
    else {
      this.unsentBytes = bytes.length;
      request.oncomplete = onWritten;
      request.buffer = bytes;
      request.below = this;
    }
    return true;
  }

  taken(status: number): void {
    this.unsentBytes = 0;
    if (status < 0) this.#socket.destroy(); // The other side has vanished; the system need not tell a reader as well.
    if (!this.#socket.destroyed) this.#handle[aboveOf]!.onTaken();
  }
}

function onRead(this: Handle, bytes: unknown): unknown {
  const length = binding!.streamBaseState[binding!.kReadBytesOrError]!;
  if (length < 0) return void ends.come('', () => tellEnd(this, length));
  if (length === 0) return nodesOnread!.call(this, bytes);
  this[aboveOf]!.onBytes(copyOfRead(length));
  return undefined; // Anything else would be taken for the next buffer.
}

/**
 * Of an end or an error: libuv reads no more. `status`: as it said. For an error Node would make an Error that nobody reads, with
 * a stack that goes through the source map: twice what the rest of the end takes.
 */
function tellEnd(handle: Handle, status: number): void {
  if (handle.onread !== onRead) return; // Its socket has been destroyed meanwhile.
  if (status !== eof) return handle[aboveOf]!.destroy();
  binding!.streamBaseState[binding!.kReadBytesOrError] = status;
  nodesOnread!.call(handle, undefined);
}

function onWritten(this: WriteRequest, status: number): void {
  const { below } = this;
  this.below = undefined;
  this.buffer = undefined;
  below!.taken(status);
}

/** The next socket reads into the same buffer, and what has come may be sent on from where it lies until the end of the tick. */
function copyOfRead(length: number): Buffer {
  if (length > sharedBytes) {
    hasReadInto(length);
    const own = Buffer.allocUnsafeSlow(length);
    readBuffer.copy(own, 0, 0, length);
    return own;
  }
  if (blockAt + length > blockBytes) {
    block = Buffer.allocUnsafeSlow(blockBytes);
    blockAt = 0;
  }
  readBuffer.copy(block, blockAt, 0, length);
  return block.subarray(blockAt, (blockAt += length));
}
