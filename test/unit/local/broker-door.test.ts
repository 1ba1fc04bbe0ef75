/** The database knows when everything that a broker has sent is over, whatever became of the broker in the middle of it. */
import { createServer, request, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BrokerDoor } from '../../../services/local/broker-door.js';
import { until } from '../../support/until.js';

const host = '127.0.0.1';
let server: Server;
let door: BrokerDoor;
let port: number;
/** Requests that the database works on, with their bodies. */
let pending: { body: string; response: ServerResponse }[];

beforeEach(async () => {
  pending = [];
  server = createServer((incoming, response) => {
    let body = '';
    incoming.on('error', () => {});
    incoming.on('data', (chunk) => (body += String(chunk)));
    incoming.on('end', () => pending.push({ body, response }));
  });
  door = new BrokerDoor(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  port = await door.listen(0, host);
});

afterEach(() => {
  door.close();
  server.close();
  server.closeAllConnections();
});

async function send(text: string): Promise<Socket> {
  const socket = connect(port, host);
  socket.on('error', () => {});
  await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

const post = (body: string, length = body.length): string =>
  `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n${body}`;

function watched(promise: Promise<void>): { isOver: boolean } {
  const state = { isOver: false };
  void promise.then(() => (state.isOver = true));
  return state;
}
const turns = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('a write of a broker that is gone is waited for until it is carried out', async () => {
  const socket = await send(post('write'));
  await until(() => pending.length === 1, 'the request');
  socket.resetAndDestroy();
  await until(() => door.connections === 0, 'the end of the connection');
  const quiet = watched(door.quiet());
  await turns();
  expect(quiet.isOver).toBe(false);
  pending[0]!.response.end('done');
  await until(() => quiet.isOver, 'quiet');
});

test('what had not been read when the broker ended is read first', async () => {
  const sockets = await Promise.all([1, 2, 3].map((n) => send(post(`write ${n}`))));
  for (const socket of sockets) socket.end();
  const quiet = watched(door.quiet());
  await until(() => pending.length === 3, 'the requests');
  expect(quiet.isOver).toBe(false);
  for (const { response } of pending) response.end();
  await until(() => quiet.isOver, 'quiet');
});

test('a request whose end never came is over with its connection', async () => {
  const socket = await send(post('half', 100));
  await until(() => door.connections === 1, 'the connection');
  const quiet = watched(door.quiet());
  await turns();
  expect(quiet.isOver).toBe(false);
  socket.destroy();
  await until(() => quiet.isOver, 'quiet');
  expect(pending).toEqual([]);
});

test('others are not waited for', async () => {
  const { port: other } = server.address() as AddressInfo;
  const outgoing = request({ host, port: other, method: 'POST' });
  outgoing.on('error', () => {});
  outgoing.end('sweeper');
  await until(() => pending.length === 1, 'the request');
  await door.quiet();
  pending[0]!.response.end();
});
