/**
 * What happens to stored sessions while no broker runs, and what the next one makes of it: through the real API, with broker
 * processes that stop and start on one database.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from '../../tenants-api/app.js';
import { createTables, Dynamo } from '../../services/dynamo/dynamo.js';
import { type ClientId, silentLog, systemClock } from '../../services/kernel/kernel.js';
import { clientPartition, clientRoutes, credentialKey, routeKey, sessionKey } from '../../services/tenancy/tenancy.js';
import { BrokerProcess, endProcesses, region, startEngine, tablePrefix } from '../crash/processes.js';
import type { ConnectFields } from '../support/live-client.js';
import { LiveClient } from '../support/live-client.js';
import { scopeOfName } from '../support/scope.js';
import { until } from '../support/until.js';

const operatorKey = 'operator-key-of-the-tests';

let endpoint: string;
let dynamo: Dynamo;
let app: ReturnType<typeof createApp>;
let names = 0;
beforeAll(async () => {
  endpoint = await startEngine();
  dynamo = new Dynamo({ endpoint, region, tablePrefix });
  await createTables(dynamo);
  app = createApp({
    dynamo,
    clock: systemClock,
    endpoints: { api: 'http://127.0.0.1' },
    operatorKey,
    health: () => Promise.resolve({ ok: true, parts: {} }),
    log: silentLog,
    sourceAddress: () => '127.0.0.1',
  });
}, 60_000);
afterAll(() => {
  endProcesses();
  dynamo?.close();
});

type Json = Record<string, unknown>;

class Tenant {
  readonly id = `tenant-${++names}`;
  #key = operatorKey;

  async call(method: string, path: string, body?: object, key = this.#key): Promise<Json> {
    const response = await app.request(`/v1/tenants${path}`, {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.status === 202 ? {} : ((await response.json()) as Json);
  }

  async signUp(): Promise<this> {
    this.#key = String((await this.call('POST', '', { name: this.id }))['apiKey']);
    return this;
  }

  async credential(name: string): Promise<{ username: string; password: string }> {
    const { username, password } = await this.call('POST', `/${this.id}/credentials`, { name });
    return { username: String(username), password: String(password) };
  }

  async session(clientId: string): Promise<Json | undefined> {
    const { items } = await this.call('GET', `/${this.id}/sessions`);
    return (items as Json[]).find((session) => session['clientId'] === clientId);
  }
}

const durable = (clientId: string): ConnectFields => ({
  clientId,
  clean: false,
  properties: { sessionExpiryInterval: 3600 },
});

async function client(broker: BrokerProcess, fields: ConnectFields): Promise<LiveClient> {
  const opened = await LiveClient.open(await broker.port());
  await opened.connect(fields);
  return opened;
}

/** Rows of the session in all tables. */
async function rows(tenant: Tenant, clientId: string): Promise<number> {
  const [id, name] = [await scopeOfName(dynamo, tenant.id), clientId as ClientId];
  const pk = clientPartition(id, name);
  const routes = clientRoutes(id, name);
  const counts = await Promise.all([
    dynamo
      .query('routes', { pk: routes.pk, sk: { beginsWith: routes.prefix }, consistent: true })
      .then(({ items }) => items.length),
    dynamo.query('inbox', { pk, consistent: true }).then(({ items }) => items.length),
    dynamo.get('sessions', sessionKey(id, name), { consistent: true }).then((item) => (item ? 1 : 0)),
  ]);
  return counts.reduce((sum, count) => sum + count, 0);
}

test.each(['stopped', 'killed'] as const)(
  'a session that is deleted after the broker was %s is gone before the next one lets its client in',
  async (how) => {
    const tenant = await new Tenant().signUp();
    const account = await tenant.credential('device');
    const first = new BrokerProcess('first', endpoint);
    for (const clientId of ['deleted', 'kept']) {
      const device = await client(first, { ...account, ...durable(clientId) });
      await device.subscribe({ filter: 't', qos: 1 });
      await device.disconnect();
    }
    const publisher = await client(first, account);
    for (let n = 1; n <= 3; n++) await publisher.publish({ topic: 't', payload: `${n}`, qos: 1 });
    publisher.destroy();
    if (how === 'stopped') {
      await first.stop();
      expect(await tenant.session('deleted')).toMatchObject({ connected: false, queuedMessages: 3 });
    } else await first.kill();
    await tenant.call('DELETE', `/${tenant.id}/sessions/deleted`);
    expect(await rows(tenant, 'deleted')).toBeGreaterThan(0);

    const second = new BrokerProcess('second', endpoint);
    const again = await client(second, { ...account, ...durable('deleted') });
    expect(again.connack?.sessionPresent).toBe(false);
    await again.ping();
    expect(again.received).toEqual([]);
    const kept = await client(second, { ...account, ...durable('kept') });
    expect(kept.connack?.sessionPresent).toBe(true);
    await kept.receivedCount(3);
    // The new session of the same client is not meant by the entry that the third broker obeys once more.
    await again.subscribe({ filter: 't', qos: 1 });
    await again.disconnect();
    await second.stop();
    const third = new BrokerProcess('third', endpoint);
    const back = await client(third, { ...account, ...durable('deleted') });
    expect(back.connack?.sessionPresent).toBe(true);
    expect(third.lines.join('\n')).toContain('control entry');
    back.destroy();
    await third.stop();
  },
  60_000,
);

