/**
 * The only file of the mesh that has sockets: a listener for the other brokers, and what is dialled. TLS 1.3 with a pre-shared key and
 * an ephemeral exchange (decision 43). It knows no frames.
 *
 * Anybody may come to the port. Those that have not said a good hello are few (`newcomersMax`) and have `greetingMsMax`, whatever
 * they do: nothing, half a handshake, other bytes. When one more comes the one that has waited longest goes: a broker is through in some
 * round trips, so that it takes many strangers at every moment to keep one out.
 */
import { constants } from 'node:crypto';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { caught, type Clock, guarded, type Metrics } from '../../kernel/kernel.js';
import type { Address } from './address.js';
import { type Ending, endings } from './endings.js';
import { type ClusterKeys, shownIdentity } from './keys.js';
import { greetingMsMax } from './link-state.js';
import type { Wire, WireSink } from './ports.js';

/** Half a cluster of the largest size that joins at once. */
export const newcomersMax = 64;
/** For an end that the other broker does not take. */
const lingerMs = 1000;

/**
 * Node's callbacks give OpenSSL a key for SHA-256, which these use. AES first: processors have it. The exchange is with
 * an ephemeral key: OpenSSL refuses one without unless told otherwise.
 */
const suite = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256',
  // Who has had a key must not come back by a ticket when it is taken away.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const;
/** Zero would be Node's default; there is a deadline of our own. */
const noHandshakeTimeout = 2 ** 31 - 1;

export interface MeshSocketsOptions {
  readonly keys: ClusterKeys;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Told of those who come and do not get as far as a wire. */
  onStranger(
    why: Ending,
    detail: { readonly address: string | undefined; readonly error?: string; readonly key?: string },
  ): void;
}

export class MeshSockets {
  readonly #options: MeshSocketsOptions;
  /** By who they are to the network: of a TLS socket Node tells nothing else that the socket below it has. */
  readonly #newcomers = new Map<string, Socket>();
  #server: Server | undefined;

  constructor(options: MeshSocketsOptions) {
    this.#options = options;
    const waiting = 'Connections of brokers or strangers that have not said hello yet';
    options.metrics.gauge('shoal_link_newcomers', waiting, () => this.#newcomers.size);
  }

  /** Resolves with the port in use. Rejects with the system's error when it cannot listen. */
  async listen({ host, port }: Address, accept: (wire: Wire) => WireSink): Promise<number> {
    const unknown = new WeakMap<Socket, string>();
    const tls = createTlsServer({
      ...suite,
      handshakeTimeout: noHandshakeTimeout,
      pskIdentityHint: '',
      pskCallback: (socket, identity) => {
        const key = this.#options.keys.find((one) => one?.identity === identity);
        if (!key) unknown.set(socket, identity);
        return key?.secret ?? null;
      },
    });
    tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const identity = unknown.get(socket);
      const address = socket.remoteAddress;
      if (identity !== undefined)
        this.#options.onStranger(endings.unknownKey, { address, key: shownIdentity(identity) });
      else this.#options.onStranger(endings.handshakeFailed, { address, error: error.code ?? error.message });
      socket.destroy(); // Not every error has ended it.
    });
    tls.on('secureConnection', (socket) => guarded('accept', () => this.#accept(socket, accept)));
    const server = createTcpServer({ noDelay: true }, (socket) => {
      this.#receive(socket);
      tls.emit('connection', socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        server.on('error', (error) => caught('accept', error));
        resolve();
      });
    });
    this.#server = server;
    return (server.address() as AddressInfo).port;
  }

  #receive(socket: Socket): void {
    const name = nameOf(socket);
    const [[longestName, longest] = []] = this.#newcomers;
    if (longest && this.#newcomers.size >= newcomersMax) {
      this.#options.onStranger(endings.crowdedOut, { address: longest.remoteAddress });
      this.#newcomers.delete(longestName!);
      longest.destroy();
    }
    this.#newcomers.set(name, socket);
    socket.on('error', ignore);
    const cancel = this.#options.clock.after(greetingMsMax, () => {
      if (this.#newcomers.get(name) !== socket) return;
      this.#options.onStranger(endings.greetingLate, { address: socket.remoteAddress });
      socket.destroy();
    });
    socket.once('close', () => {
      cancel();
      if (this.#newcomers.get(name) === socket) this.#newcomers.delete(name);
    });
  }

  #accept(socket: TLSSocket, accept: (wire: Wire) => WireSink): void {
    const name = nameOf(socket);
    const sink = accept(this.#wire(socket, () => this.#newcomers.delete(name)));
    socket.on('error', ignore);
    this.#attach(socket, sink, () => endings.connectionLost);
    sink.onOpen();
  }

  dial({ host, port }: Address, makeSink: (wire: Wire) => WireSink): void {
    const [key] = this.#options.keys;
    const socket = connect({
      ...suite,
      host,
      port,
      // A certificate is no key, whoever has signed it.
      ca: [],
      checkServerIdentity: (_, cert) => (Object.keys(cert ?? {}).length === 0 ? undefined : new Error('a certificate')),
      pskCallback: () => ({ identity: key.identity, psk: key.secret }),
    });
    socket.setNoDelay(true);
    const sink = makeSink(this.#wire(socket, () => undefined));
    let isConnected = false;
    let why: Ending = endings.unreachable;
    socket.once('connect', () => {
      isConnected = true;
      why = endings.handshakeFailed;
    });
    socket.once('secureConnect', () => {
      why = endings.connectionLost;
      sink.onOpen();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // A server that does not know the key goes on to look for a certificate that it does not have.
      if (isConnected && error.code?.endsWith('ALERT_HANDSHAKE_FAILURE')) why = endings.unknownKey;
    });
    this.#attach(socket, sink, () => why);
  }

  /** Nobody comes in any more; wires are their links' to end. */
  close(): void {
    this.#server?.close();
    for (const socket of this.#newcomers.values()) socket.destroy();
  }

  #attach(socket: TLSSocket, sink: WireSink, why: () => Ending): void {
    socket.on('data', (chunk: Buffer) => guarded('link', () => sink.onBytes(chunk)));
    socket.on('drain', () => guarded('link', () => sink.onDrain()));
    socket.once('close', () => guarded('link', () => sink.onClosed(why())));
  }

  #wire(socket: TLSSocket, welcome: () => unknown): Wire {
    const { clock } = this.#options;
    return {
      stream: {
        get unsentBytes() {
          return socket.writableLength;
        },
        write: (bytes) => void (socket.writable && socket.write(bytes)),
        destroy: () => void socket.destroy(),
      },
      get remoteAddress() {
        return socket.remoteAddress ?? 'unknown';
      },
      welcome: () => void welcome(),
      end() {
        socket.end();
        const cancel = clock.after(lingerMs, () => socket.destroy());
        socket.once('close', cancel);
      },
    };
  }
}

/** `close` follows. */
const ignore = (): void => undefined;

/** While it is open, no other one that has come to this listener has the same. */
const nameOf = (socket: Socket): string => `${socket.remoteAddress}|${socket.remotePort}`;
