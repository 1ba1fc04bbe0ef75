/**
 * Many devices in one process, as light as Node lets them be: a socket each, packets that were encoded before, and no look
 * at what comes but the first byte and the reason code. Driven over IPC by `crowd.ts`.
 */
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import {
  connectPacket,
  type Credentials,
  type Durable,
  type ProtocolVersion,
  subscribePacket,
} from '../load/packets.js';

export interface DevicesJob {
  readonly port: number;
  /** File of the CA of a TLS listener. */
  readonly caFile?: string;
  /** Each device goes on with the TLS session that it has had before. */
  readonly resumesTls?: boolean;
  readonly version: ProtocolVersion;
  /** One for all, or one for each device. */
  readonly credentials: readonly Credentials[];
  /** Beginning of the client ids. */
  readonly name: string;
  readonly first: number;
  readonly count: number;
  /** Which of them have a session that outlives the connection: none, every second one, all. */
  readonly stored: 'none' | 'half' | 'all';
}

export interface Came {
  /** From the beginning to the CONNACK, or from one's own SYN to it. */
  readonly ms: number[];
  /** CONNACKs with a code, closed connections and resets, by what they were. */
  readonly refusals: Readonly<Record<string, number>>;
  /** The longest time between an attempt and any answer to it. */
  readonly longestWaitMs: number;
  /** Not in when patience ended. */
  readonly left: number;
}

const storedSession: Durable = { sessionExpirySeconds: 3600, resumes: true };
const disconnect = Buffer.from([0xe0, 0]);
/**
 * A connection that has closed keeps its port for a minute, and the more ports of an address are taken, the longer the kernel
 * looks for a free one: with 6000 that tripled what a CONNECT took. So every few connections come from another address.
 */
const connectionsPerAddress = 250;
let opened = 0;
const nextAddress = (): string => {
  const block = Math.floor(opened++ / connectionsPerAddress);
  return `127.${1 + (process.pid % 250)}.${(block >> 8) & 255}.${block & 255 || 1}`;
};
/** One filter of 30 bytes each. */
export const filterOf = (index: number): string => `bench/device/${String(index).padStart(9, '0')}/command`;

interface Device {
  readonly index: number;
  readonly connect: Buffer;
  socket: Socket | undefined;
  tls: Buffer | undefined;
}

export class Devices {
  readonly #job: DevicesJob;
  readonly #devices: readonly Device[];
  readonly #ca: Buffer | undefined;

