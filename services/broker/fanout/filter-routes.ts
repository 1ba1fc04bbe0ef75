/**
 * The subscriptions to one filter: who gets its messages, and on what terms. Where it is the only filter that a topic
 * matches it is the plan of that topic as it stands (`plans.ts`), so nothing is copied, however many topics and subscribers
 * there are, and a subscriber that comes or goes costs the same beside one other as beside 100 000.
 */
import type { DeliveryTerms, QoS } from '../message/message.js';
import type { Plan } from './plans.js';
import type { GroupQueues, Subscriber } from './ports.js';
import { SharedGroup } from './shared-group.js';

export interface RouteOptions {
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription Identifier; 0 without. */
  readonly id: number;
}

export interface Target {
  readonly subscriber: Subscriber;
  readonly terms: DeliveryTerms;
  /** For a message that the subscriber has published itself; undefined when No Local keeps it away. */
  readonly ownTerms: DeliveryTerms | undefined;
}

/** One subscriber by one subscription. */
export interface Route extends Target {
  readonly options: RouteOptions;
}

/** Up to so many are looked through; most filters have one subscriber, and an index would be most of their memory. */
const withoutIndexMax = 8;

const noGroups: readonly SharedGroup[] = [];
/** Never written to. */
const none: Route[] = [];

export class FilterRoutes implements Plan {
  readonly filter: string;
  /** Tells it from every other of its tenant, before and after. */
  readonly id: number;
  /** In no order. While it has readers, a change makes another array. */
  targets: Route[] = none;
  groups = noGroups;
  /** Of this array. */
  readers = 0;
  /** It changes in place instead. */
  readonly isStale = false;
  #noLocal = 0;
  #places: Map<Subscriber, number> | undefined;
  #shared: Map<string, SharedGroup> | undefined;

  constructor(filter: string, id: number) {
    this.filter = filter;
    this.id = id;
  }

  get hasNoLocal(): boolean {
    return this.#noLocal > 0;
  }

  get isEmpty(): boolean {
    return this.targets.length === 0 && this.groups.length === 0;
  }

  sharedGroup(name: string): SharedGroup | undefined {
    return this.#shared?.get(name);
  }

  set(subscriber: Subscriber, options: RouteOptions): void {
    const route = routeOf(subscriber, options);
    const targets = this.#writable();
    const at = this.#placeOf(subscriber);
    if (at >= 0) {
      if (targets[at]!.options.noLocal) this.#noLocal--;
      targets[at] = route;
    } else {
      if (targets.length === 0)
        this.targets = [route]; // Room for one: an array that grows has room for 17.
      else targets.push(route);
      if (this.#places) this.#places.set(subscriber, targets.length - 1);
      else if (targets.length > withoutIndexMax)
        this.#places = new Map(targets.map(({ subscriber: one }, place) => [one, place]));
    }
    if (options.noLocal) this.#noLocal++;
  }

  optionsOf(subscriber: Subscriber): RouteOptions | undefined {
    return this.targets[this.#placeOf(subscriber)]?.options;
  }

  delete(subscriber: Subscriber): void {
    const at = this.#placeOf(subscriber);
    if (at < 0) return;
    const targets = this.#writable();
    if (targets[at]!.options.noLocal) this.#noLocal--;
    const last = targets.pop()!;
    if (at < targets.length) {
      targets[at] = last;
      this.#places?.set(last.subscriber, at);
    }
    this.#places?.delete(subscriber);
    if (targets.length === 0) this.#places = undefined;
  }

  setShared(name: string, subscriber: Subscriber, options: RouteOptions, queues: GroupQueues | undefined): void {
    this.#shared ??= new Map();
    let group = this.#shared.get(name);
    if (!group) {
      this.#shared.set(name, (group = new SharedGroup(`$share/${name}/${this.filter}`, queues)));
      this.groups = [...this.#shared.values()];
    }
    group.set(subscriber, options);
  }

  deleteShared(name: string, subscriber: Subscriber): void {
    const group = this.#shared?.get(name);
    if (!group) return;
    group.delete(subscriber);
    if (group.size > 0) return;
    this.#shared!.delete(name);
    this.groups = this.#shared!.size > 0 ? [...this.#shared!.values()] : noGroups;
  }

  #placeOf(subscriber: Subscriber): number {
    if (this.#places) return this.#places.get(subscriber) ?? -1;
    return this.targets.findIndex((target) => target.subscriber === subscriber);
  }

  #writable(): Route[] {
    if (this.readers > 0) {
      this.targets = [...this.targets];
      this.readers = 0;
    }
    return this.targets;
  }
}

function routeOf(subscriber: Subscriber, options: RouteOptions): Route {
  const terms = termsOf(options.qos, options.retainAsPublished, options.id > 0 ? [options.id] : noIds);
  return { subscriber, options, terms, ownTerms: options.noLocal ? undefined : terms };
}

/**
 * A client with several matching subscriptions gets one copy, at their highest QoS, with all their identifiers.
 * [MQTT-3.3.4-2] [MQTT-3.3.4-4]
 */
export function combined(subscriber: Subscriber, options: readonly RouteOptions[]): Target {
  const foreign = options.filter(({ noLocal }) => !noLocal);
  const terms = combinedTerms(options);
  if (foreign.length === options.length) return { subscriber, terms, ownTerms: terms };
  return { subscriber, terms, ownTerms: foreign.length > 0 ? combinedTerms(foreign) : undefined };
}

function combinedTerms(options: readonly RouteOptions[]): DeliveryTerms {
  const ids = options.filter(({ id }) => id > 0).map(({ id }) => id);
  const qos = options.reduce<QoS>((highest, one) => (one.qos > highest ? one.qos : highest), 0);
  return termsOf(
    qos,
    options.some(({ retainAsPublished }) => retainAsPublished),
    ids,
  );
}

const noIds: readonly number[] = [];

/** Without identifiers there are six: they are shared. */
const commonTerms = ([0, 1, 2] as const).map((qos) =>
  [false, true].map((retainAsPublished): DeliveryTerms => ({ qos, retainAsPublished, subscriptionIds: noIds })),
);

function termsOf(qos: QoS, retainAsPublished: boolean, subscriptionIds: readonly number[]): DeliveryTerms {
  if (subscriptionIds.length > 0) return { qos, retainAsPublished, subscriptionIds };
  return commonTerms[qos]![retainAsPublished ? 1 : 0]!;
}
