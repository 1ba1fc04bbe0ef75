/**
 * What a tenant sees of sessions whose clients are away, and what is left of one in the tables when the tenant removes
 * it: through the API, a broker and a database as `npm start` starts them.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Dynamo } from '../../services/dynamo/dynamo.js';
import type { ClientId, TenantScope } from '../../services/kernel/kernel.js';
import { clientPartition, clientRoutes, filterInRouteKey, sessionKey } from '../../services/tenancy/tenancy.js';
import { call, endpointsIn, freePorts, Workshop } from '../local/shoal.js';
import type { ConnectFields } from '../support/live-client.js';
import { LiveClient } from '../support/live-client.js';
import { scopeOfName } from '../support/scope.js';
import { heard, Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';
import { databaseOf } from './database.js';

/** A broker notes queue depths every 5 s while they change. */
const notedWithinMs = 6_000;
const clientId = 'pump/7';
const persistent: ConnectFields = { clientId, clean: false, properties: { sessionExpiryInterval: 3600 } };

/** Sort keys of what is stored of the session, by table. */
async function storedOf(
  dynamo: Dynamo,
  tenant: string,
  /** For a tenant that has gone. */
  known?: TenantScope,
): Promise<{ routes: string[]; inbox: string[]; record: boolean }> {
  const scope = known ?? (await scopeOfName(dynamo, tenant));
  const pk = clientPartition(scope, clientId as ClientId);
  const { pk: bucket, prefix } = clientRoutes(scope, clientId as ClientId);
  const filters = async (): Promise<string[]> =>
    (await dynamo.query('routes', { pk: bucket, sk: { beginsWith: prefix }, consistent: true })).items.map((item) =>
      filterInRouteKey(item['sk'] as string)!,
    );
  const keys = async (): Promise<string[]> =>
    (await dynamo.query('inbox', { pk, consistent: true })).items.map((item) => String(item['sk']));
  const key = sessionKey(scope, clientId as ClientId);
  const [routes, inbox, record] = await Promise.all([
    filters(),
    keys(),
    dynamo.get('sessions', key, { consistent: true }),
  ]);
  return { routes, inbox, record: record !== undefined };
}

const nothing = { routes: [], inbox: [], record: false };

type Listed = Record<string, unknown> | undefined;
const among = (body: Record<string, unknown>): Listed =>
  (body['items'] as Record<string, unknown>[]).find((session) => session['clientId'] === clientId);

