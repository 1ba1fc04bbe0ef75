import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { controlFromItem, credentialFromItem, verifySecret } from '../../../services/tenancy/tenancy.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { scopeOfName } from '../../support/scope.js';
import { operatorKey } from './api.js';
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
    tenant = await api.signUp();
    path = `/v1/tenants/${tenant.id}/credentials`;
  });
  afterAll(() => api.close());

  let tenant: { id: string; key: string };
  let path: string;
  const grants = [{ effect: 'allow', action: 'publish', topic: 'telemetry/${clientid}/#' }];

  async function stored(name: string): Promise<ReturnType<typeof credentialFromItem>> {
    return credentialFromItem(
      (await dynamo.get('tenants', { pk: await scopeOfName(dynamo, tenant.id), sk: `cred#${name}` }))!,
    );
  }

  async function controlEntries(name: string): Promise<unknown[]> {
    const { items } = await dynamo.query('cluster', { pk: 'control' });
    const entries = items.map(controlFromItem).filter((entry) => entry?.type === 'credential-changed');
    return entries.filter((entry) => entry.tenant === tenant.id && entry.name === name).map(({ change }) => change);
  }

  describe('a credential', () => {
    it('is created with a password that is shown once and stored hashed', async () => {
      const { status, body, headers } = await api.call('POST', path, {
        key: tenant.key,
        json: { name: 'sensor-1', grants },
      });
      expect(status).toBe(201);
      expect(body).toEqual({
        name: 'sensor-1',
        username: `sensor-1@${tenant.id}`,
        password: expect.stringMatching(/^[\w-]{32}$/),
        grants,
        createdAt: '2026-11-21T10:00:00.000Z',
      });
      expect(headers.get('location')).toBe(`${path}/sensor-1`);
      const { secretHash } = await stored('sensor-1');
      expect(await verifySecret(body.password, secretHash)).toBe(true);
      const { password: _, ...view } = body;
      expect((await api.call('GET', `${path}/sensor-1`, { key: tenant.key })).body).toEqual(view);
      const rows = await dynamo.query('tenants', { pk: await scopeOfName(dynamo, tenant.id) });
      expect(JSON.stringify(rows.items)).not.toContain(body.password);
    });

    it('takes a password of the caller, hashed the slow way', async () => {
      const password = 'correct horse battery';
      const { status, body } = await api.call('POST', path, { key: tenant.key, json: { name: 'chosen', password } });
      expect([status, body.password, body.grants]).toEqual([201, password, null]);
      const { secretHash, grants: storedGrants } = await stored('chosen');
      expect(secretHash).toMatch(/^scrypt\$/);
      expect(await verifySecret(password, secretHash)).toBe(true);
      expect(storedGrants).toBeUndefined();
    });

    it('gives its name to one, even when several ask at once', async () => {
      const calls = Array.from({ length: 5 }, () =>
        api.call('POST', path, { key: tenant.key, json: { name: 'once' } }),
      );
      const answers = await Promise.all(calls);
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409, 409]);
      expect(answers.find(({ status }) => status === 409)!.body.code).toBe('credential-name-taken');
    });

    it.each([
      ['no name', {}, 'name'],
      ['a bad name', { name: 'a/b' }, 'name'],
      ['a dot', { name: '..' }, 'name'],
      ['a long name', { name: 'x'.repeat(65) }, 'name'],
      ['a short password', { name: 'x', password: 'elevenchars' }, 'password'],
      ['a long password', { name: 'x', password: 'x'.repeat(257) }, 'password'],
      ['an unknown field', { name: 'x', pasword: 'correct horse battery' }, 'pasword'],
      ['grants that are not a list', { name: 'x', grants: {} }, 'grants'],
      ['an unknown effect', { name: 'x', grants: [{ ...grants[0], effect: 'maybe' }] }, 'grants.0.effect'],
      ['an unknown action', { name: 'x', grants: [{ ...grants[0], action: 'read' }] }, 'grants.0.action'],
      ['a bad filter', { name: 'x', grants: [grants[0], { ...grants[0], topic: 'a/#/b' }] }, 'grants.1.topic'],
      ['a filter too deep', { name: 'x', grants: [{ ...grants[0], topic: 'a/'.repeat(128) }] }, 'grants.0.topic'],
      ['an unknown variable', { name: 'x', grants: [{ ...grants[0], topic: '${device}' }] }, 'grants.0.topic'],
      ['a field too many in a grant', { name: 'x', grants: [{ ...grants[0], qos: 1 }] }, 'grants.0.qos'],
      ['too many grants', { name: 'x', grants: Array.from({ length: 101 }, () => grants[0]) }, 'grants'],
    ])('is refused with %s', async (_, json, field) => {
      const { status, body } = await api.call('POST', path, { key: tenant.key, json });
      expect([status, body.code]).toEqual([422, 'invalid-request']);
      expect(body.errors).toContainEqual({ field, message: expect.stringMatching(/./) });
    });

    it('changes its grants, with null back to everything and [] to nothing, and tells the brokers', async () => {
      const name = 'changing';
      await api.call('POST', path, { key: tenant.key, json: { name, grants } });
      const denied = await api.call('PATCH', `${path}/${name}`, { key: tenant.key, json: { grants: [] } });
      expect([denied.status, denied.body.grants]).toEqual([200, []]);
      expect(await stored(name)).toMatchObject({ grants: [], revision: 2 });
      const open = await api.call('PATCH', `${path}/${name}`, { key: tenant.key, json: { grants: null } });
      expect([open.status, open.body.grants]).toEqual([200, null]);
      expect((await stored(name)).grants).toBeUndefined();
      expect(await controlEntries(name)).toEqual(['grants', 'grants']);
      const wrong = await api.call('PATCH', `${path}/${name}`, { key: tenant.key, json: {} });
      expect(wrong.status).toBe(422);
      expect(await controlEntries(name)).toHaveLength(2);
    });

    it('gets a new password, made or given, and the old one stops', async () => {
      const name = 'rotating';
      const { body: created } = await api.call('POST', path, { key: tenant.key, json: { name, grants } });
      const rotated = await api.call('POST', `${path}/${name}/rotate`, { key: tenant.key });
      expect([rotated.status, rotated.body.grants]).toEqual([200, grants]);
      const made = await stored(name);
      expect(await verifySecret(rotated.body.password, made.secretHash)).toBe(true);
      expect(await verifySecret(created.password, made.secretHash)).toBe(false);
      const password = 'given by the caller';
      const given = await api.call('POST', `${path}/${name}/rotate`, { key: tenant.key, json: { password } });
      expect(given.body.password).toBe(password);
      expect(await verifySecret(password, (await stored(name)).secretHash)).toBe(true);
      expect((await stored(name)).revision).toBe(3);
      expect(await controlEntries(name)).toEqual(['rotated', 'rotated']);
      const short = await api.call('POST', `${path}/${name}/rotate`, { key: tenant.key, json: { password: 'short' } });
      expect(short.status).toBe(422);
      const unknown = await api.call('POST', `${path}/${name}/rotate`, {
        key: tenant.key,
        json: { pasword: password },
      });
      expect(unknown.status).toBe(422);
    });

    it('is deleted, and the brokers are told again when the request is repeated', async () => {
      const name = 'leaving@home';
      await api.call('POST', path, { key: tenant.key, json: { name } });
      const one = `${path}/${encodeURIComponent(name)}`;
      expect((await api.call('DELETE', one, { key: tenant.key })).status).toBe(204);
      expect((await api.call('GET', one, { key: tenant.key })).status).toBe(404);
      const again = await api.call('DELETE', one, { key: tenant.key });
      expect([again.status, again.body.code]).toEqual([404, 'credential-not-found']);
      expect(await controlEntries(name)).toEqual(['deleted', 'deleted']);
    });

    it.each([
      ['GET', '', undefined],
      ['PATCH', '', { grants: null }],
      ['POST', '/rotate', undefined],
      ['DELETE', '', undefined],
    ])('that is not there answers %s%s with 404', async (method, suffix, json) => {
      for (const name of ['nobody', 'a%2Bb', 'x'.repeat(2000)]) {
        const call = await api.call(method, `${path}/${name}${suffix}`, { key: tenant.key, ...(json && { json }) });
        expect([call.status, call.body.code]).toEqual([404, 'credential-not-found']);
      }
      expect(await stored('sensor-1')).toMatchObject({ revision: 1 });
    });

    it('cannot be named with a slash, which is one of the path where a gateway has decoded it', async () => {
      const { status, body } = await api.call('GET', `${path}/a%2Fb`, { key: tenant.key });
      expect(status).toBe(404);
      expect(['credential-not-found', 'path-not-found']).toContain(body.code);
    });
  });

  describe('the list of credentials', () => {
    it('comes in pages, by name, each once', async () => {
      const many = await api.signUp();
      const all = Array.from({ length: 7 }, (_, i) => `c${i}`);
      const list = `/v1/tenants/${many.id}/credentials`;
      for (const name of all.toReversed()) await api.call('POST', list, { key: many.key, json: { name } });
      const names: string[] = [];
      const sizes: number[] = [];
      for (let cursor: string | undefined = ''; cursor !== undefined;) {
        const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
        const { status, body } = await api.call('GET', `${list}?limit=3${query}`, { key: many.key });
        expect(status).toBe(200);
        names.push(...body.items.map(({ name }: { name: string }) => name));
        sizes.push(body.items.length);
        cursor = body.cursor as string | undefined;
      }
      expect(names).toEqual(all);
      expect(sizes).toEqual([3, 3, 1]);
      const exact = await api.call('GET', `${list}?limit=7`, { key: many.key });
      expect(exact.body.cursor).toBeUndefined();
    });

    it.each([
      ['limit=0', 'invalid-request'],
      ['limit=201', 'invalid-request'],
      ['limit=x', 'invalid-request'],
      ['limit=1.5', 'invalid-request'],
      ['page=2', 'invalid-request'],
      ['cursor=', 'invalid-request'],
      ['cursor=AAAA', 'invalid-cursor'],
      [`cursor=${Buffer.from('["sessions",0,"a"]').toString('base64url')}`, 'invalid-cursor'],
      [`cursor=${Buffer.from('["credentials",0,""]').toString('base64url')}`, 'invalid-cursor'],
      [`cursor=${Buffer.from('null').toString('base64url')}`, 'invalid-cursor'],
      [
        `cursor=${Buffer.from(JSON.stringify(['credentials', 0, 'x'.repeat(1025)])).toString('base64url')}`,
        'invalid-cursor',
      ],
    ])('refuses %s', async (query, code) => {
      const { status, body } = await api.call('GET', `${path}?${query}`, { key: tenant.key });
      expect([status, body.code]).toEqual([422, code]);
    });
  });

  describe('the quota of credentials', () => {
    const setQuota = async (id: string, credentials: number | null): Promise<void> => {
      const { status } = await api.call('PUT', `/v1/tenants/${id}/quotas`, { key: operatorKey, json: { credentials } });
      expect(status).toBe(200);
    };
    const create = async ({ id, key }: { id: string; key: string }, name: string): Promise<string> => {
      const { status, body } = await api.call('POST', `/v1/tenants/${id}/credentials`, { key, json: { name } });
      return status === 201 ? 'created' : `${status} ${body.code}`;
    };
    const remove = async ({ id, key }: { id: string; key: string }, name: string): Promise<number> =>
      (await api.call('DELETE', `/v1/tenants/${id}/credentials/${name}`, { key })).status;

    it('is kept, also by many requests at once, and what is deleted makes room', async () => {
      const own = await api.signUp();
      await setQuota(own.id, 5);
      const outcomes = await Promise.all(Array.from({ length: 12 }, (_, i) => create(own, `c${i}`)));
      expect(outcomes.toSorted()).toEqual([...Array(7).fill('409 too-many-credentials'), ...Array(5).fill('created')]);
      const there = `c${outcomes.indexOf('created')}`;
      expect([await remove(own, there), await remove(own, there)]).toEqual([204, 404]);
      // A name that is taken takes no place.
      const other = `c${outcomes.lastIndexOf('created')}`;
      expect(await create(own, other)).toBe('409 credential-name-taken');
      expect([await create(own, 'new'), await create(own, 'one more')]).toEqual(['created', '422 invalid-request']);
      expect(await create(own, 'one-more')).toBe('409 too-many-credentials');
      await setQuota(own.id, null);
      expect(await create(own, 'one-more')).toBe('created');
      await setQuota(own.id, 0);
      expect(await create(own, 'last')).toBe('409 too-many-credentials');
    });

    it.runIf(entry.name === 'the local server')(
      'is counted anew where the number is too high, after a crash, or not there, in a tenant of an earlier release',
      async () => {
        const own = await api.signUp();
        await setQuota(own.id, 3);
        for (const name of ['a', 'b']) expect(await create(own, name)).toBe('created');
        const change = (update: string, values?: object): Promise<unknown> =>
          dynamo.update('tenants', { pk: own.id, sk: 'meta' }, { update, ...(values && { values: { ...values } }) });
        await change('SET credentialCount = :three', { ':three': 3 });
        // Not at each request: it may be much to read.
        expect(await create(own, 'c')).toBe('409 too-many-credentials');
        api.clock.advance(600_000);
        expect([await create(own, 'c'), await create(own, 'd')]).toEqual(['created', '409 too-many-credentials']);
        await change('REMOVE credentialCount, credentialsCountedAtMs');
        expect(await create(own, 'd')).toBe('409 too-many-credentials');
        expect([await remove(own, 'c'), await create(own, 'd')]).toEqual([204, 'created']);
      },
    );
  });
});
