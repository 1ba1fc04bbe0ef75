/** The connections that requests take, the clock that they are signed by, and whose name they carry. Real sockets. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, test, vi } from 'vitest';
import { Dynamo } from '../../../services/dynamo/dynamo.js';
import { Http } from '../../../services/dynamo/http.js';
import type { Credentials } from '../../../services/dynamo/signature.js';
import { testTls } from '../transport/test-tls.js';

let server: Server;
let http: Http;
afterEach(() => {
  http.close();
  server.closeAllConnections();
  server.close();
});

/** A DynamoDB that answers as `answer` does, and the sockets that it has seen. */
async function open(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  credentials: () => Promise<Credentials> = () => Promise.resolve({ accessKeyId: 'a', secretAccessKey: 'b' }),
): Promise<{ sockets: number }> {
  const seen = { sockets: 0 };
  server = createServer((request, response) => request.resume().on('end', () => answer(request, response)));
  server.on('connection', () => seen.sockets++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const endpoint = (): Promise<URL> => Promise.resolve(new URL(`http://127.0.0.1:${port}`));
  http = new Http({ region: 'eu-central-1', endpoint, credentials });
  return seen;
}

const send = (): Promise<unknown> => http.send('GetItem', '{}', 10_000);
const empty = (_: IncomingMessage, response: ServerResponse): void => void response.end('{}');

test('calls one after the other share their connections', async () => {
  const seen = await open(empty);
  for (let i = 0; i < 20; i++) await send();
  expect(seen.sockets).toBeLessThanOrEqual(3);
});

test('calls at once take as many connections as there may be, and the others wait for them', async () => {
  // Three at a time: with fewer connections none would be answered, with more the fourth would be here before.
  const waiting: ServerResponse[] = [];
  let most = 0;
  const seen = await open((_, response) => {
    most = Math.max(most, waiting.push(response));
    if (waiting.length === 3) setImmediate(() => waiting.splice(0).forEach((one) => one.end('{}')));
  });
  const { port } = server.address() as AddressInfo;
  const options = { endpoint: `http://127.0.0.1:${port}`, region: 'eu-central-1', tablePrefix: 'x-' };
  const dynamo = new Dynamo(options);
  const three = dynamo.apart(3);
  await Promise.all(Array.from({ length: 51 }, () => three.get('routes', { pk: 'a', sk: 'b' })));
  expect([seen.sockets, most]).toEqual([3, 3]);
  dynamo.close();
});

test('a connection that the server will close soon takes no request', async () => {
  const seen = await open((_, response) => {
    response.setHeader('keep-alive', 'timeout=1');
    response.end('{}');
  });
  await send();
  await send();
  expect(seen.sockets).toBe(2);
});

test('a connection that the server has closed takes no request', async () => {
  const seen = await open(empty);
  const closed = new Promise((resolve) => server.once('connection', (socket) => socket.once('close', resolve)));
  await send();
  server.closeIdleConnections();
  await closed;
  // One whose end is on its way meanwhile fails, and is made again by who has called.
  const isMade = (): Promise<boolean> => send().then(...([() => true, () => false] as const));
  for (let tries = 0; !(await isMade()); tries++) expect(tries).toBeLessThan(3);
  expect(seen.sockets).toBe(2);
});

test('an answer that closes its connection, and one in chunks', async () => {
  const seen = await open((_, response) => {
    response.setHeader('connection', 'close');
    response.write('{"text":');
    setImmediate(() => response.end('"schön"}'));
  });
  expect(await send()).toEqual({ text: 'schön' });
  expect(await send()).toEqual({ text: 'schön' });
  expect(seen.sockets).toBe(2);
});

test('over TLS, and with the session of before', async () => {
  const { ca, ecdsa } = await testTls();
  const resumed: boolean[] = [];
  const secure = createTlsServer(ecdsa, (request, response) => {
    request.resume().on('end', () => {
      resumed.push((request.socket as TLSSocket).isSessionReused());
      response.setHeader('connection', 'close');
      response.end(JSON.stringify({ text: 'x'.repeat(200_000) }));
    });
  });
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
  const { port } = secure.address() as AddressInfo;
  await open(empty);
  http.close();
  const options = {
    region: 'eu-central-1',
    endpoint: () => Promise.resolve(new URL(`https://localhost:${port}`)),
    credentials: () => Promise.resolve({ accessKeyId: 'a', secretAccessKey: 'b' }),
  };
  http = new Http(options);
  await expect(send()).rejects.toMatchObject({ code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO/) as string });
  http.close();
  http = new Http({ ...options, ca });
  for (let i = 0; i < 3; i++) expect(await send()).toEqual({ text: 'x'.repeat(200_000) });
  expect(resumed).toEqual([false, true, true]);
  secure.close();
});