describe('on a running service', () => {
  let stack: Stack;
  let dynamo: Dynamo;
  beforeAll(async () => {
    stack = await Stack.start(['--log-level', 'info']);
    dynamo = databaseOf(stack.endpoints.pids.broker);
  }, 60_000);
  afterEach(() => stack.endClients());
  afterAll(async () => {
    dynamo?.close();
    await stack?.close();
  });

  const listed = async (tenant: TestTenant): Promise<Listed> => among(await tenant.api('/sessions'));
  const showsQueue = (tenant: TestTenant, queuedMessages: number, droppedMessages: number): Promise<void> => {
    const isShown = async (): Promise<boolean> => {
      const session = await listed(tenant);
      return session?.['queuedMessages'] === queuedMessages && session['droppedMessages'] === droppedMessages;
    };
    return until(isShown, `${queuedMessages} queued, ${droppedMessages} dropped`, notedWithinMs);
  };

  test('what an AWS SDK appends to the user name is no part of it, and is shown as what the client says', async () => {
    const tenant = await stack.tenant();
    const { username, password } = await tenant.account();
    const said = `${username}?SDK=NodeJSv2&Version=1.21.0&token=secret@elsewhere`;
    await stack.client({ username: said, password }, persistent);
    expect(await listed(tenant)).toMatchObject({ username, sdk: 'NodeJSv2/1.21.0', connected: true });
    // The next connection of the session says nothing.
    await stack.client({ username, password }, persistent);
    expect(await listed(tenant)).toMatchObject({ username, sdk: null });
    const wrong = await stack.socket();
    const { reasonCode } = await wrong.tryConnect({ username: said, password: 'not the password' });
    expect(reasonCode).toBe(0x86);
    await until(() => stack.log.includes(`"userName":"${username}"`), 'the refusal in the log');
    expect(stack.log).not.toContain('secret');
  });

  test('a queue is shown while its client is away, and goes with the session that is deleted', async () => {
    const tenant = await stack.tenant();
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't/#', qos: 1 }, { filter: 'u', qos: 2 });
    // Its own exchange that it has not completed is part of its session, too.
    device.packets.sendPublish({ topic: 'own', payload: 'x', qos: 2 });
    await until(async () => (await storedOf(dynamo, tenant.id)).inbox.includes('a-received'), 'the packet identifier');
    await device.drop();

    const publisher = await tenant.client();
    for (let n = 1; n <= 12; n++) await publisher.publish({ topic: `t/${n}`, payload: `${n}`, qos: 1 });
    for (let n = 1; n <= 3; n++) await publisher.publish({ topic: 'u', payload: `${n}`, qos: 2 });
    const stored = await storedOf(dynamo, tenant.id);
    expect(stored).toMatchObject({ routes: ['t/#', 'u'], record: true });
    // What was acknowledged is in the table: the packet identifier, at least one item of QoS 1, and one each of QoS 2.
    expect(stored.inbox.length).toBeGreaterThanOrEqual(1 + 1 + 3);
    await showsQueue(tenant, 15, 0);
    expect(await listed(tenant)).toMatchObject({ connected: false, sessionExpirySeconds: 3600 });

    const path = `/sessions/${encodeURIComponent(clientId)}`;
    await tenant.api(path, { method: 'DELETE' });
    await heard(async () => (await listed(tenant)) === undefined, 'the end of the session');
    expect(await storedOf(dynamo, tenant.id)).toEqual(nothing);
    await expect(tenant.api(path, { method: 'DELETE' })).rejects.toThrow('session-not-found');

    const again = await tenant.client(persistent);
    expect(again.connack?.sessionPresent).toBe(false);
    await publisher.publish({ topic: 't/after', payload: 'not subscribed', qos: 1 });
    await again.ping();
    expect(again.received).toEqual([]);
  });

  test('a client that is connected loses its session with all that is stored of it, too', async () => {
    const tenant = await stack.tenant();
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't', qos: 1 });
    expect(await storedOf(dynamo, tenant.id)).toEqual({ routes: ['t'], inbox: [], record: true });
    await tenant.api(`/sessions/${encodeURIComponent(clientId)}`, { method: 'DELETE' });
    await heard(() => device.ended, 'the disconnection');
    expect(device.farewell?.reasonCode).toBe(0x98); // Administrative action
    await heard(async () => (await listed(tenant)) === undefined, 'the end of the session');
    expect(await storedOf(dynamo, tenant.id)).toEqual(nothing);
    expect((await tenant.client(persistent)).connack?.sessionPresent).toBe(false);
  });

  test('messages that come while the session is deleted leave nothing behind', async () => {
    const tenant = await stack.tenant();
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't', qos: 2 });
    await device.disconnect();
    const publisher = await tenant.client();
    let done = false;
    const publishing = (async () => {
      for (let n = 1; !done; n++)
        await Promise.all([1, 1, 2, 1].map((qos) => publisher.publish({ topic: 't', payload: `${n}`, qos: qos as 1 })));
    })();
    await until(async () => (await storedOf(dynamo, tenant.id)).inbox.length >= 20, 'some stored messages');
    await tenant.api(`/sessions/${encodeURIComponent(clientId)}`, { method: 'DELETE' });
    await heard(async () => (await listed(tenant)) === undefined, 'the end of the session');
    done = true;
    await publishing;
    await until(async () => (await storedOf(dynamo, tenant.id)).inbox.length === 0, 'an empty inbox');
    expect(await storedOf(dynamo, tenant.id)).toEqual(nothing);
  });

  test('a full queue drops what is new; both numbers are shown and counted', async () => {
    const tenant = await stack.tenant({ queuedMessagesPerSession: 5 });
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't', qos: 1 });
    await device.disconnect();
    const publisher = await tenant.client();
    const before = await stack.metric('shoal_messages_dropped_over_quota_total');
    for (let n = 1; n <= 8; n++) await publisher.publish({ topic: 't', payload: `${n}`, qos: 1 });
    expect(await stack.metric('shoal_messages_dropped_over_quota_total')).toBe(before + 3);
    await showsQueue(tenant, 5, 3);

    const again = await tenant.client(persistent);
    expect(again.connack?.sessionPresent).toBe(true);
    await again.receivedCount(5);
    await again.ping();
    expect(again.received.map(({ payload }) => payload)).toEqual(['1', '2', '3', '4', '5']);
    // The queue has room again, and the session remembers what it has lost.
    await again.disconnect();
    await publisher.publish({ topic: 't', payload: '9', qos: 1 });
    await showsQueue(tenant, 1, 3);
  });

  test('QoS 0 is not kept for a client that is away, and counted', async () => {
    const tenant = await stack.tenant();
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't', qos: 1 });
    await device.disconnect();
    const publisher = await tenant.client();
    const before = await stack.metric('shoal_messages_dropped_offline_total');
    await publisher.publish({ topic: 't', payload: 'lost', qos: 0 });
    await publisher.publish({ topic: 't', payload: 'kept', qos: 1 });
    expect(await stack.metric('shoal_messages_dropped_offline_total')).toBe(before + 1);
    const again = await tenant.client(persistent);
    await again.receivedCount(1);
    await again.ping();
    expect(again.received).toEqual([expect.objectContaining({ payload: 'kept', qos: 1 })]);
  });

  test('a tenant that is deleted leaves nothing of its sessions', async () => {
    const tenant = await stack.tenant();
    const device = await tenant.client(persistent);
    await device.subscribe({ filter: 't', qos: 1 });
    await device.disconnect();
    const publisher = await tenant.client();
    for (let n = 1; n <= 8; n++) await publisher.publish({ topic: 't', payload: `${n}`, qos: 1 });
    const scope = await scopeOfName(dynamo, tenant.id);
    expect((await storedOf(dynamo, tenant.id, scope)).inbox).not.toEqual([]);
    await tenant.api('', { method: 'DELETE' });
    expect(await storedOf(dynamo, tenant.id, scope)).toEqual(nothing);
  });
});

