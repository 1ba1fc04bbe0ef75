/**
 * What a client has sent before it left is handled, at the tenant's rates, and a DISCONNECT among it counts. On the whole
 * stack, with clients that say everything at once and leave.
 */
import { execFile } from 'node:child_process';
import { connectAsync as connectClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import type { LiveClient } from '../support/live-client.js';
import { bytes, connectBytes, type ConnectFields, publishBytes } from '../support/packet-bytes.js';
import { decode, frameBytes } from '../support/packet-codec.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';
import { Hasty, type Leaving, type Scheme } from './hasty.js';

let stack: Stack;
let tenant: TestTenant;
let account: Credential;
const hasty: Hasty[] = [];
beforeAll(async () => {
  stack = await Stack.start();
  tenant = await stack.tenant();
  account = await tenant.account();
}, 60_000);
afterEach(() => {
  for (const client of hasty.splice(0)) client.destroy();
  stack.endClients();
});
afterAll(() => stack?.close());

const open = async (scheme: Scheme): Promise<Hasty> => {
  const client = await Hasty.open(stack.endpoints, scheme);
  hasty.push(client);
  return client;
};
const disconnect = bytes.packet('disconnect', 0);
const connectPacket = (clientId: string, more: ConnectFields = {}): Buffer =>
  connectBytes({ version: 4, clientId, keepalive: 60, ...account, ...more });
const will = { topic: 'will', payload: 'gone', qos: 0 };
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));
const payloads = ({ received }: LiveClient): string[] => received.map(({ payload }) => payload);

/** The types of the packets in `heard`. */
function said(heard: Buffer): string[] {
  const names: string[] = [];
  for (let n = frameBytes(heard); n > 0; n = frameBytes(heard)) {
    names.push(decode(heard.subarray(0, n), 4).cmd);
    heard = heard.subarray(n);
  }
  return names;
}

let topics = 0;

describe.each([
  ['mqtt', 'half-close'],
  ['mqtt', 'close'],
  ['mqtts', 'half-close'],
  ['mqtts', 'close'],
  ['ws', 'frame'],
  ['ws', 'frame+fin'],
  ['wss', 'frame'],
  ['wss', 'frame+fin'],
] as const satisfies [Scheme, Leaving][])('publish and sleep over %s, leaving by %s', (scheme, leaving) => {
  const canHear = leaving === 'half-close' || leaving === 'frame';

  test('20 clients: CONNECT, PUBLISH and DISCONNECT at once', async () => {
    const topic = `sleep/${++topics}`;
    const subscriber = await tenant.client();
    await subscriber.subscribe({ filter: `${topic}/#` }, { filter: 'will' });
    const clients = await Promise.all(numbers(20).map(() => open(scheme)));
    clients.forEach((client, i) =>
      client.leave(
        leaving,
        Buffer.concat([
          connectPacket(`${topic}/${i}`, { will }),
          publishBytes({ topic: `${topic}/x`, payload: String(i), qos: 1, packetId: 7 }, 4),
          disconnect,
        ]),
      ),
    );
    if (canHear) await until(() => clients.every(({ ended }) => ended), 'the end of the connections');
    await subscriber.receivedCount(20);
    await subscriber.ping();
    const answered = clients.filter(({ heard }) => said(heard).join(' ') === 'connack puback').length;
    expect(payloads(subscriber).sort()).toEqual(numbers(20).sort());
    expect(answered).toBe(canHear ? 20 : answered);
  });
});

