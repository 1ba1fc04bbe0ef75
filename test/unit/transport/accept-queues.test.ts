/** A listener with several queues of the kernel is one listener: what comes through any of them is the same socket. */
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { Socket } from 'node:net';
import { type AddressInfo, connect, createServer, type Server, type ServerOpts } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { listenInQueues } from '../../../services/broker/transport/accept-queues.js';
import { until } from '../../support/until.js';

const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
const canShare = process.platform === 'linux' && (major > 22 || (major === 22 && minor >= 12));

const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

async function listen(server: Server, port = 0): Promise<Server[]> {
  const queues = await listenInQueues(server, { host: '127.0.0.1', port });
  open.push(...queues);
  return queues;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

test("all that come are the one server's, whichever queue they have come through", async () => {
  const come: Socket[] = [];
  const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => come.push(socket));
  const queues = await listen(server);
  expect(queues.map(portOf)).toEqual(queues.map(() => portOf(server)));
  expect(queues).toHaveLength(canShare ? 8 : 1);
  const clients = Array.from({ length: 100 }, () => connect(portOf(server), '127.0.0.1'));
  await until(() => come.length === clients.length);
  expect(come.every((socket) => socket.isPaused())).toBe(true);
  for (const client of clients) client.destroy();
  await until(() => come.every((socket) => socket.destroyed || socket.resume().destroyed));
});

test.each([
  ['TCP', createServer({ noDelay: true, pauseOnConnect: true })],
  ['TLS', createTlsServer()],
  ['HTTP', createHttpServer()],
] as const)('the queues of a server for %s make sockets as it does', async (_kind, server) => {
  const optionsOf = ({ allowHalfOpen, noDelay, pauseOnConnect }: Server & ServerOpts) => ({
    allowHalfOpen,
    noDelay,
    pauseOnConnect,
  });
  const queues = await listen(server);
  expect(queues.map(optionsOf)).toEqual(queues.map(() => optionsOf(server)));
});

test('a port that is in use is refused, also when whoever has it would share it', async () => {
  const first = createServer();
  await listen(first);
  await expect(listenInQueues(createServer(), { host: '127.0.0.1', port: portOf(first) })).rejects.toMatchObject({
    code: 'EADDRINUSE',
  });
});

test('when all queues are closed nobody is let in', async () => {
  const server = createServer((socket) => socket.end('x'));
  const queues = await listen(server);
  const port = portOf(server);
  const client = connect(port, '127.0.0.1');
  await once(client, 'data');
  client.destroy();
  for (const queue of queues) queue.close();
  const late = connect(port, '127.0.0.1');
  const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
});