test('a session that was there before a restart is shown with its queue, and can be deleted before anybody connects', async () => {
  const workshop = new Workshop();
  const folder = workshop.folder();
  const start = async () => workshop.start(['--data', folder, ...freePorts]).ready();
  try {
    const first = await start();
    const { api, mqtt } = endpointsIn(folder);
    const { body: tenant } = await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } });
    const key = String(tenant['apiKey']);
    const { body: account } = await call(`${api.url}/v1/tenants/acme/credentials`, { key, body: { name: 'c' } });
    const credential = { username: String(account['username']), password: String(account['password']) };
    const device = await LiveClient.open(mqtt.port);
    await device.connect({ ...credential, ...persistent });
    await device.subscribe({ filter: 't', qos: 1 });
    await device.disconnect();
    const publisher = await LiveClient.open(mqtt.port);
    await publisher.connect(credential);
    for (let n = 1; n <= 4; n++) await publisher.publish({ topic: 't', payload: `${n}`, qos: 1 });
    await publisher.disconnect();
    expect(await first.stop()).toBe(0);

    const second = await start();
    const { api: apiNow, pids } = endpointsIn(folder);
    const sessions = `${apiNow.url}/v1/tenants/acme/sessions`;
    const dynamo = databaseOf(pids.broker);
    const isShown = async (): Promise<boolean> => among((await call(sessions, { key })).body)?.['queuedMessages'] === 4;
    await until(isShown, 'the depth of the queue', notedWithinMs);
    expect((await storedOf(dynamo, 'acme')).routes).toEqual(['t']);
    const path = `${sessions}/${encodeURIComponent(clientId)}`;
    expect((await call(path, { method: 'DELETE', key })).status).toBe(202);
    await heard(async () => !(await storedOf(dynamo, 'acme')).record, 'the end of the session');
    expect(await storedOf(dynamo, 'acme')).toEqual(nothing);
    dynamo.close();
    expect(await second.stop()).toBe(0);
    expect(second.stderr).toBe('');
  } finally {
    await workshop.clean();
  }
}, 60_000);
