/** Who has waited too long for the first turn is told to try later; others are let in. */
import { connect, type Socket } from 'node:net';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { connectBytes } from '../../support/packet-bytes.js';
import { until } from '../../support/until.js';
import { decodeAll } from '../../fuzz/packets.js';
import { Door, hello } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

let door: Door;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  door.transport.stop();
});

/** Many at once, of whom those that wait are late: the clock stands until there are some. Returns what each is told. */
async function storm(count: number, hello: (n: number) => Buffer): Promise<readonly Buffer[]> {
  const told: Buffer[] = [];
  for (let n = 0; n < count; n++) {
    const socket = connect(door.port, '127.0.0.1', () => socket.write(hello(n)));
    sockets.push(socket);
    socket.on('error', () => {}).once('data', (data: Buffer) => told.push(data));
  }
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (door.counted('shoal_sockets_waiting') === 0) return void setImmediate(look);
      door.world.clock.advance(3001);
      resolve();
    };
    look();
  });
  return told;
}

test('with 0x89 after its CONNECT, without a look at what it asks for', async () => {
  door = await new Door('mqtt').listen(tls);
  const account = { username: 'device@acme', password: 'correct horse', version: 5 as const };
  const told = await storm(60, (n) => connectBytes({ ...account, clientId: `c${n}` }));
  await until(() => told.length === 60);
  const codes = told.map((bytes) => decodeAll(bytes, 5)[0] as { reasonCode: number; properties: object });
  const late = codes.filter(({ reasonCode }) => reasonCode === 0x89);
  expect(codes.filter(({ reasonCode }) => reasonCode === 0).length).toBeGreaterThan(0);
  expect(late.length).toBeGreaterThan(0);
  expect(late[0]!.properties).toEqual({
    reasonString: 'more clients are connecting than the broker can let in; try again later',
  });
  expect(door.counted('shoal_connects_refused_total', 'server-busy')).toBe(late.length);
});

test('with the end of its connection, where a handshake would have to come first', async () => {
  door = await new Door('mqtts').listen(tls);
  await storm(60, () => hello);
  await until(() => door.counted('shoal_sockets_refused_total', 'busy') > 0);
});
