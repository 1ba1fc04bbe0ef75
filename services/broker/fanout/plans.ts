/**
 * The plans of one tenant: who gets the messages of a topic. Made when a topic is published to, used until it is not true any more.
 *
 *     topic -> the filters it matches -> their plan
 *
 * A topic remembers its plan for as long as no filter comes or goes; then the tree is asked again, a microsecond or two, and says
 * mostly the same filters. The plan of one filter is its routes themselves. The plan of several is made once for
 * all topics that match the same ones; it ends with the first change of one of them. What these hold is bounded by targets, since
 * 10 000 topics with 1000 subscribers of two filters would be ten million otherwise.
 *
 * For a subscription to a filter that others have subscribed to: the combined plans of that filter end, which each cost more to
 * make. For one to a new filter: one number grows.
 */
import { SparseMap, SparseSet } from '../../kernel/kernel.js';
import type { TopicTree } from '../../topic/topic.js';
import { combined, type FilterRoutes, type Route, type RouteOptions, type Target } from './filter-routes.js';
import type { Subscriber } from './ports.js';
import type { SharedGroup } from './shared-group.js';

export interface Plan {
  readonly targets: readonly Target[];
  readonly groups: readonly SharedGroup[];
  /** Whether the publisher matters. */
  readonly hasNoLocal: boolean;
  /** It is not to be used for another message. */
  readonly isStale: boolean;
  /** How many read these targets: who ends takes itself off only if they are still the plan's. */
  readers: number;
}

/** Topics whose plan is remembered. */
const topicsMax = 10_000;
/** Each, with a topic of 50. */
const topicBytes = 200;
const placeBytes = 8;
/** What the plans of several filters may hold. */
const placesMax = 500_000;
/** A target of its own is an object with its terms. */
const placesOfTarget = 16;
/** A filter of a plan stands in its parts, and knows the plan: an entry of a set. */
const placesOfPart = 8;
/** The plan itself, and where it is found. */
const placesOfPlan = 32;

interface Remembered {
  plan: Plan;
  /** Of the tree, when it was asked. */
  version: number;
}

export class Plans {
  readonly #tree: TopicTree<FilterRoutes>;
  readonly #byTopic = new SparseMap<string, Remembered>();
  /** In the order in which they were made. */
  readonly #combined = new SparseSet<CombinedPlan>();
  /** By the hash of the filters that they combine; of two with the same, one is not found again. */
  readonly #byParts = new SparseMap<number, CombinedPlan>();
  /** By each of these filters. */
  readonly #byPart = new SparseMap<FilterRoutes, Set<CombinedPlan>>();
  #places = 0;
  #lastTopic: string | undefined;
  #last: Remembered | undefined;

  constructor(tree: TopicTree<FilterRoutes>) {
    this.#tree = tree;
  }

  /** How many places the plans of several filters hold. */
  get places(): number {
    return this.#places;
  }

  /** Memory that they take, and the topics that are remembered. */
  get bytes(): number {
    return this.#byTopic.size * topicBytes + this.#places * placeBytes;
  }

