/**
 * The whole stack behind a load balancer that speaks the PROXY protocol: the client's own address is in the session list,
 * and nothing gets in that does not come through the balancer. HAProxy stands in for the one of AWS; what no balancer
 * would do comes over plain sockets.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect as connectSocket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { connect as connectClient, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { Haproxy, haproxyMissing } from '../support/haproxy.js';
import { PacketClient } from '../support/packet-client.js';
import { header, local, proxied, proxiedText, signature, tlv } from '../support/proxy-header.js';
import { random } from '../support/seeds.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
let tenant: TestTenant;
let account: Credential;
const clients: (MqttClient | PacketClient)[] = [];
beforeAll(async () => {
  stack = await Stack.start(['--trust-proxy', '127.0.0.1/32', '--log-level', 'info']);
  tenant = await stack.tenant();
  account = await tenant.account();
}, 60_000);
afterEach(async () => {
  for (const client of clients.splice(0))
    if (client instanceof PacketClient) client.destroy();
    else await client.endAsync(true);
});
afterAll(() => stack?.close()); // The last test may have done it.

/** `clientId address` of all that are connected. */
async function sessions(): Promise<string[]> {
  const { items } = (await tenant.api('/sessions')) as {
    items: { clientId: string; address: string; connected: boolean }[];
  };
  return items.filter(({ connected }) => connected).map(({ clientId, address }) => `${clientId} ${address}`);
}

const refused = (reason: string): Promise<number> => stack.metric('shoal_sockets_refused_total', `reason="${reason}"`);

describe('a balancer of another kind', () => {
  const connectBytes = (clientId: string): Promise<Buffer> =>
    bytesOf((client) => client.sendConnect({ ...account, clientId }));

  /** What a client sends, caught on its way. */
  async function bytesOf(send: (client: PacketClient) => void): Promise<Buffer> {
    let bytes = Buffer.alloc(0);
    const server = createServer((socket) => socket.on('data', (data) => (bytes = Buffer.concat([bytes, data]))));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const client = await PacketClient.open((server.address() as AddressInfo).port);
    send(client);
    await until(() => bytes.length > 0);
    client.destroy();
    server.close();
    return bytes;
  }

  async function open(): Promise<PacketClient> {
    const client = await PacketClient.open(stack.endpoints.mqtt.port);
    clients.push(client);
    return client;
  }

  test('header and CONNECT in one piece', async () => {
    const client = await open();
    client.send(Buffer.concat([proxied('203.0.113.9', 4711), await connectBytes('one-piece')]));
    await client.expect('connack', { reasonCode: 0 });
    await until(async () => (await sessions()).includes('one-piece 203.0.113.9:4711'), 'the session');
    await client.publish({ topic: 'a', payload: 'b', qos: 1 });
  });

  test('a byte at a time, over IPv6', async () => {
    const client = await open();
    const bytes = Buffer.concat([proxied('2001:db8:0:0:0:0:0:7', 65_535), await connectBytes('piecemeal')]);
    for (const byte of bytes) client.send(Buffer.from([byte]));
    await client.expect('connack', { reasonCode: 0 });
    await until(async () => (await sessions()).includes('piecemeal 2001:db8::7:65535'), 'the session');
  });

  test('in the text form', async () => {
    const client = await open();
    client.send(Buffer.concat([proxiedText('2001:db8::8', 4712), await connectBytes('text')]));
    await client.expect('connack', { reasonCode: 0 });
    await until(async () => (await sessions()).includes('text 2001:db8::8:4712'), 'the session');
  });

  test('for itself: LOCAL has the address of the socket', async () => {
    const client = await open();
    client.send(Buffer.concat([local, await connectBytes('local')]));
    await client.expect('connack', { reasonCode: 0 });
    await until(async () => (await sessions()).some((line) => line.startsWith('local 127.0.0.1:')), 'the session');
  });

  test('the endpoint of a client that is refused is in the log', async () => {
    const client = await open();
    const from = proxied('203.0.113.10', 1, tlv(0xea, '\x01vpce-0123456789abcdef0'));
    client.send(
      Buffer.concat([from, await bytesOf((of) => of.sendConnect({ ...account, password: 'wrong', clientId: 'x' }))]),
    );
    await client.expectClosed(0x86);
    await until(() => stack.log.includes('"address":"203.0.113.10:1","endpoint":"vpce-0123456789abcdef0"'), 'the line');
  });

  test.each<[reason: string, bytes: Buffer]>([
    ['no-proxy-header', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['malformed-header', Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 50123\r\n')],
    ['unsupported-family', header({ family: 0x31, body: Buffer.alloc(216) })],
    ['header-too-long', header({ body: Buffer.alloc(0), length: 65_535 })],
    ['malformed-header', header({ body: Buffer.alloc(8) })],
    ['second-header', Buffer.concat([proxied('203.0.113.9', 1), proxied('198.51.100.1', 1)])],
  ])('refused: %s', async (reason, bytes) => {
    const before = await refused(reason);
    const client = await open();
    client.send(bytes);
    await client.expectSilentClose();
    await until(async () => (await refused(reason)) === before + 1, 'the count');
  });

  test('whoever is not in the list, on every listener', async () => {
    const before = await refused('untrusted-peer');
    const { mqtt, mqtts, ws, wss } = stack.endpoints;
    for (const { port } of [mqtt, mqtts, ws, wss])
      await new Promise<void>((resolve) => {
        const socket = connectSocket({ port, host: '127.0.0.1', localAddress: '127.0.0.8' });
        socket.on('error', () => {}).on('close', () => resolve());
        socket.write(proxied('203.0.113.9', 1));
      });
    await until(async () => (await refused('untrusted-peer')) === before + 4, 'the counts');
  });

  test('random bytes, alone and behind the signature, hurt nobody else', async () => {
    const witness = await open();
    witness.send(Buffer.concat([local, await connectBytes('witness')]));
    await witness.expect('connack', { reasonCode: 0 });
    const anything = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const signed = anything.map((bytes) => Buffer.concat([signature, bytes]));
    const behind = anything.map((bytes) => Buffer.concat([proxied('203.0.113.9', 1), bytes]));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(anything, signed, behind),
        fc.constantFrom('mqtt', 'mqtts', 'ws', 'wss'),
        async (bytes, kind) => {
          await new Promise<void>((resolve) => {
            const socket = connectSocket(stack.endpoints[kind].port, '127.0.0.1');
            socket.on('error', () => {}).on('close', () => resolve());
            socket.resume().end(bytes);
          });
        },
      ),
      random(200),
    );
    await witness.expectNothing();
    expect(await stack.metric('shoal_connections_closed_total', 'fault="server"')).toBe(0);
  });
});

