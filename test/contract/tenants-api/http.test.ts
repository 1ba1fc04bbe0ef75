import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dynamo } from '../../../services/dynamo/dynamo.js';
import type { Log } from '../../../services/kernel/kernel.js';
import { quotaKinds } from '../../../services/tenancy/tenancy.js';
import { Problem, type ProblemCode, problemResponse, problems } from '../../../tenants-api/problems.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { openApi, operatorKey, type TestApi } from './api.js';

let dynalite: Dynalite;
let dynamo: Dynamo;
let api: TestApi;
const lines: string[] = [];
const write = (fields: object, message: string): void => void lines.push(JSON.stringify({ ...fields, message }));
const log: Log = { debug: write, info: write, warn: write, error: write };

beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
  api = openApi(dynamo, {}, log);
});
afterAll(async () => await dynalite.stop());

describe('problems', () => {
  it('keep their code and status: scripts rely on both', () => {
    const statuses = Object.fromEntries(Object.entries(problems).map(([code, { status }]) => [code, status]));
    expect(statuses).toEqual({
      'malformed-json': 400,
      unauthenticated: 401,
      'operator-only': 403,
      'tenant-only': 403,
      'tenant-suspended': 403,
      'path-not-found': 404,
      'tenant-not-found': 404,
      'key-not-found': 404,
      'credential-not-found': 404,
      'session-not-found': 404,
      'method-not-allowed': 405,
      'tenant-name-taken': 409,
      'credential-name-taken': 409,
      'last-key': 409,
      'too-many-keys': 409,
      'body-too-large': 413,
      'not-json': 415,
      'invalid-request': 422,
      'invalid-cursor': 422,
      'too-many-sign-ups': 429,
      internal: 500,
      unavailable: 503,
      'not-ready': 503,
    });
  });

  it.each(Object.keys(problems) as ProblemCode[])('%s is an answer of the registered form', async (code) => {
    const response = problemResponse(new Problem(code, { detail: 'why', retryAfterSeconds: 3 }));
    const { status, title } = problems[code];
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await response.json()).toEqual({ type: `urn:shoal:problem:${code}`, title, status, code, detail: 'why' });
  });
});

describe('the guide for users', () => {
  const guide = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8')
    .replaceAll(/ +/g, ' ')
    .split('\n');

  it.each(Object.entries(problems))('lists %s under its status', (code, { status }) => {
    expect(guide.some((line) => line.startsWith(`| ${status} |`) && line.includes(`\`${code}\``))).toBe(true);
  });

  it.each(quotaKinds)('lists the quota $kind with its unit', ({ kind, unit }) => {
    expect(guide.some((line) => line.startsWith(`| \`${kind}\` |`) && line.includes(unit))).toBe(true);
  });
});

