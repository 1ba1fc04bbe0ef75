/**
 * What was checked is no more true when it is used: each request that changes something is stopped at each of its calls of
 * the database, and where its body begins, while the tenant is deleted and its name taken by somebody else, or while its
 * API key is deleted. What the next owner has stays as it is, and of the old tenant nothing is left.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dynamo, type Item } from '../../../services/dynamo/dynamo.js';
import type { ClientId, TenantScope } from '../../../services/kernel/kernel.js';
import { sessionKey, sessionToItem } from '../../../services/tenancy/tenancy.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { FaultProxy } from '../../support/fault-proxy.js';
import { scopeOfName } from '../../support/scope.js';
import { until } from '../../support/until.js';
import { openApi, operatorKey, type ReadAnswer, type TestApi } from './api.js';
import { entries, type EntryApi } from './entries.js';

interface Owner {
  readonly id: string;
  readonly key: string;
  /** Of a second key. */
  readonly keyId: string;
  readonly scope: TenantScope;
}

interface Held {
  readonly name: string;
  readonly method: string;
  readonly path: (owner: Owner) => string;
  readonly json?: unknown;
  readonly asOperator?: true;
  /** Not refused: the tenant has gone with what was asked for. */
  readonly mayBeAnswered?: true;
}

const requests: readonly Held[] = [
  { name: 'create a credential', method: 'POST', path: () => '/credentials', json: { name: 'planted' } },
  { name: 'rotate a password', method: 'POST', path: () => '/credentials/device/rotate', json: {} },
  { name: 'change grants', method: 'PATCH', path: () => '/credentials/device', json: { grants: null } },
  { name: 'delete a credential', method: 'DELETE', path: () => '/credentials/device' },
  { name: 'create a key', method: 'POST', path: () => '/keys', json: {} },
  { name: 'delete a key', method: 'DELETE', path: ({ keyId }) => `/keys/${keyId}` },
  { name: 'set quotas', method: 'PUT', path: () => '/quotas', json: { connections: 1 }, asOperator: true },
  { name: 'end a session', method: 'DELETE', path: () => '/sessions?clientId=pump', mayBeAnswered: true },
  { name: 'delete the tenant', method: 'DELETE', path: () => '', mayBeAnswered: true },
];

let dynalite: Dynalite;
let proxy: FaultProxy;
beforeAll(async () => {
  dynalite = await startDynalite();
  proxy = await FaultProxy.start(dynalite.endpoint);
});
afterAll(async () => {
  await proxy.close();
  await dynalite.stop();
});

