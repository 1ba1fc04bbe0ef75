/**
 * A broker of the simulation: the code that brokers have for each other (`cluster`, with `interest` and `mesh/channel`, and the frames
 * as they go over links) around the least that a broker needs besides: subscribers by filter, and a store that takes its time.
 */
import type { BrokerId, Cancel, Clock, TenantScope } from '../../services/kernel/kernel.js';
import { Metrics } from '../../services/kernel/kernel.js';
import { filterMatches } from '../../services/topic/topic.js';
import { Cluster, type Home, type Links } from '../../services/broker/cluster/cluster.js';
import { Message, type Receipt, topicName } from '../../services/broker/message/message.js';
import { TopicTable } from '../../services/broker/wire/wire.js';
import type { End } from './network.js';
import type { Subscription } from './observer.js';
import type { World } from './world.js';

export interface SimMessage {
  readonly id: number;
  readonly tenant: TenantScope;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
}

interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

type PeerListener = Parameters<Links['onPeers']>[0];
type Routes = ReturnType<Cluster['enter']>;

/** Without publishers for so long a tenant is not watched any more. */
const idleMs = 2000;

export class SimBroker implements End, Links {
  readonly id: BrokerId;
  readonly #world: World;
  /** Its clock runs at another rate, from another moment. */
  readonly #rate: number;
  readonly #offsetMs: number;
  readonly #peers = new Map<string, SimBroker>();
  readonly #dead = new Set<SimBroker>();
  readonly #connections = new Map<string, (message: unknown) => void>();
  readonly #handlers = new Map<number, (from: string, body: Buffer) => void>();
  readonly #cluster: Cluster;
  readonly #homes = new Map<TenantScope, SimHome>();
  #listener: PeerListener | undefined;
  isAlive = true;
  isServing = false;
  frozenUntilMs = 0;
  /** What has come while it stood still. */
  readonly #waiting: (() => void)[] = [];
  readonly #deferred: (() => void)[] = [];

