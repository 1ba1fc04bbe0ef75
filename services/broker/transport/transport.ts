/** The door of transport: listeners for MQTT over TCP, TLS and WebSocket, and all connections they accept. */
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type BlockList, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { WebSocketServer } from 'ws';
import { caught, type Clock, type Counter, eachGuarded, type Log, type Metrics } from '../../kernel/kernel.js';
import type { Admission } from '../admission/admission.js';
import { type TopicTable } from '../wire/wire.js';
import { answeringMsMax, Connection, type ConnectionWorld, lingerMs } from './connection.js';
import { drainTakesMs, paced } from './drain.js';
import { Flusher } from './flusher.js';
import type { AcknowledgementGate, ByteSink, ByteStream } from './ports.js';
import { Proxied } from './proxied.js';
import type { Origin } from './proxy-header.js';
import { SocketStream, webSocketStream } from './streams.js';
import { DeadlineWheel } from './wheel.js';

export interface TransportOptions {
  readonly admission: Admission;
  readonly topics: TopicTable;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Connections of all kinds at once; more are closed before they cost anything. */
  readonly connectionsMax: number;
  /**
   * Load balancers: when given, only these connect, and each connection begins with a header of the PROXY protocol,
   * version 2, which says who the client is.
   */
  readonly trustedProxies?: BlockList | undefined;
  /** Asked before bytes with acknowledgements go to the network. */
  readonly gate: AcknowledgementGate;
}

export type { AcknowledgementGate } from './ports.js';
export { stripOptionalHeader } from './proxied.js';
export { trustedProxies } from './trusted.js';

export interface ListenerOptions {
  readonly kind: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  readonly host: string;
  readonly port: number;
  /** PEM; for `mqtts` and `wss`. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

type TakeOrigin = (socket: Socket) => Origin | undefined;

/** One WebSocket frame; an MQTT packet may be cut into several. */
const webSocketFrameBytesMax = 1 << 20;
const webSocketPath = '/mqtt';
const whereItIs = `MQTT over WebSocket is at ${webSocketPath}, subprotocol mqtt\n`;
/** As long as CONNECT may take. */
const upgradeTimeouts = { headersTimeout: 10_000, requestTimeout: 10_000, connectionsCheckingInterval: 2000 };
/** For the last that are sent away: both of their times, and some. */
const leavingMsMax = answeringMsMax + lingerMs + 500;
/** Connections the kernel holds while the process is busy: a reconnect storm in one turn of the event loop. */
const backlog = 4096;

export class Transport {
  readonly #options: TransportOptions;
  readonly #world: ConnectionWorld;
  readonly #connections = new Set<Connection>();
  readonly #servers: Server[] = [];
  readonly #proxied: Proxied[] = [];
  #onEmpty: (() => void) | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    const { admission, topics, clock, log, metrics } = options;
    this.#world = {
      admission,
      topics,
      clock,
      log,
      metrics,
      flusher: new Flusher(options.gate),
      wheel: new DeadlineWheel(() => clock.monotonicMs()),
      onGone: (connection) => this.#gone(connection),
    };
    metrics.gauge('shoal_sockets', 'Open connections, admitted or not', () => this.#connections.size);
    metrics.gauge(
      'shoal_sockets_used_percent',
      'Open connections, of the most there may be',
      () => (100 * this.#connections.size) / options.connectionsMax,
    );
  }

  #refused(reason: string): Counter {
    const help = 'Sockets closed before anything was read of what the client says';
    return this.#options.metrics.counter('shoal_sockets_refused_total', help, { reason });
  }

