/** Start, stop, crash and restart of the whole machine, with real clients. */
import { once } from 'node:events';
import { readFileSync, statSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, isRunning, Workshop, type Shoal } from './shoal.js';

const workshop = new Workshop();
const clients: MqttClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  await workshop.clean();
});

const start = (folder: string, ...args: string[]): Promise<Shoal> =>
  workshop.start([...freePorts, '--data', folder, ...args]).ready();

interface Login {
  readonly key: string;
  readonly username: string;
  readonly password: string;
}

async function signUp(endpoints: Endpoints, tenant = 'acme'): Promise<Login> {
  const signedUp = await call(`${endpoints.api.url}/v1/tenants`, { body: { name: tenant } });
  expect(signedUp.status).toBe(201);
  const key = String(signedUp.body['apiKey']);
  const url = `${endpoints.api.url}/v1/tenants/${tenant}/credentials`;
  const credential = await call(url, { key, body: { name: 'sensor-1' } });
  expect(credential.status).toBe(201);
  return { key, username: String(credential.body['username']), password: String(credential.body['password']) };
}

async function connect(endpoints: Endpoints, login: Login, url = endpoints.mqtts.url): Promise<MqttClient> {
  const client = await connectAsync(url, {
    username: login.username,
    password: login.password,
    ca: readFileSync(endpoints.caFile),
    reconnectPeriod: 0,
    protocolVersion: 5,
  });
  clients.push(client);
  client.on('error', () => {});
  return client;
}

async function retainedMessage(client: MqttClient, topic: string): Promise<string> {
  const seen: string[] = [];
  client.on('message', (_, payload) => seen.push(payload.toString()));
  await client.subscribeAsync(topic, { qos: 1 });
  await until(() => seen.length > 0, `a retained message on ${topic}`);
  return seen[0] ?? '';
}

test('endpoints.json is private, complete and true', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder);
  expect(statSync(join(folder, 'endpoints.json')).mode & 0o777).toBe(0o600);
  const endpoints = endpointsIn(folder);
  expect(endpoints.pids.main).toBe(shoal.pid);
  expect(endpoints.operatorKey).toBe(readFileSync(join(folder, 'operator-key'), 'utf8').trim());
  expect(readFileSync(endpoints.caFile, 'utf8')).toContain('BEGIN CERTIFICATE');
  const health = await call(`${endpoints.api.url}/healthz`);
  expect(health.status).toBe(200);
  const login = await signUp(endpoints);
  for (const listener of ['mqtt', 'mqtts', 'ws', 'wss'] as const) {
    expect(endpoints[listener].url).toContain(String(endpoints[listener].port));
    const client = await connect(endpoints, login, endpoints[listener].url);
    expect(client.connected).toBe(true);
  }
  const quotas = `${endpoints.api.url}/v1/tenants/acme/quotas`;
  const operator = await call(quotas, { method: 'PUT', key: endpoints.operatorKey, body: { connections: 7 } });
  expect(operator.status).toBe(200);
});

// Only Linux takes all of 127/8 for its own, which makes 127.0.0.2 an address that a wildcard listens on.
test.runIf(process.platform === 'linux')('health and metrics of the broker stay on 127.0.0.1', async () => {
  const folder = workshop.folder();
  await start(folder, '--host', '0.0.0.0');
  const { broker, api } = endpointsIn(folder);
  expect((await fetch(`http://127.0.0.2:${api.port}/healthz`)).status).toBe(200);
  for (const url of Object.values(broker)) {
    expect((await fetch(url)).status).toBe(200);
    await expect(fetch(url.replace('127.0.0.1', '127.0.0.2'))).rejects.toThrow();
  }
});

test('--public-host is what clients are told, and what the certificate names', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder, '--public-host', 'devices.example.org');
  const { host, mqtts, wss, api, caFile } = endpointsIn(folder);
  expect([host, mqtts.url, wss.url, api.url]).toEqual([
    'devices.example.org',
    `mqtts://devices.example.org:${mqtts.port}`,
    `wss://devices.example.org:${wss.port}/mqtt`,
    `http://devices.example.org:${api.port}`,
  ]);
  expect(shoal.stdout).toContain(mqtts.url);
  const signedUp = await call(`http://127.0.0.1:${api.port}/v1/tenants`, { body: { name: 'acme' } });
  expect(signedUp.body['endpoints']).toMatchObject({ mqtts: mqtts.url, wss: wss.url, api: api.url });
  const tls = { host: '127.0.0.1', port: mqtts.port, servername: host, ca: readFileSync(caFile) };
  const socket = connectTls(tls);
  await once(socket, 'secureConnect');
  expect(socket.authorized).toBe(true);
  socket.destroy();
});

