import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from 'aws-lambda';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
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

describe('the Lambda', () => {
  function event(
    method: string,
    path: string,
    change: { body?: string; base64?: boolean; ip?: string; key?: string } = {},
  ): APIGatewayProxyEventV2 {
    const [rawPath = '', rawQueryString = ''] = path.split('?');
    return {
      version: '2.0',
      routeKey: '$default',
      rawPath,
      rawQueryString,
      headers: {
        host: 'api.example.org',
        'x-forwarded-for': '10.1.1.1',
        ...(change.body !== undefined && { 'content-type': 'application/json' }),
        ...(change.key !== undefined && { authorization: `Bearer ${change.key}` }),
      },
      requestContext: {
        accountId: '1',
        apiId: 'a',
        domainName: 'api.example.org',
        domainPrefix: 'api',
        http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: change.ip ?? '203.0.113.5', userAgent: 'test' },
        requestId: 'r',
        routeKey: '$default',
        stage: '$default',
        time: '21/Nov/2026:10:00:00 +0000',
        timeEpoch: 0,
      },
      isBase64Encoded: change.base64 ?? false,
      ...(change.body !== undefined && {
        body: change.base64 ? Buffer.from(change.body).toString('base64') : change.body,
      }),
    };
  }

  type Handler = (event: APIGatewayProxyEventV2) => Promise<APIGatewayProxyStructuredResultV2>;

  async function load(env: Record<string, string> = {}): Promise<Handler> {
    vi.resetModules();
    vi.stubEnv('SHOAL_DYNAMODB_ENDPOINT', dynalite.endpoint);
    vi.stubEnv('SHOAL_TABLE_PREFIX', 'entries-');
    vi.stubEnv('AWS_REGION', 'eu-central-1');
    vi.stubEnv('SHOAL_ENDPOINTS', '{"mqtts":"mqtts://mqtt.example.org:8883","api":"https://api.example.org"}');
    vi.stubEnv('SHOAL_OPERATOR_KEY', 'operator');
    vi.stubEnv('SHOAL_SIGN_UPS_PER_MINUTE', '1');
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const module = (await import('../../../tenants-api/entry/lambda.js')) as unknown as { handler: Handler };
    vi.unstubAllEnvs();
    return (one) => module.handler(one);
  }

  it('answers events of an HTTP API, with the source address of the gateway', async () => {
    const handler = await load();
    const quiet = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const created = await handler(event('POST', '/v1/tenants', { body: '{"name":"lambda"}', base64: true }));
    expect(created.statusCode).toBe(201);
    const { apiKey, endpoints } = JSON.parse(created.body!) as { apiKey: string; endpoints: object };
    expect(endpoints).toEqual({ mqtts: 'mqtts://mqtt.example.org:8883', api: 'https://api.example.org' });
    const line = JSON.parse(String(quiet.mock.calls.at(-1)![0])) as object;
    expect(line).toMatchObject({ level: 'info', path: '/v1/tenants', status: 201, source: '203.0.113.5' });
    const elsewhere = await handler(event('POST', '/v1/tenants', { body: '{"name":"lambda2"}', ip: '203.0.113.6' }));
    expect(elsewhere.statusCode).toBe(201);
    const list = await handler(event('GET', '/v1/tenants/lambda/keys?limit=5', { key: apiKey }));
    expect([list.statusCode, (JSON.parse(list.body!) as { items: [] }).items.length]).toEqual([200, 1]);
    const encoded = await handler(event('DELETE', '/v1/tenants/lambda/sessions/a%2Fb', { key: apiKey }));
    expect((JSON.parse(encoded.body!) as { code: string }).code).toBe('session-not-found');
    const icon = await handler(event('GET', '/docs/favicon-32x32.png'));
    expect([icon.statusCode, icon.isBase64Encoded]).toEqual([200, true]);
    expect((await handler(event('GET', '/healthz'))).statusCode).toBe(200);
    quiet.mockRestore();
  });

  it.each([
    [{ SHOAL_OPERATOR_KEY: '' }, 'SHOAL_OPERATOR_KEY is not set'],
    [{ SHOAL_ENDPOINTS: 'mqtts://here' }, 'SHOAL_ENDPOINTS is not JSON'],
    [{ SHOAL_SIGN_UPS_PER_MINUTE: 'few' }, 'SHOAL_SIGN_UPS_PER_MINUTE is few, not a number'],
    [{ SHOAL_DYNAMODB_ENDPOINT: 'localhost:8000' }, 'localhost:8000 is not a URL'],
  ])('does not start without what it needs, and says what: %j', async (env, words) => {
    await expect(load(env)).rejects.toThrow(words);
  });
});
