/**
 * The routing of one tenant: filters to subscribers, and the way of one message to all of them, in one go or, if they are
 * many, in slices (`fan-out-line.ts`). Nothing in here is shared between tenants (G6).
 */
import { SparseMap } from '../../kernel/kernel.js';
import { TopicTree, wildcardPattern } from '../../topic/topic.js';
import { bothReceipts, handedOn, type Message, noSubscribers, type Receipt } from '../message/message.js';
import { FanOutLine, sliceMax } from './fan-out-line.js';
import { FilterRoutes, type RouteOptions, type Target } from './filter-routes.js';
import { type Plan, Plans } from './plans.js';
import type { FanOutHost, GroupQueues, RemoteRoutes, RetainedStore, Subscriber } from './ports.js';
import type { SharedGroup } from './shared-group.js';

/**
 * At how many different sets of levels the filters of a tenant may have wildcards. A topic matches at most one filter of each,
 * so this bounds what a publication costs, whatever the number of filters is: to find them, and to make one plan of them. Programs
 * have a handful of such patterns, and the largest fleets some dozens.
 */
export const patternsMax = 500;

export class Routing {
  readonly retained: RetainedStore;
  readonly #queues: GroupQueues | undefined;
  readonly #remotes: RemoteRoutes | undefined;
  readonly #tree = new TopicTree<FilterRoutes>();
  readonly #plans = new Plans(this.#tree);
  readonly #line: FanOutLine | undefined;
  /** How many filters have this pattern of wildcards. */
  readonly #patterns = new SparseMap<string, number>();
  #filters = 0;

  /**
   * `queues`: where shared subscriptions keep messages; without, nobody keeps any. `host`: shares the thread; without, every
   * fan-out is done in one go. `remotes`: without, there is no other broker.
   */
  constructor(retained: RetainedStore, queues?: GroupQueues, host?: FanOutHost, remotes?: RemoteRoutes) {
    this.retained = retained;
    this.#queues = queues;
    this.#remotes = remotes;
    const lined = {
      planOf: (topic: string) => this.#plans.of(topic),
      retain: (message: Message, nowMs: number) => (message.retain ? retained.put(message, nowMs) : undefined),
      optionsOf: (topic: string, subscriber: Subscriber) => this.#optionsOf(topic, subscriber),
    };
    this.#line = host && new FanOutLine(lined, host);
  }

