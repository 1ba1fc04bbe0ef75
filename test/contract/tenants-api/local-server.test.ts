import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { serveApi, type ServedApi } from '../../../tenants-api/entry/local.js';
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

function serve(port = 0): Promise<ServedApi> {
  const endpoints = { api: 'http://127.0.0.1' };
  const signUp = { perMinute: 1 };
  const options = { dynamo, clock: systemClock, endpoints, operatorKey: 'op', signUp, health, log: silentLog };
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
});