  of(topic: string): Plan {
    const { version } = this.#tree;
    let remembered = topic === this.#lastTopic ? this.#last : this.#byTopic.get(topic);
    if (remembered?.version !== version || remembered.plan.isStale) {
      const plan = this.#make(topic);
      if (remembered) Object.assign(remembered, { plan, version });
      else {
        remembered = { plan, version };
        if (this.#byTopic.size >= topicsMax) this.#byTopic.clear();
        this.#byTopic.set(topic, remembered);
      }
    }
    this.#lastTopic = topic;
    this.#last = remembered;
    return remembered.plan;
  }

  /** The subscriptions to the filter have changed. */
  forget(routes: FilterRoutes): void {
    for (const plan of this.#byPart.get(routes) ?? []) this.#end(plan);
  }

  #make(topic: string): Plan {
    const parts: FilterRoutes[] = [];
    this.#tree.match(topic, (routes) => parts.push(routes));
    if (parts.length === 0) return nobody;
    if (parts.length === 1) return parts[0]!;
    const key = hashOf(parts);
    const known = this.#byParts.get(key);
    return known && isOf(known, parts) ? known : this.#combine(parts, key);
  }

  #combine(parts: readonly FilterRoutes[], key: number): Plan {
    const plan = new CombinedPlan(parts, key);
    this.#combined.add(plan);
    this.#places += plan.places;
    this.#byParts.set(key, plan);
    for (const part of parts) {
      const others = this.#byPart.get(part);
      if (others) others.add(plan);
      else this.#byPart.set(part, new Set([plan]));
    }
    // The one that has just been made is used at least once, whatever its size.
    for (const oldest of this.#combined) {
      if (this.#places <= placesMax || oldest === plan) break;
      this.#end(oldest);
    }
    return plan;
  }

  #end(plan: CombinedPlan): void {
    this.#combined.delete(plan);
    this.#places -= plan.places;
    if (this.#byParts.get(plan.key) === plan) this.#byParts.delete(plan.key);
    for (const part of plan.parts) {
      const plans = this.#byPart.get(part)!;
      plans.delete(plan);
      if (plans.size === 0) this.#byPart.delete(part);
    }
    plan.end();
  }
}

export const nobody: Plan = { targets: [], groups: [], hasNoLocal: false, isStale: false, readers: 0 };

/** Of 52 bits: the ids in the order in which the tree says them, which is always the same for the same filters. */
function hashOf(parts: readonly FilterRoutes[]): number {
  let low = 0x811c9dc5;
  let high = 0x9e3779b9;
  for (const { id } of parts) {
    low = Math.imul(low ^ id, 0x01000193);
    high = Math.imul(high ^ (id + (low >>> 15)), 0x85ebca6b);
  }
  return (high >>> 6) * 2 ** 26 + (low >>> 6);
}

function isOf({ parts }: CombinedPlan, wanted: readonly FilterRoutes[]): boolean {
  if (parts.length !== wanted.length) return false;
  for (let i = 0; i < parts.length; i++) if (parts[i] !== wanted[i]) return false;
  return true;
}

class CombinedPlan implements Plan {
  parts: readonly FilterRoutes[];
  readonly key: number;
  readonly hasNoLocal: boolean;
  readonly places: number;
  targets: readonly Target[];
  groups: readonly SharedGroup[];
  isStale = false;
  readers = 0;

  constructor(parts: readonly FilterRoutes[], key: number) {
    this.parts = parts;
    this.key = key;
    this.hasNoLocal = parts.some(({ hasNoLocal }) => hasNoLocal);
    const bySubscriber = new Map<Subscriber, Target>();
    /** Of those that more than one filter has. */
    const options = new Map<Subscriber, RouteOptions[]>();
    for (const { targets } of parts) for (const route of targets) add(route, bySubscriber, options);
    let ids = 0;
    for (const [subscriber, all] of options) {
      const target = combined(subscriber, all);
      const { terms, ownTerms } = target;
      ids += terms.subscriptionIds.length;
      if (ownTerms && ownTerms !== terms) ids += ownTerms.subscriptionIds.length;
      bySubscriber.set(subscriber, target);
    }
    this.targets = [...bySubscriber.values()];
    this.groups = parts.flatMap(({ groups }) => groups);
    this.places =
      placesOfPlan +
      this.targets.length +
      this.groups.length +
      parts.length * placesOfPart +
      options.size * placesOfTarget +
      ids;
  }

  /** Whoever remembers it holds nothing by that. */
  end(): void {
    this.isStale = true;
    this.targets = nobody.targets;
    this.groups = nobody.groups;
    this.parts = [];
  }
}

function add(route: Route, targets: Map<Subscriber, Target>, several: Map<Subscriber, RouteOptions[]>): void {
  const { subscriber } = route;
  const other = targets.get(subscriber) as Route | undefined;
  if (!other) return void targets.set(subscriber, route);
  const all = several.get(subscriber);
  if (all) all.push(route.options);
  else several.set(subscriber, [other.options, route.options]);
}
