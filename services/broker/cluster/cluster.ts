/**
 * The door of the cluster: what this broker and the others do for each other's clients. It tells which filters have subscribers here,
 * knows which brokers have subscribers for what, sends messages there and delivers those that come (G2). What survives a link is
 * the channel's (`mesh/channel.ts`), who is to be told and asked is `interest`'s; this puts them together for real brokers.
 *
 *      event                       | what happens
 *      ----------------------------|----------------------------------------------------------------------------------------
 *      a broker becomes a member   | a channel for it; if this one serves it is told so. It may watch tenants from now on
 *      it tells that it serves     | it may have subscribers: asked for the filters of each tenant that is watched
 *      a link to it is up          | hello, what it has not handled is sent again, ping
 *      a link is cut               | all is kept (`shares.ts` bounds it); after 2 s it relies on nothing, and nobody on it
 *      its lease is over           | forgotten; what it owed is not acknowledged, its subscribers are waited for no more
 *      this one is to serve        | tells all members and waits until each has answered that, or has died: from then on whoever
 *                                  | publishes elsewhere asks here first, and this one asks whoever served before. An answer is behind
 *                                  | what has been said before it; that a frame has been heard may be known before that
 *      a barrier comes             | answered behind all messages that have been sent to that broker
 *      a message comes             | delivered to the subscribers here and to nobody else; its receipt goes back when it has settled
 *      a frame makes no sense      | its link ends, and nothing else; the next one begins where both agree
 *
 * Who stands by has no subscribers, so nobody waits for it and nothing is asked of it: that a standby is slow or gone costs clients nothing.
 *
 * A broker without links has no `Cluster`. One that serves alone, with others that stand by: a comparison for each message.
 */
import {
  type BrokerId,
  type Cancel,
  type Clock,
  type Counter,
  guarded,
  type Metrics,
  type TenantScope,
} from '../../kernel/kernel.js';
import { endedMs, pingMs, Watchers, Watches } from '../interest/interest.js';
import {
  contentTypes,
  controlContent,
  type Encoded,
  handledContent,
  MalformedContent,
  OutOfOrder,
  readControl,
  readHandled,
} from '../mesh/mesh.js';
import type { Message } from '../message/message.js';
import { Arriving } from './arriving.js';
import { decoded, encoded } from './channel-frames.js';
import { HomeRoutes, type World } from './home-routes.js';
import { type Held, Peer } from './peer.js';
import type { Home, Links, Topics } from './ports.js';

export type { Home, Links } from './ports.js';
export { keptBytesMax } from './shares.js';

/** A tenant without publishers here is watched for so long at least, and twice that at most: most devices publish more often. */
const idleMs = 600_000;

export interface ClusterOptions {
  readonly links: Links;
  readonly topics: Topics;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** Runs something when what has come together has been handled. */
  readonly defer?: (run: () => void) => void;
  readonly idleMs?: number;
}

export class Cluster implements World {
  readonly #options: ClusterOptions;
  readonly #peers = new Map<BrokerId, Peer>();
  readonly #homes = new Map<TenantScope, HomeRoutes>();
  readonly #watchers: Watchers;
  readonly #watches: Watches<Message, Held>;
  readonly #arriving: Arriving;
  readonly #dirty: Peer[] = [];
  readonly #forwarded: Counter;
  readonly #dropped: Counter;
  #isServing = false;
  /** Members that have not handled yet that this one serves. */
  readonly #unaware = new Set<Peer>();
  #isKnown: (() => void) | undefined;
  #cancelTick: Cancel | undefined;
  #cancelIdle: Cancel | undefined;
  #cancelLook: Cancel | undefined;
  /** Watched tenants that have published since the last look, and those that had before. */
  #recent = new Set<HomeRoutes>();
  #older = new Set<HomeRoutes>();
  /** Tenants that have left while messages of theirs were held. */
  readonly #leaving = new Set<TenantScope>();

