/** Devices that cannot run here: what they send, byte for byte, and the bytes that they get. */
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { Stack } from '../support/stack.js';
import { until } from '../support/until.js';
import { devices } from './fixtures.js';
import { Peer } from './peer.js';

let stack: Stack;
let account: Credential;
let peer: Peer;
let heard: string[];
const sockets: Socket[] = [];
beforeAll(async () => {
  stack = await Stack.start();
  account = await (await stack.tenant()).account();
  peer = await Peer.connect(stack.endpoints, account, 'peer');
  heard = await peer.listen('#');
}, 60_000);
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await peer?.close();
  await stack?.close();
});

const names = devices({ username: '', password: '' }).map(({ name }) => name);

test.each(names)('%s', async (name) => {
  const device = devices(account).find((other) => other.name === name)!;
  heard.length = 0;
  const socket = connect(stack.endpoints.mqtt.port, '127.0.0.1');
  sockets.push(socket);
  let got = '';
  socket.on('data', (data) => (got += data.toString('hex')));
  // None subscribes to what it publishes: all that comes is answers, and a byte too many shows in the next of them.
  for (const { what, sends, gets } of device.exchanges) {
    socket.write(sends);
    await until(() => got.length >= gets.length, `the answer to ${what}`);
    if (gets === '') continue;
    expect(got, `the answer to ${what}`).toBe(gets);
    got = '';
  }
  socket.resetAndDestroy();
  await until(() => heard.includes(device.will), `the will: ${device.will}`);
  expect(heard).toEqual([...device.published, device.will]);
});
