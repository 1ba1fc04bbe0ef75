/** `npm start -- --brokers 3`: real processes behind the front door, and what clients see when one of them ends. */
import { readFileSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectClient, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { PacketClient } from '../support/packet-client.js';
import { unlimited } from '../support/stack.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, isRunning, type Shoal, Workshop } from './shoal.js';

const workshop = new Workshop();
const clients: (MqttClient | PacketClient)[] = [];
let folder: string;
let shoal: Shoal;
/** As they are at the start: what clients use stays. */
let endpoints: Endpoints;
let account: { readonly username: string; readonly password: string };
let key: string;

beforeAll(async () => {
  folder = workshop.folder();
  const args = [...freePorts, '--data', folder, '--brokers', '3', '--log-level', 'info'];
  shoal = await workshop.start(args).ready();
  endpoints = endpointsIn(folder);
  key = String((await call(`${endpoints.api.url}/v1/tenants`, { body: { name: 'acme' } })).body['apiKey']);
  const quotas = `${endpoints.api.url}/v1/tenants/acme/quotas`;
  await call(quotas, { method: 'PUT', key: endpoints.operatorKey, body: unlimited });
  const url = `${endpoints.api.url}/v1/tenants/acme/credentials`;
  const { username, password } = (await call(url, { key, body: { name: 'sensor-1' } })).body;
  account = { username: String(username), password: String(password) };
}, 60_000);
afterEach(async () => {
  for (const client of clients.splice(0))
    if (client instanceof PacketClient) client.destroy();
    else await client.endAsync(true);
});
afterAll(() => workshop.clean());

/** From an address that is the door's own in no case. */
async function connect(url: string, options: IClientOptions): Promise<MqttClient> {
  const tls = { ca: readFileSync(endpoints.caFile), localAddress: '127.0.0.7' };
  const client = connectClient(url, { ...account, ...tls, wsOptions: tls, protocolVersion: 5, ...options });
  clients.push(client);
  client.on('error', () => {});
  await until(() => client.connected, `${options.clientId} connected`);
  return client;
}

const stored = { clean: false, properties: { sessionExpiryInterval: 600 }, reconnectPeriod: 50 };

interface Session {
  readonly clientId: string;
  readonly address: string;
  readonly connected: boolean;
}
async function session(clientId: string): Promise<Session | undefined> {
  const { body } = await call(`${endpoints.api.url}/v1/tenants/acme/sessions`, { key });
  return (body['items'] as Session[]).find((one) => one.clientId === clientId);
}

interface Listed {
  readonly id: string;
  readonly state: string;
  readonly links?: { readonly up: number; readonly expected: number };
}
async function listed(): Promise<Listed[]> {
  const { body } = await call(`${endpoints.api.url}/v1/brokers`, { key: endpoints.operatorKey });
  return body['items'] as Listed[];
}
const servingNow = async (): Promise<string | undefined> => (await listed()).find((one) => one.state === 'serving')?.id;

/** All are there, linked, and the door has one that serves. */
async function whole(): Promise<void> {
  await until(
    async () => {
      const links = (await listed()).filter(({ state }) => state === 'serving' || state === 'standing-by');
      return links.length === 3 && links.every((one) => one.links?.up === 2 && one.links.expected === 2);
    },
    'three linked brokers',
    30_000,
  );
  await until(async () => (await call(`${endpoints.api.url}/healthz`)).status === 200, 'a broker that serves', 15_000);
}

test('all of them are listed, by the API with their links, and in endpoints.json with their own ports', async () => {
  await whole();
  const all = await listed();
  expect(all.map(({ state }) => state).sort()).toEqual(['serving', 'standing-by', 'standing-by']);
  const { brokers = [], broker, pids } = endpointsIn(folder);
  expect(new Set(brokers.map(({ id }) => id))).toEqual(new Set(all.map(({ id }) => id)));
  const serving = brokers.find(({ mqtt }) => mqtt !== undefined)!;
  expect(serving.id).toBe(await servingNow());
  expect(broker).toEqual({ healthUrl: serving.healthUrl, metricsUrl: serving.metricsUrl });
  for (const one of brokers) {
    const isServing = one === serving;
    expect(await (await fetch(one.healthUrl!)).text()).toBe(isServing ? 'ok\n' : 'standing by\n');
    expect([typeof one.ws === 'number', isRunning(one.pid!)]).toEqual([isServing, true]);
  }
  expect(pids).toEqual({
    main: shoal.pid,
    broker: serving.pid,
    dynamodb: expect.any(Number) as number,
    frontDoor: expect.any(Number) as number,
  });
  expect(shoal.stdout).toContain('One of 3 brokers serves');
  const { body } = await call(`${endpoints.api.url}/healthz`);
  expect(body['parts']).toEqual({ dynamodb: 'ok', 'front-door': 'ok', broker: 'ok' });
}, 60_000);

test('their key is kept, for its owner alone, and is in no log', () => {
  const file = join(folder, 'cluster-key');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const secret = readFileSync(file, 'utf8').trim();
  expect(Buffer.from(secret, 'base64')).toHaveLength(32);
  expect(shoal.stdout + shoal.stderr).not.toContain(secret);
});

test.each(['mqtt', 'mqtts', 'ws', 'wss'] as const)(
  '%s through the door, with the address of the client',
  async (kind) => {
    const client = await connect(endpoints[kind].url, { clientId: `by-${kind}` });
    const seen: string[] = [];
    client.on('message', (topic, payload) => seen.push(`${topic} ${payload.length}`));
    await client.subscribeAsync(`${kind}/#`, { qos: 1 });
    for (let i = 0; i < 20; i++) await client.publishAsync(`${kind}/${i}`, Buffer.alloc(5000 * i), { qos: 1 });
    await until(() => seen.length === 20, 'all messages');
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `${kind}/${i} ${5000 * i}`));
    // Over TCP the client chooses no address, and below TLS and WebSocket it does not tell its port.
    const own = kind === 'mqtt' ? `127.0.0.1:${(client.stream as Socket).localPort}` : '127.0.0.7:';
    await until(async () => (await session(`by-${kind}`))?.address.startsWith(own), 'the session');
  },
);

