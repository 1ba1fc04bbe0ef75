/**
 * One hostile connection: everything it has to say in one write, without waiting for an answer; it does not care for
 * refusals, and comes back when it is closed. Bytes are built before and written again and again, so that the machine's time
 * goes to the broker and not to the attacker.
 */
import { connect, type Socket } from 'node:net';
import type { Credential } from '../support/broker.js';
import { connectBytes, type ConnectFields } from '../support/packet-bytes.js';
import { frameBytes } from '../support/packet-codec.js';

/** Not the address of the neighbour: what is counted by address must not hide what is counted by tenant. */
const address = '127.0.0.7';
const comesBackMs = 100;

export interface Place {
  readonly port: number;
  readonly credential: Credential;
}

interface FoeOptions extends ConnectFields {
  /** Written right behind CONNECT, each time that it connects. */
  readonly opening?: readonly Buffer[];
  /** False: takes nothing from its socket. */
  readonly reads?: boolean;
}

export class Foe {
  /** As often as it was closed by the broker. */
  closed = 0;
  readonly #place: Place;
  readonly #opening: readonly Buffer[];
  readonly #reads: boolean;
  #socket: Socket;
  #listens = true;
  #unread: Buffer = Buffer.alloc(0);
  #waiting: { readonly type: number; readonly heard: (packet: Buffer) => void }[] = [];
  #next: (() => Buffer) | undefined;

  constructor(place: Place, { opening = [], reads = true, ...fields }: FoeOptions = {}) {
    this.#place = place;
    this.#reads = reads;
    this.#opening = [connectBytes({ ...place.credential, ...fields }), ...opening];
    this.#socket = this.#connect();
  }

  #connect(): Socket {
    const socket = connect({ host: '127.0.0.1', port: this.#place.port, localAddress: address, noDelay: true });
    for (const bytes of this.#opening) socket.write(bytes);
    if (this.#reads) socket.on('data', (chunk: Buffer) => this.#listens && this.#hear(chunk));
    socket.on('drain', () => this.#flood());
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.closed++;
      this.#unread = Buffer.alloc(0);
      setTimeout(() => this.again(), comesBackMs);
    });
    return socket;
  }

  /** A new connection in place of the one that there is. */
  again(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
    this.#socket = this.#connect();
    this.#flood();
  }

  /** False: the socket takes no more for now. It is written nevertheless. */
  write(bytes: Buffer): boolean {
    return this.#socket.writable && this.#socket.write(bytes);
  }

  /** Writes as fast as the socket takes it, from now on. What comes is thrown away unseen. */
  flood(next: () => Buffer): void {
    this.ignore();
    this.#next = next;
    this.#flood();
  }

  /** From now on what comes is thrown away unseen. */
  ignore(): void {
    this.#listens = false;
    this.#unread = Buffer.alloc(0);
  }

  #flood(): void {
    while (this.#next && this.write(this.#next()));
  }

  /** The next packet of this type (the upper half of its first byte). Does not come when the broker refuses. */
  hears(type: number): Promise<Buffer> {
    return new Promise((heard) => this.#waiting.push({ type, heard }));
  }

  #hear(chunk: Buffer): void {
    let bytes = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    for (let length = frameBytes(bytes); length > 0; length = frameBytes(bytes)) {
      const packet = bytes.subarray(0, length);
      bytes = bytes.subarray(length);
      const index = this.#waiting.findIndex(({ type }) => type === packet[0]! >> 4);
      if (index >= 0) this.#waiting.splice(index, 1)[0]!.heard(packet);
    }
    this.#unread = bytes;
  }
}

/** One write on a connection of its own, which ends when the broker answers or, with `stays`, when it closes it. */
export function knock({ port }: Place, bytes: Buffer, patienceMs: number, stays = false): Promise<void> {
  return new Promise((gone) => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: address, noDelay: true });
    const timer = setTimeout(() => socket.destroy(), patienceMs);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      gone();
    });
    socket.on('data', () => stays || socket.destroy());
    socket.write(bytes);
  });
}
