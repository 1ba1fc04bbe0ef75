/**
 * A stand-in on one machine for the load balancer in AWS: clients connect to its four listeners, TLS ends here, and each
 * connection goes to a healthy broker with a PROXY protocol header in front. `main.ts` runs it as a process of its own.
 * docs/decisions/0048-several-brokers-on-one-machine.md compares the two.
 *
 * It keeps nothing but open connections, and reads no byte of MQTT: it can be killed and started again at any time.
 */
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { Cancel, Clock, Log } from '../../kernel/kernel.js';
import { openPassage } from './passage.js';
import type { Targets, Way } from './targets.js';

/**
 * At all listeners, handshakes included. The system has some 28 000 ports for connections from one address to one port of
 * a broker. Each takes two file descriptors, 20 to 60 KB, and when neither side reads up to 0.5 MB.
 */
export const connectionsMax = 20_000;
/** As long as a broker gives a newcomer altogether. */
const handshakeTimeout = 10_000;
/** As the broker's: below the 350 s after which networks forget connections, and rare enough for radios. */
const keepAliveInitialDelay = 300_000;
/** Connections that the system holds while this process is busy. */
const backlog = 4096;
/** As long as the broker lets a client go on with its TLS session. */
const sessionTimeout = 86_400;
/** Refusals are told at once, and then summed up. */
const tellEveryMs = 60_000;

export type Kind = 'mqtt' | 'mqtts' | 'ws' | 'wss';
export const kinds: readonly Kind[] = ['mqtt', 'mqtts', 'ws', 'wss'];
const ways: Readonly<Record<Kind, Way>> = { mqtt: 'mqtt', mqtts: 'mqtt', ws: 'ws', wss: 'ws' };

export interface FrontDoorOptions {
  readonly targets: Pick<Targets, 'next'>;
  /** PEM, in the same order, for keys of several kinds. */
  readonly tls: Pick<TlsOptions, 'cert' | 'key'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly connectionsMax?: number;
}

/** Why a connection is closed before a broker has it. */
const refusals = {
  'too-many': 'as many connections as the front door takes',
  'no-broker': 'no broker takes clients',
  unreachable: 'the broker did not accept the connection',
} as const;
type Refusal = keyof typeof refusals;

export class FrontDoor {
  readonly #options: FrontDoorOptions;
  readonly #connectionsMax: number;
  readonly #servers: Server[] = [];
  readonly #refused = new Map<Refusal, number>();
  readonly #sockets = new Set<Socket>();
  #passages = 0;
  #cancelTelling: Cancel | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    this.#connectionsMax = options.connectionsMax ?? connectionsMax;
  }

  /** Resolves with the port in use; rejects with the system's error. */
  async listen(kind: Kind, host: string, port: number): Promise<number> {
    const shared = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay };
    const isTls = kind === 'mqtts' || kind === 'wss';
    const take = (socket: Socket): void => this.#pass(socket, ways[kind]);
    const server = isTls
      ? createTlsServer(
          { ...this.#options.tls, ...shared, minVersion: 'TLSv1.2', handshakeTimeout, sessionTimeout },
          take,
        )
      : createTcpServer({ ...shared, pauseOnConnect: true }, take);
    server.prependListener('connection', (socket: Socket) => this.#count(socket));
    // A client that fails to shake hands: its socket is closed already.
    server.on('tlsClientError', (error: Error) => this.#options.log.debug({ error }, 'a TLS handshake failed'));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog, exclusive: true }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#options.log.error({ error, listener: kind }, 'a listener failed'));
        resolve();
      });
    });
    this.#servers.push(server);
    const address = server.address();
    return typeof address === 'object' && address ? address.port : port;
  }

  /** Sockets of clients. */
  get connections(): number {
    return this.#sockets.size;
  }

  #count(socket: Socket): void {
    if (this.#sockets.size >= this.#connectionsMax) {
      this.#refuse('too-many');
      socket.on('error', () => undefined);
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#look();
    });
  }

  #pass(client: Socket, way: Way): void {
    if (client.destroyed) return;
    const port = this.#options.targets.next(way);
    if (port === undefined) {
      this.#refuse('no-broker');
      client.on('error', () => undefined);
      client.destroy();
      return;
    }
    this.#passages++;
    openPassage({
      client,
      port,
      clock: this.#options.clock,
      onOver: (reached) => {
        this.#passages--;
        if (!reached) this.#refuse('unreachable');
        this.#look();
      },
    });
  }

  /** A reconnect storm that meets no broker is one line a minute. */
  #refuse(why: Refusal): void {
    this.#refused.set(why, (this.#refused.get(why) ?? 0) + 1);
    if (this.#cancelTelling) return;
    this.#tell();
    this.#cancelTelling = this.#options.clock.after(tellEveryMs, () => {
      this.#cancelTelling = undefined;
      this.#tell();
    });
  }

  #tell(): void {
    for (const [why, connections] of this.#refused)
      this.#options.log.info({ reason: why, connections }, `connections refused: ${refusals[why]}`);
    this.#refused.clear();
  }

  /** Nobody new comes in; who is in stays. */
  stopAccepting(): void {
    for (const server of this.#servers) server.close();
  }

  /** Resolves when the last connection has ended by itself. */
  async empty(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      this.#look();
    });
  }

  /** Ends what is left. */
  destroy(): void {
    this.stopAccepting();
    this.#cancelTelling?.();
    for (const socket of this.#sockets) socket.destroy();
  }

  #look(): void {
    if (this.#sockets.size === 0 && this.#passages === 0) this.#onEmpty?.();
  }
}
