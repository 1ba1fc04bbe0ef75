/** `$SYS` of a real service: the topics that mosquitto's dashboards ask for, with the tenant's own numbers in its units. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import npmPackage from '../../package.json' with { type: 'json' };
import type { LiveClient } from '../support/live-client.js';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterAll(() => stack?.close());

const windows = ['1min', '5min', '15min'];
const loads = [
  ...['messages/received', 'messages/sent', 'publish/received', 'publish/sent', 'publish/dropped'],
  ...['bytes/received', 'bytes/sent', 'connections', 'sockets'],
].flatMap((name) => windows.map((window) => `load/${name}/${window}`));

/** What a subscriber to `$SYS/#` knows, by the rest of the topic. */
const known = ({ received }: LiveClient): Record<string, string> =>
  Object.fromEntries(received.map(({ topic, payload }) => [topic.replace('$SYS/broker/', ''), payload]));

test('a tenant reads what it has done, to the packet and the byte, and nothing of its neighbour', async () => {
  const [tenant, neighbour] = [await stack.tenant(), await stack.tenant()];
  const noisy = await neighbour.client();
  for (let i = 0; i < 20; i++) await noisy.publish({ topic: 'noise', payload: 'x'.repeat(100), qos: 1, retain: true });

  // One that is away, with three messages that wait; and one whose session has expired.
  const away = await tenant.client({ clientId: 'away', clean: false, properties: { sessionExpiryInterval: 3600 } });
  await away.subscribe({ filter: 't/#', qos: 1 });
  await away.disconnect();
  const short = await tenant.client({ clientId: 'short', clean: false, properties: { sessionExpiryInterval: 1 } });
  await short.disconnect();
  const device = await tenant.client({ clientId: 'device' });
  await device.subscribe({ filter: '$share/g/u', qos: 1 });
  for (let i = 0; i < 3; i++) await device.publish({ topic: `t/${i}`, payload: '0123456789', qos: 1, retain: i < 2 });
  await device.publish({ topic: 'u', payload: '01234', qos: 0 });
  await device.receivedCount(1);
  const sessions = async (): Promise<number> => ((await tenant.api('/sessions'))['items'] as unknown[]).length;
  await until(async () => (await sessions()) === 2, 'the end of the session that expires');

  const watcher = await tenant.client({ clientId: 'watcher' });
  await watcher.subscribe({ filter: '$SYS/#', qos: 0 });
  await watcher.receivedCount(29 + loads.length);
  const told = known(watcher);
  expect(Object.keys(told).sort()).toEqual(
    [
      ...['version', 'uptime', 'subscriptions/count', 'shared_subscriptions/count', 'retained messages/count'],
      ...['connected', 'active', 'disconnected', 'inactive', 'total', 'maximum', 'expired'].map(
        (name) => `clients/${name}`,
      ),
      ...['messages/received', 'messages/sent', 'messages/stored', 'bytes/received', 'bytes/sent'],
      ...['received', 'sent', 'dropped', 'refused', 'expired'].map((name) => `publish/messages/${name}`),
      ...['heap/current', 'thread/seconds', 'database/units/month'],
      ...['publish/bytes/received', 'publish/bytes/sent', 'store/messages/count', 'store/messages/bytes'],
      ...loads,
    ].sort(),
  );
  expect(watcher.received.every(({ retain }) => retain)).toBe(true);
  expect(told).toMatchObject({
    version: `shoal version ${npmPackage.version}`,
    'clients/connected': '2',
    'clients/active': '2',
    'clients/disconnected': '1',
    'clients/inactive': '1',
    'clients/total': '3',
    'clients/maximum': '2',
    'clients/expired': '1',
    'subscriptions/count': '3',
    'shared_subscriptions/count': '1',
    'publish/messages/received': '4',
    'publish/messages/sent': '1',
    'publish/messages/dropped': '0',
    'publish/bytes/received': '35',
    'publish/bytes/sent': '5',
    // CONNECT 4, SUBSCRIBE 3, PUBLISH 4, DISCONNECT 2.
    'messages/received': '13',
    'retained messages/count': '2',
    // Topic and payload of both.
    'store/messages/bytes': '26',
    'store/messages/count': '5',
    'messages/stored': '5',
  });
  expect(told['uptime']).toMatch(/^\d+ seconds$/);
  // CONNACK 4, SUBACK 2, PUBACK 3, PUBLISH 1, and the watcher's SUBACK if it has left.
  expect(['10', '11']).toContain(told['messages/sent']);
  for (const load of loads) expect(told[load]).toMatch(/^\d+\.\d\d$/);

  // The one that was away gets its messages: they wait no more.
  const back = await tenant.client({ clientId: 'away', clean: false, properties: { sessionExpiryInterval: 3600 } });
  await back.receivedCount(3);
  await back.ping();
  await until(async () => (await tenant.systemNumber('store/messages/count')) === 2, 'an empty store');
});
