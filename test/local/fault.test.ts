/** A fault that nobody has caught, planted from outside into the broker of a whole machine: it ends, and is started again. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, Workshop } from './shoal.js';

const workshop = new Workshop();
const clients: MqttClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  await workshop.clean();
});

/** Loaded before the broker's own code: with SIGUSR2 something is thrown of which no part of the broker knows. */
const planted = {
  uncaughtException: `setTimeout(() => { throw new Error('planted'); }, 0)`,
  unhandledRejection: `void Promise.reject(new Error('planted'))`,
};

async function start(fault: string): Promise<{ shoal: ReturnType<Workshop['start']>; folder: string }> {
  const folder = workshop.folder();
  const file = join(folder, 'plant.cjs');
  writeFileSync(file, `if (/broker\\.js$/.test(process.argv[1] ?? '')) process.on('SIGUSR2', () => { ${fault} });\n`);
  const data = join(folder, 'data');
  const shoal = workshop.start([...freePorts, '--data', data], { NODE_OPTIONS: `--require ${file}` });
  await shoal.ready();
  return { shoal, folder: data };
}

interface Login {
  readonly username: string;
  readonly password: string;
}

async function signUp({ api }: Endpoints): Promise<Login> {
  const { body } = await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } });
  const key = String(body['apiKey']);
  const made = await call(`${api.url}/v1/tenants/acme/credentials`, { key, body: { name: 'sensor-1' } });
  expect(made.status).toBe(201);
  return { username: String(made.body['username']), password: String(made.body['password']) };
}

async function connect({ mqtts, caFile }: Endpoints, login: Login, clientId: string): Promise<MqttClient> {
  const client = await connectAsync(mqtts.url, {
    ...login,
    clientId,
    ca: readFileSync(caFile),
    reconnectPeriod: 0,
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 1000 },
  });
  clients.push(client);
  return client.on('error', () => {});
}

test.each(Object.entries(planted))(
  'after an %s the broker drains, ends and is started again',
  { timeout: 60_000 },
  async (kind, fault) => {
    const { shoal, folder } = await start(fault);
    const endpoints = endpointsIn(folder);
    const login = await signUp(endpoints);
    const away = await connect(endpoints, login, 'away');
    await away.subscribeAsync('t', { qos: 1 });
    await away.endAsync();
    const client = await connect(endpoints, login, 'here');
    await client.publishAsync('t', 'acknowledged', { qos: 1 });
    const reasons: (number | undefined)[] = [];
    client.on('disconnect', ({ reasonCode }) => reasons.push(reasonCode));

    process.kill(endpoints.pids.broker, 'SIGUSR2');
    await until(() => endpointsIn(folder).pids.broker !== endpoints.pids.broker, 'another broker', 20_000);
    expect(reasons).toEqual([0x8b]); // server shutting down
    expect(shoal.stderr).toContain(`broker: ${kind}, unexpected; stopping: Error: planted`);
    expect(shoal.stderr).toMatch(/shoal: the broker exited unexpectedly \(exit code 1\)/);
    const again = await connect(endpoints, login, 'away');
    const seen: string[] = [];
    again.on('message', (_, payload) => seen.push(String(payload)));
    await until(() => seen.length > 0, 'what had been acknowledged');
    expect(seen).toEqual(['acknowledged']);
  },
);

test('a stop that hangs after a fault does not keep the process', { timeout: 60_000 }, async () => {
  const { shoal, folder } = await start(planted.uncaughtException);
  const endpoints = endpointsIn(folder);
  const login = await signUp(endpoints);
  await connect(endpoints, login, 'here');
  process.kill(endpoints.pids.dynamodb, 'SIGSTOP'); // What is to be written never is.
  try {
    process.kill(endpoints.pids.broker, 'SIGUSR2');
    await until(() => shoal.stderr.includes('the broker exited unexpectedly (exit code 1)'), 'its end', 20_000);
  } finally {
    process.kill(endpoints.pids.dynamodb, 'SIGCONT');
  }
  await until(() => endpointsIn(folder).pids.broker !== endpoints.pids.broker, 'another broker', 30_000);
  expect((await connect(endpoints, login, 'here')).connected).toBe(true);
});
