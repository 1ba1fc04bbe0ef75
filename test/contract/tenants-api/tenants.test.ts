import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Dynamo, TableName } from '../../../services/dynamo/dynamo.js';
import type { ClientId, TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import {
  clientPartition,
  routeKey,
  formatApiKey,
  generateApiKeyParts,
  hashSecret,
  sessionKey,
  sharedPartition,
  usagePartition,
} from '../../../services/tenancy/tenancy.js';
import { createTenant } from '../../../tenants-api/store/tenants.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { scopeOfName } from '../../support/scope.js';
import { openApi, operatorKey, type ReadAnswer } from './api.js';
import { entries, type EntryApi } from './entries.js';

let dynalite: Dynalite;
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(() => dynalite.stop());

describe.each(entries)('$name', (entry) => {
  let dynamo: Dynamo;
  let api: EntryApi;
  beforeAll(async () => {
    dynamo = await dynalite.open();
    api = await entry.open({ endpoint: dynalite.endpoint, dynamo });
  });
  afterAll(() => api.close());

  describe('sign-up', () => {
    it('answers with the tenant, its first key and the endpoints', async () => {
      const { status, body, headers } = await api.call('POST', '/v1/tenants', { json: { name: 'acme' } });
      expect(status).toBe(201);
      expect(body).toEqual({
        id: 'acme',
        plan: 'free',
        apiKey: expect.stringMatching(/^shoal_acme_[a-z0-9]{10}[\w-]{32}$/),
        endpoints: { mqtts: 'mqtts://127.0.0.1:8883', api: 'http://127.0.0.1:8080' },
      });
      expect(headers.get('location')).toBe('/v1/tenants/acme');
      const read = await api.call('GET', '/v1/tenants/acme', { key: body.apiKey });
      expect(read.status).toBe(200);
      expect(read.body).toMatchObject({
        id: 'acme',
        plan: 'free',
        status: 'active',
        createdAt: '2026-11-21T10:00:00.000Z',
      });
    });

    it('gives a name to one, even when several ask at once, and leaves nothing of the others', async () => {
      const calls = Array.from({ length: 8 }, () => api.call('POST', '/v1/tenants', { json: { name: 'contested' } }));
      const answers = await Promise.all(calls);
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 7 }, () => 409)]);
      expect(answers.find(({ status }) => status === 409)!.body.code).toBe('tenant-name-taken');
      const rows = await dynamo.query('tenants', { pk: 'contested' });
      expect(rows.items).toHaveLength(1);
      expect(Object.keys(rows.items[0]!).filter((name) => name.startsWith('key#'))).toHaveLength(1);
    });

    it.each([
      ['constructor', /cannot be a tenant name/],
      ['__proto__', /a-z, 0-9 and -/],
      ['---', /begin and end with a letter or a digit/],
      ['-acme', /begin and end with a letter or a digit/],
      ['acme-', /begin and end with a letter or a digit/],
    ])('refuses %s and says why', async (name, why) => {
      const raw = [`{"name":${JSON.stringify(name)}}`, 'application/json'] as const;
      const { status, body } = await api.call('POST', '/v1/tenants', { raw });
      expect([status, body.code, body.errors]).toEqual([
        422,
        'invalid-request',
        [{ field: 'name', message: expect.stringMatching(why) as string }],
      ]);
    });

    it.each(['constructor', '---', '-acme', 'acme-'])(
      'lets a tenant go on that has the name %s already',
      async (name) => {
        const id = name as TenantId;
        const key = generateApiKeyParts(id);
        const apiKey = { id: key.keyId, secretHash: await hashSecret(key.secret, 'generated'), createdAtMs: 1 };
        const tenant = { id, plan: 'free', status: 'active', quotaOverrides: {}, createdAtMs: 1 } as const;
        expect(await createTenant(dynamo, tenant, apiKey)).toBe(true);
        const path = `/v1/tenants/${name}`;
        const credential = { key: formatApiKey(key), json: { name: 'constructor' } };
        const created = await api.call('POST', `${path}/credentials`, credential);
        expect([created.status, created.body.username]).toEqual([201, `constructor@${name}`]);
        for (const list of ['keys', 'credentials', 'sessions'])
          expect((await api.call('GET', `${path}/${list}`, { key: formatApiKey(key) })).status, list).toBe(200);
        expect((await api.call('GET', `${path}/quotas`, { key: operatorKey })).status).toBe(200);
        expect((await api.call('DELETE', path, { key: formatApiKey(key) })).status).toBe(204);
      },
    );

    it.each(['ab', 'x'.repeat(33), 'Acme', 'a_b', 'a#b', 'a b', '', 'acmé', 5, null, undefined])(
      'refuses the name %j',
      async (name) => {
        const { status, body } = await api.call('POST', '/v1/tenants', { json: { name } });
        expect([status, body.code, body.errors[0].field]).toEqual([422, 'invalid-request', 'name']);
      },
    );

    it('is limited per source address and minute, but not for the operator', async () => {
      const limited = await entry.open({ endpoint: dynalite.endpoint, dynamo, signUpsPerMinute: 3 });
      onTestFinished(() => limited.close());
      limited.clock.advance(15_000);
      let n = 0;
      const tryFrom = (from: string, key?: string): Promise<ReadAnswer> =>
        limited.call('POST', '/v1/tenants', { json: { name: `limited-${n++}` }, from, ...(key && { key }) });
      for (let i = 0; i < 3; i++) expect((await tryFrom('127.51.100.7')).status).toBe(201);
      const refused = await tryFrom('127.51.100.7');
      expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([
        429,
        'too-many-sign-ups',
        '45',
      ]);
      expect((await tryFrom('127.51.100.7', operatorKey)).status).toBe(201);
      expect((await tryFrom('127.51.100.7', 'not-the-operator')).status).toBe(429);
      expect((await tryFrom('127.51.100.8')).status).toBe(201);
      limited.clock.advance(44_999);
      expect((await tryFrom('127.51.100.7')).headers.get('retry-after')).toBe('1');
      limited.clock.advance(1);
      expect((await tryFrom('127.51.100.7')).status).toBe(201);
    });

    // A socket on this machine has one IPv6 address.
    it.skipIf(entry.name === 'the local server')('counts the addresses of one IPv6 network together', async () => {
      const limited = await entry.open({ endpoint: dynalite.endpoint, dynamo, signUpsPerMinute: 1 });
      onTestFinished(() => limited.close());
      const tryFrom = async (from: string, name: string): Promise<number> =>
        (await limited.call('POST', '/v1/tenants', { json: { name }, from })).status;
      expect(await tryFrom('2001:db8:1:2::1', 'v6-a')).toBe(201);
      expect(await tryFrom('2001:db8:1:2:3:4:5:6', 'v6-b')).toBe(429);
      expect(await tryFrom('2001:db8:1:3::1', 'v6-c')).toBe(201);
    });
  });

  describe('one tenant', () => {
    it('does not exist for another one, which is told what it is told of a name that is free', async () => {
      const [one, other] = [await api.signUp(), await api.signUp()];
      for (const [method, path, json] of [
        ['GET', ''],
        ['DELETE', ''],
        ['GET', '/keys'],
        ['POST', '/keys'],
        ['DELETE', '/keys/aaaaaaaaaa'],
        ['GET', '/credentials'],
        ['POST', '/credentials', { name: 'x' }],
        ['GET', '/credentials/x'],
        ['PATCH', '/credentials/x', { grants: null }],
        ['POST', '/credentials/x/rotate'],
        ['DELETE', '/credentials/x'],
        ['GET', '/quotas'],
        ['PUT', '/quotas', {}],
        ['GET', '/sessions'],
        ['DELETE', '/sessions/x'],
      ] as const) {
        const answers = await Promise.all(
          [other.id, 'nobody-has-this', 'NOT A NAME'].map((id) =>
            api.call(method, `/v1/tenants/${encodeURIComponent(id)}${path}`, { key: one.key, ...(json && { json }) }),
          ),
        );
        for (const { status, body } of answers) {
          expect([status, body], `${method} ${path}`).toEqual([404, answers[0]!.body]);
          expect(body.code).toBe('tenant-not-found');
        }
      }
      expect((await api.call('GET', `/v1/tenants/${other.id}`, { key: other.key })).status).toBe(200);
    });

    it.each([
      ['no key', undefined],
      ['not a key', 'secret'],
      ['another secret', (key: string) => key.slice(0, -8) + 'AAAAAAAA'],
      ['another key id', (key: string) => key.replace(/_[a-z0-9]{10}/, '_aaaaaaaaaa')],
      ['an unknown tenant', (key: string) => key.replace(/^shoal_[^_]+/, 'shoal_nobody')],
      ['almost the operator key', `${operatorKey}x`],
    ] as const)('does not open to %s', async (_, token) => {
      const { id, key } = await api.signUp();
      const wrong = typeof token === 'function' ? token(key) : token;
      const { status, body, headers } = await api.call(
        'GET',
        `/v1/tenants/${id}`,
        wrong === undefined ? {} : { key: wrong },
      );
      expect([status, body.code, headers.get('www-authenticate')]).toEqual([401, 'unauthenticated', 'Bearer']);
    });

    it('is read by the operator, who does not act in its place', async () => {
      const { id } = await api.signUp();
      for (const path of ['', '/keys', '/credentials', '/quotas', '/sessions'])
        expect((await api.call('GET', `/v1/tenants/${id}${path}`, { key: operatorKey })).status, path).toBe(200);
      const acted = await api.call('POST', `/v1/tenants/${id}/credentials`, {
        key: operatorKey,
        json: { name: 'spy' },
      });
      expect([acted.status, acted.body.code]).toEqual([403, 'tenant-only']);
      for (const unknown of ['nobody-has-this', 'signup%23192.0.2.1', 'x'.repeat(3000)])
        expect((await api.call('GET', `/v1/tenants/${unknown}`, { key: operatorKey })).status).toBe(404);
    });

    it('that is suspended is told so, and nobody else is', async () => {
      const { id, key } = await api.signUp();
      await dynamo.update(
        'tenants',
        { pk: id, sk: 'meta' },
        { update: 'SET #s = :s', names: { '#s': 'status' }, values: { ':s': 'suspended' } },
      );
      const own = await api.call('GET', `/v1/tenants/${id}`, { key });
      expect([own.status, own.body.code]).toEqual([403, 'tenant-suspended']);
      const operator = await api.call('GET', `/v1/tenants/${id}`, { key: operatorKey });
      expect([operator.status, operator.body.status]).toEqual([200, 'suspended']);
    });
  });

  describe('deleting a tenant', () => {
    const shared = '$share/workers/jobs/#';

    /** Everything that a tenant leaves in the tables, written as brokers do. */
    async function fill(id: string, clients: number): Promise<void> {
      const tenant = await scopeOfName(dynamo, id);
      const clientIds = Array.from({ length: clients }, (_, i) => `client-${i}` as ClientId);
      const perClient = (sk: string) => clientIds.map((clientId) => ({ pk: clientPartition(tenant, clientId), sk }));
      const sessions = clientIds.map((clientId) => ({ ...sessionKey(tenant, clientId), owner: 'b1' }));
      await dynamo.batchWrite('sessions', sessions);
      const routes = (filter: string) =>
        clientIds.map((client) => ({ ...routeKey(tenant, client, filter), client, filter }));
      await dynamo.batchWrite('routes', [...routes('a/b'), ...routes('x'.repeat(1020))]);
      await dynamo.batchWrite('inbox', [...perClient('0001'), ...perClient('0002')]);
      // Two members of a shared subscription, whose queue no broker has open.
      await dynamo.batchWrite('routes', routes(shared).slice(0, 2));
      await dynamo.batchWrite('inbox', [{ pk: sharedPartition(tenant, shared), sk: 'm1' }]);
      const topics = Array.from({ length: 120 }, (_, i) => ({ pk: tenant, sk: `topic/${i}` }));
      await dynamo.batchWrite('retained', topics);
      await dynamo.batchWrite('usage', [{ pk: usagePartition(tenant, '2026-11'), sk: '2026-11-21' }]);
    }

    async function rowsOf(id: string, tenant: TenantScope, clients: number): Promise<number> {
      const partitions: [TableName, string][] = [
        ['tenants', id],
        ['tenants', tenant],
        ['retained', tenant],
        ['usage', usagePartition(tenant, '2026-11')],
        ['inbox', sharedPartition(tenant, shared)],
      ];
      for (let i = 0; i < clients; i++) {
        const clientId = `client-${i}` as ClientId;
        partitions.push(['routes', sessionKey(tenant, clientId).pk], ['inbox', clientPartition(tenant, clientId)]);
        partitions.push(['sessions', sessionKey(tenant, clientId).pk]);
      }
      const pages = await Promise.all(partitions.map(([table, pk]) => dynamo.query(table, { pk })));
      return pages.reduce((rows, { items }) => rows + items.length, 0);
    }

    it('removes all that it has and nothing of others, tells the brokers, and frees the name', async () => {
      const [gone, kept] = [await api.signUp(), await api.signUp()];
      for (const { id, key } of [gone, kept]) {
        await fill(id, 12);
        for (const name of ['a', 'b']) await api.call('POST', `/v1/tenants/${id}/credentials`, { key, json: { name } });
      }
      const [goneScope, keptScope] = [await scopeOfName(dynamo, gone.id), await scopeOfName(dynamo, kept.id)];
      const before = await rowsOf(kept.id, keptScope, 12);
      expect(await rowsOf(gone.id, goneScope, 12)).toBe(before);
      expect((await api.call('DELETE', `/v1/tenants/${gone.id}`, { key: gone.key })).status).toBe(204);
      expect(await rowsOf(gone.id, goneScope, 12)).toBe(0);
      expect(await rowsOf(kept.id, keptScope, 12)).toBe(before);
      const control = await dynamo.query('cluster', { pk: 'control' });
      // Entries of one millisecond by several writers have no order.
      const told = control.items.filter(({ tenant }) => tenant === gone.id);
      expect(told.at(-1)).toMatchObject({ type: 'tenant-changed', change: 'deleted' });
      expect((await api.call('GET', `/v1/tenants/${gone.id}`, { key: gone.key })).status).toBe(401);
      expect((await api.call('DELETE', `/v1/tenants/${gone.id}`, { key: operatorKey })).status).toBe(404);
      const again = await api.call('POST', '/v1/tenants', { json: { name: gone.id }, from: '127.0.113.1' });
      expect(again.status).toBe(201);
      expect((await api.call('GET', `/v1/tenants/${gone.id}`, { key: gone.key })).status).toBe(401);
    });

    it('that was cut off is finished by asking again; until then the name stays taken', async () => {
      const { id, key } = await api.signUp();
      const scope = await scopeOfName(dynamo, id);
      await fill(id, 3);
      await dynamo.update(
        'tenants',
        { pk: id, sk: 'meta' },
        { update: 'SET #s = :s', names: { '#s': 'status' }, values: { ':s': 'deleting' } },
      );
      expect((await api.call('GET', `/v1/tenants/${id}`, { key })).status).toBe(404);
      expect((await api.call('GET', `/v1/tenants/${id}`, { key: operatorKey })).status).toBe(404);
      const taken = await api.call('POST', '/v1/tenants', { json: { name: id }, from: '127.0.113.2' });
      expect([taken.status, taken.body.code]).toEqual([409, 'tenant-name-taken']);
      expect((await api.call('DELETE', `/v1/tenants/${id}`, { key })).status).toBe(204);
      expect(await rowsOf(id, scope, 3)).toBe(0);
    });

    it('catches what brokers write until they have heard of it', async () => {
      const { id, key } = await api.signUp();
      const scope = await scopeOfName(dynamo, id);
      const late = openApi(dynamo, {
        clock: {
          ...api.clock,
          after: (_delayMs, run) => {
            void dynamo.put('retained', { pk: scope, sk: 'late' }).then(run);
            return () => undefined;
          },
        },
      });
      expect((await late.call('DELETE', `/v1/tenants/${id}`, { key })).status).toBe(204);
      expect(await rowsOf(id, scope, 0)).toBe(0);
    });

    it('that takes too long for one request answers 202 and goes on with the next', async () => {
      const { id, key } = await api.signUp();
      await fill(id, 3);
      let nowMs = 0;
      const slow = openApi(dynamo, { clock: { ...api.clock, monotonicMs: () => (nowMs += 7000) } });
      const first = await slow.call('DELETE', `/v1/tenants/${id}`, { key });
      expect([first.status, first.headers.get('retry-after')]).toEqual([202, '1']);
      expect((await api.call('GET', `/v1/tenants/${id}`, { key })).status).toBe(404);
      expect((await api.call('DELETE', `/v1/tenants/${id}`, { key })).status).toBe(204);
    });
  });

  describe('API keys', () => {
    it('are created, listed without their secret, and stop when deleted', async () => {
      const { id, key } = await api.signUp();
      const path = `/v1/tenants/${id}/keys`;
      const created = await api.call('POST', path, { key });
      expect(created.status).toBe(201);
      const second = created.body.apiKey as string;
      expect((await api.call('GET', path, { key: second })).body.items).toHaveLength(2);
      expect(JSON.stringify((await api.call('GET', path, { key })).body)).not.toContain(second.slice(-32));
      expect((await api.call('DELETE', `${path}/${created.body.id}`, { key: second })).status).toBe(204);
      expect((await api.call('GET', path, { key: second })).status).toBe(401);
      expect((await api.call('GET', path, { key })).body.items).toHaveLength(1);
      const again = await api.call('DELETE', `${path}/${created.body.id}`, { key });
      expect([again.status, again.body.code]).toEqual([404, 'key-not-found']);
      expect((await api.call('DELETE', `${path}/no-such-key`, { key })).status).toBe(404);
    });

    it('never end with the last one, even when all are deleted at once', async () => {
      const { id, key } = await api.signUp();
      const path = `/v1/tenants/${id}/keys`;
      for (let i = 0; i < 3; i++) await api.call('POST', path, { key });
      const { items } = (await api.call('GET', path, { key })).body as { items: { id: string }[] };
      const keys = items.map(({ id: keyId }) => api.call('DELETE', `${path}/${keyId}`, { key: operatorKey }));
      const answers = await Promise.all(keys);
      expect(answers.map(({ status }) => status).sort()).toEqual([204, 204, 204, 409]);
      expect(answers.find(({ status }) => status === 409)!.body.code).toBe('last-key');
      const left = await api.call('GET', path, { key: operatorKey });
      expect(left.body.items).toHaveLength(1);
      const recovered = await api.call('POST', path, { key: operatorKey });
      expect((await api.call('GET', path, { key: recovered.body.apiKey })).status).toBe(200);
    });

    it('are bounded, and a refused one does not open anything', async () => {
      const { id, key } = await api.signUp();
      const path = `/v1/tenants/${id}/keys`;
      const answers = await Promise.all(Array.from({ length: 25 }, () => api.call('POST', path, { key })));
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(19);
      for (const { status, body } of answers)
        if (status !== 201) expect([status, body.code]).toEqual([409, 'too-many-keys']);
      const row = await dynamo.get('tenants', { pk: id, sk: 'meta' });
      expect(Object.keys(row!).filter((name) => name.startsWith('key#'))).toHaveLength(20);
    });
  });
});
