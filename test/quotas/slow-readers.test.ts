/**
 * Subscribers that stop reading, while a publisher goes on with far more than the broker may hold for them: its memory
 * stays bounded, who reads gets everything, and what was dropped is counted.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connectBytes, subscribeBytes } from '../support/packet-bytes.js';
import { heard, Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
/** Ends the connections that are no clients of the stack. */
const open: (() => void)[] = [];
afterEach(() => {
  for (const end of open.splice(0)) end();
  stack.endClients();
});
afterAll(() => stack?.close());

const mib = 1 << 20;
const payloadBytes = 64 * 1024;
/** 200 MB in all. */
const messages = 3200;
/**
 * Three slow readers at their bounds (outbox and queue: about 10 MB each), what the network holds, and what the garbage
 * collector has not yet taken of 200 MB that passed through.
 */
const growthBytesMax = 120 * mib;

type SlowReader = (tenant: TestTenant, qos: 0 | 1) => Promise<void>;

/** Subscribes, and reads nothing after that. One over each transport: they hold back what is not read in other places. */
const slowOver: readonly SlowReader[] = [
  async (tenant, qos) => {
    const client = await tenant.client();
    await client.subscribe({ filter: 'flood', qos });
    client.packets.stopReading();
  },
  async (tenant, qos) => {
    const { host, mqtts, caFile } = stack.endpoints;
    const socket = connectTls({ host, port: mqtts.port, ca: readFileSync(caFile) });
    open.push(() => socket.destroy());
    socket.on('error', () => undefined);
    for (const packet of [await connectPacket(tenant, 'slow-tls'), subscribePacket(qos)]) {
      socket.write(packet);
      await once(socket, 'data');
    }
    socket.pause();
  },
  async (tenant, qos) => {
    const { wss, caFile } = stack.endpoints;
    const socket = new WebSocket(wss.url, 'mqtt', { ca: readFileSync(caFile), perMessageDeflate: false });
    open.push(() => socket.terminate());
    socket.on('error', () => undefined);
    await once(socket, 'open');
    for (const packet of [await connectPacket(tenant, 'slow-wss'), subscribePacket(qos)]) {
      socket.send(packet);
      await once(socket, 'message');
    }
    socket.pause();
  },
];

const connectPacket = async (tenant: TestTenant, clientId: string): Promise<Buffer> =>
  connectBytes({ version: 4, clientId, ...(await tenant.account()) });
const subscribePacket = (qos: 0 | 1): Buffer => subscribeBytes([{ filter: 'flood', qos }], 4, 1);

async function flood(
  tenant: TestTenant,
  qos: 0 | 1,
): Promise<{ received: number; growthBytes: number; dropped: number }> {
  const reader = await tenant.client();
  const missing = new Set(Array.from({ length: messages }, (_, i) => i));
  reader.onMessage = ({ payload }) => missing.delete(payload!.readUInt32BE());
  await reader.subscribe({ filter: 'flood', qos });
  for (const subscribe of slowOver) await subscribe(tenant, qos);
  const publisher = await tenant.client();
  const beforeBytes = stack.brokerRssBytes();
  let peakBytes = beforeBytes;
  for (let i = 0; i < messages; i++) {
    const payload = Buffer.alloc(payloadBytes);
    payload.writeUInt32BE(i);
    const done = publisher.publish({ topic: 'flood', qos, payload });
    // The reader is given time to read: the test is about those that do not.
    if (qos === 1) await done;
    if (i % 8 === 7) {
      await publisher.ping();
      await reader.ping();
    }
    if (i % 64 === 0) peakBytes = Math.max(peakBytes, stack.brokerRssBytes());
  }
  await until(() => missing.size === 0, `${missing.size} messages to the one who reads`, 20_000);
  const dropped = await tenant.systemNumber('publish/messages/dropped');
  return { received: messages - missing.size, growthBytes: peakBytes - beforeBytes, dropped };
}

test.each([0, 1] as const)('200 MB of QoS %d', { timeout: 120_000 }, async (qos) => {
  const tenant = await stack.tenant();
  const { received, growthBytes, dropped } = await flood(tenant, qos);
  expect(received).toBe(messages);
  expect(growthBytes).toBeLessThan(growthBytesMax);
  // Each slow reader may be owed 20 MB at most, wherever they wait; all the rest was dropped, and counted.
  expect(dropped).toBeGreaterThan(3 * (messages - (20 * mib) / payloadBytes));
  expect(dropped).toBeLessThanOrEqual(3 * messages);
});

test('a client that asks and never reads the answers is let go', { timeout: 40_000 }, async () => {
  const tenant = await stack.tenant();
  const client = await tenant.client();
  const closedBefore = await stack.metric('shoal_connections_closed_total', 'client-too-slow');
  client.packets.stopReading();
  const pings = Buffer.alloc(2 * mib);
  for (let i = 0; i < pings.length; i += 2) pings[i] = 0xc0;
  const beforeBytes = stack.brokerRssBytes();
  const isLetGo = async (): Promise<boolean> =>
    (await stack.metric('shoal_connections_closed_total', 'client-too-slow')) > closedBefore;
  for (let i = 0; i < 20 && !(await isLetGo()); i++) client.packets.send(pings);
  await until(isLetGo, 'the end of the connection', 20_000);
  // A million answers are two megabytes; what making them left behind is more until it is collected.
  expect(stack.brokerRssBytes() - beforeBytes).toBeLessThan(2 * growthBytesMax);
  await heard(async () => (await tenant.systemNumber('clients/connected')) === 1, 'that it has gone');
});
