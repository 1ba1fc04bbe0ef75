/**
 * Brokers, clients and trouble, all by one seed. Each step is something that a client or fate does; time between them is virtual. At
 * the end the trouble is over, everything has time to settle, and the observer says what was broken.
 */
import type { TenantScope } from '../../services/kernel/kernel.js';
import { endedMs } from '../../services/broker/interest/interest.js';
import { Chance } from '../support/chance.js';
import { SimBroker } from './broker.js';
import { Events } from './events.js';
import { Network } from './network.js';
import { Observer, type Publication, type Subscription } from './observer.js';

export interface WorldOptions {
  readonly seed: number;
  readonly brokers: number;
  readonly steps: number;
  /** Without cuts, freezes, deaths and newcomers. */
  readonly isCalm?: boolean;
}

export interface Outcome {
  readonly complaints: readonly string[];
  readonly subscriptions: number;
  readonly messages: number;
  readonly forwards: number;
  readonly frames: number;
  readonly deaths: number;
  readonly cuts: number;
  readonly freezes: number;
  readonly simulatedMs: number;
  readonly subackMsMax: number;
}

/** From the death of a broker until its lease is over, and until the last of the others knows. */
const leaseMs = 3000;
const lookMs = 1000;
/** Injected on all links. */
const delayMsMax = 500;
const tenants = ['t0', 't1', 't2', 't3'] as TenantScope[];
const levels = ['a', 'b', 'c', '$d'];