describe.each(entries)('$name', (entry) => {
  let dynamo: Dynamo;
  /** Of the API under test: what it sends can be held. */
  let slow: Dynamo;
  let api: EntryApi;
  /** Past the proxy. */
  let direct: TestApi;
  let names = 0;
  const nextName = (): string => `held-${names++}`;
  beforeAll(async () => {
    dynamo = await dynalite.open();
    const tablePrefix = dynamo.tableName('tenants').replace(/tenants$/, '');
    slow = new Dynamo({ endpoint: proxy.endpoint, region: 'eu-central-1', tablePrefix, requestTimeoutMs: 30_000 });
    api = await entry.open({ endpoint: proxy.endpoint, dynamo: slow });
    direct = openApi(dynamo, { deletionSettleMs: 0 });
  });
  afterAll(async () => {
    await api?.close();
    slow?.close();
  });

  async function own(id: string): Promise<Owner> {
    const { body } = await direct.call('POST', '/v1/tenants', { key: operatorKey, json: { name: id } });
    const key = body.apiKey as string;
    const json = { name: 'device', grants: [] };
    await direct.call('POST', `/v1/tenants/${id}/credentials`, { key, json });
    const second = await direct.call('POST', `/v1/tenants/${id}/keys`, { key });
    const scope = await scopeOfName(dynamo, id);
    await dynamo.put('sessions', sessionToItem({ ...session, tenant: scope }));
    return { id, key, keyId: second.body.id as string, scope };
  }

  /** All that the API has stored of a tenant, in an order. */
  async function rowsOf({ id, scope }: Owner): Promise<Item[]> {
    const meta = await dynamo.query('tenants', { pk: id, consistent: true });
    const rest = await dynamo.query('tenants', { pk: scope, consistent: true });
    const sessions = await dynamo.query('sessions', { pk: sessionKey(scope, session.clientId).pk, consistent: true });
    return [...meta.items, ...rest.items, ...sessions.items];
  }

  const entriesFor = async ({ scope }: Owner): Promise<Item[]> => {
    const found: Item[] = [];
    for await (const items of dynamo.queryAll('cluster', { pk: 'control', consistent: true }))
      found.push(...items.filter(({ tenant, creationId }) => `${String(tenant)}~${String(creationId)}` === scope));
    return found;
  };

  /** The old owner's tenant is deleted; somebody else takes the name. */
  async function change(old: Owner): Promise<Owner> {
    expect((await direct.call('DELETE', `/v1/tenants/${old.id}`, { key: operatorKey })).status).toBe(204);
    return await own(old.id);
  }

  const send = ({ method, path, json, asOperator }: Held, owner: Owner): Promise<ReadAnswer> =>
    api.call(method, `/v1/tenants/${owner.id}${path(owner)}`, {
      key: asOperator ? operatorKey : owner.key,
      ...(json !== undefined && { json }),
    });

  /** The actions that a request asks of the database, in order. */
  async function actionsOf(held: Held): Promise<string[]> {
    const actions: string[] = [];
    const owner = await own(nextName());
    proxy.onRequest = (action, _body, when) => void (when === 'before' && actions.push(action));
    const { status } = await send(held, owner);
    proxy.onRequest = undefined;
    expect(status).toBeLessThan(300);
    return actions;
  }

  /** The request stops at its `n`th call, counted from 0, and goes on when `meanwhile` is over. */
  async function heldAt(n: number, held: Held, owner: Owner, meanwhile: () => Promise<void>): Promise<ReadAnswer> {
    let calls = 0;
    let stopped = false;
    let goOn!: () => void;
    const gate = new Promise<void>((resolve) => (goOn = resolve));
    proxy.onRequest = (_action, _body, when) => {
      if (when === 'after' || calls++ < n) return undefined;
      stopped = true;
      return gate;
    };
    const answer = send(held, owner);
    try {
      await until(() => stopped, 'the call');
      await meanwhile();
    } finally {
      proxy.onRequest = undefined;
      goOn();
    }
    return await answer;
  }

  const isWrite = (action: string): boolean => action !== 'GetItem' && action !== 'Query';

  /** Of the hundred calls of a deletion the first and the last. In the Lambda, whose code is the same, the first write. */
  function stops(actions: readonly string[], { asOperator }: Held): number[] {
    if (entry.name !== 'the local server') return [actions.findIndex(isWrite)];
    // Before its first look an operator's request means whoever has the name then.
    return [...actions.keys()].filter((n) => (n < 6 || n >= actions.length - 6) && !(asOperator && n === 0));
  }

  it.each(requests)(
    '$name touches nothing of the next owner, wherever it was stopped, and leaves nothing of its own',
    async (held) => {
      const actions = await actionsOf(held);
      const write = actions.findIndex(isWrite);
      for (const n of stops(actions, held)) {
        const old = await own(nextName());
        let next!: Owner;
        let before!: Item[];
        const { status } = await heldAt(n, held, old, async () => {
          next = await change(old);
          before = await rowsOf(next);
        });
        const where = `${held.name}, stopped at call ${n} (${actions[n]}): ${status}`;
        // After its write it was the earlier one of the two.
        if (n <= write && !held.mayBeAnswered) expect([401, 404], where).toContain(status);
        expect(await rowsOf(next), where).toEqual(before);
        expect(await entriesFor(next), where).toEqual([]);
        expect((await dynamo.query('tenants', { pk: old.scope, consistent: true })).items, where).toEqual([]);
        const itself = await direct.call('GET', `/v1/tenants/${next.id}`, { key: next.key });
        expect(itself.status, where).toBe(200);
      }
    },
    60_000,
  );

  // The Lambda's own code is the same.
  const withBody =
    entry.name === 'the local server' ? requests.filter(({ json, asOperator }) => json && !asOperator) : [];
  it.each(withBody)('$name is refused when its API key is deleted before the last look at it', async (held) => {
    const write = (await actionsOf(held)).findIndex(isWrite);
    for (const n of Array.from({ length: write }, (_, i) => i)) {
      const owner = await own(nextName());
      const more = (await direct.call('POST', `/v1/tenants/${owner.id}/keys`, { key: owner.key })).body;
      let before!: Item[];
      const { status } = await heldAt(n, held, { ...owner, key: more.apiKey as string }, async () => {
        await direct.call('DELETE', `/v1/tenants/${owner.id}/keys/${more.id}`, { key: owner.key });
        before = await rowsOf(owner);
      });
      expect(status, `stopped at call ${n}`).toBe(401);
      expect(await rowsOf(owner), `stopped at call ${n}`).toEqual(before);
    }
  });
});

const session = {
  clientId: 'pump' as ClientId,
  userName: 'device@held',
  protocolVersion: '5',
  address: '192.0.2.9:5000',
  connected: false,
  connectedAtMs: 1,
  disconnectedAtMs: 2,
  keepAliveSeconds: 30,
  expirySeconds: 0xffff_ffff,
  owner: 'broker-1',
  epoch: 1,
  born: 1,
  queuedMessages: 0,
  droppedMessages: 0,
} as Omit<Parameters<typeof sessionToItem>[0], 'tenant'>;