describe.skipIf(haproxyMissing !== undefined)(`HAProxy ${haproxyMissing ?? ''}`, () => {
  let folder: string;
  let haproxy: Haproxy;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-haproxy-'));
    haproxy = await Haproxy.start(stack.endpoints, stack.endpoints.dataDir, folder);
  });
  afterAll(() => {
    haproxy?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** From an address that is the balancer's own in no case. */
  async function connect(url: string, options: IClientOptions): Promise<MqttClient> {
    const tls = { ca: readFileSync(stack.endpoints.caFile), localAddress: '127.0.0.7' };
    const client = connectClient(url, { ...account, ...tls, wsOptions: tls, reconnectPeriod: 0, ...options });
    clients.push(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    return client;
  }

  test.each([
    ['MQTT, TLS ended by the balancer', 'mqtts', 'mqtts', ''],
    ['WebSocket, TLS ended by the balancer', 'wss', 'wss', '/mqtt'],
    ['MQTT, TLS passed through', 'mqtts', 'through', ''],
  ] as const)('%s', async (_what, scheme, frontend, path) => {
    const clientId = `behind-${frontend}`;
    const client = await connect(`${scheme}://127.0.0.1:${haproxy.ports[frontend]}${path}`, {
      clientId,
      protocolVersion: 5,
    });
    const seen: string[] = [];
    client.on('message', (topic, payload) => seen.push(`${topic} ${payload.length}`));
    await client.subscribeAsync(`${clientId}/#`, { qos: 1 });
    for (let i = 0; i < 20; i++) await client.publishAsync(`${clientId}/${i}`, Buffer.alloc(5000 * i), { qos: 1 });
    await until(() => seen.length === 20, 'all messages');
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `${clientId}/${i} ${5000 * i}`));
    await until(
      async () => (await sessions()).some((line) => line.startsWith(`${clientId} 127.0.0.7:`)),
      'the session',
    );
  });

  test('health checks, which carry the header, succeed', async () => {
    for (const backend of ['mqtts', 'wss', 'through'])
      await until(async () => (await haproxy.check(backend)) === 'UP L7OK/200', `the check of ${backend}`);
  });

  test('a stop tells all of them to connect elsewhere', async () => {
    const told: string[] = [];
    for (const [scheme, frontend, path] of [
      ['mqtts', 'mqtts', ''],
      ['wss', 'wss', '/mqtt'],
      ['mqtts', 'through', ''],
    ] as const) {
      const url = `${scheme}://127.0.0.1:${haproxy.ports[frontend]}${path}`;
      const client = await connect(url, { clientId: `stopped-${frontend}`, protocolVersion: 5 });
      client.on('disconnect', ({ reasonCode }) => told.push(`${frontend} ${reasonCode}`));
    }
    await stack.close();
    await until(() => told.length === 3, 'the packets');
    expect(told.sort()).toEqual(['mqtts 139', 'through 139', 'wss 139']);
  });
});
