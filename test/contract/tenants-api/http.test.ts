import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Dynamo } from '../../../services/dynamo/dynamo.js';
import { quotaKinds } from '../../../services/tenancy/tenancy.js';
import { Problem, type ProblemCode, problemResponse, problems } from '../../../tenants-api/problems.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { until } from '../../support/until.js';
import { openApi, operatorKey } from './api.js';
import { entries, type EntryApi } from './entries.js';

const swagger = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'));

let dynalite: Dynalite;
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(() => dynalite.stop());

describe('problems', () => {
  it('keep their code and status: scripts rely on both', () => {
    const statuses = Object.fromEntries(Object.entries(problems).map(([code, { status }]) => [code, status]));
    expect(statuses).toEqual({
      'body-incomplete': 400,
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
      'broker-not-found': 404,
      'method-not-allowed': 405,
      'tenant-name-taken': 409,
      'credential-name-taken': 409,
      'last-key': 409,
      'last-broker': 409,
      'too-many-keys': 409,
      'too-many-credentials': 409,
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

describe('health', () => {
  it('is 503 while a part is not ready', async () => {
    const parts = { dynamodb: 'ok', broker: 'starting' };
    const starting = openApi(await dynalite.open(), { health: () => Promise.resolve({ ok: false, parts }) });
    const bad = await starting.call('GET', '/healthz');
    expect([bad.status, bad.headers.get('retry-after')]).toEqual([503, '1']);
    expect(bad.body).toMatchObject({ code: 'not-ready', ok: false, parts });
  });
});

describe.each(entries)('$name', (entry) => {
  let dynamo: Dynamo;
  let api: EntryApi;
  beforeAll(async () => {
    dynamo = await dynalite.open();
    api = await entry.open({ endpoint: dynalite.endpoint, dynamo });
  });
  afterAll(() => api.close());

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

    it.each([
      ['bytes that are no text', [Buffer.from([0xff, 0xfe, 0x00]), 'application/octet-stream'], 415, 'not-json'],
      ['bytes that are no JSON', [Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), json], 400, 'malformed-json'],
      ['a form', ['name=acme', 'application/x-www-form-urlencoded'], 415, 'not-json'],
    ] as const)('refuses %s', async (_, raw, status, code) => {
      const answer = await api.call('POST', '/v1/tenants', { raw });
      expect([answer.status, answer.body.code]).toEqual([status, code]);
    });

    it('reads JSON with characters of several bytes as it was sent', async () => {
      const { id, key } = await api.signUp();
      const grants = [{ effect: 'allow', action: 'all', topic: 'größe/東京/🦈' }];
      const { body } = await api.call('POST', `/v1/tenants/${id}/credentials`, { key, json: { name: 'x', grants } });
      expect(body.grants).toEqual(grants);
    });

    it('answers HEAD like GET, without a body', async () => {
      const { id, key } = await api.signUp();
      const { status, bytes, headers } = await api.call('HEAD', `/v1/tenants/${id}`, { key });
      expect([status, bytes.length, headers.get('content-type')]).toEqual([200, 0, json]);
      expect((await api.call('HEAD', '/nowhere')).status).toBe(404);
    });

    it('says in its answer to OPTIONS what a path allows', async () => {
      const { status, headers } = await api.call('OPTIONS', '/v1/tenants');
      expect([status, headers.get('allow')]).toEqual([405, 'POST']);
    });

    it('refuses a value that a query has twice', async () => {
      const { id, key } = await api.signUp();
      const answer = await api.call('GET', `/v1/tenants/${id}/keys?limit=1&limit=2`, { key });
      expect([answer.status, answer.body.code]).toEqual([422, 'invalid-request']);
    });

    it('takes headers in any case, twice, with cookies and with bytes above ASCII', async () => {
      const { id, key } = await api.signUp();
      const headers = [
        ['AUTHORIZATION', `bearer ${key}`],
        ['Accept', 'text/html'],
        ['accept', 'application/json'],
        ['Cookie', 'a=1; b=2'],
        ['X-Note', 'gr\u00fc\u00df'],
      ] as const;
      expect((await api.call('GET', `/v1/tenants/${id}`, { headers })).status).toBe(200);
    });

    it('ignores the body of a GET', async () => {
      const { id, key } = await api.signUp();
      expect((await api.call('GET', `/v1/tenants/${id}`, { key, json: {} })).status).toBe(200);
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
      const { lines } = api;
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
      await until(() => lines.length >= 6, 'six lines');
      expect(lines).toHaveLength(6);
      expect(JSON.parse(lines[1]!)).toEqual({
        method: 'POST',
        path,
        status: 201,
        durationMs: expect.any(Number),
        source: '127.0.0.1',
        level: 'info',
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
        'DELETE /v1/tenants/{id}/sessions',
        'DELETE /v1/tenants/{id}/sessions/{clientId}',
        'GET /v1/brokers',
        'GET /v1/tenants/{id}',
        'GET /v1/tenants/{id}/credentials',
        'GET /v1/tenants/{id}/credentials/{name}',
        'GET /v1/tenants/{id}/keys',
        'GET /v1/tenants/{id}/quotas',
        'GET /v1/tenants/{id}/sessions',
        'PATCH /v1/tenants/{id}/credentials/{name}',
        'POST /v1/brokers/{id}/drain',
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
      expect(Object.keys(schemas.QuotaChange.properties)).toHaveLength(19);
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
        const file = join(swagger, link.slice('/docs/'.length));
        if (existsSync(file)) expect(asset.bytes.equals(readFileSync(file)), link).toBe(true);
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
    it('is 200 while the database answers', async () => {
      const { status, body } = await api.call('GET', '/healthz');
      expect([status, body]).toEqual([200, { ok: true, parts: { dynamodb: 'ok' } }]);
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
      const down = await entry.open({ endpoint, dynamo: broken });
      onTestFinished(() => down.close());
      const { status, body, headers } = await down.call('POST', '/v1/tenants', { json: { name: 'acme' } });
      expect([status, body.code, headers.get('retry-after')]).toEqual([
        code === 'internal' ? 500 : 503,
        code,
        retryAfter,
      ]);
      expect(JSON.stringify(body)).not.toMatch(/inner workings|\.ts|DynamoDB/);
      await until(() => down.lines.join().includes('DynamoDB'), 'a line for the operator');
      broken.close();
      server.close();
    });
  });
});