test('a clock that is an hour behind is corrected by what DynamoDB says', async () => {
  const dates: string[] = [];
  await open((request, response) => {
    dates.push(request.headers['x-amz-date'] as string);
    const aheadMs = Date.now() + 3_600_000;
    const signedMs = Date.parse(
      dates.at(-1)!.replace(/(....)(..)(..)T(..)(..)(..)Z/, (_, ...at: string[]) => {
        const [year, month, day, hour, minute, second] = at;
        return `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
      }),
    );
    if (Math.abs(aheadMs - signedMs) < 60_000) return void response.end('{}');
    response.writeHead(400, { date: new Date(aheadMs).toUTCString(), 'x-amzn-requestid': '1' });
    response.end('{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}');
  });
  await expect(send()).rejects.toMatchObject({ name: 'InvalidSignatureException', message: 'Signature expired' });
  expect(await send()).toEqual({});
});

test('credentials are asked for once a second, since they are renewed, and again when they were refused', async () => {
  const names: string[] = [];
  let asked = 0;
  const credentials = (): Promise<Credentials> =>
    Promise.resolve({ accessKeyId: `key-${++asked}`, secretAccessKey: 'b', sessionToken: `token-${asked}` });
  await open((request, response) => {
    names.push(
      `${/Credential=([^/]+)/.exec(request.headers.authorization!)?.[1]} ${String(request.headers['x-amz-security-token'])}`,
    );
    if (names.length === 4) response.writeHead(400);
    response.end('{}');
  }, credentials);
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    await send();
    await send();
    vi.advanceTimersByTime(1000);
    await send();
    await expect(send()).rejects.toThrow();
    await send();
  } finally {
    vi.useRealTimers();
  }
  const [first, second, third] = [1, 2, 3].map((n) => `key-${n} token-${n}`);
  expect(names).toEqual([first, first, second, second, third]);
});

test('credentials that cannot be found end the call, and the next one asks again', async () => {
  let isThere = false;
  await open(empty, () =>
    isThere
      ? Promise.resolve({ accessKeyId: 'a', secretAccessKey: 'b' })
      : Promise.reject(Object.assign(new Error('none'), { name: 'CredentialsProviderError' })),
  );
  await expect(send()).rejects.toMatchObject({ name: 'CredentialsProviderError' });
  isThere = true;
  expect(await send()).toEqual({});
});

test('an endpoint that cannot be found ends the call, and the next one looks for it again', async () => {
  await open(empty);
  const { port } = server.address() as AddressInfo;
  http.close();
  let asked = 0;
  http = new Http({
    region: 'eu-central-1',
    endpoint: () =>
      asked++ === 0
        ? Promise.reject(new Error('no credentials'))
        : Promise.resolve(new URL(`http://127.0.0.1:${port}`)),
    credentials: () => Promise.resolve({ accessKeyId: 'a', secretAccessKey: 'b' }),
  });
  await expect(send()).rejects.toThrow('no credentials');
  expect(await send()).toEqual({});
});
