/** The connections that requests take, the clock that they are signed by, and whose name they carry. Real sockets. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Http } from '../../../services/dynamo/http.js';
import type { Credentials } from '../../../services/dynamo/signature.js';

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
  http = new Http({ region: 'eu-central-1', endpoint, credentials, connectionsMax: 3, connectTimeoutMs: 10_000 });
  return seen;
}

const send = (): Promise<unknown> => http.send('GetItem', {}, new AbortController().signal);
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
  await Promise.all(Array.from({ length: 51 }, send));
  expect([seen.sockets, most]).toEqual([3, 3]);
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

test('credentials are asked for with each call, since they are renewed', async () => {
  const names: string[] = [];
  let asked = 0;
  const credentials = (): Promise<Credentials> =>
    Promise.resolve({ accessKeyId: `key-${++asked}`, secretAccessKey: 'b', sessionToken: `token-${asked}` });
  await open((request, response) => {
    names.push(
      `${/Credential=([^/]+)/.exec(request.headers.authorization!)?.[1]} ${String(request.headers['x-amz-security-token'])}`,
    );
    response.end('{}');
  }, credentials);
  await send();
  await send();
  expect(names).toEqual(['key-1 token-1', 'key-2 token-2']);
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
    connectionsMax: 3,
    connectTimeoutMs: 10_000,
  });
  await expect(send()).rejects.toThrow('no credentials');
  expect(await send()).toEqual({});
});