test('a client that says everything and stops sending is answered in full', async () => {
  const client = await PacketClient.open(endpoints.mqtt.port);
  clients.push(client);
  client.sendConnect({ ...account, clientId: 'hasty' });
  const ids = Array.from({ length: 50 }, (_, i) => client.sendPublish({ topic: `h/${i}`, payload: 'x', qos: 1 }));
  client.hangUp();
  await client.expect('connack', { reasonCode: 0 });
  for (const packetId of ids) await client.expect('puback', { packetId });
});

test('a client that does not read holds up nobody else, and goes on when it reads', async () => {
  const slow = await PacketClient.open(endpoints.mqtt.port);
  clients.push(slow);
  await slow.connect({ ...account, clientId: 'slow' });
  await slow.subscribe('flood');
  slow.stopReading();
  const witness = await connect(endpoints.mqtt.url, { clientId: 'witness' });
  let seen = 0;
  witness.on('message', () => seen++);
  await witness.subscribeAsync('witness', { qos: 1 });
  const publisher = await connect(endpoints.mqtt.url, { clientId: 'publisher' });
  for (let i = 0; i < 200; i++) {
    publisher.publish('flood', Buffer.alloc(100_000), { qos: 0 });
    if (i % 10 === 0) await publisher.publishAsync('witness', String(i), { qos: 1 });
  }
  await until(() => seen === 20, 'the witness');
  slow.readOn();
  await slow.expect('publish', { topic: 'flood' });
});

test('a broker that is killed is followed by another one, with all that was stored, at the same port', async () => {
  await whole();
  const subscriber = await connect(endpoints.mqtts.url, { clientId: 'stored', ...stored });
  const seen: string[] = [];
  subscriber.on('message', (_, payload) => seen.push(payload.toString()));
  await subscriber.subscribeAsync('kept/#', { qos: 1 });
  // Another one is offline, and has messages to come.
  const away = await connect(endpoints.mqtt.url, { clientId: 'away', ...stored, reconnectPeriod: 0 });
  await away.subscribeAsync('kept/#', { qos: 1 });
  away.end();
  await until(async () => (await session('away'))?.connected === false, 'it is away');
  const publisher = await connect(endpoints.wss.url, { clientId: 'writer', reconnectPeriod: 50 });
  await publisher.publishAsync('kept/a', 'before', { qos: 1 });

  const before = endpointsIn(folder).pids.broker;
  const killed = await servingNow();
  const reconnected: boolean[] = [];
  subscriber.on('connect', ({ sessionPresent }) => reconnected.push(sessionPresent));
  process.kill(before, 'SIGKILL');
  await until(() => reconnected.length > 0, 'the client is back');
  expect(reconnected[0]).toBe(true);
  expect(await servingNow()).not.toBe(killed);
  await until(() => publisher.connected, 'the publisher is back');
  await publisher.publishAsync('kept/b', 'after', { qos: 1 });
  await until(() => seen.includes('after'), 'the next message');
  expect(seen.filter((payload) => payload === 'before').length).toBeGreaterThan(0);

  const again = connectClient(endpoints.mqtt.url, { ...account, clientId: 'away', ...stored, protocolVersion: 5 });
  clients.push(again);
  const kept: string[] = [];
  again.on('message', (_, payload) => kept.push(payload.toString()));
  await until(() => kept.length === 2, 'what was stored');
  expect(kept).toEqual(['before', 'after']);
  expect(shoal.stderr).toMatch(/^shoal: broker \d exited unexpectedly \(signal SIGKILL\); restarting it$/m);
  await whole();
  expect(endpointsIn(folder).pids.broker).not.toBe(before);
}, 90_000);

