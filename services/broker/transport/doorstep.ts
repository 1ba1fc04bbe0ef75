/**
 * Every socket that the broker holds, from accept to its end, whatever the listener and whatever is above it: where it
 * stands, how long it may stay there, and who has to go when places are short.
 *
 *      proxy -> tls -> http -> connect -> admission -> open -> closing
 *
 * A socket begins at the first stage that its listener has. Until its CONNECT is complete it is a newcomer. A peer that
 * does nothing (or too little, or has vanished) is bounded at every stage, and then the socket is destroyed: an end
 * that is only begun waits for the peer once more.
 *
 *  - proxy, tls, http, connect: one deadline for all of them, from the moment when it may be read (`newcomerMs`);
 *  - admission: the broker is at work, not the client; bounded all the same (`admissionMsMax`);
 *  - open: keep alive, and TCP keep-alive for clients that have none, or a long one;
 *  - closing: `lingerMs`.
 *
 * Newcomers have a share of the places, and a share for each address. Who comes when there is none gets the place of
 * another newcomer (decision "newcomers" in docs/decisions says whose, and why). Whoever is in is never displaced.
 */
import type { Socket } from 'node:net';
import { addressGroup, type Clock, type Counter, type Log, type Metrics } from '../../kernel/kernel.js';
import { Attention } from './attention.js';
import { Crowd } from './crowd.js';
import type { Occupant, Place, Stage } from './ports.js';
import type { Origin } from './proxy-header.js';
import type { DeadlineWheel, Guarded } from './wheel.js';

export const stages = [
  'proxy',
  'tls',
  'http',
  'connect',
  'admission',
  'open',
  'closing',
] as const satisfies readonly Stage[];

/** From accept to a complete CONNECT, handshakes included. */
export const newcomerMs = 10_000;
/** Reading credential and record, and claiming it, may take 6.2 s each at worst, and a last will 4 s. */
export const admissionMsMax = 30_000;
/** After the last word the client has this long to take it and go. */
export const lingerMs = 2000;
/** A newcomer whom the broker has listened to for this long gives its place to anybody. */
const patienceMs = 2000;
/** Below the 350 s after which load balancers forget a connection, and seldom enough for radios. */
const tcpKeepAliveMs = 300_000;
const tellEveryMs = 60_000;

export interface DoorstepOptions {
  readonly clock: Clock;
  readonly wheel: DeadlineWheel;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Sockets of all kinds at once. */
  readonly connectionsMax: number;
  /** Of these, those without a complete CONNECT: percent. */
  readonly newcomersPercentMax: number;
  /** The same of one address. */
  readonly newcomersPerAddressPercentMax: number;
}

export class Doorstep {
  readonly options: DoorstepOptions;
  readonly attention: Attention;
  readonly counts: Record<Stage, number> = {
    ...{ proxy: 0, tls: 0, http: 0, connect: 0 },
    ...{ admission: 0, open: 0, closing: 0 },
  };
  readonly newcomers = new Crowd<Visitor>();
  readonly closing = new Set<Visitor>();
  readonly #visitors = new Set<Visitor>();
  /** Those below TLS: a TLS socket does not tell which socket is below it, but has the same two ends. */
  readonly #byEnds = new Map<string, Visitor>();
  readonly #newcomersMax: number;
  /** Newcomers. */
  readonly ofOneAddressMax: number;
  #toldAtMs = -Infinity;

