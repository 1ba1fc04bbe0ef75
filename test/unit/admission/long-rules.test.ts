/**
 * Access rules as long as they may be are compiled, and compared with what there is, in slices of their tenant's time. Each
 * rule and each subscription takes half a millisecond here.
 */
import { beforeEach, expect, it } from 'vitest';
import type { Grant } from '../../../services/tenancy/tenancy.js';
import type { Session } from '../../../services/broker/session/session.js';
import { acme, World } from './world.js';

/** Two quanta of a tenant on the free plan: what it had left, and one when its turn comes. */
const stepsMax = 8;

let world: World;
/** Steps since the event loop came round, and the most there have been. */
let steps: number;
let most: number;
beforeEach(() => {
  world = new World({ cpuShare: 25 });
  steps = most = 0;
});

function step(): void {
  if (steps === 0) setImmediate(() => (steps = 0));
  most = Math.max(most, ++steps);
  world.clock.advance(0.5);
}

/** `read` is called when one of them is compiled. */
const slowGrants = (count: number, topic: string, read = step): Grant[] =>
  Array.from({ length: count }, () => ({
    get effect() {
      read();
      return 'allow' as const;
    },
    action: 'all',
    topic,
  }));

function setGrants(grants: readonly Grant[]): void {
  world.credential = { ...world.credential!, revision: world.credential!.revision + 1, grants };
}

const obey = (): Promise<void> =>
  world.admission.apply(
    { type: 'credential-changed', tenant: acme, name: 'device', change: 'grants' },
    world.clock.nowMs(),
  );

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Subscribes to `count` filters, each of which takes its time when it is compared. */
async function subscribe(session: Session, count: number): Promise<void> {
  const options = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;
  const filters = Array.from({ length: count }, (_, n) => `a/${n}`);
  const subscriptions = filters.map((filter) => ({ filter, ...options }));
  const packet = { type: 'subscribe', packetId: 1, subscriptions, properties: {} } as const;
  session.receiveSubscribe(packet, session.channel!);
  await settle(); // Whether something retained may match has been looked at.
  for (const subscription of session.subscriptions.values()) {
    const { filter } = subscription;
    let isNew = true;
    const get = (): string => {
      if (isNew) step();
      isNew = false;
      return filter;
    };
    Object.defineProperty(subscription, 'topicFilter', { get });
  }
}

it('at CONNECT', async () => {
  setGrants(slowGrants(40, 'a/#'));
  const connection = await world.admit({ clientId: 'c' });
  expect(connection.take()).toMatchObject([{ cmd: 'connack' }]);
  expect([world.clock.monotonicMs(), most <= stepsMax]).toEqual([20, true]);
});

it('at CONNECT once for all that come at once', async () => {
  setGrants(slowGrants(40, 'a/#'));
  await Promise.all(Array.from({ length: 10 }, (_, n) => world.admit({ clientId: `c${n}` })));
  expect([world.clock.monotonicMs(), most <= stepsMax]).toEqual([20, true]);
});

it('at a change of the credential, for the rules and for the subscriptions of one session', async () => {
  const { session } = (await world.admit({ clientId: 'c' })).in!;
  await subscribe(session, 40);
  setGrants(slowGrants(40, 'b'));
  await obey();
  expect([session.subscriptions.size, most <= stepsMax]).toEqual([0, true]);
});

it('when a client comes back and finds other rules', async () => {
  const first = await world.admit({ clientId: 'c', clean: false, expiry: 100 });
  const { session } = first.in!;
  await subscribe(session, 40);
  first.end('lost', { publishWill: false });
  world.clock.advance(90_000); // Until its credential is read again, without a word in the control log.
  setGrants([{ effect: 'allow', action: 'all', topic: 'a/1' }]);
  const second = await world.admit({ clientId: 'c', clean: false, expiry: 100 });
  expect(second.in!.session).toBe(session);
  expect([[...session.subscriptions.keys()], most <= stepsMax]).toEqual([['a/1'], true]);
});

it('a client whose rules take long keeps its tenant open', async () => {
  await world.admit({ clientId: 'c' }).then((connection) => connection.end('goodbye', { publishWill: false }));
  // Longer than an empty tenant is kept.
  setGrants(slowGrants(40, 'a/#', () => world.clock.advance(60_000)));
  await world.admit({ clientId: 'd' });
  expect([world.gauge('shoal_tenants'), world.gauge('shoal_sessions')]).toEqual([1, 1]);
});

it('rules that came later hold, whatever was being compared', async () => {
  const { session } = (await world.admit({ clientId: 'c' })).in!;
  await subscribe(session, 40);
  setGrants([{ effect: 'allow', action: 'all', topic: 'a/1' }]);
  const first = obey();
  await settle();
  expect(session.subscriptions.size).toBeGreaterThan(1);
  setGrants([{ effect: 'allow', action: 'all', topic: 'a/30' }]);
  await Promise.all([first, obey()]);
  expect([...session.subscriptions.keys()]).toEqual(['a/30']);
});
