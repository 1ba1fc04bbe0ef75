/** Who gets the messages of one topic, and on what terms: made from the matching filters once, used until they change. */
import type { DeliveryTerms, QoS } from '../message/message.js';
import type { Subscriber } from './ports.js';
import type { FilterRoutes, RouteOptions } from './routing.js';
import type { SharedGroup } from './shared-group.js';

export interface Target {
  readonly subscriber: Subscriber;
  readonly terms: DeliveryTerms;
  /** For a message that the subscriber has published itself; undefined when No Local keeps it away. */
  readonly ownTerms: DeliveryTerms | undefined;
}

export interface Plan {
  readonly targets: readonly Target[];
  readonly groups: readonly SharedGroup[];
  /** Whether the publisher matters. */
  readonly hasNoLocal: boolean;
}

/**
 * A client with several matching subscriptions gets one copy, at their highest QoS, with all their identifiers.
 * [MQTT-3.3.4-2] [MQTT-3.3.4-4]
 */
export function makePlan(matching: readonly FilterRoutes[]): Plan {
  const bySubscriber = new Map<Subscriber, RouteOptions[]>();
  const groups: SharedGroup[] = [];
  for (const { direct, shared } of matching) {
    for (const [subscriber, options] of direct) {
      const others = bySubscriber.get(subscriber);
      if (others) others.push(options);
      else bySubscriber.set(subscriber, [options]);
    }
    if (shared) groups.push(...shared.values());
  }
  let hasNoLocal = false;
  const targets: Target[] = [];
  for (const [subscriber, options] of bySubscriber) {
    const terms = combine(options);
    const foreign = options.filter((option) => !option.noLocal);
    const isLocalToo = foreign.length === options.length;
    if (!isLocalToo) hasNoLocal = true;
    const ownTerms = isLocalToo ? terms : foreign.length > 0 ? combine(foreign) : undefined;
    targets.push({ subscriber, terms, ownTerms });
  }
  return { targets, groups, hasNoLocal };
}

const noIds: readonly number[] = [];

function combine(options: readonly RouteOptions[]): DeliveryTerms {
  const ids = options.filter(({ id }) => id > 0).map(({ id }) => id);
  return {
    qos: options.reduce<QoS>((highest, { qos }) => (qos > highest ? qos : highest), 0),
    retainAsPublished: options.some((option) => option.retainAsPublished),
    subscriptionIds: ids.length > 0 ? ids : noIds,
  };
}
