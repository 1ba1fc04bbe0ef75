/** Plans are shared, stay as long as they are true, and hold no more than they may. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { filterMatches, TopicTree } from '../../../services/topic/topic.js';
import { FilterRoutes, type RouteOptions } from '../../../services/broker/fanout/filter-routes.js';
import { Plans } from '../../../services/broker/fanout/plans.js';
import type { Subscriber } from '../../../services/broker/fanout/fanout.js';
import type { QoS } from '../../../services/broker/message/message.js';
import { random, seed } from '../../support/seeds.js';

const subscriber = (id: string): Subscriber => ({
  clientId: id as ClientId,
  deliver: () => undefined,
  readiness: 'now',
  whenReady: () => undefined,
  isDurable: false,
  hasStored: () => false,
});
const crowd = (count: number): Subscriber[] => Array.from({ length: count }, (_, i) => subscriber(String(i)));
const plain: RouteOptions = { qos: 1, noLocal: false, retainAsPublished: false, id: 0 };

class World {
  readonly tree = new TopicTree<FilterRoutes>();
  readonly plans = new Plans(this.tree);
  #ids = 0;

  subscribe(filter: string, one: Subscriber, options = plain): void {
    let routes = this.tree.get(filter);
    if (!routes) this.tree.set(filter, (routes = new FilterRoutes(filter, ++this.#ids)));
    routes.set(one, options);
    this.plans.forget(routes);
  }

  unsubscribe(filter: string, one: Subscriber): void {
    const routes = this.tree.get(filter);
    routes?.delete(one);
    if (routes?.isEmpty) this.tree.delete(filter);
    if (routes) this.plans.forget(routes);
  }
}

describe('the plan of one filter', () => {
  it('is the same for all topics, and stays whoever comes and goes', () => {
    const world = new World();
    for (const one of crowd(1000)) world.subscribe('#', one);
    const plan = world.plans.of('t0');
    for (let i = 0; i < 10_000; i++) expect(world.plans.of(`t${i}`)).toBe(plan);
    world.subscribe('#', subscriber('new'));
    expect(world.plans.of('t0')).toBe(plan);
    expect(plan.targets).toHaveLength(1001);
    expect(world.plans.places).toBe(0);
  });

  it('tells who is there after any changes, with and without an index', () => {
    const all = crowd(20);
    const change = fc.record({ who: fc.nat(19), comes: fc.boolean(), noLocal: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
        const routes = new FilterRoutes('t', 1);
        const there = new Map<Subscriber, boolean>();
        for (const { who, comes, noLocal } of changes) {
          const one = all[who]!;
          if (comes) routes.set(one, { ...plain, noLocal });
          else routes.delete(one);
          if (comes) there.set(one, noLocal);
          else there.delete(one);
          expect(new Map(routes.targets.map(({ subscriber, ownTerms }) => [subscriber, !ownTerms]))).toEqual(there);
          expect(routes.targets).toHaveLength(there.size);
          expect(routes.hasNoLocal).toBe([...there.values()].some(Boolean));
        }
      }),
      random(200),
    );
  });
});

describe('the plan of several filters', () => {
  it('is made once for all topics that match the same, and stays when others come', () => {
    const world = new World();
    for (const one of crowd(100)) for (const filter of ['#', 't/+']) world.subscribe(filter, one);
    const plan = world.plans.of('t/1');
    expect(plan.targets).toHaveLength(100);
    world.subscribe('other/+', subscriber('other'));
    world.subscribe('+', subscriber('other'));
    expect(world.plans.of('t/1')).toBe(plan);
    expect(world.plans.of('t/2')).toBe(plan);
    world.subscribe('t/1', subscriber('new'));
    expect(world.plans.of('t/2')).toBe(plan);
    expect(world.plans.of('t/1').targets).toHaveLength(101);
  });

  it('is shared however many filters there are, and counts what it holds of each', () => {
    const places = (id: number, count: number): number => {
      const world = new World();
      const [one, other] = crowd(2) as [Subscriber, Subscriber];
      for (let i = 0; i < count; i++) world.subscribe(`${'+/'.repeat(i)}#`, i % 2 ? one : other, { ...plain, id });
      const topic = 'a/'.repeat(count);
      const plan = world.plans.of(topic);
      expect(plan.targets).toHaveLength(2);
      const held = world.plans.places;
      for (let i = 0; i < 1000; i++) expect(world.plans.of(topic + i)).toBe(plan);
      expect(world.plans.places).toBe(held);
      return held;
    };
    expect(places(0, 100) - places(0, 50)).toBeGreaterThanOrEqual(50);
    expect(places(7, 100) - places(0, 100)).toBe(100);
  });

  it('holds nothing when it has ended, whoever remembers it', () => {
    const world = new World();
    const [one, other] = crowd(2) as [Subscriber, Subscriber];
    for (const filter of ['a', '+']) world.subscribe(filter, one);
    const plan = world.plans.of('a');
    expect(world.plans.places).toBeGreaterThan(0);
    world.subscribe('+', other);
    expect([plan.isStale, plan.targets.length, world.plans.places]).toEqual([true, 0, 0]);
    expect(world.plans.of('a').targets).toHaveLength(2);
    for (const filter of ['a', '+']) world.unsubscribe(filter, one);
    world.unsubscribe('+', other);
    expect([world.plans.of('a').targets.length, world.plans.places]).toEqual([0, 0]);
  });

  it('gives way to newer ones before all of them hold too much', () => {
    const world = new World();
    const all = crowd(1000);
    for (const one of all) for (const filter of ['#', '+']) world.subscribe(filter, one);
    const places: number[] = [];
    for (let i = 0; i < 300; i++) {
      world.subscribe(`t${i}`, all[i]!);
      expect(world.plans.of(`t${i}`).targets).toHaveLength(1000);
      places.push(world.plans.places);
    }
    expect(Math.max(...places)).toBeLessThanOrEqual(500_000);
    expect(places.at(-1)).toBeGreaterThan(450_000);
    // The first one has given way, and is made again.
    expect(world.plans.of('t0').targets).toHaveLength(1000);
  });

  it('is made even if it alone holds too much', () => {
    const world = new World();
    for (const one of crowd(40_000)) for (const filter of ['#', '+']) world.subscribe(filter, one);
    const plan = world.plans.of('t');
    expect(plan.targets).toHaveLength(40_000);
    expect(world.plans.of('t')).toBe(plan);
  });
});

it(`who gets what follows from the subscriptions alone (seed ${seed})`, () => {
  const filter = fc.constantFrom('a', 'a/b', 'a/+', '+/b', '#', '+', 'a/#', '$s/#', '$s/a', 'b');
  const topic = fc.constantFrom('a', 'a/b', 'b', 'b/b', '$s/a', 'a/b/c');
  const options = fc.record<RouteOptions>({
    qos: fc.constantFrom<QoS[]>(0, 1, 2),
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    id: fc.nat(2),
  });
  const step = fc.record({
    what: fc.constantFrom('come', 'come', 'go', 'ask', 'ask'),
    filter,
    topic,
    options,
    who: fc.nat(3),
  });
  const all = crowd(4);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const world = new World();
      const model = all.map(() => new Map<string, RouteOptions>());
      for (const { what, filter: text, topic: name, options: wanted, who } of steps) {
        if (what === 'come') {
          world.subscribe(text, all[who]!, wanted);
          model[who]!.set(text, wanted);
        } else if (what === 'go') {
          world.unsubscribe(text, all[who]!);
          model[who]!.delete(text);
        } else {
          const plan = world.plans.of(name);
          const got = plan.targets.map(({ subscriber: { clientId }, terms, ownTerms }) => [
            clientId,
            terms.qos,
            terms.retainAsPublished,
            [...terms.subscriptionIds].sort(),
            ownTerms?.qos,
            [...(ownTerms?.subscriptionIds ?? [])].sort(),
          ]);
          const required = all.flatMap(({ clientId }, i) => {
            const matching = [...model[i]!].filter(([each]) => filterMatches(each, name)).map(([, each]) => each);
            if (matching.length === 0) return [];
            const foreign = matching.filter(({ noLocal }) => !noLocal);
            const highest = (of: readonly RouteOptions[]): QoS => Math.max(...of.map(({ qos }) => qos)) as QoS;
            const ids = (of: readonly RouteOptions[]): number[] =>
              of
                .map(({ id }) => id)
                .filter((id) => id > 0)
                .sort();
            const asPublished = matching.some(({ retainAsPublished }) => retainAsPublished);
            const own = foreign.length > 0 ? highest(foreign) : undefined;
            return [[clientId, highest(matching), asPublished, ids(matching), own, ids(foreign)]];
          });
          expect(got.sort()).toEqual(required.sort());
          if (required.some(([, , , , own]) => own === undefined)) expect(plan.hasNoLocal).toBe(true);
        }
      }
    }),
    random(300),
  );
});
