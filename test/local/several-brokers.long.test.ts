/** `npm start -- --brokers 2` when things go wrong that no clean end tells of. */
import { connect as connectClient, type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, isRunning, type Shoal, Workshop } from './shoal.js';

const workshop = new Workshop();
const clients: MqttClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  await workshop.clean();
});

async function start(folder = workshop.folder()): Promise<{ shoal: Shoal; endpoints: Endpoints; folder: string }> {
  const shoal = await workshop.start([...freePorts, '--data', folder, '--brokers', '2']).ready();
  return { shoal, endpoints: endpointsIn(folder), folder };
}

/** A client with a session that outlives its connections, and how often it has come in. */
async function enter({
  api,
  mqtt,
}: Endpoints): Promise<{ client: MqttClient; isBack: (times: number) => Promise<void> }> {
  const key = String((await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } })).body['apiKey']);
  const { body } = await call(`${api.url}/v1/tenants/acme/credentials`, { key, body: { name: 'sensor-1' } });
  const client = connectClient(mqtt.url, {
    ...{ username: String(body['username']), password: String(body['password']), clientId: 'one' },
    ...{ protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 600 }, reconnectPeriod: 50 },
    ...{ keepalive: 5, connectTimeout: 2000 },
  });
  clients.push(client);
  client.on('error', () => {});
  const present: boolean[] = [];
  client.on('connect', (connack) => present.push(connack.sessionPresent));
  await until(() => present.length === 1, 'the client');
  await client.subscribeAsync('a', { qos: 1 });
  const isBack = async (times: number): Promise<void> => {
    await until(() => present.length > times, `the client is back for the ${times}. time`, 40_000);
    expect(present[times]).toBe(true);
  };
  return { client, isBack };
}

test('a broker that is frozen gets no new clients, and another one serves them', async () => {
  const { endpoints, folder } = await start();
  const { isBack } = await enter(endpoints);
  const { broker } = endpoints.pids;
  process.kill(broker, 'SIGSTOP');
  await isBack(1);
  await until(
    () =>
      endpointsIn(folder).pids.broker !== broker || endpointsIn(folder).brokers!.filter((one) => one.mqtt).length === 2,
  );
  process.kill(broker, 'SIGCONT'); // It finds that its lease is another one's, and ends.
  await until(() => !isRunning(broker), 'its end');
}, 90_000);

test('brokers that are killed again and again are followed each time', async () => {
  const { endpoints, folder } = await start();
  const { client, isBack } = await enter(endpoints);
  for (let kills = 1; kills <= 5; kills++) {
    process.kill(endpointsIn(folder).pids.broker, 'SIGKILL');
    await isBack(kills);
    await client.publishAsync('a', String(kills), { qos: 1 });
    await until(
      async () =>
        (await call(`${endpoints.api.url}/healthz`)).status === 200 &&
        endpointsIn(folder).brokers!.every(({ healthUrl }) => healthUrl),
      'both brokers',
      30_000,
    );
  }
}, 180_000);

test('a main process that is killed leaves nobody behind, and its folder can be used again', async () => {
  const { shoal, endpoints, folder } = await start();
  const { client } = await enter(endpoints);
  const told: unknown[] = [];
  client.on('disconnect', ({ reasonCode }) => told.push(reasonCode));
  client.options.reconnectPeriod = 0;
  shoal.process.kill('SIGKILL');
  const { main: _, ...pids } = endpoints.pids;
  const all = [...Object.values(pids), ...endpoints.brokers!.map(({ pid }) => pid!)];
  await until(() => all.every((pid) => !isRunning(pid)), 'the end of all', 15_000);
  expect(told).toEqual([0x8b]);
  const again = await start(folder);
  expect(await again.shoal.stop()).toBe(0);
}, 90_000);

test('Ctrl-C twice ends everything at once', async () => {
  const { shoal, endpoints } = await start();
  process.kill(endpoints.pids.broker, 'SIGSTOP'); // The stop waits for it.
  shoal.process.kill('SIGINT');
  await until(() => shoal.stderr.includes('press Ctrl-C again'), 'the hint');
  shoal.process.kill('SIGINT');
  expect(await shoal.exited).toBe(130);
  for (const pid of [...Object.values(endpoints.pids), ...endpoints.brokers!.map((one) => one.pid!)])
    expect(isRunning(pid)).toBe(false);
}, 60_000);
