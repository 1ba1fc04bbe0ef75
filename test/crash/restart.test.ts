/** After a crash no client waits longer for its CONNACK than another, whatever was under way in its session. */
import { afterAll, expect, test } from 'vitest';
import { LiveClient } from '../support/live-client.js';
import { until } from '../support/until.js';
import { seed } from './settings.js';
import { Site } from './site.js';

const stored = { clean: false, properties: { sessionExpiryInterval: 3600 } };
/** More than the send quota that many clients have. */
const underWay = 100;
let site: Site;
const clients: LiveClient[] = [];

afterAll(async () => {
  for (const client of clients) client.destroy();
  await site.close();
});

async function open(): Promise<LiveClient> {
  const client = await LiveClient.open(site.broker()!.port);
  clients.push(client);
  return client;
}

test('QoS 2 exchanges that a crash has cut keep nobody out', { timeout: 60_000 }, async () => {
  site = await Site.open(seed);
  await site.start();
  const [publisher, subscriber] = [await open(), await open()];
  await subscriber.connect({ ...site.account, clientId: 'subscriber', ...stored });
  await subscriber.subscribe({ filter: 't/#', qos: 2 });
  await publisher.connect({ ...site.account, clientId: 'publisher', ...stored });
  // PUBREL never leaves, and nobody sends anything again: who waited for these exchanges would wait for ever.
  for (let i = 0; i < underWay; i++) publisher.packets.sendPublish({ topic: `t/${i}`, payload: 'x', qos: 2 });
  await until(() => subscriber.received.length === underWay, 'the messages');
  await site.kill();
  await site.start();

  const answered: string[] = [];
  await Promise.all(
    [
      { clientId: 'clean', clean: true },
      { clientId: 'publisher', ...stored },
      { clientId: 'subscriber', ...stored },
    ].map(async (fields) => {
      const client = await open();
      const { sessionPresent } = await client.connect({ ...site.account, ...fields });
      answered.push(`${fields.clientId} ${sessionPresent}`);
    }),
  );
  expect(answered.sort()).toEqual(['clean false', 'publisher true', 'subscriber true']);
});
