/**
 * A broker is asked to stop while clients are at work: they are told to go elsewhere, one after the other, with all that
 * they were promised kept. Real processes, a real database behind a proxy that can slow it down.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { seed } from '../crash/settings.js';
import { Site } from '../crash/site.js';
import { region, tablePrefix } from '../crash/processes.js';
import { emfFaults } from '../support/emf.js';
import { type ConnectFields, LiveClient } from '../support/live-client.js';
import { until } from '../support/until.js';

const drainSeconds = 2;
/** What a stop may take beside the drain on a machine that is busy with other things: less than what ends it by force. */
const restMs = 12_000;
const shuttingDown = 0x8b;
const durable = { clean: false, properties: { sessionExpiryInterval: 3600 } } as const;

let site: Site;
const clients: LiveClient[] = [];
const sockets: Socket[] = [];
const children: ChildProcess[] = [];
beforeAll(async () => {
  site = await Site.open(seed, {
    withProxy: true,
    brokerEnv: { SHOAL_DRAIN_SECONDS: String(drainSeconds), SHOAL_METRICS_EMF: '1', SHOAL_STAGE: 'test' },
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await site.proxy!.endOutage();
  site.setFaults(() => undefined);
  if (site.running && !site.running.hasExited) await site.kill();
});
afterAll(async () => await site.close());

async function connect(fields: ConnectFields, port = site.broker()!.port): Promise<LiveClient> {
  const client = await LiveClient.open(port);
  clients.push(client);
  await client.connect({ ...site.account, ...fields });
  return client;
}

/** How long the stop took. */
async function stop(): Promise<number> {
  const startedMs = performance.now();
  await site.running!.stop();
  return performance.now() - startedMs;
}

test('many clients go one after the other, each told where its protocol knows how', async () => {
  await site.start();
  const count = 1000;
  for (let n = 0; n < count; n += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => connect({ clientId: `c${n + i}`, version: i % 2 === 0 ? 5 : 4 })),
    );
  const health = await site.running!.healthUrl();
  expect((await fetch(health)).status).toBe(200);
  const gone = (): number => clients.filter(({ ended }) => ended).length;
  const stopping = stop();
  await until(async () => (await fetch(health)).status === 503, 'the answer that it stops');
  expect(await (await fetch(health)).text()).toBe('stopping\n');
  await until(() => gone() > 0, 'the first to go');
  const firstMs = performance.now();
  expect(gone()).toBeLessThan(count / 2);
  await expect(LiveClient.open(site.broker()!.port)).rejects.toThrow('ECONNREFUSED');
  const staying = clients.findLast(({ ended }) => !ended)!;
  await staying.publish({ topic: 'still/here', payload: 'x', qos: 1 });
  await until(() => gone() === count, 'the last to go', 20_000);
  expect(performance.now() - firstMs).toBeGreaterThan(drainSeconds * 500);
  expect(await stopping).toBeLessThan(drainSeconds * 1000 + restMs);
  for (const [n, { farewell }] of clients.entries())
    expect(farewell?.reasonCode, `client ${n}`).toBe(n % 2 === 0 ? shuttingDown : undefined);
}, 60_000);

test('a few clients are gone at once, and so is the broker', async () => {
  await site.start();
  for (const clientId of ['a', 'b']) await connect({ clientId });
  expect(await stop()).toBeLessThan(drainSeconds * 1000);
  for (const { farewell } of clients) expect(farewell?.reasonCode).toBe(shuttingDown);
});

test('what has been sent is answered before the goodbye', async () => {
  await site.start();
  const sleeper = await connect({ clientId: 'sleeper', ...durable });
  await sleeper.subscribe({ filter: 'slow/#', qos: 2 });
  await sleeper.disconnect();
  const publisher = await connect({ clientId: 'publisher' });
  const exact = await connect({ clientId: 'exact', ...durable });
  const subscriber = await connect({ clientId: 'subscriber', ...durable });
  site.setFaults((action) => (action === 'BatchWriteItem' ? { kind: 'lateWrite', delayMs: 400 } : undefined));
  const answers = [
    publisher.publish({ topic: 'slow/1', payload: 'one', qos: 1 }),
    publisher.publish({ topic: 'slow/2', payload: 'two', qos: 1 }),
    subscriber.subscribe({ filter: 'b', qos: 1 }),
  ];
  const packetId = exact.packets.sendPublish({ topic: 'slow/3', payload: 'three', qos: 2 });
  const writes = site.proxy!.requests.get('BatchWriteItem') ?? 0;
  await until(() => (site.proxy!.requests.get('BatchWriteItem') ?? 0) > writes, 'a write to be under way');
  expect([publisher, exact, subscriber].map(({ farewell }) => farewell)).toEqual([undefined, undefined, undefined]);
  await stop();
  await expect(Promise.all(answers)).resolves.toMatchObject([{ reasonCode: 0 }, { reasonCode: 0 }, [1]]);
  expect(packetId).toBeGreaterThan(0);
  site.setFaults(() => undefined);
  await site.start();
  const again = await connect({ clientId: 'sleeper', ...durable });
  await until(() => again.received.filter(({ qos }) => qos === 1).length === 2, 'what was acknowledged');
});

test('nothing that was acknowledged is lost, however fast it came', async () => {
  await site.start();
  const away = await connect({ clientId: 'away', ...durable });
  await away.subscribe({ filter: 'load/#', qos: 1 });
  await away.disconnect();
  const here = await connect({ clientId: 'here', ...durable });
  await here.subscribe({ filter: 'load/#', qos: 1 });
  const acknowledged: string[] = [];
  const publishing = Array.from({ length: 20 }, async (_, n) => {
    const client = await connect({ clientId: `publisher ${n}`, version: n % 2 === 0 ? 5 : 4 });
    for (let i = 0; ; i++) {
      const payload = `${n} ${i}`;
      try {
        await client.publish({ topic: `load/${n}`, payload, qos: 1 });
      } catch {
        return; // It has been sent away.
      }
      acknowledged.push(payload);
    }
  });
  await until(() => acknowledged.length > 500, 'some load', 10_000);
  await stop();
  await Promise.all(publishing);
  await site.start();
  for (const [clientId, before] of [
    ['away', []],
    ['here', here.received],
  ] as const) {
    const client = await connect({ clientId, ...durable });
    const got = (): Set<string> => new Set([...before, ...client.received].map(({ payload }) => payload));
    await until(() => acknowledged.every((payload) => got().has(payload)), `all for ${clientId}`, 10_000);
  }
}, 60_000);

test('clients that do not read hold nothing up', async () => {
  await site.start();
  const deaf: Socket[] = [];
  for (let n = 0; n < 5; n++) {
    const client = await connect({ clientId: `deaf ${n}` });
    await client.subscribe({ filter: 'flood', qos: 0 });
    client.packets.stopReading();
  }
  const publisher = await connect({ clientId: 'publisher' });
  for (let i = 0; i < 400; i++) await publisher.publish({ topic: 'flood', payload: Buffer.alloc(50_000), qos: 1 });
  // Some that have not even said CONNECT.
  for (let n = 0; n < 5; n++) {
    const socket = connectSocket(site.broker()!.port, '127.0.0.1').on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    deaf.push(socket.pause());
  }
  sockets.push(...deaf);
  expect(await stop()).toBeLessThan(drainSeconds * 1000 + restMs);
}, 60_000);

test('the last line of metrics has what was counted since the one before', async () => {
  await site.start();
  const client = await connect({ clientId: 'a' });
  for (let i = 0; i < 3; i++) await client.publish({ topic: 'a', payload: 'x', qos: 1 });
  await stop();
  const lines = site.running!.lines.filter((line) => line.startsWith('{"_aws"'));
  expect(lines).toHaveLength(1);
  expect(emfFaults(lines[0]!, Date.now())).toEqual([]);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    Stage: 'test',
    Service: 'broker',
    MessagesReceived: 3,
    ConnectsAdmitted: 1,
  });
});

