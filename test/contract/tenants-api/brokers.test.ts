/** What the operator is told of the brokers, as their leases have it, and asks of them; and who is told nothing. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Dynamo } from '../../../services/dynamo/dynamo.js';
import type { BrokerId } from '../../../services/kernel/kernel.js';
import {
  type BrokerLease,
  brokerLeaseKey,
  brokerLeaseToItem,
  controlFromItem,
  controlPartition,
  givenUpAt,
  servingLockToItem,
} from '../../../services/tenancy/tenancy.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { type DynamoServer, dynamoServers } from '../broker/servers.js';
import { openApi, operatorKey, type TestApi } from './api.js';

let rounds = 0;

function brokersContract({ name, start }: DynamoServer): void {
  describe(`the brokers in ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    let api: TestApi;
    beforeAll(async () => {
      server = await start();
    }, 90_000);
    beforeEach(async () => {
      dynamo = await server.open();
      api = openApi(dynamo);
    });
    afterAll(async () => await server?.stop());

    const lease = async (brokerId: string, more: Partial<BrokerLease> = {}): Promise<void> => {
      const nowMs = api.clock.nowMs();
      const own = { brokerId: brokerId as BrokerId, leaseUntilMs: nowMs + 5000, startedAtMs: nowMs - 60_000 };
      await dynamo.put('cluster', brokerLeaseToItem({ ...own, ...more }));
    };
    const list = async (): Promise<unknown> => (await api.call('GET', '/v1/brokers', { key: operatorKey })).body;
    const orders = async (): Promise<unknown[]> =>
      (await dynamo.query('cluster', { pk: controlPartition, consistent: true })).items
        .map(controlFromItem)
        .filter((entry) => entry?.type === 'broker-drain');
    const at = (agoMs: number): string => new Date(api.clock.nowMs() - agoMs).toISOString();

    it('are listed with what they do, the longest running first', async () => {
      const nowMs = api.clock.nowMs();
      const linked = { address: '10.0.0.1:7883', links: { up: 1, expected: 2 } };
      await lease('broker-new', { startedAtMs: nowMs - 10 });
      await lease('broker-serving', { version: '0.1.0', load: { connections: 3, sessions: 5 }, ...linked });
      await dynamo.put('cluster', servingLockToItem({ brokerId: 'broker-serving' as BrokerId }));
      expect(await list()).toEqual({
        items: [
          {
            ...{ id: 'broker-serving', state: 'serving', version: '0.1.0', connections: 3, sessions: 5 },
            ...{ startedAt: at(60_000), leaseUntil: at(-5000), ...linked },
          },
          { id: 'broker-new', state: 'standing-by', startedAt: at(10), leaseUntil: at(-5000) },
        ],
      });
    });

    it('that have gone are told apart, until nothing is left of them', async () => {
      const nowMs = api.clock.nowMs();
      await lease('a-late', { leaseUntilMs: nowMs });
      await lease('b-dead', { leaseUntilMs: nowMs - 1, takenBy: 'd' as BrokerId });
      await lease('c-stopped');
      await dynamo.update('cluster', brokerLeaseKey('c-stopped' as BrokerId), givenUpAt(nowMs));
      await lease('d');
      // It has died with the lock, which nobody has taken yet.
      await dynamo.put('cluster', servingLockToItem({ brokerId: 'a-late' as BrokerId }));
      const { items } = (await list()) as { items: { id: string; state: string; takenOverBy?: string }[] };
      expect(items.map(({ id, state, takenOverBy }) => [id, state, takenOverBy])).toEqual([
        ['a-late', 'late', undefined],
        ['b-dead', 'dead', 'd'],
        ['c-stopped', 'stopped', undefined],
        ['d', 'standing-by', undefined],
      ]);
    });

    it('and there are none', async () => {
      expect(await list()).toEqual({ items: [] });
    });

    it('are for the operator alone', async () => {
      const { key } = await api.signUp();
      const asked = await Promise.all([
        api.call('GET', '/v1/brokers', { key }),
        api.call('GET', '/v1/brokers'),
        api.call('GET', '/v1/brokers', { key: `${key}x` }),
        api.call('POST', '/v1/brokers', { key: operatorKey }),
        api.call('POST', '/v1/brokers/a/drain', { key }),
        api.call('POST', '/v1/brokers/a/drain'),
        api.call('GET', '/v1/brokers/a/drain', { key: operatorKey }),
      ]);
      expect(asked.map(({ status, body }) => [status, (body as { code: string }).code])).toEqual([
        [403, 'operator-only'],
        [401, 'unauthenticated'],
        [401, 'unauthenticated'],
        [405, 'method-not-allowed'],
        [403, 'operator-only'],
        [401, 'unauthenticated'],
        [405, 'method-not-allowed'],
      ]);
      expect(await orders()).toEqual([]);
    });

    describe('asked to drain', () => {
      const drain = async (id: string): Promise<string> => {
        const { status, body } = await api.call('POST', `/v1/brokers/${id}/drain`, { key: operatorKey });
        return `${status} ${(body as { code?: string } | undefined)?.code ?? ''}`.trim();
      };

      it('is told so in the control log, as often as it is asked', async () => {
        await lease('a');
        await lease('b');
        expect([await drain('a'), await drain('a')]).toEqual(['202', '202']);
        expect(await orders()).toEqual([
          { type: 'broker-drain', brokerId: 'a' },
          { type: 'broker-drain', brokerId: 'a' },
        ]);
      });

      it('is not found when nobody has its id, or it does not live any more', async () => {
        const nowMs = api.clock.nowMs();
        await lease('alive');
        await lease('late', { leaseUntilMs: nowMs });
        await lease('taken', { takenBy: 'alive' as BrokerId });
        await lease('stopped');
        await dynamo.update('cluster', brokerLeaseKey('stopped' as BrokerId), givenUpAt(nowMs));
        for (const id of ['unknown', 'late', 'taken', 'stopped', '%20', 'a%2Fb'])
          expect([id, await drain(id)]).toEqual([id, '404 broker-not-found']);
        expect(await orders()).toEqual([]);
      });

      it('is refused when no other one would be left, also when that one is only about to go', async () => {
        await lease('a');
        await lease('dead', { leaseUntilMs: 0 });
        expect(await drain('a')).toBe('409 last-broker');
        await lease('b');
        await lease('c');
        expect([await drain('a'), await drain('b'), await drain('c')]).toEqual(['202', '202', '409 last-broker']);
        expect([await drain('a'), (await orders()).length]).toEqual(['202', 3]);
        await lease('d');
        expect(await drain('c')).toBe('202');
      });

      it('counts again when it lives on long after it should have ended', async () => {
        api.clock.advance(++rounds * 1_000_000); // The ids of entries never go back, and other databases had theirs before.
        await lease('a', { leaseUntilMs: Number.MAX_SAFE_INTEGER });
        await lease('b', { leaseUntilMs: Number.MAX_SAFE_INTEGER });
        expect([await drain('a'), await drain('b')]).toEqual(['202', '409 last-broker']);
        api.clock.advance(180_001);
        expect(await drain('b')).toBe('202');
      });
    });
  });
}

for (const server of dynamoServers) brokersContract(server);
