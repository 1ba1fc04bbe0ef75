/**
 * Links to a DynamoDB that does nothing, or too little: whatever it does with a request, the call ends in time, typed, and
 * the socket is let go of. Real sockets.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Dynamo, DynamoUnavailable } from '../../../services/dynamo/dynamo.js';
import { Metrics } from '../../../services/kernel/kernel.js';
import { until } from '../../support/until.js';

let server: Server;
let dynamo: Dynamo;
const sockets: Socket[] = [];
let requests = 0;
afterEach(() => {
  dynamo.close();
  server.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  requests = 0;
});

const requestTimeoutMs = 200;
const body = JSON.stringify({ Item: { pk: { S: 'a' }, sk: { S: 'b' } } });
const head = `HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: ${body.length}\r\n\r\n`;

const drip = (socket: Socket, text: string): void => {
  let sent = 0;
  const timer = setInterval(() => (sent < text.length ? socket.write(text[sent++]!) : clearInterval(timer)), 20);
  socket.on('close', () => clearInterval(timer));
};

const behaviours: [string, (socket: Socket) => void][] = [
  ['says nothing', () => undefined],
  ['stops in the head of its answer', (socket) => void socket.write(head.slice(0, 20))],
  ['stops after the head', (socket) => void socket.write(head)],
  ['stops in the body', (socket) => void socket.write(head + body.slice(0, 10))],
  ['sends the head a byte now and then', (socket) => drip(socket, head + body)],
  ['sends the body a byte now and then', (socket) => void (socket.write(head), drip(socket, body))],
  ['closes its half at once', (socket) => void socket.end()],
  ['closes its half in the body', (socket) => void socket.end(head + body.slice(0, 10))],
  ['resets', (socket) => void socket.resetAndDestroy()],
  ['resets in the body', (socket) => void socket.write(head + body.slice(0, 10), () => socket.resetAndDestroy())],
];

test.each(behaviours)('a server that %s', async (_what, behave) => {
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket
      .on('error', () => undefined)
      .once('data', () => {
        requests++;
        behave(socket);
      });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const metrics = new Metrics();
  dynamo = new Dynamo({
    endpoint,
    region: 'eu-central-1',
    tablePrefix: 'x-',
    requestTimeoutMs,
    maxAttempts: 2,
    metrics,
  });
  const startedMs = performance.now();
  const error = await dynamo.get('routes', { pk: 'a', sk: 'b' }).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(DynamoUnavailable);
  // Two attempts, the wait between them, and what a busy machine takes.
  expect(performance.now() - startedMs).toBeLessThan(2 * requestTimeoutMs + 10_000);
  const attempts = metrics.counter('shoal_dynamodb_calls_total', '', { table: 'routes', action: 'GetItem' }).value;
  // On a busy machine the time may be over before the server has read the request.
  expect([attempts, requests <= 2]).toEqual([2, true]);
  // Each writes until it is told that nobody is there any more.
  await until(() => {
    for (const socket of sockets) if (socket.writable) socket.write(' ');
    return sockets.every((socket) => socket.destroyed);
  }, 'the sockets to be let go of');
});
