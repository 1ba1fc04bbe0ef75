import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkLayout, type Dynamo } from '../../../services/dynamo/dynamo.js';
import type { BrokerId, ClientId } from '../../../services/kernel/kernel.js';
import {
  brokerLeaseToItem,
  brokersPartition,
  leaseEndToItem,
  neverExpiresSeconds,
  type SessionRecord,
  sessionToItem,
} from '../../../services/tenancy/tenancy.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { scopeOfName } from '../../support/scope.js';
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
    await checkLayout(dynamo, brokersPartition); // As the broker does, before it writes its lease.
    const nowMs = api.clock.nowMs();
    const lease = (brokerId: string, leaseUntilMs: number): Promise<unknown> =>
      dynamo.put('cluster', brokerLeaseToItem({ brokerId: brokerId as BrokerId, leaseUntilMs, startedAtMs: 0 }));
    await lease('alive', nowMs + 4000);
    await lease('dead', nowMs - 10_000);
    await dynamo.put('cluster', leaseEndToItem({ brokerId: 'followed' as BrokerId, endedAtMs: nowMs - 10_000 }));
  });
  afterAll(() => api.close());

  const will = {
    topic: 'gone',
    payload: new Uint8Array([1]),
    qos: 1,
    retain: false,
    properties: new Uint8Array(),
    delaySeconds: 0,
  } as const;

  async function write(id: string, clientId: string, change: Partial<SessionRecord> = {}): Promise<void> {
    const session: SessionRecord = {
      tenant: await scopeOfName(dynamo, id),
      clientId: clientId as ClientId,
      userName: `sensor@${id}`,
      protocolVersion: '5',
      address: '192.0.2.9:5000',
      connected: true,
      connectedAtMs: api.clock.nowMs() - 60_000,
      keepAliveSeconds: 30,
      expirySeconds: 3600,
      owner: 'alive' as BrokerId,
      epoch: 1,
      born: 1,
      queuedMessages: 0,
      droppedMessages: 0,
      ...change,
    };
    await dynamo.put('sessions', { ...sessionToItem({ will, ...session }), addedLater: new Uint8Array([1]) });
  }

  describe('sessions', () => {
    const ago = (seconds: number): string => new Date(api.clock.nowMs() - seconds * 1000).toISOString();
    const disconnected = (seconds: number): Partial<SessionRecord> => ({
      connected: false,
      disconnectedAtMs: api.clock.nowMs() - seconds * 1000,
    });
    const dead = { owner: 'dead' as BrokerId };
    const followed = { owner: 'followed' as BrokerId };

    const rows: [string, () => Partial<SessionRecord>, () => object | undefined][] = [
      ['is connected', () => ({}), () => ({ connected: true, since: ago(60) })],
      [
        'is disconnected',
        () => disconnected(10),
        () => ({ connected: false, since: ago(10), sessionExpirySeconds: 3600 }),
      ],
      [
        'has messages waiting',
        () => ({ ...disconnected(10), queuedMessages: 12, droppedMessages: 3 }),
        () => ({ connected: false, queuedMessages: 12, droppedMessages: 3 }),
      ],
      ['expires in a second', () => ({ ...disconnected(10), expirySeconds: 11 }), () => ({ connected: false })],
      ['has expired', () => ({ ...disconnected(10), expirySeconds: 10 }), () => undefined],
      [
        'never expires',
        () => ({ ...disconnected(10 ** 6), expirySeconds: neverExpiresSeconds }),
        () => ({ connected: false, sessionExpirySeconds: null }),
      ],
      ['was on a broker that died', () => dead, () => ({ connected: false, since: ago(10) })],
      ['ended with a broker that died', () => ({ ...dead, expirySeconds: 5 }), () => undefined],
      [
        'was on a broker that died and has been followed, and was not written since',
        () => ({ ...followed, connectedAtMs: api.clock.nowMs() - 86_400_000 }),
        () => ({ connected: false, since: ago(10) }),
      ],
      ['ended with a broker that has been followed', () => ({ ...followed, expirySeconds: 5 }), () => undefined],
      [
        'was on a broker that nobody knows',
        () => ({ owner: 'x' as BrokerId }),
        () => ({ connected: false, since: ago(60) }),
      ],
    ];
    it.each(rows)('one that %s', async (_, change, expected) => {
      const { id, key } = await api.signUp();
      await write(id, 'pump/7', change());
      const { status, body } = await api.call('GET', `/v1/tenants/${id}/sessions`, { key });
      expect(status).toBe(200);
      const wanted = expected();
      expect(body.items).toEqual(wanted === undefined ? [] : [expect.objectContaining(wanted)]);
      const kick = await api.call('DELETE', `/v1/tenants/${id}/sessions/pump%2F7`, { key });
      expect(kick.status).toBe(wanted === undefined ? 404 : 202);
      const { items } = await dynamo.query('cluster', { pk: 'control', descending: true, limit: 1 });
      const entry = { type: 'session-kick', tenant: id, clientId: 'pump/7', born: expect.any(Number) as number };
      if (wanted === undefined) expect(items[0] ?? {}).not.toMatchObject(entry);
      else expect(items[0]).toMatchObject(entry);
    });

    it('show what the broker wrote and nothing of what is its own', async () => {
      const { id, key } = await api.signUp();
      await write(id, 'ünïcode');
      const { body } = await api.call('GET', `/v1/tenants/${id}/sessions`, { key });
      expect(body.items).toEqual([
        {
          clientId: 'ünïcode',
          username: `sensor@${id}`,
          sdk: null,
          protocolVersion: '5',
          address: '192.0.2.9:5000',
          connected: true,
          since: ago(60),
          keepAliveSeconds: 30,
          sessionExpirySeconds: 3600,
          queuedMessages: 0,
          droppedMessages: 0,
        },
      ]);
    });

    it('come in pages over all buckets, each once', async () => {
      const { id, key } = await api.signUp();
      const all = Array.from({ length: 60 }, (_, i) => `client-${i}`);
      await Promise.all(
        all.map((clientId, i) => write(id, clientId, i % 3 === 0 ? { expirySeconds: 0, ...dead } : {})),
      );
      for (const limit of [1, 7, 39, 40, 200]) {
        const seen: string[] = [];
        for (let cursor: string | undefined = ''; cursor !== undefined;) {
          const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
          const { body } = await api.call('GET', `/v1/tenants/${id}/sessions?limit=${limit}${query}`, { key });
          expect(body.items.length).toBeLessThanOrEqual(limit);
          expect(body.items.length > 0 || body.cursor === undefined).toBe(true);
          seen.push(...body.items.map(({ clientId }: { clientId: string }) => clientId));
          cursor = body.cursor as string | undefined;
        }
        expect(seen.toSorted()).toEqual(all.filter((_, i) => i % 3 !== 0).toSorted());
        expect(new Set(seen).size).toBe(seen.length);
      }
    });

    /** Client ids that a path carries through a gateway that decodes it. */
    const inPaths = ['a/b', 'a+b', 'a b', 'ünïcode/東京', '50%', 'a%2Fb', 'a#b', 'a&b=c;d', 'a/', 'a@b:c', '*', '~'];
    /** And those that only a query carries. */
    const inQueries = [...inPaths, 'a?b', '?', '.', '..', '../../acme', 'a/../b', '/a', 'a//b', '\u0001', '"\\'];

    const kickOf = async (id: string, clientId: string): Promise<unknown> => {
      const { items } = await dynamo.query('cluster', { pk: 'control', descending: true, limit: 5 });
      return items.find((entry) => entry['tenant'] === id && entry['clientId'] === clientId)?.['type'];
    };

    it.each(inPaths)('end by path, whatever the id: %j', async (clientId) => {
      const { id, key } = await api.signUp();
      await write(id, clientId);
      const path = `/v1/tenants/${id}/sessions/${encodeURIComponent(clientId)}`;
      expect((await api.call('DELETE', path, { key })).status).toBe(202);
      expect(await kickOf(id, clientId)).toBe('session-kick');
    });

    it.each(inQueries)('end by query, whatever the id: %j', async (clientId) => {
      const { id, key } = await api.signUp();
      await write(id, clientId);
      const path = `/v1/tenants/${id}/sessions?clientId=${encodeURIComponent(clientId)}`;
      expect((await api.call('DELETE', path, { key })).status).toBe(202);
      expect(await kickOf(id, clientId)).toBe('session-kick');
      const other = await api.call('DELETE', `${path}x`, { key });
      expect([other.status, other.body.code]).toEqual([404, 'session-not-found']);
    });

    it.each(['', '?clientId=', '?client=a', '?clientId=a&clientId=b', '?clientId=a&all=true'])(
      'do not end without the id of one client: %j',
      async (query) => {
        const { id, key } = await api.signUp();
        for (const clientId of ['a', 'b']) await write(id, clientId);
        const { status, body } = await api.call('DELETE', `/v1/tenants/${id}/sessions${query}`, { key });
        expect([status, body.code]).toEqual([422, 'invalid-request']);
        expect(await kickOf(id, 'a')).toBeUndefined();
      },
    );

    it.each(['..', '../..', '.', 'a/../../..', '../credentials/kept'])(
      'are what a path names, never another thing, with a client id that climbs: %j',
      async (clientId) => {
        const { id, key } = await api.signUp();
        await api.call('POST', `/v1/tenants/${id}/credentials`, { key, json: { name: 'kept' } });
        for (const path of [encodeURIComponent(clientId), encodeURIComponent(`${clientId}/${id}`)]) {
          const { status } = await api.call('DELETE', `/v1/tenants/${id}/sessions/${path}`, { key });
          expect(status).toBe(404);
        }
        expect((await api.call('GET', `/v1/tenants/${id}/credentials/kept`, { key })).status).toBe(200);
      },
    );

    it.each(['nobody', 'x'.repeat(1025), '%2F'])('that are not there cannot be disconnected: %s', async (clientId) => {
      const { id, key } = await api.signUp();
      const { status, body } = await api.call('DELETE', `/v1/tenants/${id}/sessions/${clientId}`, { key });
      expect([status, body.code]).toEqual([404, 'session-not-found']);
    });
  });

  describe('quotas', () => {
    it('are the plan until the operator sets some, and the brokers are told', async () => {
      const { id, key } = await api.signUp();
      const path = `/v1/tenants/${id}/quotas`;
      const plan = (await api.call('GET', path, { key })).body;
      expect(Object.keys(plan)).toHaveLength(19);
      const own = await api.call('PUT', path, { key, json: { connections: 5 } });
      expect([own.status, own.body.code]).toEqual([403, 'operator-only']);
      const operator = { key: 'operator-key-of-the-tests' };
      const json = { connections: 5, retainedBytes: null };
      const set = await api.call('PUT', path, { ...operator, json });
      expect([set.status, set.body]).toEqual([200, { ...plan, ...json }]);
      const more = await api.call('PUT', path, { ...operator, json: { publishPerSecond: 7, connections: null } });
      expect(more.body).toEqual({ ...plan, ...json, publishPerSecond: 7, connections: null });
      expect((await api.call('GET', path, { key })).body).toEqual(more.body);
      expect((await api.call('PUT', path, { ...operator, json: {} })).body).toEqual(more.body);
      const { items } = await dynamo.query('cluster', { pk: 'control', descending: true, limit: 1 });
      expect(items[0]).toMatchObject({ type: 'tenant-changed', tenant: id, change: 'quotas' });
      const elsewhere = await api.call('PUT', '/v1/tenants/nobody/quotas', { ...operator, json });
      expect([elsewhere.status, elsewhere.body.code]).toEqual([404, 'tenant-not-found']);
    });

    it.each([
      [{ connections: -1 }, 'connections'],
      [{ connections: 1.5 }, 'connections'],
      [{ connections: '5' }, 'connections'],
      [{ messageBytesMax: 393_217 }, 'messageBytesMax'],
      [{ conections: 5 }, 'conections'],
      [[], 'body'],
      [null, 'body'],
    ])('refuse %j', async (json, field) => {
      const { id } = await api.signUp();
      const { status, body } = await api.call('PUT', `/v1/tenants/${id}/quotas`, {
        key: 'operator-key-of-the-tests',
        json,
      });
      expect([status, body.code, body.errors[0].field]).toEqual([422, 'invalid-request', field]);
    });
  });
});
