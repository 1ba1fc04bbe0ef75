/** What TLS clients are told about the protocols that they name, and which certificate they get, at real listeners. */
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, expect, test } from 'vitest';
import type { ListenerOptions } from '../../../services/broker/transport/transport.js';
import { connectBytes } from '../../support/packet-bytes.js';
import { until } from '../../support/until.js';
import { Door } from './peer.js';
import { testTls } from './test-tls.js';

let tls: NonNullable<ListenerOptions['tls']>;
let ca: Buffer;
beforeAll(async () => {
  const { ecdsa, rsa, ...rest } = await testTls();
  ca = rest.ca;
  tls = { cert: [ecdsa.cert, rsa.cert], key: [ecdsa.key, rsa.key] };
});

let door: Door;
const sockets: TLSSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  door.transport.stop();
});

async function dial(kind: 'mqtts' | 'wss', options: ConnectionOptions): Promise<TLSSocket> {
  door = new Door(kind);
  const { port } = await door.transport.listen({ kind, host: '127.0.0.1', port: 0, tls }).then((port) => ({ port }));
  return await new Promise<TLSSocket>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca, ...options }, () => resolve(socket));
    sockets.push(socket);
    socket.once('error', reject);
  });
}

async function letsIn(socket: TLSSocket): Promise<void> {
  const received: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => received.push(chunk));
  socket.write(connectBytes({ version: 4, clientId: 'c', username: 'sensor@acme', password: 'x' }));
  await until(() => received.length > 0, 'CONNACK');
  expect(Buffer.concat(received)[0]).toBe(0x20);
}

test.each<[offered: string[] | undefined, chosen: string | false]>([
  [undefined, false],
  [['mqtt'], 'mqtt'],
  [['x-amzn-mqtt-ca'], 'x-amzn-mqtt-ca'],
  [['h2', 'x-amzn-mqtt-ca', 'mqtt'], 'mqtt'],
  [['http/1.1', 'mqtt'], 'mqtt'],
  // As without ALPN: it gets in.
  [['h2'], 'h2'],
  [['mqttv5.0', 'h2'], 'mqttv5.0'],
])('a client of the MQTT port that names %j is told %s, and is let in', async (ALPNProtocols, chosen) => {
  const socket = await dial('mqtts', ALPNProtocols ? { ALPNProtocols } : {});
  expect(socket.alpnProtocol).toBe(chosen);
  await letsIn(socket);
});

test.each<[offered: string[] | undefined, chosen: string | false]>([
  [undefined, false],
  [['http/1.1'], 'http/1.1'],
  [['h2', 'http/1.1'], 'http/1.1'],
])('a client of the WebSocket port that names %j is told %s', async (ALPNProtocols, chosen) => {
  const socket = await dial('wss', ALPNProtocols ? { ALPNProtocols } : {});
  expect(socket.alpnProtocol).toBe(chosen);
});

test.each([
  ['ECDHE-RSA-AES128-GCM-SHA256', 'rsa'],
  ['AES128-GCM-SHA256', 'rsa'],
  ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ec'],
])('a client of TLS 1.2 with %s alone is let in', async (ciphers, kind) => {
  const socket = await dial('mqtts', { ciphers, maxVersion: 'TLSv1.2' });
  expect(socket.getPeerX509Certificate()?.publicKey.asymmetricKeyType).toBe(kind);
  await letsIn(socket);
});
