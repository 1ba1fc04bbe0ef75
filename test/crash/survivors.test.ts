/**
 * Brokers that serve together, as processes: a client moves from one to the other, and is sent what is published at the first. Then that is
 * killed, and the other one has its sessions and keeps its own connections.
 */
import { afterAll, expect, test } from 'vitest';
import { LiveClient } from '../support/live-client.js';
import { until } from '../support/until.js';
import { note, seed } from './settings.js';
import { Site } from './site.js';

const together = { SHOAL_CLUSTER_PREVIEW: 'true', SHOAL_CLUSTER_KEY: 'a key for the brokers of this test' };
const stored = { clean: false, properties: { sessionExpiryInterval: 3600 } };
const count = 40;
let site: Site;
const clients: LiveClient[] = [];

afterAll(async () => {
  for (const client of clients) client.destroy();
  await site.close();
});

async function open(port: number): Promise<LiveClient> {
  const client = await LiveClient.open(port);
  clients.push(client);
  return client;
}

test(
  'a session follows its client, and those of a broker that is killed are at the other one, whose connections live on',
  { timeout: 90_000 },
  async () => {
    site = await Site.open(seed, { brokerEnv: together });
    const [first, second] = [site.launch(), site.launch()];
    const [firstPort, secondPort] = [await first.port(), await second.port()];

    const names = Array.from({ length: count }, (_, i) => `away-${i}`);
    for (const clientId of names) {
      const client = await open(firstPort);
      await client.connect({ ...site.account, clientId, ...stored });
      await client.subscribe({ filter: 'to/all', qos: 1 });
      await client.disconnect();
    }
    const dying = await open(firstPort);
    await dying.connect({
      ...site.account,
      clientId: 'dying',
      ...stored,
      will: { topic: 'will', payload: 'gone', qos: 1 },
    });
    const publisher = await open(firstPort);
    await publisher.connect({ ...site.account, clientId: 'publisher', clean: true });
    expect(await publisher.publish({ topic: 'to/all', payload: 'kept', qos: 1 })).toMatchObject({ reasonCode: 0 });

    const living: LiveClient[] = [];
    for (let i = 0; i < 10; i++) {
      const client = await open(secondPort);
      await client.connect({ ...site.account, clientId: `living-${i}`, ...(i % 2 === 0 ? stored : { clean: true }) });
      await client.subscribe({ filter: 'living', qos: 1 }, { filter: 'will', qos: 1 });
      living.push(client);
    }
    const [moved, ...away] = names as [string, ...string[]];
    const elsewhere = await open(secondPort);
    expect(await elsewhere.connect({ ...site.account, clientId: moved, ...stored })).toMatchObject({
      sessionPresent: true,
    });
    await publisher.publish({ topic: 'to/all', payload: 'from afar', qos: 1 });
    await elsewhere.receivedCount(2);
    expect(elsewhere.received.map(({ payload }) => payload)).toEqual(['kept', 'from afar']);

    const killedMs = performance.now();
    await first.kill();
    const has = async (sessions: number): Promise<boolean> =>
      new RegExp(`^shoal_sessions ${sessions}$`, 'm').test(await second.metrics());
    await until(() => has(count + 1 + living.length), 'the sessions of the other broker', 60_000);
    console.log(note(`adopted ${Math.round(performance.now() - killedMs)} ms after the kill`));

    await Promise.all(
      away.map(async (clientId) => {
        const client = await open(secondPort);
        expect(await client.connect({ ...site.account, clientId, ...stored })).toMatchObject({ sessionPresent: true });
        await client.receivedCount(2);
        expect(client.received.map(({ payload }) => payload)).toEqual(['kept', 'from afar']);
      }),
    );
    for (const [i, client] of living.entries()) {
      await client.publish({ topic: 'living', payload: `${i}`, qos: 1 });
      expect(client.ended).toBe(false);
    }
    for (const client of living) {
      await client.receivedCount(1 + living.length);
      expect(client.received.map(({ payload }) => payload)).toEqual(['gone', ...living.map((_, i) => `${i}`)]);
    }
    await second.stop();
  },
);
