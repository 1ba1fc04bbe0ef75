/**
 * Connections that a load balancer speaks for: the PROXY protocol header is taken off the front of each before the
 * server that listens (TCP, TLS or HTTP) sees a byte of it. When that is done nothing of this file is in the way.
 *
 *      accepted -> header read -> first byte of the client -> the server's own handling
 *
 * A client behind the balancer may send a header, too, to pass for somebody else: no protocol served here begins with
 * its first byte, so a second one is refused. `transport.ts` uses this for its listeners, `ops` for the health port.
 */
import type { BlockList, Server, Socket } from 'node:net';
import type { Clock, Log } from '../../kernel/kernel.js';
import { headerFaults, type Origin, readProxyHeader, signature } from './proxy-header.js';
import type { DeadlineWheel, Guarded } from './wheel.js';

export interface ProxiedOptions {
  /** Who may speak for clients. Others are closed: whoever gets past the balancer could not be told from a client. */
  readonly trusted: BlockList;
  readonly clock: Clock;
  readonly log: Log;
  readonly wheel: DeadlineWheel;
  readonly onRefused: (why: Refusal) => void;
}

export const refusals = {
  ...headerFaults,
  'untrusted-peer': 'it does not come from an address of SHOAL_TRUST_PROXY',
  'header-cut-short': 'it ended within the PROXY protocol header',
  'header-timeout': 'no PROXY protocol header, or nothing behind it, in time',
  'second-header': 'the client sent a PROXY protocol header of its own',
} as const;

export type Refusal = keyof typeof refusals;

/** As long as CONNECT may take: for the header and the first byte of what follows. */
export const headerTimeoutMs = 10_000;

type Accept = (this: Server, socket: Socket) => void;

/** The listeners of one server, which get connections in place of it. */
function takeConnections(server: Server): (socket: Socket) => void {
  const listeners = server.listeners('connection') as Accept[];
  server.removeAllListeners('connection');
  return (socket) => {
    for (const listener of listeners) listener.call(server, socket);
  };
}

/** The header's client of each connection of a server that requires headers. */
export class Proxied {
  readonly #options: ProxiedOptions;
  readonly #pending = new Set<Pending>();
  /** Not asked for yet, by `ip:port` of the balancer: a TLS socket does not tell which socket is below it. */
  readonly #origins = new Map<string, { readonly origin: Origin; forget(): void }>();

  constructor(server: Server, options: ProxiedOptions) {
    this.#options = options;
    const accept = takeConnections(server);
    server.on('connection', (socket) => this.#begin(socket, accept));
  }

  /** Once a connection: from then on it is the caller's to remember. Undefined when the header said LOCAL. */
  takeOrigin(socket: Socket): Origin | undefined {
    const taken = this.#origins.get(peerOf(socket));
    taken?.forget();
    return taken?.origin;
  }

  /** Ends what has not said yet who it is. */
  stop(): void {
    for (const pending of this.#pending) pending.socket.destroy();
  }

  #begin(socket: Socket, accept: (socket: Socket) => void): void {
    const { trusted, clock, wheel } = this.#options;
    const { remoteAddress, remoteFamily } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // It has gone already.
    if (!trusted.check(remoteAddress, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4'))
      return this.#refuse(socket, 'untrusted-peer');
    const pending = new Pending(socket, {
      onHeader: (origin) => {
        this.#remember(socket, origin);
        accept(socket);
      },
      onRefused: (why) => this.#refuse(socket, why),
      onOver: () => {
        this.#pending.delete(pending);
        wheel.forget(pending);
      },
    });
    this.#pending.add(pending);
    wheel.watch(pending, clock.monotonicMs(), headerTimeoutMs);
  }

  #remember(socket: Socket, origin: Origin | undefined): void {
    if (origin === undefined) return;
    const peer = peerOf(socket);
    const remembered = {
      origin,
      forget: () => {
        socket.off('close', remembered.forget);
        // The system may have given the port to another connection before it told of the end of this one.
        if (this.#origins.get(peer) === remembered) this.#origins.delete(peer);
      },
    };
    this.#origins.set(peer, remembered);
    socket.on('close', remembered.forget);
  }

  #refuse(socket: Socket, why: Refusal): void {
    const { log, onRefused } = this.#options;
    log.info({ reason: why, detail: refusals[why], address: peerOf(socket) }, 'connection refused');
    onRefused(why);
    socket.on('error', ignore);
    socket.destroy();
  }
}

interface PendingHost {
  onHeader(origin: Origin | undefined): void;
  onRefused(why: Refusal): void;
  /** Called first, whatever comes of it. */
  onOver(): void;
}

/** A connection whose header has not come in full. */
class Pending implements Guarded {
  slot: Guarded['slot'];
  readonly socket: Socket;
  readonly #host: PendingHost;
  #bytes: Buffer | undefined;

  constructor(socket: Socket, host: PendingHost) {
    this.socket = socket;
    this.#host = host;
    socket.on('data', this.#onData).on('error', ignore).on('end', this.#onEnd).on('close', this.#onClose);
  }

  checkDeadline(): number {
    this.#refuse('header-timeout');
    return 0;
  }

  destroy(): void {
    this.socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    const bytes = this.#bytes ? Buffer.concat([this.#bytes, chunk]) : chunk;
    const reading = readProxyHeader(bytes);
    if (reading.kind === 'incomplete') this.#bytes = bytes;
    else if (reading.kind !== 'header') this.#refuse(reading.kind);
    else if (bytes.length === reading.headerBytes) this.#bytes = bytes;
    else if (bytes[reading.headerBytes] === signature[0]) this.#refuse('second-header');
    else {
      this.#letGo();
      handOn(this.socket, bytes.subarray(reading.headerBytes), () => this.#host.onHeader(reading.origin));
    }
  };

  readonly #onEnd = (): void => {
    // A check of the balancer, or a client that has thought better of it: a whole header, and nothing behind it.
    if (this.#bytes && readProxyHeader(this.#bytes).kind === 'incomplete') this.#refuse('header-cut-short');
  };

  readonly #onClose = (): void => this.#letGo();

  #refuse(why: Refusal): void {
    this.#letGo();
    this.#host.onRefused(why);
  }

  #letGo(): void {
    this.#host.onOver();
    this.socket.off('data', this.#onData).off('error', ignore).off('end', this.#onEnd).off('close', this.#onClose);
  }
}

/** To whoever attaches next, as if nothing had been read before `rest`. */
function handOn(socket: Socket, rest: Buffer, attach: () => void): void {
  socket.pause();
  if (rest.length > 0) socket.unshift(rest);
  attach();
  if (socket.listenerCount('data') > 0) socket.resume(); // TLS reads the socket in its own way.
}

/** For the health port: a header is taken off if there is one, whoever sends it, and what it says is not used. */
export function stripOptionalHeader(server: Server): void {
  const accept = takeConnections(server);
  server.on('connection', (socket) => {
    let bytes = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const reading = readProxyHeader(bytes);
      if (reading.kind === 'incomplete') return;
      socket.setTimeout(0).off('timeout', onTimeout).off('data', onData).off('error', ignore);
      // Anything else is for the server to judge.
      const rest = reading.kind === 'header' ? bytes.subarray(reading.headerBytes) : bytes;
      handOn(socket, rest, () => accept(socket));
    };
    const onTimeout = (): void => void socket.destroy();
    socket.setTimeout(headerTimeoutMs).on('timeout', onTimeout);
    socket.on('data', onData).on('error', ignore);
  });
}

const peerOf = (socket: Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

function ignore(): void {}