test('--operator-key is used and not kept', async () => {
  const folder = workshop.folder();
  await start(folder, '--operator-key', 'a key that the operator has chosen');
  expect(endpointsIn(folder).operatorKey).toBe('a key that the operator has chosen');
  expect(existsSync(join(folder, 'operator-key'))).toBe(false);
});

test.each<[how: string, end: (shoal: Shoal) => Promise<void>]>([
  [
    'a stop',
    async (shoal) => {
      expect(await shoal.stop()).toBe(0);
    },
  ],
  [
    'a kill of every process',
    async (shoal) => {
      shoal.signalGroup('SIGKILL');
      await shoal.exited;
    },
  ],
])('tenants, credentials and retained messages survive %s', async (_, end) => {
  const folder = workshop.folder();
  const first = await start(folder);
  const before = endpointsIn(folder);
  const login = await signUp(before);
  const publisher = await connect(before, login);
  await publisher.publishAsync('state/door', 'closed', { qos: 1, retain: true });
  await end(first);

  await start(folder);
  const after = endpointsIn(folder);
  expect(after.operatorKey).toBe(before.operatorKey);
  expect((await call(`${after.api.url}/v1/tenants/acme`, { key: login.key })).status).toBe(200);
  expect(await retainedMessage(await connect(after, login), 'state/#')).toBe('closed');
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s to the process group stops everything cleanly',
  async (signal) => {
    const folder = workshop.folder();
    const shoal = await start(folder);
    const endpoints = endpointsIn(folder);
    const client = await connect(endpoints, await signUp(endpoints));
    const reasons: (number | undefined)[] = [];
    client.on('disconnect', (packet) => reasons.push(packet.reasonCode));
    shoal.signalGroup(signal);
    expect(await shoal.exited).toBe(0);
    expect(shoal.stderr).toBe('');
    expect(shoal.stdout).toMatch(/\nShoal has stopped\.\n$/);
    expect(reasons).toEqual([0x8b]); // server shutting down
    for (const pid of Object.values(endpoints.pids)) expect(isRunning(pid)).toBe(false);
    expect(existsSync(join(folder, 'endpoints.json'))).toBe(false);
    expect(existsSync(join(folder, 'lock'))).toBe(false);
  },
);

test('SIGTERM to npm stops what npm start has started', async () => {
  const folder = workshop.folder();
  const npm = workshop.start([...freePorts, '--data', folder], {}, ['npm', 'start', '--']);
  await npm.ready();
  const { pids } = endpointsIn(folder);
  npm.process.kill('SIGTERM');
  await npm.exited;
  for (const pid of Object.values(pids)) expect(isRunning(pid)).toBe(false);
});

test('a killed main process leaves no children, and the folder can be used again', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder);
  const { pids } = endpointsIn(folder);
  shoal.process.kill('SIGKILL');
  await until(() => !isRunning(pids.broker) && !isRunning(pids.dynamodb), 'the end of the children', 10_000);
  await start(folder);
});

test('a restart right after a crash waits for the ports and tables of the processes that are ending', async () => {
  const folder = workshop.folder();
  const [mqtts, api] = [await freePort(), await freePort()];
  const ports = ['--mqtts-port', String(mqtts), '--api-port', String(api)];
  const first = await start(folder, ...ports);
  first.process.kill('SIGKILL');
  await start(folder, ...ports);
  expect(endpointsIn(folder).mqtts.port).toBe(mqtts);
});

test('a broker that dies is started again on its ports, and /healthz says so', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder);
  const endpoints = endpointsIn(folder);
  const login = await signUp(endpoints);
  process.kill(endpoints.pids.broker, 'SIGKILL');
  const health = async () => await call(`${endpoints.api.url}/healthz`);
  const unready: unknown[] = [];
  await until(async () => {
    const { status, body } = await health();
    if (status === 503) unready.push(body['parts']);
    return status === 503;
  }, '503 while the broker is gone');
  expect(unready).toEqual([{ dynamodb: 'ok', broker: expect.stringMatching(/^it (is not running|does not answer)$/) }]);
  await until(async () => (await health()).status === 200, '200 once it is back', 15_000);
  expect((await connect(endpoints, login)).connected).toBe(true);
  expect(shoal.stderr).toMatch(/^shoal: the broker exited unexpectedly \(signal SIGKILL\)[^\n]*\n/);
  await until(() => endpointsIn(folder).pids.broker !== endpoints.pids.broker, 'the new pid in endpoints.json');
});

