/** The control log from end to end: what the tenant API appends, and what every broker makes of it, in DynamoDB. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ControlLog, DynamoAccounts } from '../../../services/broker/store/store.js';
import { appendControl, appendDrain } from '../../../tenants-api/store/control.js';
import { type Dynamo, DynamoUnavailable } from '../../../services/dynamo/dynamo.js';
import { type BrokerId, type ClientId, silentLog, type TenantId } from '../../../services/kernel/kernel.js';
import { type ControlEntry, controlToItem, scopeOf, type TenantEntry } from '../../../services/tenancy/tenancy.js';
import type { EmbeddedDynamo } from '../../support/embedded.js';
import { heardFaults } from '../../support/heard-faults.js';
import { ManualClock } from '../../support/manual-clock.js';
import { scopeOfName } from '../../support/scope.js';
import { until } from '../../support/until.js';
import { openApi, operatorKey } from '../tenants-api/api.js';
import { type DynamoServer, dynamoServers } from './servers.js';

const acme = 'acme' as TenantId;

function controlLogContract({ name, start }: DynamoServer): void {
  describe(`the control log in ${name}`, () => {
    let server: EmbeddedDynamo;
    let dynamo: Dynamo;
    beforeAll(async () => {
      server = await start();
    }, 90_000);
    beforeEach(async () => (dynamo = await server.open()));
    afterAll(async () => await server?.stop());

    const entry = (clientId: string): TenantEntry => ({
      type: 'session-kick',
      tenant: acme,
      clientId: clientId as ClientId,
    });
    const crockford = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    const ulidAt = (timeMs: number, rest: string): string => {
      let time = '';
      for (let left = timeMs; time.length < 10; left = Math.floor(left / 32)) time = crockford[left % 32]! + time;
      return time + rest.padStart(16, '0');
    };
    let entries = 0;
    const write = async (clientId: string, atMs: number): Promise<void> =>
      void (await dynamo.put('cluster', controlToItem(entry(clientId), ulidAt(atMs, String(++entries)), atMs)));

    function open(clock: ManualClock, apply: (clientId: string, atMs: number) => unknown = () => undefined) {
      const obeyed: string[] = [];
      const heard: (string | undefined)[] = [];
      const log = new ControlLog(dynamo, clock, silentLog, {
        hear: (one) => heard.push(one && (one as { clientId: string }).clientId),
        apply: async (one, atMs) => {
          await Promise.resolve();
          const { clientId } = one as { clientId: string };
          obeyed.push(clientId);
          await apply(clientId, atMs);
        },
      });
      return { log, obeyed, heard };
    }

    function follow(clock: ManualClock, apply?: (clientId: string, atMs: number) => unknown) {
      const { log, obeyed, heard } = open(clock, apply);
      log.start();
      /** One poll: the timer that follows it says that it is over. */
      const poll = async (): Promise<void> => {
        clock.advance(700);
        await until(() => clock.timers > 0);
      };
      return { log, obeyed, heard, poll };
    }

    it('is obeyed once and in order, from the start of the broker on', async () => {
      const clock = new ManualClock();
      await write('long ago', clock.nowMs() - 3_600_000);
      const { obeyed, poll, log } = follow(clock);
      await poll();
      await write('a', clock.nowMs());
      await write('b', clock.nowMs() + 1);
      await poll();
      await poll();
      expect(obeyed).toEqual(['a', 'b']);
      log.stop();
      expect(clock.timers).toBe(0);
    });

    it('is obeyed once more, since a time that is asked for, and then no more', async () => {
      const clock = new ManualClock();
      const { obeyed, poll, log } = follow(clock);
      await write('long ago', clock.nowMs() - 3_600_000);
      await write('before', clock.nowMs() - 60_000);
      await poll();
      await write('since', clock.nowMs());
      await poll();
      log.again(clock.nowMs() - 70_000);
      for (let i = 0; i < 3; i++) await poll();
      expect(obeyed).toEqual(['since', 'before', 'since']);
    });

    it('hears writers whose clocks are behind or ahead, and late writes', async () => {
      const clock = new ManualClock();
      const { obeyed, poll } = follow(clock);
      for (let i = 0; i < 20; i++) await poll();
      await write('behind', clock.nowMs() - 8000);
      await write('ahead', clock.nowMs() + 8000);
      for (let i = 0; i < 80; i++) await poll();
      expect(obeyed).toEqual(['behind', 'ahead']);
    });

    it('goes on after an entry that cannot be obeyed or read', async () => {
      const faults = heardFaults();
      onTestFinished(() => faults.stop());
      const clock = new ManualClock();
      const { obeyed, poll } = follow(clock, (clientId) => {
        if (clientId === 'bad') throw new Error('cannot');
      });
      await write('bad', clock.nowMs());
      await dynamo.put('cluster', { pk: 'control', sk: ulidAt(clock.nowMs(), 'Z'), v: 99, type: 'from the future' });
      await write('good', clock.nowMs() + 1);
      await poll();
      await poll();
      expect([obeyed, faults.counts]).toEqual([['bad', 'good'], { control: 1 }]);
    });

    it('is obeyed again until DynamoDB has let it be obeyed, and the entries around it once and at once', async () => {
      const clock = new ManualClock();
      let isAway = true;
      const { obeyed, poll } = follow(clock, (clientId) => {
        if (clientId === 'needs a read' && isAway) throw new DynamoUnavailable('away');
      });
      await write('first', clock.nowMs());
      await write('needs a read', clock.nowMs() + 1);
      await write('last', clock.nowMs() + 2);
      for (let i = 0; i < 30; i++) await poll(); // 21 s: longer than what a read goes back.
      expect(obeyed.filter((clientId) => clientId !== 'needs a read')).toEqual(['first', 'last']);
      isAway = false;
      const before = obeyed.length;
      for (let i = 0; i < 5; i++) await poll();
      expect([before > 10, obeyed.slice(before)]).toEqual([true, ['needs a read']]);
    });

    it('misses nothing and repeats nothing over a long outage', async () => {
      const clock = new ManualClock();
      const { obeyed, poll } = follow(clock);
      await write('before', clock.nowMs());
      await poll();
      const away = vi.spyOn(dynamo, 'queryAll').mockImplementation(() => {
        throw new DynamoUnavailable('away');
      });
      for (let i = 0; i < 100; i++) await poll(); // 70 s.
      await write('during', clock.nowMs() - 35_000);
      away.mockRestore();
      await poll();
      expect(obeyed).toEqual(['before', 'during']);
    });

    it('says whether it is heard, and tells of an entry before it can be obeyed', async () => {
      const clock = new ManualClock();
      const { log, heard, poll } = follow(clock, () => new Promise(() => undefined)); // Without a timer: `poll` waits for its own.
      expect(log.isHeard).toBe(false);
      await write('a', clock.nowMs() - 1);
      await dynamo.put('cluster', { pk: 'control', sk: ulidAt(clock.nowMs(), 'Z'), v: 99, type: 'from the future' });
      await poll();
      await poll();
      expect([log.isHeard, heard]).toEqual([true, ['a', undefined]]);
      const away = vi.spyOn(dynamo, 'queryAll').mockImplementation(() => {
        throw new DynamoUnavailable('away');
      });
      await poll();
      await poll();
      expect(log.isHeard).toBe(true);
      await write('during', clock.nowMs());
      await poll();
      expect([log.isHeard, heard.length]).toEqual([false, 2]);
      away.mockRestore();
      await poll();
      expect([log.isHeard, heard]).toEqual([true, ['a', undefined, 'during']]);
    });

    it('tells every broker what the API has changed, in order, and later than the change', async () => {
      const api = openApi(dynamo);
      const clock = new ManualClock(api.clock.nowMs());
      const brokers = [1, 2].map(() => {
        const heard: (ControlEntry & { seen?: unknown })[] = [];
        const log = new ControlLog(dynamo, clock, silentLog, {
          hear: () => undefined,
          apply: async (entry) => {
            if (entry.type === 'broker-drain') return;
            const accounts = new DynamoAccounts(dynamo);
            const seen =
              entry.type === 'credential-changed'
                ? (await accounts.credential(scopeOf({ ...entry, id: entry.tenant }), entry.name))?.revision
                : (await accounts.tenant(entry.tenant))?.status;
            heard.push({ ...entry, seen });
          },
        });
        log.start();
        return { heard, log };
      });
      const poll = async (count: number): Promise<void> => {
        clock.advance(700);
        await until(() => clock.timers === 2 && brokers.every(({ heard }) => heard.length === count));
      };
      const { id, key } = await api.signUp();
      const [, creationId] = (await scopeOfName(dynamo, id)).split('~');
      const about = { tenant: id, creationId };
      const call = async (method: string, path: string, json?: unknown, as = key): Promise<void> => {
        const { status } = await api.call(method, `/v1/tenants/${id}${path}`, { key: as, json });
        expect(status).toBeLessThan(300);
      };
      await call('POST', '/credentials', { name: 'pump' });
      await poll(0); // A new one need not be told.
      await call('PATCH', '/credentials/pump', { grants: [] });
      await poll(1);
      await call('POST', '/credentials/pump/rotate');
      await poll(2);
      await call('DELETE', '/credentials/pump');
      await poll(3);
      await call('PUT', '/quotas', { connections: 5 }, operatorKey);
      await poll(4);
      const deleted = call('DELETE', '');
      await until(async () => {
        clock.advance(700);
        await until(() => clock.timers === 2);
        return brokers.every(({ heard }) => heard.length === 5);
      });
      await deleted;
      const credential = { ...about, type: 'credential-changed', name: 'pump' };
      for (const { heard, log } of brokers) {
        expect(heard).toEqual([
          { ...credential, change: 'grants', seen: 2 },
          { ...credential, change: 'rotated', seen: 3 },
          { ...credential, change: 'deleted', seen: undefined },
          { ...about, type: 'tenant-changed', change: 'quotas', seen: 'active' },
          { ...about, type: 'tenant-changed', change: 'deleted', seen: 'deleting' },
        ]);
        log.stop();
      }
    });

    it('neither hears nor obeys what is none of its business', async () => {
      const clock = new ManualClock();
      const told: unknown[] = [];
      const log = new ControlLog(dynamo, clock, silentLog, {
        concerns: (one) => one.type === 'broker-drain' && one.brokerId === 'b',
        hear: (one) => told.push(one),
        apply: (one) => Promise.resolve(void told.push(one)),
      });
      await write('somebody', clock.nowMs());
      for (const brokerId of ['a', 'b', 'b'] as BrokerId[]) await appendDrain(dynamo, clock, brokerId);
      await log.catchUp(clock.nowMs());
      expect(told).toEqual(Array(4).fill({ type: 'broker-drain', brokerId: 'b' }));
      log.stop();
    });

    it('keeps entries of one millisecond in the order in which one API appended them', async () => {
      const clock = new ManualClock();
      const { obeyed, poll } = follow(clock);
      const names = Array.from({ length: 40 }, (_, i) => `c${i}`);
      for (const clientId of names) await appendControl(dynamo, clock, { id: acme }, entry(clientId));
      await poll();
      await poll();
      expect(obeyed).toEqual(names);
    });

    describe('of a time when no broker ran', () => {
      const minuteMs = 60_000;

      it('is obeyed before the broker serves, and not again', async () => {
        const clock = new ManualClock();
        const nowMs = clock.nowMs();
        await write('long before', nowMs - 60 * minuteMs);
        await write('while none ran', nowMs - 5 * minuteMs);
        await write('just now', nowMs);
        const times: number[] = [];
        const { log, obeyed } = open(clock, (_, atMs) => times.push(atMs));
        await log.catchUp(nowMs - 10 * minuteMs);
        expect([obeyed, times]).toEqual([
          ['while none ran', 'just now'],
          [nowMs - 5 * minuteMs, nowMs],
        ]);
        log.start();
        for (let i = 0; i < 20; i++) {
          clock.advance(700);
          await until(() => clock.timers > 0);
        }
        log.stop();
        expect([obeyed.length, clock.timers]).toEqual([2, 0]);
      });

      it('is read again while DynamoDB does not answer', async () => {
        const clock = new ManualClock();
        await write('while none ran', clock.nowMs() - 5 * minuteMs);
        const away = vi.spyOn(dynamo, 'queryAll').mockImplementation(() => {
          throw new DynamoUnavailable('away');
        });
        const { log, obeyed } = open(clock);
        let isCaughtUp = false;
        const caughtUp = log.catchUp(clock.nowMs() - 10 * minuteMs).then(() => (isCaughtUp = true));
        await until(() => clock.timers === 2); // Its limit, and the wait for the next try.
        expect([isCaughtUp, obeyed]).toEqual([false, []]);
        away.mockRestore();
        clock.advance(700);
        await caughtUp;
        expect([obeyed, clock.timers]).toEqual([['while none ran'], 0]);
      });

      it('keeps the broker from serving for ten seconds at most, and is obeyed when that is possible', async () => {
        const clock = new ManualClock();
        await write('first', clock.nowMs() - 5 * minuteMs);
        let isAway = true;
        const { log, obeyed } = open(clock, () => {
          if (isAway) throw new DynamoUnavailable('away');
        });
        let isCaughtUp = false;
        const caughtUp = log.catchUp(clock.nowMs() - 10 * minuteMs).then(() => (isCaughtUp = true));
        for (let second = 1; second < 10; second++) {
          await until(() => clock.timers === 2);
          clock.advance(1000);
        }
        expect(isCaughtUp).toBe(false);
        clock.advance(1000);
        await caughtUp;
        isAway = false;
        const before = obeyed.length;
        await until(() => {
          clock.advance(700);
          return obeyed.length > before && clock.timers === 0;
        });
        expect(obeyed.slice(before)).toEqual(['first']);
      });
    });
  });
}

for (const server of dynamoServers) controlLogContract(server);