  constructor(options: DoorstepOptions) {
    this.options = options;
    this.attention = new Attention(options.clock);
    const { connectionsMax, metrics } = options;
    const share = (percent: number): number => Math.ceil((connectionsMax * percent) / 100);
    this.#newcomersMax = share(options.newcomersPercentMax);
    this.ofOneAddressMax = share(options.newcomersPerAddressPercentMax);
    for (const state of stages)
      metrics.gauge('shoal_sockets', 'Open sockets of clients, by what they wait for', () => this.counts[state], {
        state,
      });
    metrics.gauge(
      'shoal_sockets_used_percent',
      'Open sockets, of the most there may be',
      () => (100 * this.#visitors.size) / connectionsMax,
    );
  }

  refused(reason: string): Counter {
    const help = 'Sockets closed for want of a place, or because they did not say who they are';
    return this.options.metrics.counter('shoal_sockets_refused_total', help, { reason });
  }

  /** A place for a socket that has just been accepted; without one it is closed, and undefined is returned. */
  enter(socket: Socket, stage: Stage): Visitor | undefined {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // It has gone already.
    // Behind a balancer the client's own address is not known before the header is.
    const group = stage === 'proxy' ? `balancer ${remoteAddress}` : addressGroup(remoteAddress);
    if (!this.#makeRoom(group)) {
      this.refused('limit').add();
      return void socket.destroy();
    }
    const visitor = new Visitor(this, socket, stage, group);
    this.#visitors.add(visitor);
    return visitor;
  }

  /** The visitor whose socket this is, or is below this TLS socket. */
  of(socket: Socket): Visitor | undefined {
    const known = (socket as VisitorSocket)[visitorOf];
    if (known) return known;
    const visitor = this.#byEnds.get(endsOf(socket));
    if (!visitor) return undefined;
    this.#expectNoTls(visitor);
    return ((socket as VisitorSocket)[visitorOf] = visitor);
  }

  /** TLS comes next: `of` will be asked for the TLS socket. */
  expectTls(visitor: Visitor): void {
    visitor.ends = endsOf(visitor.socket);
    this.#byEnds.set(visitor.ends, visitor);
  }

  #expectNoTls(visitor: Visitor): void {
    if (visitor.ends === undefined) return;
    // The system may have given the port to another connection before it told of the end of this one.
    if (this.#byEnds.get(visitor.ends) === visitor) this.#byEnds.delete(visitor.ends);
    visitor.ends = undefined;
  }

  forget(visitor: Visitor): void {
    this.#visitors.delete(visitor);
    this.#expectNoTls(visitor);
  }

  /** For one more of `group`, perhaps by the end of another. */
  #makeRoom(group: string): boolean {
    const { newcomers } = this;
    const own = newcomers.sizeOf(group);
    if (own >= this.ofOneAddressMax) return this.#displace(newcomers.oldestOf(group));
    if (this.#visitors.size >= this.options.connectionsMax) first(this.closing)?.destroy(); // It has had its last word.
    const hasRoom = this.#visitors.size < this.options.connectionsMax && newcomers.size < this.#newcomersMax;
    return hasRoom || this.#displace(this.#displaceable(group, own));
  }

  #displaceable(group: string, own: number): Visitor | undefined {
    const { newcomers } = this;
    if (newcomers.largest > Math.max(own, 1)) return newcomers.oldestOfLargest;
    if (own > 0) return newcomers.oldestOf(group);
    const { oldest } = newcomers;
    return oldest && oldest.listenedToMs > patienceMs ? oldest : undefined;
  }

  #displace(visitor: Visitor | undefined): boolean {
    if (!visitor) return false;
    const { log, clock } = this.options;
    this.refused('displaced').add();
    if (clock.monotonicMs() - this.#toldAtMs >= tellEveryMs) {
      this.#toldAtMs = clock.monotonicMs();
      const fields = { newcomers: this.newcomers.size, sockets: this.#visitors.size, address: visitor.group };
      log.warn(fields, 'places are short: sockets without a complete CONNECT lose theirs to others');
    }
    visitor.destroy();
    return true;
  }

  /** Another group than at accept: the header of a balancer has said who the client is. */
  regroup(visitor: Visitor, group: string): void {
    this.newcomers.remove(visitor);
    if (this.newcomers.sizeOf(group) >= this.ofOneAddressMax) this.#displace(this.newcomers.oldestOf(group));
    visitor.group = group;
    this.newcomers.add(visitor);
  }

  /** Nobody above the socket tells that it has taken too long. */
  late({ socket }: Visitor, state: Stage): void {
    const { log, metrics } = this.options;
    metrics.counter('shoal_sockets_late_total', 'Sockets whose handshake or upgrade took too long', { state }).add();
    log.info({ state, address: `${socket.remoteAddress}:${socket.remotePort}` }, 'a handshake took too long');
  }

  /** Ends everybody at once. */
  stop(): void {
    this.attention.stop();
    for (const visitor of this.#visitors) visitor.destroy();
  }
}

const isNewcomer: Record<Stage, boolean> = {
  ...{ proxy: true, tls: true, http: true, connect: true },
  ...{ admission: false, open: false, closing: false },
};

/** One socket. */
export class Visitor implements Guarded, Place {
  slot: Guarded['slot'];
  occupant: Occupant | undefined;
  group: string;
  isTurnedAway = false;
  /** The socket's two ends, while the TLS above it has not been asked about. */
  ends: string | undefined;
  readonly socket: Socket;
  readonly #doorstep: Doorstep;
  #acceptedAtMs: number;
  #stage: Stage;
  #deadlineMs: number;
  #isGone = false;