test('what cannot be read costs its own session, and its tenant nothing', async () => {
  const tenant = await new Tenant().signUp();
  const other = await new Tenant().signUp();
  const account = await tenant.credential('device');
  const forgotten = await tenant.credential('forgotten');
  const first = new BrokerProcess('first', endpoint);
  const accounts = { good: account, record: account, route: account, unwanted: account, credential: forgotten };
  for (const [clientId, credential] of Object.entries(accounts)) {
    const device = await client(first, { ...credential, ...durable(clientId) });
    await device.subscribe({ filter: 't', qos: 1 });
    await device.disconnect();
  }
  const elsewhere = await other.credential('device');
  await (await client(first, { ...elsewhere, ...durable('elsewhere') })).disconnect();
  await first.stop();

  const id = await scopeOfName(dynamo, tenant.id);
  const spoil = (table: 'sessions' | 'routes' | 'tenants', key: { pk: string; sk: string }): Promise<unknown> =>
    dynamo.update(table, key, { update: 'SET v = :later', values: { ':later': 99 } });
  for (const clientId of ['record', 'unwanted']) await spoil('sessions', sessionKey(id, clientId as ClientId));
  await spoil('routes', routeKey(id, 'route' as ClientId, 't'));
  await spoil('tenants', credentialKey(id, 'forgotten'));
  expect(await tenant.session('record')).toBeUndefined();
  expect(await tenant.session('good')).toBeDefined();

  const second = new BrokerProcess('second', endpoint);
  const publisher = await client(second, account);
  await tenant.call('DELETE', `/${tenant.id}/sessions/unwanted`);
  await until(async () => (await rows(tenant, 'unwanted')) === 0, 'the end of a session that cannot be read', 2000);
  await publisher.publish({ topic: 't', payload: 'x', qos: 1 });
  const good = await client(second, { ...account, ...durable('good') });
  expect(good.connack?.sessionPresent).toBe(true);
  await good.receivedCount(1);
  for (const clientId of ['record', 'route']) {
    const device = await client(second, { ...account, ...durable(clientId) });
    expect(device.connack?.sessionPresent).toBe(false);
    await device.subscribe({ filter: 't', qos: 1 });
    await publisher.publish({ topic: 't', payload: 'new', qos: 1 });
    await device.receivedCount(1);
    device.destroy();
  }
  expect((await client(second, { ...elsewhere, ...durable('elsewhere') })).connack?.sessionPresent).toBe(true);

  // The session whose credential cannot be read waits, and nobody gets in meanwhile.
  const locked = await LiveClient.open(await second.port());
  expect(await locked.tryConnect({ ...forgotten, ...durable('credential') })).toMatchObject({ reasonCode: 0x88 });
  await dynamo.update('tenants', credentialKey(id, 'forgotten'), { update: 'SET v = :one', values: { ':one': 1 } });
  const freed = await client(second, { ...forgotten, ...durable('credential') });
  expect(freed.connack?.sessionPresent).toBe(true);
  await freed.receivedCount(3);

  const told = second.lines.filter((line) => line.includes('cannot be read'));
  expect(told.map((line) => (JSON.parse(line) as Json)['clientId']).sort()).toEqual([
    'credential',
    'record',
    'route',
    'unwanted',
  ]);
  expect(told.every((line) => line.includes(tenant.id))).toBe(true);
  const counted = (await second.metrics())
    .split('\n')
    .filter((line) => line.startsWith('shoal_records_unreadable') && !line.endsWith(' 0'));
  expect(counted).toEqual([
    'shoal_records_unreadable_total{record="session"} 3',
    'shoal_records_unreadable_total{record="credential"} 1',
  ]);
  await second.stop();
}, 60_000);

test('drops and depth of a queue are shown while the client is back, and while no broker runs', async () => {
  const tenant = await new Tenant().signUp();
  await tenant.call('PUT', `/${tenant.id}/quotas`, { queuedMessagesPerSession: 2 }, operatorKey);
  const account = await tenant.credential('device');
  const broker = new BrokerProcess('first', endpoint);
  const device = await client(broker, { ...account, ...durable('d') });
  await device.subscribe({ filter: 't', qos: 1 });
  await device.disconnect();
  const publisher = await client(broker, account);
  for (let n = 1; n <= 4; n++) await publisher.publish({ topic: 't', payload: `${n}`, qos: 1 });
  await until(async () => (await tenant.session('d'))?.['droppedMessages'] === 2, 'the drops', 7000);
  expect(await tenant.session('d')).toMatchObject({ connected: false, queuedMessages: 2 });
  const back = await client(broker, { ...account, ...durable('d') });
  expect(await tenant.session('d')).toMatchObject({ connected: true, droppedMessages: 2 });
  await back.receivedCount(2);
  await back.ping();
  await back.disconnect();
  await publisher.publish({ topic: 't', payload: 'last', qos: 1 });
  await broker.stop(); // Before the next look at it.
  expect(await tenant.session('d')).toMatchObject({ connected: false, queuedMessages: 1, droppedMessages: 2 });
}, 60_000);
