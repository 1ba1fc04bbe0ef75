/** The door of transport: listeners for MQTT over TCP, TLS and WebSocket, and all connections they accept. */
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type BlockList, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { caught, type Clock, eachGuarded, type Log, type Metrics } from '../../kernel/kernel.js';
import type { Admission } from '../admission/admission.js';
import { type AcknowledgementGate, Flusher } from '../outbox/outbox.js';
import { type Thread, Turnstile } from '../tenant/tenant.js';
import { type TopicTable } from '../wire/wire.js';
import { listenInQueues } from './accept-queues.js';
import { chooseProtocol } from './alpn.js';
import { answeringMsMax, Connection, type ConnectionWorld } from './connection.js';
import { Doorstep, lingerMs, type Visitor } from './doorstep.js';
import { drainTakesMs, paced } from './drain.js';
import type { ByteSink, ByteStream, Stage } from './ports.js';
import { Proxied, takeConnections } from './proxied.js';
import type { Origin } from './proxy-header.js';
import { SocketStream } from './socket-stream.js';
import { tellTlsFailures } from './tls-door.js';
import { acceptWebSockets, type WebSocketDoorOptions } from './web-socket-door.js';
import { webSocketStream } from './web-socket-stream.js';
import { DeadlineWheel } from './wheel.js';

export interface TransportOptions {
  readonly admission: Admission;
  readonly thread: Thread;
  readonly topics: TopicTable;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Sockets of all listeners at once, whatever they wait for. */
  readonly connectionsMax: number;
  /** Of these, those without a complete CONNECT, and those of one address: percent. */
  readonly newcomersPercentMax: number;
  readonly newcomersPerAddressPercentMax: number;
  /**
   * Load balancers: when given, only these connect, and each connection begins with a header of the PROXY protocol,
   * which says who the client is.
   */
  readonly trustedProxies?: BlockList | undefined;
  /** MQTT over WebSocket is at `/`, too. */
  readonly isWebSocketAtRoot: boolean;
  /** Asked before bytes with acknowledgements go to the network. */
  readonly gate: AcknowledgementGate;
}

export { stripOptionalHeader } from './proxied.js';
export { trustedProxies } from './trusted.js';

export interface ListenerOptions {
  readonly kind: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  readonly host: string;
  readonly port: number;
  /** PEM; for `mqtts` and `wss`. Several pairs, in the same order, for keys of several kinds: the client's ciphers choose. */
  readonly tls?: { readonly cert: Buffer | Buffer[]; readonly key: Buffer | Buffer[] } | undefined;
}

type TakeOrigin = (socket: Socket) => Origin | undefined;

const firstStage = { mqtt: 'connect', mqtts: 'tls', ws: 'http', wss: 'tls' } as const satisfies Record<string, Stage>;

/** Off: `doorstep.ts` has one deadline for all layers, and counts only the time in which the broker has listened. */
const noTimeouts = { headersTimeout: 0, requestTimeout: 0 };
/** The same; zero would be Node's default. */
const noHandshakeTimeout = 2 ** 31 - 1;
/** For how long a client may go on with its TLS session: a device that comes once a day. Node's default is five minutes. */
const tlsSessionSeconds = 86_400;
/** For the last that are sent away: both of their times, and some. */
const leavingMsMax = answeringMsMax + lingerMs + 500;
/** In the lines of the first turnstile; what is on its way to its CONNECT then has the rest of 5 s. */
const patienceMs = 3000;