export class World {
  readonly chance: Chance;
  readonly events = new Events();
  readonly network: Network;
  readonly observer = new Observer();
  /** Of clocks, to both sides: what `validity.ts` allows for. */
  readonly drift = 0.009;
  readonly #options: WorldOptions;
  readonly #brokers: SimBroker[] = [];
  #named = 0;
  #clients = 0;
  #deaths = 0;
  #cuts = 0;
  #freezes = 0;
  #subackMsMax = 0;
  readonly #complaints: string[] = [];
  forwards = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.chance = new Chance(options.seed);
    this.network = new Network(this.events, this.chance);
  }

  run(): Outcome {
    const { brokers, steps, isCalm = false } = this.#options;
    for (let i = 0; i < brokers; i++) this.#start();
    this.events.run(100);
    for (let i = 0; i < steps; i++) {
      this.events.run(this.events.nowMs + this.chance.next() * 16);
      if (!isCalm && this.chance.happens(0.01)) this.#trouble();
      else this.#client();
    }
    for (const a of this.#brokers) for (const b of this.#brokers) if (a !== b) this.network.heal(a, b);
    this.events.run(this.events.nowMs + 30_000);
    const { subscriptions, publications } = this.observer;
    return {
      complaints: [...this.#complaints, ...this.observer.complaints()],
      subscriptions: subscriptions.length,
      messages: publications.length,
      forwards: this.forwards,
      frames: this.network.messages,
      deaths: this.#deaths,
      cuts: this.#cuts,
      freezes: this.#freezes,
      simulatedMs: this.events.nowMs,
      subackMsMax: this.#subackMsMax,
    };
  }

  // Clients.

  #client(): void {
    const { chance } = this;
    if (chance.happens(0.1)) this.#subscribe();
    else if (chance.happens(0.05)) this.#unsubscribe();
    else if (chance.happens(0.02)) this.#forget();
    else this.#publish(chance.between(0, 9));
  }

  #subscribe(): void {
    const broker = this.#servingBroker();
    if (!broker) return;
    const { chance, events } = this;
    const isDurable = chance.happens(0.4);
    const subscription: Subscription = {
      client: ++this.#clients,
      tenant: this.#pick(tenants),
      filter: this.#filter(),
      isDurable,
      broker,
      sentMs: events.nowMs,
      ackedMs: undefined,
      endedMs: undefined,
    };
    this.observer.subscriptions.push(subscription);
    let frozenMs = broker.frozenUntilMs;
    events.in(chance.next(), () =>
      broker.act(() => {
        const askedMs = events.nowMs;
        frozenMs = Math.max(frozenMs, askedMs);
        broker.subscribe(subscription, () => {
          if (!broker.isAlive) return;
          this.#inTime(subscription, askedMs);
          events.in(chance.next(), () => {
            subscription.ackedMs = events.nowMs;
            // The client tells others at once, and they publish elsewhere.
            if (chance.happens(0.5)) this.#publish(chance.between(0, 9), subscription);
          });
        });
      }),
    );
  }

  #inTime(subscription: Subscription, askedMs: number): void {
    const tookMs = this.events.nowMs - askedMs;
    if (subscription.broker.frozenUntilMs > askedMs) return;
    this.#subackMsMax = Math.max(this.#subackMsMax, tookMs);
    if (tookMs > endedMs * (1 + this.drift) + 1)
      this.#complaints.push(`client ${subscription.client} waited ${tookMs.toFixed(0)} ms for its SUBACK`);
  }

  #unsubscribe(): void {
    const { subscriptions } = this.observer;
    const subscription = subscriptions[this.chance.between(0, subscriptions.length - 1)];
    if (subscription?.ackedMs === undefined || subscription.endedMs !== undefined) return;
    subscription.endedMs = this.events.nowMs;
    this.events.in(this.chance.next(), () =>
      subscription.broker.act(() => subscription.broker.unsubscribe(subscription)),
    );
  }

  /** A broker without sessions of the tenant forgets it, until the next one comes. */
  #forget(): void {
    const broker = this.#servingBroker();
    const tenant = this.#pick(tenants);
    broker?.act(() => broker.forget(tenant));
  }

  #publish(publisher: number, seen?: Subscription): void {
    const broker = this.#brokerOf(publisher);
    if (!broker) return;
    const { chance, events } = this;
    const { publications } = this.observer;
    const topic = seen ? topicFor(seen.filter, () => this.#pick(levels)) : this.#topic();
    const qos = chance.between(0, 2) as 0 | 1 | 2;
    const message = { id: publications.length, tenant: seen?.tenant ?? this.#pick(tenants), topic, qos };
    const publication: Publication = {
      message,
      publisher,
      broker,
      sentMs: events.nowMs,
      ackedMs: undefined,
      isDropped: false,
      isRefused: false,
    };
    publications.push(publication);
    // One connection: in order.
    const delayMs = 0.5;
    events.in(delayMs, () =>
      broker.act(() =>
        broker.publish(message, (reasonCode) => {
          if (!broker.isAlive) return;
          if (reasonCode < 0x80) publication.ackedMs = events.nowMs;
          else publication.isRefused = true;
        }),
      ),
    );
  }

  /** A publisher stays with its broker as long as that lives. */
  #brokerOf(publisher: number): SimBroker | undefined {
    const serving = this.#brokers.filter(({ isServing }) => isServing);
    return serving[publisher % Math.max(1, serving.length)];
  }

  // Trouble.

  #trouble(): void {
    const { chance } = this;
    const kind = chance.next();
    if (this.#brokers.length === 0) this.#start();
    else if (kind < 0.4) this.#cut();
    else if (kind < 0.7) this.#freeze(this.#pick(this.#brokers));
    else if (kind < 0.8 && this.#brokers.length > 2) this.#kill(this.#pick(this.#brokers));
    else if (kind < 0.9 && this.#brokers.length < this.#options.brokers + 2) this.#start();
    else {
      this.network.delayMs = chance.happens(0.5) ? delayMsMax : 0;
    }
  }

  #cut(): void {
    if (this.#brokers.length < 2) return;
    const a = this.#pick(this.#brokers);
    const b = this.#pick(this.#brokers.filter((other) => other !== a));
    this.#separate(a, b);
  }

  #separate(a: SimBroker, b: SimBroker): void {
    this.#cuts++;
    this.network.cut(a, b);
    const lengthMs = this.#pick([5, 300, 1500, 2500, 6000]) * (0.5 + this.chance.next());
    this.events.in(lengthMs, () => this.network.heal(a, b));
  }

  #freeze(broker: SimBroker): void {
    const { events, chance } = this;
    this.#freezes++;
    const lengthMs = this.#pick([50, 400, 1900, 2300, 5000]) * (0.5 + chance.next());
    broker.frozenUntilMs = Math.max(broker.frozenUntilMs, events.nowMs + lengthMs);
    if (broker.frozenUntilMs > events.nowMs + leaseMs) this.#kill(broker);
  }

  /** Or it stands still for longer than its lease, which ends it as well. */
  #kill(broker: SimBroker): void {
    const { events, chance } = this;
    this.#deaths++;
    broker.isAlive = false;
    broker.isServing = false;
    this.#brokers.splice(this.#brokers.indexOf(broker), 1);
    events.in(leaseMs, () => {
      for (const other of this.#brokers) events.in(chance.next() * lookMs, () => other.died(broker));
    });
  }

  #start(): void {
    const broker = new SimBroker(`b${this.#named++}`, this);
    const others = [...this.#brokers];
    this.#brokers.push(broker);
    broker.start(others);
    for (const other of others) {
      if (!this.#options.isCalm && this.chance.happens(0.2)) this.#separate(broker, other);
      this.network.connect(broker, other);
    }
  }

  // Chances.

  #servingBroker(): SimBroker | undefined {
    const serving = this.#brokers.filter(({ isServing }) => isServing);
    return serving.length > 0 ? this.#pick(serving) : undefined;
  }

  #pick<T>(all: readonly T[]): T {
    return all[this.chance.between(0, all.length - 1)]!;
  }

  #topic(): string {
    return Array.from({ length: this.chance.between(1, 3) }, () => this.#pick(levels)).join('/');
  }

  #filter(): string {
    const parts = this.#topic().split('/');
    const { chance } = this;
    const wild = parts.map((level) => (chance.happens(0.25) ? '+' : level));
    return (chance.happens(0.2) ? [...wild, '#'] : wild).join('/');
  }
}

/** A topic that the filter matches. */
function topicFor(filter: string, level: () => string): string {
  const parts = filter.split('/').filter((part) => part !== '#');
  return parts.map((part, i) => (part === '+' ? (i === 0 ? 'a' : level()) : part)).join('/');
}