  /** Resolves with the port in use. Rejects with the system's error when it cannot listen. */
  async listen(options: ListenerOptions): Promise<number> {
    const server = this.#makeServer(options);
    server.maxConnections = this.#options.connectionsMax; // Handshakes and HTTP upgrades count, too.
    server.on('drop', () => this.#refused('limit').add());
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: options.host, port: options.port, backlog }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#options.log.error({ error, listener: options.kind }, 'a listener failed'));
        resolve();
      });
    });
    this.#servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address ? address.port : options.port;
  }

  #makeServer(options: ListenerOptions): Server {
    const { trustedProxies: trusted, clock, log } = this.#options;
    if (trusted === undefined) return this.#makeServerFor(options, () => undefined);
    const onRefused = (why: string): void => this.#refused(why).add();
    const server = this.#makeServerFor(options, (socket) => proxied.takeOrigin(socket));
    const proxied = new Proxied(server, { trusted, clock, log, wheel: this.#world.wheel, onRefused });
    this.#proxied.push(proxied);
    return server;
  }

  #makeServerFor({ kind, tls }: ListenerOptions, takeOrigin: TakeOrigin): Server {
    const onSocket = (socket: Socket): void =>
      this.#accept((sink) => new SocketStream(socket, sink, takeOrigin(socket)), socket);
    const credentials = { ...tls, minVersion: 'TLSv1.2' as const };
    switch (kind) {
      case 'mqtt':
        return createTcpServer({ noDelay: true }, onSocket);
      case 'mqtts': {
        const failures = this.#options.metrics.counter('shoal_tls_failures_total', 'TLS handshakes that failed');
        // A handshake gets as long as CONNECT does.
        const server = createTlsServer({ ...credentials, handshakeTimeout: 10_000 }, onSocket);
        return server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
          failures.add();
          this.#options.log.info(
            { reason: error.code ?? error.message, address: takeOrigin(socket)?.address ?? socket.remoteAddress },
            'TLS handshake failed',
          );
        });
      }
      case 'ws':
        return this.#acceptWebSockets(createHttpServer(upgradeTimeouts), takeOrigin);
      case 'wss':
        return this.#acceptWebSockets(createHttpsServer({ ...credentials, ...upgradeTimeouts }), takeOrigin);
    }
  }

  /** [MQTT-6.0.0-3] [MQTT-6.0.0-4] The subprotocol is `mqtt`, and the client has to ask for it. */
  #acceptWebSockets<S extends HttpServer | ReturnType<typeof createHttpsServer>>(server: S, takeOrigin: TakeOrigin): S {
    const acceptor = new WebSocketServer({
      noServer: true,
      maxPayload: webSocketFrameBytesMax,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false),
    });
    server.on('request', (request, response) => {
      response.writeHead(request.url === webSocketPath ? 426 : 404, { connection: 'close' });
      response.end(whereItIs);
    });
    server.on('upgrade', (request, socket, head) => {
      const path = request.url?.split('?')[0];
      const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
      if (path !== webSocketPath || !protocols.includes('mqtt')) {
        const status = path === webSocketPath ? '400 Bad Request' : '404 Not Found';
        const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain`;
        socket.end(`${head}\r\nContent-Length: ${whereItIs.length}\r\n\r\n${whereItIs}`);
        return;
      }
      const below = request.socket;
      const origin = takeOrigin(below);
      acceptor.handleUpgrade(request, socket, head, (webSocket) => {
        below.setNoDelay(true);
        this.#accept((sink) => webSocketStream(webSocket, below, sink, origin), below);
      });
    });
    return server;
  }

  #accept(makeStream: (sink: ByteSink) => ByteStream, socket: Socket): void {
    if (this.#connections.size >= this.#options.connectionsMax) {
      this.#refused('limit').add();
      socket.destroy();
      return;
    }
    try {
      this.#connections.add(new Connection(this.#world, makeStream));
    } catch (error) {
      caught('accept', error);
      socket.destroy();
    }
  }

  /** Nobody new comes in. */
  stopAccepting(): void {
    for (const server of this.#servers) server.close();
  }

  /** How long it will take to send away everybody who is there now. */
  drainTakesMs(withinMs: number): number {
    return drainTakesMs(this.#connections.size, withinMs);
  }

  /**
   * Sends everybody away, spread over `withinMs` if there are many, and resolves when they have gone; those who do not
   * answer, or do not read, hold it up for a few seconds at most.
   */
  async drain(withinMs: number): Promise<void> {
    const { clock } = this.#options;
    await paced([...this.#connections], withinMs, clock, (connection) => connection.sendAway());
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      clock.after(leavingMsMax, resolve);
    });
  }

  #gone(connection: Connection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onEmpty?.();
  }

  /** Closes what is left without a word; call it when everybody has been told. */
  stop(): void {
    this.stopAccepting();
    for (const proxied of this.#proxied) proxied.stop();
    eachGuarded('stop', this.#connections, (connection) => connection.destroy());
    this.#world.wheel.stop();
  }
}