export class Transport {
  readonly #options: TransportOptions;
  readonly #world: ConnectionWorld;
  readonly #connections = new Set<Connection>();
  readonly #servers: Server[] = [];
  readonly #doorstep: Doorstep;
  readonly #turnstile: Turnstile;
  #onEmpty: (() => void) | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    const { admission, topics, clock, log, metrics } = options;
    const flusher = new Flusher(options.gate, options.clock);
    options.thread.beforeTurn(() => flusher.flush());
    this.#world = {
      admission,
      topics,
      clock,
      log,
      metrics,
      flusher,
      wheel: new DeadlineWheel(() => clock.monotonicMs()),
      onGone: (connection) => this.#gone(connection),
    };
    this.#doorstep = new Doorstep({ ...options, wheel: this.#world.wheel });
    const gatherMax = this.#doorstep.ofOneAddressMax / 2;
    this.#turnstile = new Turnstile(clock, setImmediate, { gatherMax, patienceMs });
    const waiting = 'Sockets that wait until something is read of them';
    metrics.gauge('shoal_sockets_waiting', waiting, () => this.#turnstile.waiting);
  }

  /** Resolves with the port in use. Rejects with the system's error when it cannot listen. */
  async listen(options: ListenerOptions): Promise<number> {
    const server = this.#makeServer(options);
    const { kind, host, port } = options;
    for (const queue of await listenInQueues(server, { host, port })) {
      queue.on('error', (error) => this.#options.log.error({ error, listener: kind }, 'a listener failed'));
      this.#servers.push(queue);
    }
    const address = server.address();
    return typeof address === 'object' && address ? address.port : port;
  }

  /** Each socket has its place first, then says who it is, and then goes to the server of its listener. */
  #makeServer(options: ListenerOptions): Server {
    const { trustedProxies: trusted, log } = this.#options;
    const doorstep = this.#doorstep;
    const stage = firstStage[options.kind];
    if (trusted === undefined) {
      const server = this.#makeServerFor(options, () => undefined);
      takeConnections(server, (socket, accept) =>
        accepting(socket, () => {
          const visitor = doorstep.enter(socket, stage);
          if (visitor) this.#letIn(socket, visitor, accept);
        }),
      );
      return server;
    }
    const server = this.#makeServerFor(options, (socket) => proxied.takeOrigin(socket));
    takeConnections(server, (socket, accept) => {
      const visitor = doorstep.of(socket)!;
      visitor.occupant = undefined;
      visitor.become(stage);
      accept(socket);
    });
    const proxied = new Proxied(server, {
      trusted,
      log,
      onHeader: (socket, origin) => doorstep.of(socket)?.comesFrom(origin),
      onRefused: (why) => doorstep.refused(why).add(),
    });
    takeConnections(server, (socket, accept) =>
      accepting(socket, () => {
        const visitor = doorstep.enter(socket, 'proxy');
        if (!visitor) return;
        visitor.occupant = { late: () => proxied.late(socket) };
        this.#letIn(socket, visitor, accept);
      }),
    );
    return server;
  }

  /** When it is its turn. Nothing has been read of it until then, as far as its listener allows (`pauseOnConnect`). */
  #letIn(socket: Socket, visitor: Visitor, accept: (socket: Socket) => void): void {
    this.#turnstile.come(visitor.group, (isLate) =>
      accepting(socket, () => {
        if (socket.destroyed) return;
        if (isLate && !visitor.mayBeTurnedAway()) return;
        visitor.isLetIn();
        accept(socket);
        if (socket.listenerCount('data') > 0) socket.resume(); // TLS reads the socket in its own way.
      }),
    );
  }

  #makeServerFor({ kind, tls }: ListenerOptions, takeOrigin: TakeOrigin): Server {
    const onSocket = (socket: Socket): void =>
      this.#accept(socket, (sink) => new SocketStream(socket, sink, takeOrigin(socket)));
    const { log, metrics, isWebSocketAtRoot: isAtRoot } = this.#options;
    const webSockets: WebSocketDoorOptions = {
      ...{ doorstep: this.#doorstep, log, metrics, isAtRoot, takeOrigin },
      onWebSocket: (webSocket, below, origin) =>
        this.#accept(below, (sink) => webSocketStream(webSocket, below, sink, origin)),
    };
    const credentials = { ...tls, minVersion: 'TLSv1.2' as const, sessionTimeout: tlsSessionSeconds };
    switch (kind) {
      case 'mqtt':
        return createTcpServer({ noDelay: true, pauseOnConnect: true }, onSocket);
      case 'mqtts': {
        const options = { ...credentials, handshakeTimeout: noHandshakeTimeout, ALPNCallback: chooseProtocol };
        return tellTlsFailures(createTlsServer(options, onSocket), { log, metrics, takeOrigin });
      }
      case 'ws':
        return acceptWebSockets(createHttpServer(noTimeouts), webSockets);
      case 'wss': {
        const options = { ...credentials, ...noTimeouts, handshakeTimeout: noHandshakeTimeout };
        const server = tellTlsFailures(createHttpsServer(options), { log, metrics, takeOrigin });
        server.on('secureConnection', (socket) => this.#doorstep.of(socket)?.become('http'));
        return acceptWebSockets(server, webSockets);
      }
    }
  }

  #accept(socket: Socket, makeStream: (sink: ByteSink) => ByteStream): void {
    const visitor = this.#doorstep.of(socket);
    if (visitor === undefined) return void socket.destroy(); // It has gone already.
    visitor.become('connect');
    accepting(socket, () => this.#connections.add(new Connection(this.#world, visitor, makeStream)));
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
    eachGuarded('stop', this.#connections, (connection) => connection.destroy());
    this.#doorstep.stop();
    this.#world.wheel.stop();
  }
}

/** A fault of ours ends the socket that it came up with, and nothing else. */
function accepting(socket: Socket, step: () => void): void {
  try {
    step();
  } catch (error) {
    caught('accept', error);
    socket.destroy();
  }
}
