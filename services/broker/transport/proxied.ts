/**
 * Connections that a load balancer speaks for: the PROXY protocol header is taken off the front of each before the
 * server that listens (TCP, TLS or HTTP) sees a byte of it. When that is done nothing of this file is in the way.
 *
 *      accepted -> header read -> first byte of the client -> the server's own handling
 *
 * A client behind the balancer may send a header, too, to pass for somebody else: no protocol served here begins as one
 * does, so a second one is refused. `transport.ts` uses this for its listeners, `ops` for the health port.
 */
import type { BlockList, Server, Socket } from 'node:net';
import type { Log } from '../../kernel/kernel.js';
import { speechOf } from '../wire/wire.js';
import { headerFaults, type Origin, type ProxyHeader, readProxyHeader } from './proxy-header.js';

export interface ProxiedOptions {
  /** Who may speak for clients. Others are closed: whoever gets past the balancer could not be told from a client. */
  readonly trusted: BlockList;
  readonly log: Log;
  /** Called when the header is there (perhaps twice); nothing of the client need have come. */
  readonly onHeader?: (socket: Socket, origin: Origin) => void;
  readonly onRefused: (why: Refusal) => void;
}

export const refusals = {
  ...headerFaults,
  'untrusted-peer': 'the connection does not come from an address in SHOAL_TRUST_PROXY',
  'header-cut-short': 'the connection ended within the PROXY protocol header',
  'header-timeout': 'no PROXY protocol header, or nothing after it, in time',
  'second-header': 'the client sent its own PROXY protocol header',
} as const;

export type Refusal = keyof typeof refusals;

type Accept = (this: Server, socket: Socket) => void;

/** From now on `accept` gets the connections of a server; what it calls hands one on to those who got them before. */
export function takeConnections(
  server: Server,
  accept: (socket: Socket, handOn: (socket: Socket) => void) => void,
): void {
  const listeners = server.listeners('connection') as Accept[];
  server.removeAllListeners('connection');
  server.on('connection', (socket) =>
    accept(socket, () => {
      for (const listener of listeners) listener.call(server, socket);
    }),
  );
}

/** The header's client of each connection of a server that requires headers. */
export class Proxied {
  readonly #options: ProxiedOptions;
  readonly #pending = new Map<Socket, Pending>();
  /** Not asked for yet, by `ip:port` of the balancer: a TLS socket does not tell which socket is below it. */
  readonly #origins = new Map<string, { readonly origin: Origin; forget(): void }>();

  constructor(server: Server, options: ProxiedOptions) {
    this.#options = options;
    takeConnections(server, (socket, accept) => this.#begin(socket, accept));
  }

  /** Once a connection: from then on it is the caller's to remember. Undefined when the header said LOCAL. */
  takeOrigin(socket: Socket): Origin | undefined {
    const taken = this.#origins.get(peerOf(socket));
    taken?.forget();
    return taken?.origin;
  }

  /** The time for the header, and the first byte behind it, is over. */
  late(socket: Socket): void {
    this.#pending.get(socket)?.refuse('header-timeout');
  }

  #begin(socket: Socket, accept: (socket: Socket) => void): void {
    const { trusted, onHeader } = this.#options;
    const { remoteAddress, remoteFamily } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // It has gone already.
    if (!trusted.check(remoteAddress, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4'))
      return this.#refuse(socket, 'untrusted-peer');
    const pending = new Pending(socket, {
      onHeader: (origin) => onHeader?.(socket, origin),
      onClient: (origin) => {
        if (origin) onHeader?.(socket, origin);
        this.#remember(socket, origin);
        accept(socket);
      },
      onRefused: (why) => this.#refuse(socket, why),
      onOver: () => this.#pending.delete(socket),
    });
    this.#pending.set(socket, pending);
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
  onHeader(origin: Origin): void;
  /** The first byte of the client has come. */
  onClient(origin: Origin | undefined): void;
  onRefused(why: Refusal): void;
  /** Called first, whatever comes of it. */
  onOver(): void;
}

/** A connection whose header has not come in full. */
class Pending {
  readonly #socket: Socket;
  readonly #host: PendingHost;
  #bytes: Buffer | undefined;

  constructor(socket: Socket, host: PendingHost) {
    this.#socket = socket;
    this.#host = host;
    socket.on('data', this.#onData).on('error', ignore).on('end', this.#onEnd).on('close', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    const bytes = this.#bytes ? Buffer.concat([this.#bytes, chunk]) : chunk;
    const reading = readProxyHeader(bytes);
    if (reading.kind === 'incomplete') this.#bytes = bytes;
    else if (reading.kind !== 'header') this.refuse(reading.kind);
    else if (bytes.length === reading.headerBytes) {
      this.#bytes = bytes;
      if (reading.origin) this.#host.onHeader(reading.origin);
    } else this.#onClient(bytes, reading);
  };

  #onClient(bytes: Buffer, { headerBytes, origin }: ProxyHeader): void {
    const speech = speechOf(bytes, headerBytes);
    if (speech === undefined) this.#bytes = bytes;
    else if (speech === 'proxy-header') this.refuse('second-header');
    else {
      this.#letGo();
      handOn(this.#socket, bytes.subarray(headerBytes), () => this.#host.onClient(origin));
    }
  }

  readonly #onEnd = (): void => {
    // A check of the balancer, or a client that has thought better of it: a whole header, and nothing behind it.
    if (this.#bytes && readProxyHeader(this.#bytes).kind === 'incomplete') this.refuse('header-cut-short');
  };

  readonly #onClose = (): void => this.#letGo();

  refuse(why: Refusal): void {
    this.#letGo();
    this.#host.onRefused(why);
  }

  #letGo(): void {
    this.#host.onOver();
    this.#socket.off('data', this.#onData).off('error', ignore).off('end', this.#onEnd).off('close', this.#onClose);
  }
}

/** To whoever attaches next, as if nothing had been read before `rest`. */
export function handOn(socket: Socket, rest: Buffer, attach: () => void): void {
  socket.pause();
  if (rest.length > 0) socket.unshift(rest);
  attach();
  if (socket.listenerCount('data') > 0) socket.resume(); // TLS reads the socket in its own way.
}

/** On the health port: for a whole header, if there is one. */
const optionalHeaderMsMax = 10_000;

/** For the health port: a header is taken off if there is one, whoever sends it, and what it says is not used. */
export function stripOptionalHeader(server: Server): void {
  takeConnections(server, (socket, accept) => {
    let bytes = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), optionalHeaderMsMax).unref();
    const onClose = (): void => clearTimeout(timer);
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const reading = readProxyHeader(bytes);
      if (reading.kind === 'incomplete') return;
      clearTimeout(timer);
      socket.off('close', onClose).off('data', onData).off('error', ignore);
      // Anything else is for the server to judge.
      const rest = reading.kind === 'header' ? bytes.subarray(reading.headerBytes) : bytes;
      handOn(socket, rest, () => accept(socket));
    };
    socket.on('data', onData).on('error', ignore).on('close', onClose);
  });
}

const peerOf = (socket: Socket): string => `${socket.remoteAddress}:${socket.remotePort}`;

function ignore(): void {}
