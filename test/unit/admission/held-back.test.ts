/** A tenant whose subscriber is slower than its publishers: real routing and sessions, one timer. */
import { expect, it } from 'vitest';
import type { Receipt } from '../../../services/broker/message/message.js';
import { message } from '../session/world.js';
import { id, World } from './world.js';

const queueMax = 10;
const holdMs = 5000;
const lookAtHeldMs = 50;

async function meet() {
  const world = new World({ queuedMessagesPerSession: queueMax });
  const { clock } = world;
  const slow = await world.admit({ clientId: 'slow', more: { receiveMaximum: 1 } });
  const { tenant, session } = slow.in!;
  const options = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
  tenant.subscribe(session, { ...options, filter: 'a/#', topicFilter: 'a/#', group: undefined }, true);
  return {
    clock,
    tenant,
    options,
    publish: (topic: string): Receipt => {
      const one = message(topic, 'x', 1);
      one.publisher = id('p');
      return tenant.publish(one, clock.nowMs());
    },
  };
}

const waiting = (receipts: readonly Receipt[]): number =>
  receipts.filter(({ reasonCode }) => reasonCode === undefined).length;

it('lets publishers wait for the setting and no longer, with one timer while anybody waits', async () => {
  const { publish, clock, tenant } = await meet();
  const { timers } = clock;
  const receipts = Array.from({ length: 100 }, () => publish('a/1'));
  expect(waiting(receipts)).toBe(100 - 1 - queueMax / 2);
  expect(clock.timers).toBe(timers + 1);
  clock.advance(holdMs / 2);
  receipts.push(publish('a/2'));
  clock.advance(holdMs / 2 - 1);
  expect([waiting(receipts), clock.timers]).toEqual([101 - 1 - queueMax / 2, timers + 1]);
  clock.advance(lookAtHeldMs);
  expect([waiting(receipts), clock.timers]).toEqual([0, timers]);
  expect(tenant.meters.droppedOverQuota).toBe(101 - 1 - queueMax);
  expect(publish('a/1').reasonCode).toBe(0);
});

it('lets a message to many wait for a share of the setting', async () => {
  const { publish, clock, tenant, options } = await meet();
  for (let i = 0; i < 1 + queueMax / 2; i++) publish('a/1');
  for (let i = 0; i < 9; i++) {
    const other = { clientId: id(`o${i}`), readiness: 'now' as const, isDurable: false, hasRoom: true };
    const nothing = { deliver() {}, whenReady() {}, whenRoom() {}, hasStored: () => false };
    tenant.routing.subscribe('a/1', undefined, { ...other, ...nothing }, options);
  }
  const receipt = publish('a/1');
  clock.advance(holdMs / 10 - 1);
  expect(receipt.reasonCode).toBeUndefined();
  clock.advance(lookAtHeldMs);
  expect(receipt.reasonCode).toBe(0);
});