  constructor(job: DevicesJob) {
    this.#job = job;
    this.#ca = job.caFile === undefined ? undefined : readFileSync(job.caFile);
    this.#devices = Array.from({ length: job.count }, (_, at) => {
      const index = job.first + at;
      const isStored = job.stored === 'all' || (job.stored === 'half' && index % 2 === 0);
      const credentials = job.credentials[index % job.credentials.length]!;
      // A session of MQTT 3.1.1 is stored where it is not clean.
      const durable = isStored ? storedSession : undefined;
      const packet = connectPacket(`${job.name}-${index}`, job.version, credentials, durable);
      return { index, connect: packet, socket: undefined, tls: undefined };
    });
  }

  /** Everybody comes, so many at a time. Rejects at a refusal. */
  async come(atOnce: number): Promise<Came> {
    const ms: number[] = [];
    await this.#each(atOnce, async (device) => {
      const startedMs = performance.now();
      await this.#come(device);
      ms.push(performance.now() - startedMs);
    });
    return { ms, refusals: {}, longestWaitMs: Math.max(...ms), left: 0 };
  }

  async #come(device: Device): Promise<void> {
    const outcome = await this.#attempt(device);
    if (outcome !== 'in') throw new Error(`CONNECT of ${this.#job.name}-${device.index}: ${outcome}`);
  }

  async subscribe(atOnce: number): Promise<void> {
    await this.#each(atOnce, (device) => this.#subscribe(device));
  }

  async #subscribe({ socket, index }: Device): Promise<void> {
    const answer = once(socket!, 'the answer to SUBSCRIBE');
    socket!.write(subscribePacket(filterOf(index), 1, this.#job.version));
    const bytes = await answer;
    if (bytes[0] !== 0x90 || bytes.at(-1)! >= 0x80) throw new Error(`SUBSCRIBE was answered ${bytes.toString('hex')}`);
  }

  /** Each comes, subscribes and says DISCONNECT before the next one has its place: no more than `atOnce` are connected. */
  async visit(atOnce: number): Promise<void> {
    await this.#each(atOnce, async (device) => {
      await this.#come(device);
      await this.#subscribe(device);
      await this.#leave(device, 'disconnect');
    });
  }

  /** Says DISCONNECT, or is cut off; returns when the sockets are closed. */
  async leave(how: 'disconnect' | 'cut', atOnce: number): Promise<void> {
    await this.#each(atOnce, (device) => this.#leave(device, how));
  }

  async #leave(device: Device, how: 'disconnect' | 'cut'): Promise<void> {
    const { socket } = device;
    if (!socket) return;
    device.socket = undefined;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    if (how === 'cut') socket.resetAndDestroy();
    else socket.end(disconnect);
    await closed;
  }

  /**
   * Everybody loses the connection at the same moment and tries without a pause until it is in again, or patience ends.
   * Times are from the storm's beginning.
   */
  async storm(patienceMs: number): Promise<Came> {
    const startedMs = performance.now();
    const ms: number[] = [];
    const refusals: Record<string, number> = {};
    let longestWaitMs = 0;
    const comeBack = async (device: Device): Promise<void> => {
      while (performance.now() - startedMs < patienceMs) {
        const sinceMs = performance.now();
        const outcome = await this.#attempt(device, startedMs + patienceMs - sinceMs);
        longestWaitMs = Math.max(longestWaitMs, performance.now() - sinceMs);
        if (outcome === 'in') return void ms.push(performance.now() - startedMs);
        refusals[outcome] = (refusals[outcome] ?? 0) + 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    for (const device of this.#devices) {
      device.socket?.resetAndDestroy();
      device.socket = undefined;
    }
    await Promise.all(this.#devices.map(comeBack));
    return { ms, refusals, longestWaitMs, left: this.#devices.length - ms.length };
  }

  /** `in`, or what came instead of a CONNACK that lets in. */
  #attempt(device: Device, patienceMs?: number): Promise<string> {
    return new Promise((resolve) => {
      const socket = this.#open(device);
      const settle = (outcome: string): void => {
        clearTimeout(timer);
        socket.removeAllListeners('data');
        if (outcome === 'in') device.socket = socket;
        else socket.destroy();
        resolve(outcome);
      };
      const timer = patienceMs === undefined ? undefined : setTimeout(() => settle('no answer'), patienceMs);
      socket.once('data', (bytes) => {
        const code = bytes[0] === 0x20 ? bytes[3]! : -1;
        settle(code === 0 ? 'in' : code < 0 ? 'no CONNACK' : `0x${code.toString(16).padStart(2, '0')}`);
      });
      socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code ?? error.message));
      socket.once('close', () => settle('closed'));
      socket.on('error', () => {});
      socket.write(device.connect);
    });
  }

  #open(device: Device): Socket {
    const { port, resumesTls } = this.#job;
    const localAddress = nextAddress();
    const socket = connectTcp({ host: '127.0.0.1', port, localAddress, noDelay: true });
    if (!this.#ca) return socket;
    const session = resumesTls && device.tls ? { session: device.tls } : {};
    const secure: TLSSocket = connectTls({ socket, ca: this.#ca, servername: 'localhost', ...session });
    secure.on('session', (ticket: Buffer) => (device.tls = ticket));
    return secure;
  }

  async #each(atOnce: number, run: (device: Device) => Promise<void>): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < this.#devices.length) await run(this.#devices[next++]!);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }
}

function once(socket: Socket, what: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const lost = (): void => reject(new Error(`the broker closed a connection instead of ${what}`));
    socket.once('close', lost);
    socket.once('data', (bytes: Buffer) => {
      socket.off('close', lost);
      resolve(bytes);
    });
  });
}