  /** What speaks against a subscription to this filter; undefined: nothing. What is restored is not asked for. */
  filterError(filter: string): string | undefined {
    if (this.#patterns.size < patternsMax || this.#tree.get(filter)) return undefined;
    const pattern = wildcardPattern(filter);
    if (pattern === '' || this.#patterns.has(pattern)) return undefined;
    return `the topic filters of a tenant can have wildcards at ${patternsMax} different sets of levels: use one of these`;
  }

  /** Memory of what is remembered of topics. */
  get planBytes(): number {
    return this.#plans.bytes;
  }

  /** Adds or replaces. `filter` is valid and without `$share/group/`. */
  subscribe(filter: string, group: string | undefined, subscriber: Subscriber, options: RouteOptions): void {
    const routes = this.#tree.getOrMake(filter, this.#makeRoutes);
    const isFirst = routes.isEmpty;
    if (group === undefined) routes.set(subscriber, options);
    else routes.setShared(group, subscriber, options, this.#queues);
    this.#plans.forget(routes);
    if (isFirst) this.#remotes?.changed(filter, true);
  }

  readonly #makeRoutes = (filter: string): FilterRoutes => {
    this.#countPattern(filter, 1);
    return new FilterRoutes(filter, ++this.#filters);
  };

  unsubscribe(filter: string, group: string | undefined, subscriber: Subscriber): void {
    const routes = this.#tree.get(filter);
    if (!routes) return;
    if (group === undefined) {
      routes.delete(subscriber);
      this.#line?.left(subscriber);
    } else routes.deleteShared(group, subscriber);
    if (routes.isEmpty) {
      this.#tree.delete(filter);
      this.#countPattern(filter, -1);
      this.#remotes?.changed(filter, false);
    }
    this.#plans.forget(routes);
  }

  /** Those with subscriptions; they may come and go while these are read (`TopicTree`). */
  *filters(): Generator<string, void, void> {
    for (const routes of this.#tree) if (!routes.isEmpty) yield routes.filter;
  }

  #countPattern(filter: string, change: 1 | -1): void {
    const pattern = wildcardPattern(filter);
    if (pattern === '') return;
    const count = (this.#patterns.get(pattern) ?? 0) + change;
    if (count > 0) this.#patterns.set(pattern, count);
    else this.#patterns.delete(pattern);
  }

  /** The shared subscription of that name (`$share/group/filter`), as long as it has members. */
  sharedGroup(filter: string, group: string): SharedGroup | undefined {
    return this.#tree.get(filter)?.sharedGroup(group);
  }

  /** Hands the message to everyone whose subscription matches, here and elsewhere, and retains it if it asks for that. */
  publish(message: Message, nowMs: number): Receipt {
    // Before the subscribers here: what they do to the message is none of the others' business.
    const isElsewhere = this.#remotes !== undefined && this.#remotes.publish(message);
    const receipt = this.#publish(message, nowMs);
    return isElsewhere && receipt === noSubscribers ? handedOn : receipt;
  }

  /** One that another broker has accepted, which retains it: to the subscribers here. */
  deliver(message: Message, nowMs: number): Receipt {
    if (message.retain) this.retained.overwritten(message.topic.text);
    return this.#publish(message, nowMs, true);
  }

  #publish(message: Message, nowMs: number, isFromElsewhere = false): Receipt {
    const line = this.#line;
    if (line?.isEmpty === false) return line.add(message, nowMs, isFromElsewhere);
    const plan = this.#plans.of(message.topic.text);
    const { targets, groups } = plan;
    if (line && targets.length + groups.length > sliceMax) return line.add(message, nowMs, isFromElsewhere);
    message.subscribers = targets.length + groups.length;
    // What is delivered may end a subscription at once: the others get it all the same.
    plan.readers++;
    try {
      deliver(plan, message, nowMs);
    } finally {
      if (plan.targets === targets) plan.readers--;
    }
    if (message.retain && !isFromElsewhere) return bothReceipts(this.retained.put(message, nowMs), message.pending);
    if (message.qos > 0) {
      const pending = message.pending;
      if (pending) return pending;
    }
    return targets.length + groups.length > 0 ? handedOn : noSubscribers;
  }

  /** Resolves when everything that has been published before has been handed to all whose subscriptions match. */
  passed(): Promise<void> {
    const line = this.#line;
    return line ? new Promise((resolve) => line.whenPassed(resolve)) : Promise.resolve();
  }

  #optionsOf(topic: string, subscriber: Subscriber): RouteOptions[] {
    const found: RouteOptions[] = [];
    this.#tree.match(topic, (routes) => {
      const options = routes.optionsOf(subscriber);
      if (options) found.push(options);
    });
    return found;
  }
}

function deliver(plan: Plan, message: Message, nowMs: number): void {
  const { targets, groups } = plan;
  if (plan.hasNoLocal) deliverWithNoLocal(targets, message, nowMs);
  else
    for (let i = 0; i < targets.length; i++) {
      const { subscriber, terms } = targets[i]!;
      subscriber.deliver(message, terms, nowMs);
    }
  for (let i = 0; i < groups.length; i++) groups[i]!.deliver(message, nowMs);
}

/** [MQTT-3.8.3-3] Not back to the client that published it. */
function deliverWithNoLocal(targets: readonly Target[], message: Message, nowMs: number): void {
  for (const { subscriber, terms, ownTerms } of targets) {
    const mine = subscriber.clientId === message.publisher ? ownTerms : terms;
    if (mine) subscriber.deliver(message, mine, nowMs);
  }
}