describe('HTTP', () => {
  const json = 'application/json';
  it.each([
    ['GET', '/nowhere', undefined, 404, 'path-not-found'],
    ['GET', '/v1', undefined, 404, 'path-not-found'],
    ['GET', '/v1/tenants/acme/nothing', undefined, 404, 'path-not-found'],
    ['GET', '/docs/../package.json', undefined, 404, 'path-not-found'],
    ['GET', '/docs/package.json', undefined, 404, 'path-not-found'],
    ['GET', '/v1/tenants', undefined, 405, 'method-not-allowed'],
    ['PATCH', '/v1/tenants/acme', undefined, 405, 'method-not-allowed'],
    ['POST', '/v1/tenants', ['{"name":', json], 400, 'malformed-json'],
    ['POST', '/v1/tenants', ['', json], 400, 'malformed-json'],
    ['POST', '/v1/tenants', ['name=acme', 'application/x-www-form-urlencoded'], 415, 'not-json'],
    ['POST', '/v1/tenants', ['{"name":"acme"}', 'text/plain'], 415, 'not-json'],
    ['POST', '/v1/tenants', ['{"name":"acme"}', 'application/jsonx'], 415, 'not-json'],
    ['POST', '/v1/tenants', undefined, 422, 'invalid-request'],
    ['POST', '/v1/tenants', ['"acme"', json], 422, 'invalid-request'],
    ['POST', '/v1/tenants', [`{"name":"${'x'.repeat(65_536)}"}`, json], 413, 'body-too-large'],
    ['POST', '/v1/tenants/acme/credentials', ['x'.repeat(65_537), json], 413, 'body-too-large'],
    ['POST', '/v1/tenants/acme/credentials', ['{}', json], 401, 'unauthenticated'],
  ] as const)('%s %s with %j answers %i', async (method, path, raw, status, code) => {
    const answer = await api.call(method, path, raw === undefined ? {} : { raw });
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    if (status === 405) expect(answer.headers.get('allow')).toMatch(/^[A-Z, ]+$/);
  });

  it('takes a body of 64 KiB, and a charset', async () => {
    const body = `{"name":"full-size"${' '.repeat(65_536 - 20)}}`;
    expect(body).toHaveLength(65_536);
    const raw = [body, 'application/json; charset=utf-8'] as const;
    expect((await api.call('POST', '/v1/tenants', { raw })).status).toBe(201);
  });

  it('says what a path allows', async () => {
    const { headers } = await api.call('PUT', '/v1/tenants/acme/credentials/x');
    expect(headers.get('allow')!.split(', ').sort()).toEqual(['DELETE', 'GET', 'HEAD', 'PATCH']);
  });

  it('answers are not cached and not sniffed', async () => {
    const { headers } = await api.call('GET', '/v1/tenants/acme', { key: operatorKey });
    expect(headers.get('cache-control')).toBe('no-store');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('logs one line a request and never a secret', async () => {
    lines.length = 0;
    const { body } = await api.call('POST', '/v1/tenants', { json: { name: 'logged' } });
    const key = body.apiKey as string;
    const password = 'never to be seen';
    const path = '/v1/tenants/logged/credentials';
    const created = await api.call('POST', path, { key, json: { name: 'a' } });
    await api.call('POST', path, { key, json: { name: 'b', password } });
    await api.call('POST', path, { key, json: { name: 'b', password: 'short one', pasword: password } });
    await api.call('GET', `${path}?limit=1&cursor=${key}`, { key });
    await api.call('GET', '/v1/tenants/logged', { key: operatorKey });
    expect(lines).toHaveLength(6);
    expect(JSON.parse(lines[1]!)).toEqual({
      method: 'POST',
      path,
      status: 201,
      durationMs: 0,
      source: '192.0.2.1',
      message: 'request',
    });
    for (const secret of [key, password, created.body.password, operatorKey, 'short one'])
      expect(lines.join('\n')).not.toContain(secret);
  });
});

describe('the description', () => {
  it('is OpenAPI 3.1 with every route, made of the schemas that validate', async () => {
    const { status, body } = await api.call('GET', '/openapi.json');
    expect([status, body.openapi]).toEqual([200, '3.1.0']);
    const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'DELETE /v1/tenants/{id}',
      'DELETE /v1/tenants/{id}/credentials/{name}',
      'DELETE /v1/tenants/{id}/keys/{keyId}',
      'DELETE /v1/tenants/{id}/sessions/{clientId}',
      'GET /v1/tenants/{id}',
      'GET /v1/tenants/{id}/credentials',
      'GET /v1/tenants/{id}/credentials/{name}',
      'GET /v1/tenants/{id}/keys',
      'GET /v1/tenants/{id}/quotas',
      'GET /v1/tenants/{id}/sessions',
      'PATCH /v1/tenants/{id}/credentials/{name}',
      'POST /v1/tenants',
      'POST /v1/tenants/{id}/credentials',
      'POST /v1/tenants/{id}/credentials/{name}/rotate',
      'POST /v1/tenants/{id}/keys',
      'PUT /v1/tenants/{id}/quotas',
    ]);
    const operations = Object.values(body.paths as Record<string, Record<string, { operationId?: string }>>)
      .flatMap((methods) => Object.values(methods))
      .map(({ operationId }) => operationId);
    for (const name of operations) expect(name).toMatch(/^[a-z]+[A-Za-z]+$/);
    expect(new Set(operations).size).toBe(routes.length);
    const { schemas } = body.components;
    expect(schemas.SignUp).toMatchObject({ additionalProperties: false, required: ['name'] });
    expect(schemas.Grant.properties.action.enum).toEqual(['publish', 'subscribe', 'all']);
    expect(Object.keys(schemas.QuotaChange.properties)).toHaveLength(10);
    expect(schemas.QuotaChange.required).toBeUndefined();
    expect(body.paths['/v1/tenants'].post.responses['429'].description).toContain('too-many-sign-ups');
  });

  it('is browsable with nothing from elsewhere', async () => {
    const page = await api.call('GET', '/docs');
    expect(page.status).toBe(200);
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self'");
    const links = [...(page.body as string).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link!);
    expect(links).toHaveLength(4);
    for (const link of links) {
      expect(link).toMatch(/^\/docs\/[\w.-]+$/);
      const asset = await api.call('GET', link);
      expect([asset.status, asset.body.length > 50], link).toEqual([200, true]);
      expect(asset.headers.get('content-type')).toMatch(/^(text\/(css|javascript)|image\/png)/);
    }
    expect(page.body).not.toMatch(/<script>|onload=|style=/);
  });
});

