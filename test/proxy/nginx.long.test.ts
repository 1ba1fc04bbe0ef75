/** The whole stack behind nginx, which sends the PROXY protocol as text: the client's own address is in the session list. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { Nginx, nginxMissing } from '../support/nginx.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';

describe.skipIf(nginxMissing !== undefined)(`nginx ${nginxMissing ?? ''}`, () => {
  let folder: string;
  let stack: Stack;
  let tenant: TestTenant;
  let account: Credential;
  let nginx: Nginx;
  const clients: MqttClient[] = [];
  beforeAll(async () => {
    stack = await Stack.start(['--trust-proxy', '127.0.0.1/32']);
    tenant = await stack.tenant();
    account = await tenant.account();
    folder = mkdtempSync(join(tmpdir(), 'shoal-nginx-'));
    nginx = await Nginx.start(stack.endpoints, stack.endpoints.dataDir, folder);
  }, 60_000);
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true);
  });
  afterAll(async () => {
    nginx?.stop();
    await stack?.close();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  test.each([
    ['MQTT, TLS ended by nginx', 'mqtts', 'mqtts', ''],
    ['WebSocket, TLS ended by nginx', 'wss', 'wss', '/mqtt'],
    ['MQTT, TLS passed through', 'mqtts', 'through', ''],
  ] as const)('%s', async (_what, scheme, frontend, path) => {
    const clientId = `behind-${frontend}`;
    // From an address that is nginx's own in no case.
    const tls = { ca: readFileSync(stack.endpoints.caFile), localAddress: '127.0.0.7' };
    const url = `${scheme}://127.0.0.1:${nginx.ports[frontend]}${path}`;
    const client = connect(url, { ...account, ...tls, wsOptions: tls, reconnectPeriod: 0, clientId });
    clients.push(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    const seen: string[] = [];
    client.on('message', (topic, payload) => seen.push(`${topic} ${payload.length}`));
    await client.subscribeAsync(`${clientId}/#`, { qos: 1 });
    for (let i = 0; i < 20; i++) await client.publishAsync(`${clientId}/${i}`, Buffer.alloc(5000 * i), { qos: 1 });
    await until(() => seen.length === 20, 'all messages');
    const sessions = async (): Promise<string[]> => {
      const { items } = (await tenant.api('/sessions')) as { items: { clientId: string; address: string }[] };
      return items.map((session) => `${session.clientId} ${session.address}`);
    };
    await until(
      async () => (await sessions()).some((line) => line.startsWith(`${clientId} 127.0.0.7:`)),
      'the session',
    );
  });

  test('the health port takes the header off', async () => {
    const answer = await fetch(`http://127.0.0.1:${nginx.ports.health}/healthz`);
    expect(answer.status).toBe(200);
  });
});
