/**
 * The routing of one tenant: filters to subscribers, and the way of one message to all of them. Nothing in here is
 * shared between tenants (G6). Plans are cached by topic; a change of an exact filter forgets the plan of that topic,
 * a change of a wildcard forgets all.
 */
import { TopicTree } from '../../topic/topic.js';
import { bothReceipts, handedOn, type Message, noSubscribers, type QoS, type Receipt } from '../message/message.js';
import { makePlan, type Plan } from './plan.js';
import type { GroupQueues, RetainedStore, Subscriber } from './ports.js';
import { SharedGroup } from './shared-group.js';

export interface RouteOptions {
  readonly qos: QoS;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** Subscription Identifier; 0 without. */
  readonly id: number;
}

export interface FilterRoutes {
  readonly direct: Map<Subscriber, RouteOptions>;
  shared: Map<string, SharedGroup> | undefined;
}

/** Topics whose plan is remembered, per tenant. */
const plansMax = 10_000;

export class Routing {
  readonly retained: RetainedStore;
  readonly #queues: GroupQueues | undefined;
  readonly #tree = new TopicTree<FilterRoutes>();
  readonly #plans = new Map<string, Plan>();
  #lastTopic: string | undefined;
  #lastPlan: Plan | undefined;

  /** `queues`: where shared subscriptions keep messages; without, nobody keeps any. */
  constructor(retained: RetainedStore, queues?: GroupQueues) {
    this.retained = retained;
    this.#queues = queues;
  }

  /** Adds or replaces. `filter` is valid and without `$share/group/`. */
  subscribe(filter: string, group: string | undefined, subscriber: Subscriber, options: RouteOptions): void {
    let routes = this.#tree.get(filter);
    if (!routes) this.#tree.set(filter, (routes = { direct: new Map(), shared: undefined }));
    if (group === undefined) routes.direct.set(subscriber, options);
    else {
      routes.shared ??= new Map();
      let members = routes.shared.get(group);
      if (!members) routes.shared.set(group, (members = new SharedGroup(`$share/${group}/${filter}`, this.#queues)));
      members.set(subscriber, options);
    }
    this.#forgetPlans(filter);
  }

  unsubscribe(filter: string, group: string | undefined, subscriber: Subscriber): void {
    const routes = this.#tree.get(filter);
    if (!routes) return;
    if (group === undefined) routes.direct.delete(subscriber);
    else {
      const members = routes.shared?.get(group);
      members?.delete(subscriber);
      if (members?.size === 0) routes.shared!.delete(group);
      if (routes.shared?.size === 0) routes.shared = undefined;
    }
    if (routes.direct.size === 0 && !routes.shared) this.#tree.delete(filter);
    this.#forgetPlans(filter);
  }

  /** The shared subscription of that name (`$share/group/filter`), as long as it has members. */
  sharedGroup(filter: string, group: string): SharedGroup | undefined {
    return this.#tree.get(filter)?.shared?.get(group);
  }

  /** Hands the message to everyone whose subscription matches, and retains it if it asks for that. */
  publish(message: Message, nowMs: number): Receipt {
    const plan = this.#plan(message.topic.text);
    const { targets, groups } = plan;
    message.subscribers = targets.length + groups.length;
    if (plan.hasNoLocal) deliverWithNoLocal(plan, message, nowMs);
    else
      for (let i = 0; i < targets.length; i++) {
        const { subscriber, terms } = targets[i]!;
        subscriber.deliver(message, terms, nowMs);
      }
    for (let i = 0; i < groups.length; i++) groups[i]!.deliver(message, nowMs);
    if (message.retain) return bothReceipts(this.retained.put(message, nowMs), message.pending);
    if (message.qos > 0) {
      const pending = message.pending;
      if (pending) return pending;
    }
    return targets.length + groups.length > 0 ? handedOn : noSubscribers;
  }

  #plan(topic: string): Plan {
    if (topic === this.#lastTopic) return this.#lastPlan!;
    let plan = this.#plans.get(topic);
    if (!plan) {
      const matching: FilterRoutes[] = [];
      this.#tree.match(topic, (routes) => matching.push(routes));
      plan = makePlan(matching);
      if (this.#plans.size >= plansMax) this.#plans.clear();
      this.#plans.set(topic, plan);
    }
    this.#lastTopic = topic;
    this.#lastPlan = plan;
    return plan;
  }

  #forgetPlans(filter: string): void {
    this.#lastTopic = undefined;
    if (filter.includes('+') || filter.includes('#')) this.#plans.clear();
    else this.#plans.delete(filter);
  }
}

/** [MQTT-3.8.3-3] Not back to the client that published it. */
function deliverWithNoLocal(plan: Plan, message: Message, nowMs: number): void {
  for (const { subscriber, terms, ownTerms } of plan.targets) {
    const mine = subscriber.clientId === message.publisher ? ownTerms : terms;
    if (mine) subscriber.deliver(message, mine, nowMs);
  }
}