test('a second SIGTERM ends at once, whatever the first one waits for', async () => {
  const [port, healthPort] = [await freePort(), await freePort()];
  // A task has no parent that it talks to.
  const broker = spawn(process.execPath, [join(import.meta.dirname, '../../dist/broker.js')], {
    stdio: 'ignore',
    env: {
      PATH: process.env['PATH'],
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: 'any',
      AWS_SECRET_ACCESS_KEY: 'any',
      SHOAL_DYNAMODB_ENDPOINT: site.proxy!.endpoint,
      SHOAL_TABLE_PREFIX: tablePrefix,
      SHOAL_MQTT_PORT: String(port),
      SHOAL_HEALTH_PORT: String(healthPort),
    },
  });
  children.push(broker);
  const exited = new Promise((resolve) => broker.once('exit', resolve));
  const status = (): Promise<number> =>
    fetch(`http://127.0.0.1:${healthPort}/healthz`).then(
      (response) => response.status,
      () => 0,
    );
  await until(async () => (await status()) === 200, 'the broker', 15_000);
  await connect({ clientId: 'a', ...durable }, port);
  await site.proxy!.beginOutage('hang');
  broker.kill('SIGTERM');
  await until(async () => (await status()) === 503, 'the stop');
  const againMs = performance.now();
  broker.kill('SIGTERM');
  expect(await exited).toBe(1);
  expect(performance.now() - againMs).toBeLessThan(1000);
}, 30_000);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
