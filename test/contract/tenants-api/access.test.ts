/** What the API asks of DynamoDB, route by route, is what it is granted: no call is missing, and none is there for nothing. */
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { Dynamo, tenantsApiAccess } from '../../../services/dynamo/dynamo.js';
import { type BrokerId, type ClientId, Metrics, type TenantId } from '../../../services/kernel/kernel.js';
import { clientPartition, routeKey, sessionToItem, usagePartition } from '../../../services/tenancy/tenancy.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { scopeOfName } from '../../support/scope.js';
import { openApi, operatorKey, type TestApi } from './api.js';

let dynalite: Dynalite;
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(() => dynalite.stop());

const tenant = 'acme' as TenantId;
const client = 'sensor-1' as ClientId;

/** A session whose client is connected, with something of everything that goes with it. */
async function seedSession(dynamo: Dynamo, nowMs: number): Promise<void> {
  const scope = await scopeOfName(dynamo, tenant);
  const month = new Date(nowMs).toISOString().slice(0, 7);
  const session = sessionToItem({
    tenant: scope,
    clientId: client,
    userName: 'sensor@acme',
    protocolVersion: '5',
    address: '192.0.2.9:5000',
    connected: true,
    connectedAtMs: nowMs,
    keepAliveSeconds: 30,
    expirySeconds: 3600,
    owner: 'broker-1' as BrokerId,
    epoch: 1,
    born: 1,
    queuedMessages: 0,
    droppedMessages: 0,
  });
  await dynamo.put('sessions', session);
  await dynamo.put('routes', { ...routeKey(scope, client, 'a/b'), client });
  await dynamo.put('inbox', { pk: clientPartition(scope, client), sk: 'm1' });
  await dynamo.put('retained', { pk: scope, sk: 'a/b' });
  await dynamo.put('usage', { pk: usagePartition(scope, month), sk: '21' });
}

/** Each route once at least, in an order in which all of them have something to do. */
async function useEverything({ call, clock }: TestApi, seeding: Dynamo): Promise<number[]> {
  const statuses: number[] = [];
  const use = async (method: string, path: string, options: Parameters<typeof call>[2]): Promise<unknown> => {
    const { status, body } = await call(method, path, options);
    statuses.push(status);
    return body;
  };
  const { apiKey: key } = (await use('POST', '/v1/tenants', { json: { name: tenant } })) as { apiKey: string };
  await use('POST', '/v1/tenants', { json: { name: tenant } });
  await seedSession(seeding, clock.nowMs());
  const here = `/v1/tenants/${tenant}`;
  await use('GET', here, { key });
  const { id } = (await use('POST', `${here}/keys`, { key })) as { id: string };
  await use('GET', `${here}/keys`, { key });
  await use('DELETE', `${here}/keys/${id}`, { key });
  await use('GET', `${here}/quotas`, { key });
  await use('PUT', `${here}/quotas`, { key: operatorKey, json: { connections: 10 } });
  await use('POST', `${here}/credentials`, { key, json: { name: 'sensor' } });
  await use('POST', `${here}/credentials`, { key, json: { name: 'kept' } });
  await use('GET', `${here}/credentials`, { key });
  await use('GET', `${here}/credentials/sensor`, { key });
  await use('PATCH', `${here}/credentials/sensor`, { key, json: { enabled: false } });
  await use('POST', `${here}/credentials/sensor/rotate`, { key });
  await use('DELETE', `${here}/credentials/sensor`, { key });
  await use('GET', `${here}/sessions`, { key });
  await use('DELETE', `${here}/sessions/${client}`, { key });
  await use('GET', '/v1/brokers', { key: operatorKey });
  await use('POST', '/v1/brokers/nobody/drain', { key: operatorKey });
  await use('DELETE', here, { key });
  return statuses;
}

it('every call of every route is granted, and every grant is used', async () => {
  const metrics = new Metrics();
  const tablePrefix = 'granted-';
  const seeding = await dynalite.open({ tablePrefix });
  const dynamo = new Dynamo({ endpoint: dynalite.endpoint, region: 'eu-central-1', tablePrefix, metrics });
  onTestFinished(() => dynamo.close());
  const api = openApi(dynamo);
  const statuses = await useEverything(api, seeding);
  expect(statuses.filter((status) => status >= 500)).toEqual([]);
  const made = [...metrics.samples()]
    .filter(({ name }) => name === 'shoal_dynamodb_calls_total')
    .map(({ labels }) => `${labels['table']} ${labels['action']}`);
  const granted = Object.entries(tenantsApiAccess).flatMap(([table, actions]) =>
    actions.map((one) => `${table} ${one}`),
  );
  expect(made.toSorted()).toEqual(granted.toSorted());
});