describe('the way to the docs', () => {
  it.each(['/', '/docs/'])('%s leads there', async (path) => {
    const { status, headers } = await api.call('GET', path);
    expect([status, headers.get('location')]).toEqual([302, '/docs']);
  });
});

describe('health', () => {
  it('is 200 only when every part is ready', async () => {
    const good = await api.call('GET', '/healthz');
    expect([good.status, good.body]).toEqual([200, { ok: true, parts: { dynamodb: 'ok' } }]);
    const parts = { dynamodb: 'ok', broker: 'starting' };
    const starting = openApi(dynamo, { health: () => Promise.resolve({ ok: false, parts }) });
    const bad = await starting.call('GET', '/healthz');
    expect([bad.status, bad.headers.get('retry-after')]).toEqual([503, '1']);
    expect(bad.body).toMatchObject({ code: 'not-ready', ok: false, parts });
  });
});

describe('without its database', () => {
  it.each([
    ['that is out of reach', undefined, 'unavailable', '1'],
    ['that throttles', [400, 'ThrottlingException'], 'unavailable', '1'],
    ['whose tables are missing', [400, 'ResourceNotFoundException'], 'unavailable', '30'],
    ['that refuses the request', [400, 'ValidationException'], 'internal', null],
  ] as const)('%s the API answers so, without inner workings', async (_, answer, code, retryAfter) => {
    const server: Server = createServer((_request, response) => {
      response.writeHead(answer?.[0] ?? 500, { 'content-type': 'application/x-amz-json-1.0' });
      response.end(JSON.stringify({ __type: `com.amazonaws#${answer?.[1]}`, message: 'inner workings' }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    if (answer === undefined) await new Promise((resolve) => server.close(resolve));
    const broken = new Dynamo({ endpoint, region: 'eu-central-1', tablePrefix: 'x-', requestTimeoutMs: 500 });
    lines.length = 0;
    const down = openApi(broken, {}, log);
    const { status, body, headers } = await down.call('POST', '/v1/tenants', { json: { name: 'acme' } });
    expect([status, body.code, headers.get('retry-after')]).toEqual([
      code === 'internal' ? 500 : 503,
      code,
      retryAfter,
    ]);
    expect(JSON.stringify(body)).not.toMatch(/inner workings|\.ts|DynamoDB/);
    expect(lines.join('\n')).toContain('DynamoDB');
    broken.close();
    server.close();
  });
});
