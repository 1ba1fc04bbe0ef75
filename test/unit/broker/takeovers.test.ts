/** Questions and answers of take-overs over real links. */
import { expect, it } from 'vitest';
import type { TakeoverHost } from '../../../services/broker/residence/residence.js';
import { Takeovers } from '../../../services/broker/takeovers.js';
import type { BrokerId, ClientId, TenantScope } from '../../../services/kernel/kernel.js';
import { until } from '../../support/until.js';
import { broker, hear, memberOf, type TestBroker } from '../mesh/brokers.js';

const [a, b] = ['broker-a' as BrokerId, 'broker-b' as BrokerId];
const client = { tenant: 'acme' as TenantScope, clientId: 'c' as ClientId };
const wish = { ...client, says: { owner: b, epoch: 5 }, beginsAnew: false };

async function linked(): Promise<[TestBroker, TestBroker]> {
  const brokers = [await broker(a), await broker(b)] as [TestBroker, TestBroker];
  hear(
    brokers,
    brokers.map((one) => memberOf(one)),
  );
  await until(() => brokers.every(({ mesh }) => mesh.links.up === 1), 'the link');
  return brokers;
}

const silent: TakeoverHost = { give: () => new Promise(() => undefined), finish: () => Promise.resolve(false) };

it('are answered by who has the session, and tell it what was asked', async () => {
  const [asker, owner] = await linked();
  const asked: unknown[] = [];
  const host: TakeoverHost = {
    give: (one) => {
      asked.push(one);
      return Promise.resolve(one.beginsAnew ? { kind: 'over' } : { kind: 'given', epoch: 6 });
    },
    finish: (one) => {
      asked.push(one);
      return Promise.resolve(true);
    },
  };
  new Takeovers({ ...owner, host: () => host });
  const takeovers = new Takeovers({ ...asker, host: () => silent });
  const both = await Promise.all([takeovers.from(b, wish), takeovers.from(b, { ...wish, beginsAnew: true })]);
  expect(both).toMatchObject([{ kind: 'given', epoch: 6 }, { kind: 'over' }]);
  expect(await takeovers.finish(b, { ...client, epoch: 6 })).toBe(true);
  expect(asked).toEqual([wish, { ...wish, beginsAnew: true }, { ...client, epoch: 6 }]);
});

it('are given up after a second, if nobody answers or there is no link', async () => {
  const [asker, owner] = await linked();
  new Takeovers({ ...owner, host: () => silent });
  const takeovers = new Takeovers({ ...asker, host: () => silent });
  const questions = [takeovers.from(b, wish), takeovers.finish(b, { ...client, epoch: 6 }), takeovers.from(a, wish)];
  asker.clock.advance(1000);
  expect(await Promise.all(questions)).toEqual([undefined, false, undefined]);
});
