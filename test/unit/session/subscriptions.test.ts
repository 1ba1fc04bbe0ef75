import { expect, it } from 'vitest';
import { subscriptionOf, Subscriptions } from '../../../services/broker/session/subscriptions.js';
import type { Subscription } from '../../../services/broker/session/session.js';
import { Chance } from '../../support/chance.js';
import { seed } from '../../support/seeds.js';

const subscription = (filter: string): Subscription =>
  subscriptionOf({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }, filter, undefined, 0);

it('subscriptions of a session are what a map of them would be', () => {
  const chance = new Chance(seed);
  const model = new Map<string, Subscription>();
  const subscriptions = new Subscriptions();
  for (let step = 0; step < 3000; step++) {
    const filter = 'abc'[chance.between(0, 2)]!;
    const what = chance.between(0, 20);
    if (what === 0) for (const each of [model, subscriptions]) each.clear();
    else if (what < 10)
      for (const one of [subscription(filter)]) for (const each of [model, subscriptions]) each.set(filter, one);
    else for (const each of [model, subscriptions]) each.delete(filter);
    expect([subscriptions.size, subscriptions.has(filter)]).toEqual([model.size, model.has(filter)]);
    expect(subscriptions.get(filter)).toBe(model.get(filter));
    expect([[...subscriptions.keys()], [...subscriptions.values()]]).toEqual([[...model.keys()], [...model.values()]]);
  }
});

it.each([1, 3])('of %i some may be deleted while one looks at them', (count) => {
  const subscriptions = new Subscriptions();
  const filters = ['a', 'b', 'c'].slice(0, count);
  for (const filter of filters) subscriptions.set(filter, subscription(filter));
  const seen: string[] = [];
  for (const { filter } of subscriptions.values()) {
    seen.push(filter);
    subscriptions.delete(filter);
  }
  expect([seen, subscriptions.size]).toEqual([filters, 0]);
});
