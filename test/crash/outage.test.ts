/**
 * DynamoDB is out of reach for longer than a lease: what needs no database goes on, what needs it waits or is refused
 * with the right code, and everything recovers by itself.
 */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { LiveClient, type ConnectFields } from '../support/live-client.js';
import { until } from '../support/until.js';
import { wait } from './device.js';
import { Fleet } from './fleet.js';
import { requireKept } from './report.js';
import { note, seed } from './settings.js';
import { Site } from './site.js';

const outageMs = 10_000;
let site: Site;
const clients: LiveClient[] = [];

beforeAll(async () => {
  site = await Site.open(seed, { withProxy: true });
  await site.start();
});

afterEach(async () => {
  await site.proxy!.endOutage();
});

afterAll(async () => {
  for (const client of clients) client.destroy();
  await site.close();
});

async function open(): Promise<LiveClient> {
  const client = await LiveClient.open(site.broker()!.port);
  clients.push(client);
  return client;
}

async function connect(fields: ConnectFields): Promise<LiveClient> {
  const client = await open();
  await client.connect({ ...site.account, ...fields });
  return client;
}

const persistent = { clean: false, properties: { sessionExpiryInterval: 3600 } };

test('what is clean goes on, what must be stored waits, and all comes back', { timeout: 60_000 }, async () => {
  const publisher = await connect({ clientId: 'publisher' });
  const clean = await connect({ clientId: 'clean' });
  await clean.subscribe({ filter: 'clean/#', qos: 1 });
  const sleeper = await connect({ clientId: 'sleeper', ...persistent });
  await sleeper.subscribe({ filter: 'kept/#', qos: 1 });
  await sleeper.disconnect();
  // Once while all is well: the tenant, its routes and its access rules are known.
  await publisher.publish({ topic: 'kept/before', payload: 'before', qos: 1 });

  await site.proxy!.beginOutage('refuse');
  const beganMs = performance.now();
  let isStored = false;
  const stored = publisher.publish({ topic: 'kept/during', payload: 'during', qos: 1 }).then((answer) => {
    isStored = true;
    return answer;
  });
  const acknowledgements: Promise<unknown>[] = [];
  let count = 0;
  while (performance.now() - beganMs < outageMs) {
    count++;
    const before = clean.received.length;
    await publisher.publish({ topic: 'clean/0', payload: `zero ${count}`, qos: 0 });
    acknowledgements.push(publisher.publish({ topic: 'clean/1', payload: `one ${count}`, qos: 1 }));
    await clean.receivedCount(before + 2, 1000);
    if (count % 5 === 1) {
      const refused = await Promise.all(
        ([5, 4] as const).map(async (version) => {
          const client = await open();
          client.packets.boundMs = 10_000;
          return (await client.tryConnect({ ...site.account, version, clientId: `late-${version}` })).reasonCode;
        }),
      );
      expect(refused).toEqual([0x88, 0x03]);
    }
    await wait(200);
  }
  expect(isStored, 'acknowledged though it could not be stored').toBe(false);
  await site.proxy!.endOutage();

  expect((await stored)?.reasonCode).toBe(0);
  await Promise.all(acknowledgements);
  await until(async () => {
    const client = await open();
    return (await client.tryConnect({ ...site.account, clientId: 'late-5' })).reasonCode === 0;
  }, 'CONNECT to be admitted again');
  const awake = await connect({ clientId: 'sleeper', ...persistent });
  expect(awake.connack?.sessionPresent).toBe(true);
  await awake.receivedCount(2);
  expect(awake.received.map(({ payload }) => payload)).toEqual(['before', 'during']);
  expect(site.running!.hasExited).toBe(false);
});

test('a load rides out an outage in which nothing is answered', { timeout: 120_000 }, async () => {
  const fleet = new Fleet(site);
  await fleet.start();
  await wait(500);
  site.note('the outage begins');
  await site.proxy!.beginOutage('hang');
  await wait(4_000);
  await site.proxy!.endOutage();
  site.note('the outage ends');
  await wait(500);
  await fleet.finish();
  await fleet.stop();
  const told = note(`an outage of 4 s; ${fleet.summary()}`);
  requireKept(site.history, told);
  console.log(told);
  await site.running!.stop();
});