  constructor(options: ClusterOptions) {
    this.#options = options;
    const { links, metrics, topics, clock } = options;
    this.#watchers = new Watchers({ each: (tenant, filtersMax, visit) => this.#eachFilter(tenant, filtersMax, visit) });
    this.#watches = new Watches<Message, Held>({
      forward: (broker, tenant, message) =>
        this.#forward(this.#peers.get(broker)!, this.#homes.get(tenant)!.home, message),
      hold: (broker, tenant, message) => this.#hold(this.#peers.get(broker)!, this.#homes.get(tenant)!.home, message),
      letGo: (broker, held, isMatched) => this.#letGo(broker, held, isMatched),
    });
    const homeOf = (tenant: TenantScope): Home | undefined => this.#homes.get(tenant)?.home;
    this.#arriving = new Arriving({ homeOf, topics, clock, metrics });
    this.#forwarded = metrics.counter('shoal_forwards_total', 'Messages to and from other brokers', {
      direction: 'out',
    });
    const dropped = 'QoS 0 messages not forwarded, since too much waited for a broker';
    this.#dropped = metrics.counter('shoal_forwards_dropped_total', dropped);
    metrics.gauge(
      'shoal_tenants_watched',
      'Tenants whose filters on other brokers are known',
      () => this.#watches.size,
    );
    const sum = (of: (peer: Peer) => number) => () =>
      [...this.#peers.values()].reduce((all, peer) => all + of(peer), 0);
    const kept = 'Bytes of messages that are kept for other brokers';
    metrics.gauge(
      'shoal_forwards_kept_bytes',
      kept,
      sum(({ shares }) => shares.bytes),
    );
    const waiting = 'Messages of QoS 1 and 2 that other brokers have not settled';
    metrics.gauge(
      'shoal_forwards_unsettled',
      waiting,
      sum(({ underWay }) => underWay),
    );
    for (const type of Object.values(contentTypes)) links.handle(type, (from, body) => this.#take(from, type, body));
    links.onRoom((id) => this.#room(id as BrokerId));
    links.onPeers({
      joined: (id) => this.#join(id as BrokerId),
      ended: (id) => this.#ended(id as BrokerId),
      up: (id) => this.#up(id as BrokerId),
      cut: (id) => this.#cut(id as BrokerId),
    });
    this.#tick();
    this.#idleLater();
  }

  stop(): void {
    this.#cancelTick?.();
    this.#cancelIdle?.();
    this.#cancelLook?.();
    this.#isKnown?.();
  }

  /**
   * Tells the others that this broker serves. `known` is called when each that is a member knows it, or has died, and after
   * `waitMsMax`: who has not handled it by then must not be serving.
   */
  serve(known: () => void, waitMsMax = Infinity): void {
    this.#isServing = true;
    const cancel = waitMsMax < Infinity ? this.#options.clock.after(waitMsMax, () => this.#isKnown?.()) : undefined;
    this.#isKnown = () => {
      this.#isKnown = undefined;
      cancel?.();
      known();
    };
    for (const peer of this.#peers.values()) this.#announce(peer);
    if (this.#unaware.size === 0) this.#isKnown();
  }

  #announce(peer: Peer): void {
    this.#unaware.add(peer);
    peer.channel.send('control', controlContent({ type: 'serves' }));
  }

  #knows(peer: Peer): void {
    this.#unaware.delete(peer);
    if (this.#unaware.size === 0) this.#isKnown?.();
  }

  /** The tenant is on this broker from now on. */
  enter(home: Home): HomeRoutes {
    const routes = new HomeRoutes(home, this);
    this.#homes.set(home.scope, routes);
    return routes;
  }

  // For tenants.

  publish(routes: HomeRoutes, message: Message): boolean {
    if (this.#watches.brokers === 0) return false;
    if (!routes.isRecent) {
      routes.isRecent = true;
      this.#older.delete(routes);
      this.#recent.add(routes);
    }
    return this.#watches.publish(routes.home.scope, message, this.#options.clock.monotonicMs());
  }

  changed({ home: { scope } }: HomeRoutes, filter: string, isThere: boolean): void {
    this.#watchers.changed(scope, filter, isThere);
  }

  whenMatched({ home: { scope } }: HomeRoutes, then: () => void): void {
    this.#watchers.whenMatched(scope, this.#options.clock.monotonicMs(), then);
    this.#lookLater();
  }

  /**
   * Calls back when everything of the tenant that others have sent here so far has been given to its subscribers: each broker that
   * serves is asked to answer behind it. Who has died sends nothing any more.
   */
  whenArrived(tenant: TenantScope, then: () => void): void {
    let open = 1;
    const passed = (): void => {
      if (--open > 0) return;
      const home = this.#homes.get(tenant)?.home;
      if (home) home.whenArrived(then);
      else then();
    };
    for (const peer of this.#peers.values())
      if (peer.isServing) {
        open++;
        peer.barrier(passed);
      }
    passed();
  }

  left(routes: HomeRoutes): void {
    const { scope } = routes.home;
    if (this.#homes.get(scope) !== routes) return;
    for (const filter of routes.home.filters()) this.#watchers.changed(scope, filter, false);
    this.#homes.delete(scope);
    this.#recent.delete(routes);
    this.#older.delete(routes);
    if (!this.#watches.unwatch(scope)) this.#leaving.add(scope);
  }

  #eachFilter(
    tenant: TenantScope,
    filtersMax: number,
    visit: (filters: readonly string[], isLast: boolean) => boolean,
  ): void {
    const routes = this.#homes.get(tenant);
    const left = routes?.home.filters()[Symbol.iterator]();
    const step = (): boolean => {
      const some: string[] = [];
      let next = left?.next();
      for (; next && !next.done; next = some.length < filtersMax ? left!.next() : undefined) some.push(next.value);
      const isLast = some.length < filtersMax;
      return visit(some, isLast) && !isLast;
    };
    if (step()) routes!.home.later({ step });
  }

  // Messages.

  #forward(peer: Peer, home: Home, message: Message): void {
    if (peer.forward(home, message, this.#expiresInMs(message))) this.#forwarded.add();
    else this.#drop(home, message);
  }

  /** What waits with the sender does not wait again with the receiver: its clock may show another time. */
  #expiresInMs({ expiresAtMs }: Message): number | undefined {
    return expiresAtMs === Infinity ? undefined : Math.max(0, Math.ceil(expiresAtMs - this.#options.clock.nowMs()));
  }

  #hold(peer: Peer, home: Home, message: Message): Held | undefined {
    const held = peer.hold(home, message);
    if (!held) this.#drop(home, message);
    return held;
  }

  #drop(home: Home, message: Message): void {
    this.#dropped.add();
    home.notForwarded(message);
  }

  #letGo(broker: BrokerId, held: Held, isMatched: boolean): void {
    const peer = this.#peers.get(broker);
    let reasonCode = 0x80;
    try {
      if (isMatched && peer) this.#forward(peer, held.share.home, held.message);
      reasonCode = 0;
    } finally {
      held.release(reasonCode);
    }
  }

  // Other brokers.

  #join(id: BrokerId): void {
    if (this.#peers.has(id)) return;
    const peer: Peer = new Peer(
      id,
      {
        handle: (_lane, frame) => this.#handle(peer, frame),
        heard: (lane, number) => {
          if (lane === 'control') this.#watchers.heard(id, number);
        },
        answers: (nowMs) => this.#watchers.answers(id, nowMs),
        proven: (pingedAtMs, nowMs) => this.#watches.proven(id, pingedAtMs, nowMs),
      },
      (dirty) => this.#flushLater(dirty),
    );
    this.#peers.set(id, peer);
    this.#watchers.join(id, peer.lane);
    if (this.#isServing) this.#announce(peer);
  }

  #ended(id: BrokerId): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#watchers.died(id);
    this.#watches.died(id);
    peer.end();
    this.#peers.delete(id);
    this.#knows(peer);
  }

  #up(id: BrokerId): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    peer.channel.cut();
    peer.isGreeted = false;
    peer.hasGreeted = false;
    this.#room(id);
  }

  #cut(id: BrokerId): void {
    this.#peers.get(id)?.channel.cut();
  }

  #room(id: BrokerId): void {
    const peer = this.#peers.get(id);
    if (!peer) return;
    if (!peer.hasGreeted) peer.hasGreeted = this.#send(peer, handledContent('hello', peer.channel.handled));
    if (peer.hasGreeted) peer.channel.room();
  }

  #send({ id }: Peer, { type, body }: Encoded): boolean {
    return this.#options.links.send(id, type, body);
  }

  #take(from: string, type: number, body: Buffer): void {
    const peer = this.#peers.get(from as BrokerId);
    if (!peer) return; // Its lease is over.
    const nowMs = this.#options.clock.monotonicMs();
    if (type === contentTypes.hello) {
      if (peer.isGreeted) throw new OutOfOrder('a second hello');
      peer.isGreeted = true;
      peer.channel.connected(readHandled(body), (frame) => peer.hasGreeted && this.#send(peer, encoded(frame)));
      peer.channel.ping(nowMs);
      return;
    }
    if (!peer.isGreeted) throw new OutOfOrder('no hello came first');
    peer.channel.receive(decoded({ type, body }), nowMs);
    peer.heardSome();
  }

  #handle(peer: Peer, { type, body }: Encoded): void {
    if (type === contentTypes.forwards) return this.#arriving.take(peer, body);
    const content = readControl(type, body);
    switch (content?.type) {
      case 'barrier':
        return peer.answerBarrier(content.barrier);
      case 'passed':
        return peer.passed(content.barrier);
      case 'serves':
        if (!peer.isServing) this.#watches.join(peer.id, peer.lane);
        peer.isServing = true;
        // Behind what it has been told: if this one serves, the other one knows that when this comes.
        return void peer.channel.send('control', controlContent({ type: 'knows' }));
      case 'knows':
        return this.#knows(peer);
      case 'watch':
        return this.#watchers.watch(peer.id, content.tenant as TenantScope, content.watch);
      case 'unwatch':
        return this.#watchers.unwatch(peer.id, content.tenant as TenantScope, content.watch);
      case 'interest': {
        const tenant = content.tenant as TenantScope;
        return this.#watches.heard(peer.id, { ...content, tenant }, this.#options.clock.monotonicMs());
      }
      case 'receipts':
        return peer.paid(content.ranges);
      default:
        throw new MalformedContent(`no frame has the type ${type}`);
    }
  }

  // Time.

  #flushLater(peer: Peer): void {
    if (this.#dirty.push(peer) > 1) return;
    (this.#options.defer ?? queueMicrotask)(() => {
      for (const dirty of this.#dirty.splice(0)) guarded('forward', () => dirty.flush());
    });
  }

  #tick(): void {
    this.#cancelTick = this.#options.clock.after(pingMs, () => {
      const nowMs = this.#options.clock.monotonicMs();
      for (const { channel } of this.#peers.values()) guarded('link', () => channel.ping(nowMs));
      this.#tick();
    });
  }

  /** Who waits for a SUBACK waits for a broker that is silent no longer than it may. */
  #lookLater(): void {
    const { clock } = this.#options;
    if (this.#cancelLook) return;
    const nextMs = this.#watchers.look(clock.monotonicMs());
    if (nextMs === Infinity) return;
    this.#cancelLook = clock.after(Math.min(Math.max(1, nextMs - clock.monotonicMs()), endedMs), () => {
      this.#cancelLook = undefined;
      guarded('link', () => this.#lookLater());
    });
  }

  #idleLater(): void {
    this.#cancelIdle = this.#options.clock.after(this.#options.idleMs ?? idleMs, () => {
      const idle = this.#older;
      this.#older = this.#recent;
      for (const routes of this.#recent) routes.isRecent = false;
      this.#recent = new Set();
      for (const routes of idle) if (!this.#watches.unwatch(routes.home.scope)) this.#older.add(routes);
      for (const scope of this.#leaving)
        if (this.#homes.has(scope) || this.#watches.unwatch(scope)) this.#leaving.delete(scope);
      this.#idleLater();
    });
  }
}
