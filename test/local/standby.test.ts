/** Two real broker processes over one database: one serves, the other waits for it to stop, to die, or to be frozen. */
import { fork, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import npmPackage from '../../package.json' with { type: 'json' };
import { brokersPartition } from '../../services/tenancy/tenancy.js';
import { openApi, operatorKey } from '../contract/tenants-api/api.js';
import { type Dynalite, startDynalite } from '../support/dynalite.js';
import { until } from '../support/until.js';
import { cleanEnv } from './shoal.js';

let dynalite: Dynalite;
const brokers: BrokerProcess[] = [];
let tables = 0;
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(async () => await dynalite.stop());
afterEach(async () => {
  for (const broker of brokers.splice(0)) {
    broker.process.kill('SIGKILL');
    await broker.exited;
  }
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

class BrokerProcess {
  readonly process: ChildProcess;
  readonly exited: Promise<number | string>;
  isReady = false;
  stderr = '';
  readonly #healthPort: number;

  constructor(healthPort: number, tablePrefix: string) {
    this.#healthPort = healthPort;
    this.process = fork(join(import.meta.dirname, '../../dist/broker.js'), [], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...cleanEnv(),
        AWS_REGION: 'eu-central-1',
        SHOAL_DYNAMODB_ENDPOINT: dynalite.endpoint,
        SHOAL_TABLE_PREFIX: tablePrefix,
        SHOAL_MQTT_PORT: '0',
        SHOAL_HEALTH_PORT: String(healthPort),
      },
    });
    this.process.stderr!.on('data', (data) => (this.stderr += String(data)));
    this.process.on('message', (message) => (this.isReady ||= (message as { type: string }).type === 'ready'));
    this.exited = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve(code ?? signal ?? '')));
    brokers.push(this);
  }

  async health(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.#healthPort}/healthz`).catch(() => undefined);
    return response === undefined ? 'no answer' : `${response.status} ${(await response.text()).trim()}`;
  }

  async metric(name: string): Promise<string | undefined> {
    const text = await (await fetch(`http://127.0.0.1:${this.#healthPort}/metrics`)).text();
    return new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1];
  }
}

/** One that serves, and a function that starts others over the same tables. */
async function serving() {
  const dynamo = await dynalite.open();
  const tablePrefix = `test${tables++}-`;
  expect(dynamo.tableName('cluster')).toBe(`${tablePrefix}cluster`);
  const start = async (): Promise<BrokerProcess> => new BrokerProcess(await freePort(), tablePrefix);
  const first = await start();
  await until(() => first.isReady, 'the first broker', 10_000);
  return { first, start, dynamo };
}

test('a second broker stands by, says so, and follows a clean stop', async () => {
  const { first, start, dynamo } = await serving();
  expect([await first.health(), await first.metric('shoal_lease_held')]).toEqual(['200 ok', '1']);
  const second = await start();
  await until(async () => (await second.health()) === '503 standing by', 'standing by', 10_000);
  await until(() => second.stderr.includes('another broker is serving, standing by'), 'its line');
  expect(second.isReady).toBe(false);
  const listed = (await openApi(dynamo).call('GET', '/v1/brokers', { key: operatorKey })).body as {
    items: { version: string }[];
  };
  expect(listed.items).toMatchObject([{ connections: 0, sessions: 0 }, { connections: 0 }]);
  expect(new Set(listed.items.map(({ version }) => version))).toEqual(new Set([npmPackage.version]));
  first.process.kill('SIGTERM');
  expect(await first.exited).toBe(0);
  await until(() => second.isReady, 'the second broker', 3000); // Sooner than any lease ends.
  expect(await second.health()).toBe('200 ok');
});

test('a stop while standing by is a clean one', async () => {
  const { first, start, dynamo } = await serving();
  const second = await start();
  await until(() => second.stderr.includes('standing by'), 'standing by', 10_000);
  second.process.kill('SIGTERM');
  expect(await second.exited).toBe(0);
  expect((await dynamo.query('cluster', { pk: brokersPartition, consistent: true })).items).toHaveLength(1);
  expect(await first.health()).toBe('200 ok');
});

test('a broker that was frozen past its lease ends when it wakes up', async () => {
  const { first, start } = await serving();
  const second = await start();
  await until(() => second.stderr.includes('standing by'), 'standing by', 10_000);
  first.process.kill('SIGSTOP');
  await until(() => second.isReady, 'the second broker', 12_000);
  first.process.kill('SIGCONT');
  expect(await first.exited).toBe(1);
  expect(first.stderr).toMatch(/^broker: its lease has run out and another broker has taken over; exiting$/m);
  expect(await second.health()).toBe('200 ok');
});
