/**
 * Two broker processes behind a real balancer that checks their health and speaks the PROXY protocol: it lets clients to the one
 * that serves, and to the other one when that has taken over.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectClient, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateFiles, ensureCertificates } from '../../services/local/certificates.js';
import { openApi, type TestApi } from '../contract/tenants-api/api.js';
import { BrokerProcess, endBrokers } from '../local/broker-process.js';
import { type Dynalite, startDynalite } from '../support/dynalite.js';
import { Haproxy, haproxyMissing, type Server } from '../support/haproxy.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/until.js';

describe.skipIf(haproxyMissing !== undefined)(`HAProxy ${haproxyMissing ?? ''}`, () => {
  let folder: string;
  let certificates: CertificateFiles;
  let dynalite: Dynalite;
  let haproxy: Haproxy;
  let api: TestApi;
  let tenant: { id: string; key: string };
  let account: { username: string; password: string };
  let start: (server: Server) => BrokerProcess;
  const servers: Server[] = [];
  const brokers: BrokerProcess[] = [];
  const clients: MqttClient[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-two-brokers-'));
    certificates = await ensureCertificates(folder, ['127.0.0.1'], Date.now());
    dynalite = await startDynalite();
    const dynamo = await dynalite.open({ tablePrefix: 'two-' });
    for (let i = 0; i < 2; i++)
      servers.push({ mqtt: await freePort(), mqtts: await freePort(), ws: await freePort(), health: await freePort() });
    start = ({ mqtt, mqtts, ws, health }) =>
      new BrokerProcess({
        SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint,
        SHOAL_TABLE_PREFIX: 'two-',
        SHOAL_MQTT_PORT: String(mqtt),
        SHOAL_MQTTS_PORT: String(mqtts),
        SHOAL_WS_PORT: String(ws),
        SHOAL_HEALTH_PORT: String(health),
        SHOAL_TLS_CERT_FILE: certificates.certFile,
        SHOAL_TLS_KEY_FILE: certificates.keyFile,
        SHOAL_TRUST_PROXY: '127.0.0.1/32',
        SHOAL_CLUSTER_KEY: 'a key that the brokers of these tests have',
        SHOAL_DRAIN_SECONDS: '1',
      });
    brokers.push(start(servers[0]!));
    await brokers[0]!.ready();
    brokers.push(start(servers[1]!));
    haproxy = await Haproxy.before(servers, certificates, folder);
    api = openApi(dynamo);
    tenant = await api.signUp();
    const json = { name: 'sensor-1' };
    account = (await api.call('POST', `/v1/tenants/${tenant.id}/credentials`, { key: tenant.key, json }))
      .body as typeof account;
  }, 60_000);
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
  });
  afterAll(async () => {
    haproxy?.stop();
    endBrokers();
    await dynalite?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const backends = ['mqtts', 'wss', 'through'] as const;
  const urlOf = (frontend: (typeof backends)[number]): string =>
    `${frontend === 'wss' ? 'wss' : 'mqtts'}://127.0.0.1:${haproxy.ports[frontend]}${frontend === 'wss' ? '/mqtt' : ''}`;

  /** From an address that is the balancer's own in no case. Comes back as soon as it is let. */
  async function connect(frontend: (typeof backends)[number]): Promise<{ client: MqttClient; present: boolean[] }> {
    const tls = { ca: readFileSync(certificates.caFile), localAddress: '127.0.0.7' };
    const session = { clean: false, properties: { sessionExpiryInterval: 600 }, protocolVersion: 5 as const };
    const ids = { username: account.username, password: account.password, clientId: `by-${frontend}` };
    const client = connectClient(urlOf(frontend), { ...ids, ...tls, wsOptions: tls, ...session, reconnectPeriod: 50 });
    clients.push(client);
    const present: boolean[] = [];
    client.on('error', () => {});
    client.on('connect', ({ sessionPresent }) => present.push(sessionPresent));
    await until(() => present.length > 0, `${frontend} connected`);
    return { client, present };
  }

  async function addressOf(clientId: string): Promise<string | undefined> {
    const { body } = await api.call('GET', `/v1/tenants/${tenant.id}/sessions`, { key: tenant.key });
    const { items } = body as { items: { clientId: string; address: string }[] };
    return items.find((one) => one.clientId === clientId)?.address;
  }

  async function checks(wanted: readonly [string, string]): Promise<void> {
    for (const backend of backends)
      await until(async () => {
        const seen = await Promise.all([1, 2].map((at) => haproxy.check(backend, `broker-${at}`)));
        return seen.every((check, at) => check.startsWith(wanted[at]!));
      }, `${backend}: ${wanted.join()}`);
  }

  test('the one that serves is up, the one that stands by is down, and clients have their addresses', async () => {
    await checks(['UP L7OK/200', 'DOWN L7STS/503']);
    for (const frontend of backends) {
      const { client } = await connect(frontend);
      await client.subscribeAsync('a', { qos: 1 });
      const port = (client.stream as { socket?: { localPort?: number }; localPort?: number }).localPort;
      const wanted = port === undefined ? '127.0.0.7:' : `127.0.0.7:${port}`;
      await until(async () => (await addressOf(`by-${frontend}`))?.startsWith(wanted), 'the session');
    }
  });

  test('a broker that stops sends its clients through the balancer to the other one', async () => {
    const all = [];
    for (const frontend of backends) {
      const one = await connect(frontend);
      const told: (number | undefined)[] = [];
      one.client.on('disconnect', ({ reasonCode }) => told.push(reasonCode));
      all.push({ ...one, told });
    }
    brokers[0]!.process.kill('SIGTERM');
    for (const { present, told } of all) {
      await until(() => present.length > 1, 'the client is back');
      expect([present[1], told]).toEqual([true, [0x8b]]);
    }
    expect(await brokers[0]!.exited).toBe(0);
    await checks(['DOWN L4CON', 'UP L7OK/200']);
  }, 60_000);

  test('a broker that is killed is followed by the other one, through the same balancer', async () => {
    brokers[0] = start(servers[0]!);
    await checks(['DOWN L7STS/503', 'UP L7OK/200']);
    const { client, present } = await connect('mqtts');
    await client.subscribeAsync('kept', { qos: 1 });
    const seen: string[] = [];
    client.on('message', (_, payload) => seen.push(payload.toString()));
    brokers[1]!.process.kill('SIGKILL');
    await until(() => present.length > 1, 'the client is back');
    expect(present[1]).toBe(true);
    await client.publishAsync('kept', 'still here', { qos: 1 });
    await until(() => seen.includes('still here'), 'the message');
    await until(async () => (await addressOf('by-mqtts'))?.startsWith('127.0.0.7:'), 'the session');
    await checks(['UP L7OK/200', 'DOWN L4CON']);
  }, 60_000);
});
