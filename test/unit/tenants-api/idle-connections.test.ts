/** Connections of the API server that ask for nothing, too slowly, or take no answer: with real sockets and short times. */
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Dynamo } from '../../../services/dynamo/dynamo.js';
import { silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { serveApi, type ServedApi } from '../../../tenants-api/entry/local.js';
import { until } from '../../support/until.js';

const limits = { requestMs: 300, stallMs: 600, connectionsMax: 8 };
/** Not reached by anything here. */
const dynamo = new Dynamo({ endpoint: 'http://127.0.0.1:1', region: 'eu-central-1', tablePrefix: 'x-' });

let api: ServedApi;
let errors: unknown[];
const clients: Client[] = [];
beforeEach(async () => {
  errors = [];
  const health = (): Promise<{ ok: true; parts: Record<string, string> }> => Promise.resolve({ ok: true, parts: {} });
  const log = { ...silentLog, error: (fields: unknown) => void errors.push(fields) };
  const deps = { dynamo, clock: systemClock, log, operatorKey: 'op', endpoints: { api: '' }, health };
  api = await serveApi({ ...deps, host: '127.0.0.1', port: 0, limits });
});
afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  await api.close();
});

class Client {
  readonly socket: Socket;
  text = '';
  isOver = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    const over = (): void => void (this.isOver = true);
    socket
      .on('error', over)
      .on('close', over)
      .on('data', (data) => (this.text += String(data)));
  }

  static async open(): Promise<Client> {
    const socket = connect({ port: api.port, host: '127.0.0.1', allowHalfOpen: true });
    const client = new Client(socket);
    clients.push(client);
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    return client;
  }

  /** Destroyed by the server, not only ended: what is sent now is answered with a reset. */
  async isLetGo(): Promise<void> {
    await until(() => {
      if (this.socket.writable && this.socket.readableEnded) this.socket.write('x');
      return this.isOver;
    }, 'the socket to be let go of');
  }
}

const head = 'POST /v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n';

test.each([
  ['nothing', ''],
  ['half a head', head.slice(0, 30)],
  ['a head without its body', head],
  ['half a body', `${head}{"name":`],
])('%s: 408, and the socket is let go of', async (_what, sent) => {
  const client = await Client.open();
  client.socket.write(sent);
  await client.isLetGo();
  expect(client.text).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n/);
  expect(errors).toEqual([]);
});

test.each([
  ['the head', ''],
  ['the body', head],
])('a byte of %s now and then buys no time', async (_what, sent) => {
  const client = await Client.open();
  client.socket.write(sent);
  let at = 0;
  const rest = sent === '' ? head : ' '.repeat(100);
  const drops = setInterval(() => client.socket.writable && client.socket.write(rest[at++ % rest.length]!), 25);
  try {
    await until(() => client.isOver, 'the end');
  } finally {
    clearInterval(drops);
  }
  expect(client.text).toMatch(/^(HTTP\/1.1 408 Request Timeout\r\n|$)/);
});

test('a connection that asks for nothing more after its answer', async () => {
  const client = await Client.open();
  client.socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => client.text.includes('"ok"'), 'the answer');
  client.socket.end();
  await until(() => client.isOver, 'the end');
});

test('idle connections do not keep others out: the one that has waited longest goes', async () => {
  const idle: Client[] = [];
  for (let i = 0; i < 10; i++) idle.push(await Client.open());
  await until(() => idle.slice(0, 2).every(({ socket }) => socket.readableEnded || socket.destroyed), 'the oldest');
  expect((await fetch(`http://127.0.0.1:${api.port}/healthz`)).status).toBe(200);
});