test('a front door that is killed is there again at its ports, and no broker has noticed', async () => {
  await whole();
  const serving = await servingNow();
  const client = await connect(endpoints.wss.url, { clientId: 'behind', ...stored });
  await client.subscribeAsync('a', { qos: 1 });
  const reconnected: boolean[] = [];
  client.on('connect', ({ sessionPresent }) => reconnected.push(sessionPresent));
  const before = endpointsIn(folder).pids.frontDoor!;
  process.kill(before, 'SIGKILL');
  await until(() => reconnected.length > 0, 'the client is back');
  expect([reconnected[0], await servingNow()]).toEqual([true, serving]);
  expect(shoal.stderr).toMatch(/^shoal: the front door exited unexpectedly \(signal SIGKILL\); restarting it$/m);
  await until(() => endpointsIn(folder).pids.frontDoor !== before, 'the new pid');
}, 60_000);

test('a broker that is asked to drain sends its clients to the next one, and is started anew', async () => {
  await whole();
  const client = await connect(endpoints.mqtts.url, { clientId: 'sent-away', ...stored });
  await client.subscribeAsync('a', { qos: 1 });
  const told: (number | undefined)[] = [];
  client.on('disconnect', ({ reasonCode }) => told.push(reasonCode));
  const reconnected: boolean[] = [];
  client.on('connect', ({ sessionPresent }) => reconnected.push(sessionPresent));
  const drained = (await servingNow())!;
  const drain = async (id: string): Promise<[number, unknown]> => {
    const url = `${endpoints.api.url}/v1/brokers/${id}/drain`;
    const { status, body } = await call(url, { method: 'POST', key: endpoints.operatorKey });
    return [status, body['code']];
  };
  expect(await drain(drained)).toEqual([202, undefined]);
  await until(() => reconnected.length > 0, 'the client is back');
  expect([told, reconnected[0]]).toEqual([[0x8b], true]);
  expect(await servingNow()).not.toBe(drained);
  await until(async () => (await drain(drained))[0] === 404, 'its end');
  expect(shoal.stderr).toMatch(/^shoal: broker \d has stopped as it was asked to; starting it again/m);
  await whole();

  // One that stands by ends as well, and nobody is sent away.
  const standby = (await listed()).find(({ state }) => state === 'standing-by')!.id;
  expect(await drain(standby)).toEqual([202, undefined]);
  await until(async () => !(await listed()).some(({ id }) => id === standby), 'its end');
  expect(told).toHaveLength(1);
  await whole();
}, 120_000);

test('Ctrl-C sends clients away and leaves no process', async () => {
  await whole();
  const { pids, brokers = [] } = endpointsIn(folder);
  const client = await connect(endpoints.mqtts.url, { clientId: 'last', reconnectPeriod: 0 });
  const told: (number | undefined)[] = [];
  client.on('disconnect', ({ reasonCode }) => told.push(reasonCode));
  const before = shoal.stderr.length;
  shoal.signalGroup('SIGINT');
  expect(await shoal.exited).toBe(0);
  expect(told).toEqual([0x8b]);
  expect(shoal.stdout).toMatch(/\nShoal has stopped\.\n$/);
  expect(shoal.stderr.slice(before)).not.toMatch(/^shoal: |"level":[45]0/m);
  for (const pid of [...Object.values(pids), ...brokers.map((one) => one.pid!)]) expect(isRunning(pid)).toBe(false);
}, 60_000);