test('a broker that dies again and again is started at once, and waits for no lease', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder, '--log-level', 'info');
  const endpoints = endpointsIn(folder);
  const login = await signUp(endpoints);
  const stored = { ...login, clientId: 'kept', clean: false, properties: { sessionExpiryInterval: 600 } };
  for (let kills = 1; kills <= 2; kills++) {
    const client = await connect(endpoints, stored);
    await client.subscribeAsync('a', { qos: 1 });
    const { broker } = endpointsIn(folder).pids;
    process.kill(broker, 'SIGKILL');
    await until(() => endpointsIn(folder).pids.broker !== broker, 'the next broker', 15_000);
    client.end(true);
  }
  expect((await connect(endpoints, stored)).connected).toBe(true);
  expect(shoal.stderr.match(/restarting it\n/g)).toHaveLength(2); // Without a delay.
  expect(shoal.stderr).not.toMatch(/standing by|could not be given up/);
});

test('the database that dies is started again, with everything in it', async () => {
  const folder = workshop.folder();
  await start(folder);
  const endpoints = endpointsIn(folder);
  const login = await signUp(endpoints);
  process.kill(endpoints.pids.dynamodb, 'SIGKILL');
  const health = async () => await call(`${endpoints.api.url}/healthz`);
  await until(async () => (await health()).status === 503, '503 while the database is gone');
  await until(async () => (await health()).status === 200, '200 once it is back', 15_000);
  expect((await call(`${endpoints.api.url}/v1/tenants/acme`, { key: login.key })).status).toBe(200);
});

test('log lines of every part tell the time in one format', async () => {
  const folder = workshop.folder();
  const shoal = await start(folder, '--log-level', 'info');
  const endpoints = endpointsIn(folder);
  const login = await signUp(endpoints);
  await expect(connect(endpoints, { ...login, password: 'another one' })).rejects.toThrow();
  expect(await shoal.stop()).toBe(0);
  const lines = shoal.stderr.trim().split('\n');
  const parts = lines.map((line) => JSON.parse(line) as { part?: string; time: string });
  expect(parts.some(({ part }) => part === 'api')).toBe(true);
  expect(parts.some(({ part }) => part !== 'api')).toBe(true);
  for (const { time } of parts) expect(time).toBe(new Date(time).toISOString());
});

test.runIf(process.platform === 'linux')('a log on a full disk is no reason to stop, or not to', async () => {
  const folder = workshop.folder();
  const fullLog = ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh', process.execPath, 'services/local/start.mjs'];
  const args = [...freePorts, '--data', folder, '--log-level', 'debug'];
  const shoal = await workshop.start(args, {}, fullLog).ready();
  const endpoints = endpointsIn(folder);
  const client = await connect(endpoints, await signUp(endpoints));
  await client.publishAsync('a', 'b', { qos: 1 });
  expect((await call(`${endpoints.api.url}/healthz`)).status).toBe(200);
  expect(endpointsIn(folder).pids).toEqual(endpoints.pids);
  expect(await shoal.stop()).toBe(0);
  expect(shoal.stdout).toMatch(/\nShoal has stopped\.\n$/);
});

test('--ephemeral leaves nothing behind', async () => {
  const shoal = await workshop.start([...freePorts, '--ephemeral']).ready();
  const caFile = /CA certificate +(.+)/.exec(shoal.stdout)?.[1] ?? '';
  const folder = join(caFile, '../..');
  const endpoints = endpointsIn(folder);
  expect(endpoints.caFile).toBe(caFile);
  const client = await connect(endpoints, await signUp(endpoints));
  await client.publishAsync('a', 'b', { qos: 1, retain: true });
  expect(existsSync(join(folder, 'dynamodb'))).toBe(false);
  expect(await shoal.stop()).toBe(0);
  expect(existsSync(folder)).toBe(false);
});