  constructor(id: string, world: World) {
    const { chance, drift } = world;
    this.id = id as BrokerId;
    this.#world = world;
    this.#rate = 1 + (chance.next() * 2 - 1) * drift;
    this.#offsetMs = chance.next() * 1e6;
    const clock: Clock = {
      nowMs: () => this.nowMs(),
      monotonicMs: () => this.nowMs(),
      after: (delayMs, run) => this.#after(delayMs, run),
    };
    const defer = (run: () => void): void => void this.#deferred.push(run);
    this.#cluster = new Cluster({
      links: this,
      topics: new TopicTable(),
      clock,
      metrics: new Metrics(),
      defer,
      idleMs,
    });
  }

  nowMs(): number {
    return this.#offsetMs + this.#world.events.nowMs * this.#rate;
  }

  #after(delayMs: number, run: () => void): Cancel {
    let isWanted = true;
    this.#world.events.in(delayMs / this.#rate, () => this.act(() => isWanted && run()));
    return () => (isWanted = false);
  }

  /** Does it now, or when the process goes on. Not at all if it has ended by then. */
  act(step: () => void): void {
    if (!this.isAlive) return;
    if (this.#waiting.length === 0 && this.#world.events.nowMs >= this.frozenUntilMs) return this.#do(step);
    this.#waiting.push(step);
    if (this.#waiting.length === 1) this.#goOn();
  }

  #do(step: () => void): void {
    step();
    for (let run = this.#deferred.shift(); run; run = this.#deferred.shift()) run();
  }

  #goOn(): void {
    this.#world.events.at(this.frozenUntilMs, () => {
      if (this.#world.events.nowMs < this.frozenUntilMs) return this.#goOn();
      for (const step of this.#waiting.splice(0)) if (this.isAlive) this.#do(step);
    });
  }

  // Links to other brokers.

  send(brokerId: string, type: number, body: Buffer): boolean {
    const connection = this.#connections.get(brokerId);
    connection?.({ type, body: Buffer.from(body) } satisfies Frame);
    return connection !== undefined;
  }

  handle(type: number, handler: (from: string, body: Buffer) => void): void {
    this.#handlers.set(type, handler);
  }

  onRoom(): void {
    // There always is.
  }

  onPeers(listener: PeerListener): void {
    this.#listener = listener;
  }

  /** Knows of it from now on. */
  join(other: SimBroker): void {
    if (this.#peers.has(other.id) || this.#dead.has(other)) return;
    this.#peers.set(other.id, other);
    this.#listener!.joined(other.id);
  }

  opened(to: SimBroker, send: (message: unknown) => void): void {
    this.act(() => {
      this.join(to);
      if (!this.#peers.has(to.id)) return;
      this.#connections.set(to.id, send);
      this.#listener!.up(to.id);
    });
  }

  received(from: SimBroker, message: unknown): void {
    this.act(() => {
      if (!this.#connections.has(from.id)) return;
      const { type, body } = message as Frame;
      this.#handlers.get(type)!(from.id, body);
    });
  }

  cut(to: SimBroker): void {
    this.act(() => {
      if (this.#connections.delete(to.id)) this.#listener!.cut(to.id);
    });
  }

  died(other: SimBroker): void {
    this.act(() => {
      this.#connections.delete(other.id);
      this.#dead.add(other);
      if (this.#peers.delete(other.id)) this.#listener!.ended(other.id);
    });
  }

  /** Those that were there before it: it serves once each of them knows it. */
  start(others: readonly SimBroker[]): void {
    this.act(() => {
      for (const other of others) this.join(other);
      this.#cluster.serve(() => (this.isServing = true));
    });
  }

  // Clients.

  #home(tenant: TenantScope): SimHome {
    const known = this.#homes.get(tenant);
    if (known) return known;
    const home = new SimHome(tenant, this, this.#world);
    home.routes = this.#cluster.enter(home);
    this.#homes.set(tenant, home);
    return home;
  }

  /** A tenant without sessions here is forgotten after a while. */
  forget(tenant: TenantScope): void {
    const home = this.#homes.get(tenant);
    if (!home || home.subscribers.size > 0) return;
    this.#homes.delete(tenant);
    home.routes.leave();
  }

  subscribe(subscription: Subscription, matched: () => void): void {
    const { subscribers, routes } = this.#home(subscription.tenant);
    const { filter } = subscription;
    const all = subscribers.get(filter) ?? new Set();
    subscribers.set(filter, all.add(subscription));
    if (all.size === 1) routes.changed(filter, true);
    routes.whenMatched(matched);
  }

  unsubscribe(subscription: Subscription): void {
    const { subscribers, routes } = this.#home(subscription.tenant);
    const { filter } = subscription;
    const all = subscribers.get(filter)!;
    all.delete(subscription);
    if (all.size > 0) return;
    subscribers.delete(filter);
    routes.changed(filter, false);
  }

  /** `answer`: with the reason code of the acknowledgement. */
  publish({ id, tenant, topic, qos }: SimMessage, answer: (reasonCode: number) => void): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(id);
    const message = Message.of({ topic: topicName(topic), payload, qos, retain: false });
    const home = this.#home(tenant);
    if (home.routes.publish(message)) this.#world.forwards++;
    home.deliver(message);
    const receipt = message.pending;
    if (receipt) receipt.whenSettled(() => answer(receipt.reasonCode!));
    else answer(0);
  }
}

class SimHome implements Home {
  readonly scope: TenantScope;
  readonly subscribers = new Map<string, Set<Subscription>>();
  routes!: Routes;
  readonly #broker: SimBroker;
  readonly #world: World;

  constructor(scope: TenantScope, broker: SimBroker, world: World) {
    this.scope = scope;
    this.#broker = broker;
    this.#world = world;
  }

  filters(): Iterable<string> {
    return this.subscribers.keys();
  }

  arriving(): void {
    // There is time.
  }

  arrived(): void {
    // Nothing has begun.
  }

  arrive(message: Message): Receipt {
    const kept = message.keep();
    this.deliver(kept);
    return kept.pending ?? { reasonCode: 0, whenSettled: (listener) => listener() };
  }

  /** To the subscribers here. Stored sessions take their time. */
  deliver(message: Message): void {
    let isDurable = false;
    for (const [filter, all] of this.subscribers) {
      if (!filterMatches(filter, message.topic.text)) continue;
      for (const subscription of all) {
        this.#world.observer.delivered(subscription, message.payload.readUInt32BE(0));
        isDurable ||= subscription.isDurable;
      }
    }
    if (!isDurable || message.qos === 0) return;
    message.owe();
    this.#world.events.in(this.#world.chance.next() * 50, () => this.#broker.act(() => message.pay(0)));
  }

  owe(message: Message): void {
    message.owe();
  }

  pay(message: Message, reasonCode: number): void {
    message.pay(reasonCode);
  }

  hinder(): void {
    throw new Error('so much is not kept');
  }

  unhinder(): void {
    throw new Error('nobody was hindered');
  }

  whenArrived(then: () => void): void {
    then();
  }

  notForwarded(message: Message): void {
    this.#world.observer.dropped(message.payload.readUInt32BE(0));
  }

  later(job: { step(): boolean }): void {
    const step = (): void => {
      if (job.step()) this.#world.events.in(0.1, () => this.#broker.act(step));
    };
    this.#world.events.in(0.1, () => this.#broker.act(step));
  }
}
