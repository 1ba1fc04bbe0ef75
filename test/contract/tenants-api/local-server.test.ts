import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Log, silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { serveApi, type ServedApi } from '../../../tenants-api/entry/local.js';
import { until } from '../../support/until.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';

let dynalite: Dynalite;
let dynamo: Dynamo;
beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open({ tablePrefix: 'entries-' });
});
afterAll(async () => await dynalite.stop());

const health = (): Promise<{ ok: true; parts: Record<string, string> }> => Promise.resolve({ ok: true, parts: {} });

function serve(port = 0, log: Log = silentLog): Promise<ServedApi> {
  const endpoints = { api: 'http://127.0.0.1' };
  const signUp = { perMinute: 1 };
  const options = { dynamo, clock: systemClock, endpoints, operatorKey: 'op', signUp, health, log };
  return serveApi({ host: '127.0.0.1', port, ...options });
}

async function signUp(url: string, name: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', 'x-forwarded-for': `10.0.0.${name.length}` };
  return await fetch(`${url}/v1/tenants`, { method: 'POST', headers, body: JSON.stringify({ name }) });
}

describe('the local server', () => {
  it('serves on a free port, limits sign-ups by the socket and not by a header, and closes', async () => {
    const api = await serve();
    const url = `http://127.0.0.1:${api.port}`;
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const answers = [await signUp(url, 'one'), await signUp(url, 'four'), await signUp(url, 'three')];
    // A minute may end in between, so that two get through.
    expect(answers[0]!.status).toBe(201);
    expect(answers.map(({ status }) => status)).toContain(429);
    await api.close();
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  it('closes although a client holds its connection open', async () => {
    const api = await serve();
    const socket = connect(api.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write('GET /healthz HTTP/1.1\r\n');
    await api.close();
    socket.destroy();
  });

  it('rejects when its port is in use', async () => {
    const api = await serve();
    await expect(serve(api.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await api.close();
  });

  it('takes a POST without a body and without a type, as `curl -X POST` sends it', async () => {
    const api = await serve();
    const url = `http://127.0.0.1:${api.port}`;
    const headers = { 'content-type': 'application/json', authorization: 'Bearer op' };
    await fetch(`${url}/v1/tenants`, { method: 'POST', headers, body: '{"name":"bodyless"}' });
    const socket = connect(api.port, '127.0.0.1');
    socket.write(
      'POST /v1/tenants/bodyless/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer op\r\nConnection: close\r\n\r\n',
    );
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toMatch(/^HTTP\/1.1 201 /);
    await api.close();
  });

  it('refuses a large body that does not tell its length', async () => {
    const api = await serve();
    const chunk = new TextEncoder().encode('x'.repeat(16_384));
    let chunks = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => (chunks++ < 8 ? controller.enqueue(chunk) : controller.close()),
    });
    const headers = { 'content-type': 'application/json' };
    const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
    expect((await fetch(`http://127.0.0.1:${api.port}/v1/tenants`, init)).status).toBe(413);
    await api.close();
  });

  /** How a client goes, in the middle of its body. */
  const goings: readonly [string, (socket: Socket) => void][] = [
    ['resets its connection', (socket) => socket.resetAndDestroy()],
    ['closes its connection', (socket) => socket.destroy()],
    ['ends its half of the connection', (socket) => socket.end()],
  ];
  const bodies: readonly [string, string, string][] = [
    ['JSON', 'Content-Type: application/json\r\nContent-Length: 100', '{"name":'],
    ['another type', 'Content-Type: text/plain\r\nContent-Length: 100', 'name'],
    ['chunks', 'Content-Type: application/json\r\nTransfer-Encoding: chunked', '8\r\n{"name":\r\n'],
  ];
  it.each(goings.flatMap(([how, go]) => bodies.map((body) => [how, ...body, go] as const)))(
    'says in one quiet line that a client %s in the middle of a body (%s)',
    async (_how, _what, head, part, go) => {
      const lines: [level: string, fields: object, message: string][] = [];
      const at = (level: string) => (fields: object, message: string) => void lines.push([level, fields, message]);
      const api = await serve(0, { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') });
      const socket = connect(api.port, '127.0.0.1');
      socket.on('error', () => undefined);
      let heard = '';
      socket.on('data', (chunk) => (heard += String(chunk)));
      socket.write(`POST /v1/tenants HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${head}\r\n\r\n`);
      await until(() => heard.includes('100 Continue'), 'that the body is asked for');
      await new Promise((resolve) => socket.write(part, resolve));
      go(socket);
      await until(() => lines.length > 0, 'the line of the access log');
      await api.close();
      socket.destroy();
      expect(lines).toEqual([['info', expect.objectContaining({ path: '/v1/tenants', status: 400 }), 'request']]);
    },
  );
});