describe('burst and leave', () => {
  test.each(['half-close', 'close'] as const)(
    '1500 messages over a rate of 1000 a second, then %s',
    async (leaving) => {
      const slow = await stack.tenant({ publishPerSecond: 1000 });
      const [subscriber, login] = [await slow.client(), await slow.account()];
      await subscriber.subscribe({ filter: 't' }, { filter: 'will' });
      const client = await open('mqtt');
      client.send(connectPacket('burst', { ...login, will }));
      await until(() => said(client.heard).includes('connack'), 'CONNACK');
      const startedMs = performance.now();
      const burst = numbers(1500).map((payload) => publishBytes({ topic: 't', payload, qos: 0 }, 4));
      client.leave(leaving, Buffer.concat([...burst, disconnect]));
      await subscriber.receivedCount(1500, 10_000);
      expect(payloads(subscriber)).toEqual(numbers(1500)); // And no will. [MQTT-3.14.4-3]
      expect(performance.now() - startedMs).toBeGreaterThan(250);
    },
  );

  test('1500 messages, and a reset when the broker has read them', async () => {
    const slow = await stack.tenant({ publishPerSecond: 1000 });
    const [subscriber, login] = [await slow.client(), await slow.account()];
    await subscriber.subscribe({ filter: 't' }, { filter: 'will' });
    const client = await open('mqtt');
    client.send(connectPacket('reset', { ...login, will }));
    await until(() => said(client.heard).includes('connack'), 'CONNACK');
    const burst = numbers(1500).map((payload) => publishBytes({ topic: 't', payload, qos: 0 }, 4));
    client.send(Buffer.concat([...burst, disconnect])); // Less than one read takes.
    await until(() => subscriber.received.length > 0, 'the first');
    client.leave('reset');
    await subscriber.receivedCount(1500, 10_000);
    expect(payloads(subscriber)).toEqual(numbers(1500));
  });

  test.each(['0', '1', '2'])('mosquitto_pub -l with 3000 lines of QoS %s loses nothing', async (qos) => {
    const slow = await stack.tenant({ publishPerSecond: 1000 });
    const [subscriber, { username, password = '' }] = [await slow.client(), await slow.account()];
    await subscriber.subscribe({ filter: 't' });
    const { host, mqtt } = stack.endpoints;
    const login = ['-h', host, '-p', String(mqtt.port), '-u', username ?? '', '-P', String(password)];
    const ended = new Promise<void>((resolve, reject) => {
      const child = execFile('mosquitto_pub', [...login, '-t', 't', '-q', qos, '-l'], (error) =>
        error ? reject(error) : resolve(),
      );
      child.stdin?.end(numbers(3000).join('\n') + '\n');
    });
    await ended;
    await subscriber.receivedCount(3000, 15_000);
    expect(payloads(subscriber)).toEqual(numbers(3000));
  });
});

describe('more QoS 2 messages than fit before the first PUBREL', () => {
  test('from mqtt.js, which sends all that it has', async () => {
    const subscriber = await tenant.client();
    await subscriber.subscribe({ filter: 'exact' });
    const client = await connectClient(stack.endpoints.mqtt.url, {
      ...account,
      protocolVersion: 4,
      reconnectPeriod: 0,
    });
    try {
      await Promise.all(numbers(3000).map((payload) => client.publishAsync('exact', payload, { qos: 2 })));
    } finally {
      await client.endAsync(true);
    }
    await subscriber.receivedCount(3000);
    expect(payloads(subscriber)).toEqual(numbers(3000));
  });

  test('and its PINGREQ behind them is answered', async () => {
    const client = await tenant.client({ version: 4 });
    const publishing = numbers(2000).map((payload) => client.publish({ topic: 'x', payload, qos: 2 }));
    await client.ping();
    await Promise.all(publishing);
  });

  test('a stored session with 256 of them may publish on its next connection', async () => {
    const session = { clientId: 'unreleased', clean: false, properties: { sessionExpiryInterval: 60 } };
    const client = await tenant.client(session);
    for (const id of numbers(256))
      client.packets.sendPublish({ topic: 'x', payload: id, qos: 2, packetId: 100 + Number(id) });
    await client.ping();
    client.destroy();
    const again = await tenant.client(session);
    expect((await again.publish({ topic: 'x', qos: 1, packetId: 7 }))?.cmd).toBe('puback');
  });
});
