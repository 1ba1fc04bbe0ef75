/**
 * Requests whose body is held back: the head has been let in, and when the body comes the tenant has been deleted (and its
 * name taken by somebody else), or the API key has gone. Through a socket, as the local server serves it; a Lambda is
 * called when the body is complete (`held.test.ts` stops both of them further inside).
 */
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import { silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { serveApi, type ServedApi } from '../../../tenants-api/entry/local.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { until } from '../../support/until.js';
import { openApi, operatorKey, type TestApi } from './api.js';

let dynalite: Dynalite;
let dynamo: Dynamo;
let served: ServedApi;
/** Does meanwhile what others do. */
let others: TestApi;
let authenticated = 0;
beforeAll(async () => {
  dynalite = await startDynalite();
  dynamo = await dynalite.open();
  others = openApi(dynamo, { deletionSettleMs: 0 });
  const watched = new Proxy(dynamo, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const answer: unknown = await Reflect.apply(value, target, args);
        if (name === 'get') authenticated++;
        return answer;
      };
    },
  });
  const health = { ok: true, parts: {} };
  served = await serveApi({
    dynamo: watched,
    clock: systemClock,
    endpoints: { api: 'http://127.0.0.1' },
    operatorKey,
    health: () => Promise.resolve(health),
    log: silentLog,
    host: '127.0.0.1',
    port: 0,
  });
});
afterAll(async () => {
  await served?.close();
  await dynalite?.stop();
});

interface Owner {
  readonly id: string;
  readonly key: string;
}

async function own(id: string): Promise<Owner> {
  const { body } = await others.call('POST', '/v1/tenants', { key: operatorKey, json: { name: id } });
  const key = body.apiKey as string;
  const json = { name: 'device', grants: [], password: 'the password of the device' };
  await others.call('POST', `/v1/tenants/${id}/credentials`, { key, json });
  return { id, key };
}

/** What the API shows to the owner, and the stored credential, whose hash no answer has. */
async function seenBy({ id, key }: Owner): Promise<unknown> {
  const paths = ['', '/credentials', '/keys', '/quotas', '/sessions'];
  const answers = await Promise.all(paths.map((path) => others.call('GET', `/v1/tenants/${id}${path}`, { key })));
  const rows = [];
  for (const pk of new Set([id, ...(await scopes(id))])) rows.push(...(await dynamo.query('tenants', { pk })).items);
  return { answers: answers.map(({ status, body }) => [status, body as unknown]), rows };
}

/** Where the credentials of whoever has the name may be: under the name, or under name and creation id. */
async function scopes(id: string): Promise<string[]> {
  const row = await dynamo.get('tenants', { pk: id, sk: 'meta' }, { consistent: true });
  return row?.['creationId'] === undefined ? [] : [`${id}~${row['creationId'] as string}`];
}

const requests = [
  { name: 'create a credential', method: 'POST', path: '/credentials', json: { name: 'planted' } },
  { name: 'rotate a password', method: 'POST', path: '/credentials/device/rotate', json: { password: 'x'.repeat(20) } },
  { name: 'change grants', method: 'PATCH', path: '/credentials/device', json: { grants: null } },
  { name: 'create a key', method: 'POST', path: '/keys', json: {} },
  { name: 'set quotas', method: 'PUT', path: '/quotas', json: { connections: 1 }, asOperator: true },
] as const;

/** Sends the head, waits until it has been let in, and the body after `meanwhile`. The status of the answer. */
async function hold(request: (typeof requests)[number], owner: Owner, meanwhile: () => Promise<void>): Promise<number> {
  const body = JSON.stringify(request.json);
  const key = 'asOperator' in request ? operatorKey : owner.key;
  const socket = connect(served.port, '127.0.0.1');
  try {
    authenticated = 0;
    socket.write(
      `${request.method} /v1/tenants/${owner.id}${request.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n` +
        `Authorization: Bearer ${key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    await until(() => authenticated >= 1, 'authentication');
    socket.write(body.slice(0, 1));
    await meanwhile();
    let answer = '';
    socket.on('data', (chunk) => (answer += String(chunk)));
    socket.write(body.slice(1));
    await once(socket, 'close');
    return Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);
  } finally {
    socket.destroy();
  }
}

const remove = async ({ id }: Owner): Promise<void> => {
  expect((await others.call('DELETE', `/v1/tenants/${id}`, { key: operatorKey })).status).toBe(204);
};

describe.each(requests)('a request to $name whose body is held back', (request) => {
  const name = request.name.replaceAll(/\W/g, '-');

  it('is not carried out in the next tenant of that name', async () => {
    const old = await own(`next-${name}`);
    let next!: Owner;
    let before: unknown;
    const status = await hold(request, old, async () => {
      await remove(old);
      next = await own(old.id);
      before = await seenBy(next);
    });
    expect([401, 404]).toContain(status);
    expect(await seenBy(next)).toEqual(before);
  });

  it('leaves nothing for the next tenant when it comes between deletion and sign-up', async () => {
    const old = await own(`gap-${name}`);
    const status = await hold(request, old, () => remove(old));
    expect([401, 404]).toContain(status);
    expect((await dynamo.query('tenants', { pk: old.id })).items).toEqual([]);
    const { body } = await others.call('POST', '/v1/tenants', { key: operatorKey, json: { name: old.id } });
    const found = await others.call('GET', `/v1/tenants/${old.id}/credentials`, { key: body.apiKey as string });
    expect(found.body.items).toEqual([]);
  });

  it.skipIf('asOperator' in request)('is answered 401 when its API key has been deleted', async () => {
    const owner = await own(`key-${name}`);
    const more = (await others.call('POST', `/v1/tenants/${owner.id}/keys`, { key: owner.key })).body;
    let before: unknown;
    const status = await hold(request, { ...owner, key: more.apiKey as string }, async () => {
      await others.call('DELETE', `/v1/tenants/${owner.id}/keys/${more.id}`, { key: owner.key });
      before = await seenBy(owner);
    });
    expect(status).toBe(401);
    expect(await seenBy(owner)).toEqual(before);
  });
});
