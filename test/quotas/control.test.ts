/** What the API wants done reaches clients that are connected within two seconds: keys, grants, sessions, tenants. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { call } from '../local/shoal.js';
import type { Grant } from '../support/broker.js';
import { until } from '../support/until.js';
import { heard, Stack, type TestTenant } from '../support/stack.js';

let stack: Stack;
let tenant: TestTenant;
beforeAll(async () => {
  stack = await Stack.start();
  tenant = await stack.tenant();
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

const administrativeAction = 0x98;
const badUserNameOrPassword = 0x86;
const notAuthorized = 0x87;

const nameOf = (username: string): string => username.split('@')[0]!;

test('a deleted credential ends its connections and lets nobody in', async () => {
  const [doomed, other] = [await tenant.credential(), await tenant.credential()];
  const client = await tenant.client({}, doomed);
  const old = await tenant.client({ version: 4, clientId: 'old' }, doomed);
  const bystander = await tenant.client({}, other);
  await tenant.api(`/credentials/${nameOf(doomed.username)}`, { method: 'DELETE' });
  await heard(() => client.ended && old.ended, 'the end of the connections');
  expect(client.farewell).toMatchObject({ reasonCode: administrativeAction });
  expect(await tenant.tryConnect({}, doomed)).toMatchObject({ reasonCode: badUserNameOrPassword });
  expect(await tenant.tryConnect({ version: 4, clientId: 'old' }, doomed)).toMatchObject({ reasonCode: 4 });
  await bystander.ping();
});

test('a rotated credential ends its connections; the new password works, the old one does not', async () => {
  const before = await tenant.credential();
  const client = await tenant.client({}, before);
  const { password } = await tenant.api(`/credentials/${nameOf(before.username)}/rotate`, { method: 'POST' });
  await heard(() => client.ended, 'the end of the connection');
  expect(client.farewell).toMatchObject({ reasonCode: administrativeAction });
  expect(await tenant.tryConnect({}, before)).toMatchObject({ reasonCode: badUserNameOrPassword });
  await tenant.client({}, { ...before, password: String(password) });
});

test('new grants hold for a live session: publishing, subscribing, and what it had subscribed to', async () => {
  const account = await tenant.credential();
  const client = await tenant.client({}, account);
  const source = await tenant.client();
  await client.subscribe('g/a/#', 'g/b/#', 'g/+/c');
  const grants: Grant[] = [
    { effect: 'allow', action: 'all', topic: 'g/a/#' },
    { effect: 'allow', action: 'subscribe', topic: 'g/+/c' },
  ];
  await tenant.api(`/credentials/${nameOf(account.username)}`, { method: 'PATCH', body: { grants } });
  const publishes = async (topic: string): Promise<number | undefined> =>
    (await client.publish({ topic, qos: 1 }))?.reasonCode;
  await heard(async () => (await publishes('g/b/x')) === notAuthorized, 'the new grants');
  expect(await publishes('g/z/c')).toBe(notAuthorized);
  expect((await publishes('g/a/x')) ?? 0).toBeLessThan(0x80);
  expect(await client.subscribe('g/b/#', 'g/#', 'g/a/x')).toEqual([notAuthorized, notAuthorized, 2]);
  await client.ping();
  client.received.length = 0;
  for (const topic of ['g/b/y', 'g/a/y', 'g/b/c', 'g/b/z'])
    await source.publish({ topic, qos: 1, payload: 'after the change' });
  await client.ping();
  expect(client.received.map(({ topic }) => topic)).toEqual(['g/a/y', 'g/b/c']);
});

test('grants that come back work again', async () => {
  const account = await tenant.credential([{ effect: 'allow', action: 'all', topic: 'x/#' }]);
  const client = await tenant.client({}, account);
  expect(await client.subscribe('y')).toEqual([notAuthorized]);
  const grants: Grant[] = [{ effect: 'allow', action: 'all', topic: '#' }];
  await tenant.api(`/credentials/${nameOf(account.username)}`, { method: 'PATCH', body: { grants } });
  await heard(async () => (await client.subscribe('y'))[0] === 2, 'the new grants');
});

test('a deleted session is disconnected, and nothing of it is left', async () => {
  const session = { clientId: 'kicked', properties: { sessionExpiryInterval: 300 } };
  const client = await tenant.client(session);
  await client.subscribe('k');
  await tenant.api('/sessions/kicked', { method: 'DELETE' });
  await heard(() => client.ended, 'the end of the connection');
  expect(client.farewell).toMatchObject({ reasonCode: administrativeAction });
  const again = await tenant.client({ ...session, clean: false });
  expect(again.connack?.sessionPresent).toBe(false);
});

test('a deleted tenant ends for everybody, and its name starts anew', { timeout: 40_000 }, async () => {
  const first = await stack.tenant({}, 'phoenix');
  const old = await first.account();
  const session = { clientId: 'device', properties: { sessionExpiryInterval: 300 } };
  const sleeper = await first.client({ ...session, clientId: 'sleeper' });
  await sleeper.subscribe('state/#');
  await sleeper.disconnect();
  const will = { topic: 'state/will', payload: 'of the old one', qos: 1, retain: true };
  const clients = [await first.client({ ...session, will }), await first.client({ version: 4, clientId: 'old' })];
  await clients[0]!.subscribe('state/#');
  await clients[1]!.publish({ topic: 'state/a', payload: 'of the old one', qos: 1, retain: true });

  const deleted = first.api('', { method: 'DELETE' });
  await heard(() => clients.every(({ ended }) => ended), 'the end of the connections');
  await deleted;
  expect(await first.tryConnect({}, old)).toMatchObject({ reasonCode: badUserNameOrPassword });
  await expect(first.api('/credentials')).rejects.toThrow(/40[14]/);

  const second = await stack.tenant({}, 'phoenix');
  expect(await second.tryConnect({}, old)).toMatchObject({ reasonCode: badUserNameOrPassword });
  expect((await second.api('/sessions'))['items']).toEqual([]);
  // The broker has looked for this name a moment ago, and looks again after a second.
  let device: Awaited<ReturnType<TestTenant['client']>> | undefined;
  await until(async () => {
    device = await second.client({ ...session, clean: false }).catch(() => undefined);
    return device !== undefined;
  }, 'the new credential to be known');
  if (!device) throw new Error('until has waited for it');
  expect(device.connack?.sessionPresent).toBe(false);
  await device.subscribe('#', '$SYS/broker/clients/total');
  const other = await second.client();
  await other.publish({ topic: 'state/last', payload: 'of the new one', qos: 1, retain: true });
  // The read of this one comes after the read for '#'.
  await device.subscribe('state/last');
  await device.receivedCount(3);
  await device.ping();
  const seen = device.received.map(({ topic, payload }) => `${topic} ${payload}`);
  expect(seen.filter((line) => line.includes('of the old one'))).toEqual([]);
  expect(seen).toContain('$SYS/broker/clients/total 1');
  const { status } = await call(`${stack.endpoints.api.url}/v1/tenants/phoenix/credentials`, {
    key: 'shoal_phoenix_x',
  });
  expect(status).toBe(401);
});