  constructor(doorstep: Doorstep, socket: Socket, stage: Stage, group: string) {
    this.#doorstep = doorstep;
    this.socket = socket;
    this.group = group;
    this.#stage = stage;
    this.#acceptedAtMs = doorstep.attention.listenedMs();
    this.#deadlineMs = this.#acceptedAtMs + newcomerMs;
    doorstep.counts[stage]++;
    doorstep.newcomers.add(this);
    (socket as VisitorSocket)[visitorOf] = this;
    // Nobody else may listen to it: below TLS, or when a request for a WebSocket has been refused.
    socket.on('error', ignore).on('close', onClose);
    if (stage === 'tls') doorstep.expectTls(this);
    this.#watch();
  }

  get listenedToMs(): number {
    return this.#doorstep.attention.listenedMs() - this.#acceptedAtMs;
  }

  /**
   * It has waited for too long to be let in, and is told so, which needs its CONNECT. False: its handshake would take more than to
   * let it in, so it has been closed.
   */
  mayBeTurnedAway(): boolean {
    if (this.#stage !== 'tls') return (this.isTurnedAway = true);
    this.#doorstep.refused('busy').add();
    this.destroy();
    return false;
  }

  /** Its time begins when something may be read of it: it waited for us until then. */
  isLetIn(): void {
    this.#acceptedAtMs = this.#doorstep.attention.listenedMs();
    this.#deadlineMs = this.#acceptedAtMs + newcomerMs; // The wheel learns of it when it looks.
  }

  become(stage: Stage): void {
    if (this.#isGone || stage === this.#stage) return;
    const { counts, newcomers, closing, attention, options } = this.#doorstep;
    counts[this.#stage]--;
    counts[stage]++;
    this.#stage = stage;
    if (!isNewcomer[stage]) newcomers.remove(this);
    if (stage === 'tls') this.#doorstep.expectTls(this);
    if (stage === 'closing') closing.add(this);
    if (stage === 'open') options.wheel.forget(this);
    if (stage === 'admission') this.#deadlineMs = attention.listenedMs() + admissionMsMax; // Later: learned as above.
    if (stage !== 'closing') return;
    this.#deadlineMs = attention.listenedMs() + lingerMs;
    this.#watch();
  }

  mayBeSilentFor(ms: number): void {
    if (ms === 0 || ms > tcpKeepAliveMs) this.socket.setKeepAlive(true, tcpKeepAliveMs);
  }

  /** A balancer has said who the client is. */
  comesFrom({ address }: Origin): void {
    const group = addressGroup(address.slice(0, address.lastIndexOf(':')));
    if (!this.#isGone && group !== this.group) this.#doorstep.regroup(this, group);
  }

  #watch(): void {
    const { wheel, clock } = this.#doorstep.options;
    wheel.watch(this, clock.monotonicMs(), this.#deadlineMs - this.#doorstep.attention.listenedMs());
  }

  checkDeadline(): number {
    const leftMs = this.#deadlineMs - this.#doorstep.attention.listenedMs();
    if (leftMs > 0) return leftMs;
    if (this.occupant && this.#stage !== 'closing') this.occupant.late();
    else {
      if (this.#stage !== 'closing') this.#doorstep.late(this, this.#stage);
      this.destroy();
    }
    return 0;
  }

  destroy(): void {
    this.gone();
    this.socket.destroy();
  }

  /** Its place is free. */
  gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    const { counts, newcomers, closing, options } = this.#doorstep;
    counts[this.#stage]--;
    newcomers.remove(this);
    closing.delete(this);
    options.wheel.forget(this);
    this.#doorstep.forget(this);
  }
}

const visitorOf = Symbol('visitor');
type VisitorSocket = Socket & { [visitorOf]?: Visitor };

/** Shared by all: a closure for each would be a good part of what an idle connection costs. */
function onClose(this: VisitorSocket): void {
  this[visitorOf]!.gone();
}

function ignore(): void {}

const endsOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  `${remoteAddress}:${remotePort} ${localAddress}:${localPort}`;

function first<T>(set: Set<T>): T | undefined {
  return set.values().next().value;
}
