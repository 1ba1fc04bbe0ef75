/** A message to stored sessions whose clients are away costs its tenant what it costs the broker: one delivery each. */
import { expect, it } from 'vitest';
import { storedDeliveryBytes } from '../../../services/broker/message/message.js';
import type { Receipt } from '../../../services/broker/message/message.js';
import { SafetyLedger } from '../../../services/broker/tenant/safety-ledger.js';
import type { Subscription } from '../../../services/broker/session/session.js';
import type { Quotas } from '../../../services/tenancy/tenancy.js';
import { message } from '../session/world.js';
import { type FakeConnection, World } from '../admission/world.js';

const subscription = (filter: string): Subscription => ({
  ...{ filter, topicFilter: filter, qos: 1, id: 0, group: undefined },
  ...{ noLocal: false, retainAsPublished: false, retainHandling: 0 },
});

/** `count` sessions that are stored and whose clients are away, and a publisher. */
async function away(count: number, quotas: Partial<Quotas>) {
  const world = new World(quotas);
  const publisher = await world.admit({ clientId: 'publisher' });
  const { tenant } = publisher.in!;
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  for (let i = 0; i < count; i++) {
    const client = await world.admit({ clientId: `c${i}`, clean: false, expiry: 1000 });
    client.in!.session.subscriptions.set('a', subscription('a'));
    tenant.subscribe(client.in!.session, subscription('a'), true);
    client.end('gone', { publishWill: false });
  }
  await settled();
  const nowMs = (): number => world.clock.nowMs();
  return {
    world,
    tenant,
    settled,
    waitMs: () => tenant.rates.publishWaitMs(nowMs()),
    publish: (payload: string): Receipt => tenant.publish(message('a', payload, 1), nowMs()),
    back: (i: number): Promise<FakeConnection> => world.admit({ clientId: `c${i}`, clean: false, expiry: 1000 }),
  };
}

it('publishers wait until the deliveries are paid for, and nothing is lost', async () => {
  const { world, tenant, publish, settled, waitMs, back } = await away(30, { deliverPerSecond: 10 });
  const receipt = publish('x');
  expect(waitMs()).toBe(2000); // A second's worth was saved up.
  await settled();
  expect([receipt.reasonCode, tenant.meters.droppedOverQuota]).toEqual([0, 0]);
  // What is stored is paid for: the client that comes does not wait for the debt of others,
  const client = await back(0);
  await settled();
  expect(client.said()).toEqual(['connack', 'a x']);
  expect(waitMs()).toBe(2000); // and it is not counted once more.
  world.clock.advance(2000);
  expect(waitMs()).toBe(0);
});

it('bytes count as well', async () => {
  const { publish, waitMs } = await away(30, { bytesPerSecond: 10_000 });
  publish('x'.repeat(1000));
  expect(waitMs()).toBe(2000);
});

it('a client that is there and reads costs a delivery when it is sent, and none that publishers wait for', async () => {
  const { publish, waitMs, back, settled } = await away(1, { deliverPerSecond: 1 });
  const client = await back(0);
  for (const payload of ['1', '2']) publish(payload);
  await settled();
  expect([client.said(), waitMs()]).toEqual([['connack', 'a 1'], 0]); // The other waits for the rate, in its queue.
});

it('a shared subscription of which nobody is there costs one delivery, however many members it has', async () => {
  const { tenant, publish, waitMs, back } = await away(3, { deliverPerSecond: 2 });
  for (let i = 0; i < 3; i++) {
    const { session } = (await back(i)).in!;
    tenant.unsubscribe(session, subscription('a'));
    tenant.subscribe(session, { ...subscription('a'), filter: '$share/g/a', group: 'g' }, true);
    tenant.residences.get(session.clientId)!.connection!.close({ name: 'gone' } as never);
  }
  for (let i = 0; i < 4; i++) publish('x');
  expect(waitMs()).toBe(1000);
});

it('what is on its way to safety is counted with each delivery, and publishers wait above the limit', () => {
  const ledger = new SafetyLedger(1 << 20);
  const one = message('a', 'x', 1);
  for (let i = 0; i < 10_000; i++) ledger.owe(one);
  expect([ledger.isBehind, ledger.unsafeBytes]).toEqual([true, one.heldBytes + 10_000 * storedDeliveryBytes]);
  let told = 0;
  ledger.whenSafer(() => told++);
  for (let i = 0; i < 10_000; i++) ledger.pay(one, 0);
  expect([ledger.isBehind, ledger.unsafeBytes, told]).toEqual([false, 0, 1]);
});

it('a fan-out to thousands goes on in later turns, and not while too much is on its way to safety', async () => {
  const { tenant, publish, settled } = await away(0, { deliverPerSecond: null });
  const got: string[] = [];
  const sink = (i: number) => ({
    ...{ clientId: `s${i}`, readiness: 'now' as const, isDurable: true, whenReady() {}, hasStored: () => false },
    deliver: () => void got.push(`s${i}`),
  });
  for (let i = 0; i < 2000; i++) tenant.routing.subscribe('a', undefined, sink(i) as never, subscription('a'));
  const unsafe = message('b', 'x', 1);
  for (let i = 0; i < 6000; i++) tenant.owe(unsafe);
  const receipt = publish('x');
  await settled();
  expect([got.length, receipt.reasonCode]).toEqual([500, undefined]);
  for (let i = 0; i < 6000; i++) tenant.pay(unsafe, 0);
  await settled();
  expect([got.length, receipt.reasonCode]).toEqual([2000, 0]);
});
