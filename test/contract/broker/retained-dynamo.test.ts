/** What the store of retained messages in DynamoDB adds to its contract: few writes, and nothing wrong in any trouble. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { RetainedReads } from '../../../services/broker/fanout/fanout.js';
import { DynamoRetained } from '../../../services/broker/store/store.js';
import { type Dynamo, DynamoUnavailable, oncePerCause } from '../../../services/dynamo/dynamo.js';
import { silentLog, systemClock, type TenantScope } from '../../../services/kernel/kernel.js';
import type { FaultProxy } from '../../support/fault-proxy.js';
import { type Fault, faultOn, noFaults } from '../../support/faults.js';
import { ManualClock } from '../../support/manual-clock.js';
import { until } from '../../support/until.js';
import { message, read, settled, unlimited } from './retained.js';
import { type DynamoServer, dynamoServers, type FaultyServer, startFaulty } from './servers.js';

function retainedInTrouble(behind: DynamoServer): void {
  describe(`retained messages in ${behind.name}`, () => {
    let server: FaultyServer;
    let proxy: FaultProxy;
    /** Without repetitions of its own: each fault reaches the store. */
    let dynamo: Dynamo;
    let tenants = 0;
    beforeAll(async () => {
      server = await startFaulty(behind, { maxAttempts: 1, requestTimeoutMs: 3000 });
      ({ proxy, dynamo } = server);
    }, 90_000);
    afterEach(() => {
      proxy.choose = noFaults;
      vi.restoreAllMocks();
    });
    afterAll(async () => await server?.stop());

    function open({
      clock = systemClock,
      log = silentLog,
      limits = unlimited,
      tenant = `t${++tenants}`,
      pace = { waitMs: (): number => 0 },
    } = {}) {
      const store = new DynamoRetained(dynamo, tenant as TenantScope, limits, pace, clock, log);
      const put = (topic: string, payload: string | Buffer, atMs = clock.nowMs()) =>
        store.put(message(topic, payload), atMs);
      return {
        store,
        put,
        save: (topic: string, payload: string, atMs?: number) => settled(put(topic, payload, atMs)),
        other: () => open({ clock, log, limits, tenant }),
        item: (topic: string) => dynamo.get('retained', { pk: tenant, sk: topic }, { consistent: true }),
      };
    }
    const puts = (): number => proxy.requests.get('PutItem') ?? 0;

    it('are coalesced by topic: what comes during a write is one more, with one receipt', async () => {
      const { store, put } = open();
      const before = puts();
      const first = put('flood', '0');
      const receipts = new Set(Array.from({ length: 1000 }, (_, i) => put('flood', String(i + 1))));
      expect([receipts.size, receipts.has(first)]).toEqual([1, false]);
      expect(await settled([...receipts][0]!)).toBe(0);
      expect(puts() - before).toBe(2);
      expect(await read(store, 'flood')).toEqual({ flood: '1000' });
    });

    it('are looked for together, topics of the same moment in one call for a hundred; a look that comes later is another', async () => {
      const { store, save } = open();
      await Promise.all(Array.from({ length: 25 }, (_, i) => save(`d/${i * 10}`, '1')));
      const looks = (): number => proxy.requests.get('BatchGetItem') ?? 0;
      const before = looks();
      const found = await Promise.all(Array.from({ length: 250 }, (_, i) => store.mayMatch(`d/${i}`)));
      expect(found.map((is, i) => (is ? i : -1)).filter((i) => i >= 0)).toEqual(
        Array.from({ length: 25 }, (_, i) => i * 10),
      );
      expect(looks() - before).toBe(3);
      const first = store.mayMatch('late');
      await until(() => looks() - before === 4, 'the look to be under way');
      await save('late', '1');
      expect(await store.mayMatch('late')).toBe(true);
      expect([looks() - before, typeof (await first)]).toEqual([5, 'boolean']);
      vi.spyOn(dynamo, 'look').mockResolvedValue({ items: [{ sk: 'd/0' }], isPart: true });
      expect(await Promise.all(['d/0', 'd/1'].map((topic) => store.mayMatch(topic)))).toEqual([true, true]);
    });

    it('wait, with their replays, while the tenant has used more of the database than it may', async () => {
      const clock = new ManualClock();
      let owedMs = 5000;
      const { store, put } = open({ clock, pace: { waitMs: () => owedMs } });
      const stored = settled(put('a', '1'));
      const replay = read(store, '#');
      const before = [puts(), proxy.requests.get('Query') ?? 0];
      for (let i = 0; i < 10; i++) {
        clock.advance(500);
        await new Promise(setImmediate);
      }
      expect(await store.mayMatch('#')).toBe(true);
      expect([puts(), proxy.requests.get('Query') ?? 0]).toEqual(before);
      owedMs = 0;
      clock.advance(1000);
      expect([await stored, await replay]).toEqual([0, { a: '1' }]);
      owedMs = 5000;
      put('b', '2');
      await store.settled(); // A stop leaves nothing behind.
      expect(await dynamo.get('retained', { pk: `t${tenants}`, sk: 'b' }, { consistent: true })).toBeDefined();
    });

    it('are written to a bounded number of topics at once, and wait in bounded memory', async () => {
      const { store, put } = open();
      let [underWay, most] = [0, 0];
      const real = dynamo.put.bind(dynamo);
      vi.spyOn(dynamo, 'put').mockImplementation(async (...args) => {
        most = Math.max(most, ++underWay);
        return await real(...args).finally(() => underWay--);
      });
      const receipts = Array.from({ length: 200 }, (_, i) => put(`t/${i}`, Buffer.alloc(200_000, 'x')));
      const codes = await Promise.all(receipts.map(settled));
      expect(most).toBe(16);
      expect(codes.filter((code) => code === 0x97).length).toBeGreaterThan(50); // 40 MB, of which 16 MiB may wait.
      const stored = Object.keys(await read(store, '#')).length;
      expect(stored).toBe(codes.filter((code) => code === 0).length);
    });

    it.each<Fault>([
      { kind: 'internalError' },
      { kind: 'throttle' },
      { kind: 'reset' },
      { kind: 'lostAnswer' },
      { kind: 'accessDenied' },
    ])('are written in the end when there is $kind', async (fault) => {
      const { save, other } = open();
      await save('gone', '1');
      proxy.choose = faultOn('PutItem', fault, 4);
      expect(await Promise.all([save('a', '1'), save('gone', '')])).toEqual([0, 0]);
      expect(await read(other().store, '#')).toEqual({ a: '1' });
    });

    it('say once what is wrong with the set-up, and wait until it is right', async () => {
      const errors: string[] = [];
      const { put, save } = open({
        log: oncePerCause({ ...silentLog, error: (_: object, text: string) => void errors.push(text) }),
      });
      const before = puts();
      proxy.choose = (action) => (action === 'PutItem' ? { kind: 'accessDenied' } : undefined);
      const receipt = put('a', '1');
      await until(() => puts() >= before + 3, 'repeated attempts');
      expect(receipt.reasonCode).toBeUndefined();
      proxy.choose = noFaults;
      expect(await settled(receipt)).toBe(0);
      expect(errors).toEqual(['retained messages cannot be stored, trying again']);
      proxy.choose = faultOn('PutItem', { kind: 'accessDenied' });
      await save('a', '2');
      expect(errors).toHaveLength(2);
    });

    it('of an outage are answered after it, the latest of each topic stays, and readers wait for it', async () => {
      const { store, put, save, other } = open();
      await save('a', 'before');
      await proxy.beginOutage('reset');
      const receipts = [put('a', 'during 1'), put('b', 'during'), put('a', 'during 2')];
      const reading = read(store, '#');
      const failed = proxy.faults.get('reset') ?? 0;
      await until(() => proxy.faults.get('reset')! >= failed + 4, 'attempts that fail');
      expect(receipts.map(({ reasonCode }) => reasonCode)).toEqual([undefined, undefined, undefined]);
      await proxy.endOutage();
      expect(await Promise.all(receipts.map(settled))).toEqual([0, 0, 0]);
      expect(await reading).toEqual({ a: 'during 2', b: 'during' });
      await store.settled();
      expect(await read(other().store, '#')).toEqual({ a: 'during 2', b: 'during' });
    });

    it('are read as they will be, however long their writes take', async () => {
      const { store, put, save } = open();
      for (const topic of ['a', 'gone', 'b']) await save(topic, 'old');
      proxy.choose = (action) => (action === 'PutItem' ? { kind: 'lateWrite', delayMs: 200 } : undefined);
      const receipts = [put('a', 'new'), put('gone', '')];
      for (const expected of [
        { a: 'new', b: 'old' },
        { a: 'newer', b: 'old' },
      ]) {
        expect(await read(store, '#')).toEqual(expected);
        expect(receipts.map(({ reasonCode }) => reasonCode)).toContain(undefined);
        receipts.push(put('a', 'newer'));
      }
      await Promise.all(receipts.map(settled));
      expect(await read(store, '#')).toEqual({ a: 'newer', b: 'old' });
    });

    /** The next put is not carried out before the test says so; the store has long given it up for lost. */
    function holdUpNextPut(): () => Promise<unknown> {
      const real = dynamo.put.bind(dynamo);
      let late: (() => Promise<unknown>) | undefined;
      vi.spyOn(dynamo, 'put').mockImplementationOnce((...args) => {
        late = () => real(...args).catch((error: unknown) => error);
        return Promise.reject(new DynamoUnavailable('timed out'));
      });
      return () => late!();
    }

    it.each([
      ['newer', { a: 'newer' }],
      ['', {}],
    ])('are not undone by an older write that arrives late (%j)', async (payload, expected) => {
      const { put, save, other } = open();
      const nowMs = Date.now();
      const writeLate = holdUpNextPut();
      const older = put('a', 'older', nowMs);
      expect(await save('a', payload, nowMs + 1)).toBe(0);
      expect(await settled(older)).toBe(0);
      await writeLate();
      expect(await read(other().store, '#')).toEqual(expected);
    });

    it('leave nothing behind when they are removed, once no older write can arrive any more', async () => {
      const clock = new ManualClock(Date.now());
      const { save, item } = open({ clock });
      for (const topic of ['a', 'b', 'c']) await save(topic, '1');
      for (const topic of ['a', 'b']) await save(topic, '');
      expect((await item('a'))?.['ttl']).toBeGreaterThan(clock.nowMs() / 1000);
      clock.advance(30_000);
      await save('b', '2');
      await save('c', '');
      clock.advance(30_000);
      await until(async () => !(await item('a')));
      clock.advance(29_999);
      expect([(await item('b'))?.['bytes'], (await item('c'))?.['bytes']]).toEqual([2, 0]);
      await until(() => clock.timers > 0);
      clock.advance(1);
      await until(async () => !(await item('c')));
      expect(clock.timers).toBe(0);
    });

    it('keep their quotas over lost answers', async () => {
      const { save, other } = open({ limits: { retainedMessages: 2, retainedBytes: Infinity } });
      proxy.choose = faultOn('PutItem', { kind: 'lostAnswer' }, 2);
      expect([await save('a', '1'), await save('b', '1')]).toEqual([0, 0]);
      expect(await other().save('c', '1')).toBe(0x97);
    });

    it('are read once for all who wait for the same, and each is told what is new to it', async () => {
      const { store, save, put } = open();
      await Promise.all(Array.from({ length: 12 }, (_, i) => save(`${i}/cfg`, '1')));
      const reads = new RetainedReads(store, () => Promise.resolve());
      const took: Record<string, string>[] = [];
      const all = (count: number): Promise<unknown> =>
        Promise.all(
          Array.from({ length: count }, () => {
            const got: Record<string, string> = {};
            took.push(got);
            return reads.read('+/cfg', {
              after: '',
              messagesMax: 128,
              isWanted: () => true,
              take: (messages) => messages.forEach(({ topic, payload }) => (got[topic.text] = payload.toString())),
            });
          }),
        );
      const before = proxy.requests.get('Query') ?? 0;
      const first = all(100);
      const receipt = put('3/cfg', '2'); // All of them get it live, so none gets the old one.
      await Promise.all([first, settled(receipt), all(1)]);
      // The first has come alone, as nobody waited; then 32 at once.
      expect((proxy.requests.get('Query') ?? 0) - before).toBeLessThanOrEqual(7);
      expect(took).toHaveLength(101);
      for (const got of took) expect([Object.keys(got).length >= 11, got['3/cfg'] ?? '2']).toEqual([true, '2']);
    });

    describe('have totals', () => {
      const three = { retainedMessages: 3, retainedBytes: Infinity };
      const queries = (): number => proxy.requests.get('Query') ?? 0;
      /** What a store that is opened next counts from the table; and whether it takes one more message. */
      async function reopened(other: ReturnType<typeof open>): Promise<{ counts: number; messages: number }> {
        const before = queries();
        await other.save('known', 'again');
        const { messages } = await other.store.counted();
        return { counts: queries() - before, messages };
      }

      it('that the next use believes when the last has rested', async () => {
        const { store, save, other } = open({ limits: three });
        await save('known', '1');
        await save('a', '1');
        await save('b', '1');
        await save('b', '');
        await store.rest();
        const next = other();
        expect(await reopened(next)).toEqual({ counts: 0, messages: 2 });
        expect([await next.save('c', '1'), await next.save('d', '1')]).toEqual([0, 0x97]);
        await next.store.rest();
        await next.store.rest();
        expect(await reopened(other())).toEqual({ counts: 0, messages: 3 });
      });

      it.each<
        [
          string,
          (store: DynamoRetained, save: (topic: string, payload: string) => Promise<unknown>) => Promise<unknown>,
        ]
      >([
        ['never rested', () => Promise.resolve()],
        ['wrote again after its rest', async (store, save) => [await store.rest(), await save('a', '2')]],
        ['removed after its rest', async (store, save) => [await store.rest(), await save('b', '')]],
      ])('that are counted when the last use %s', async (_, last) => {
        const { store, save, other } = open({ limits: three });
        await save('known', '1');
        await save('a', '1');
        await last(store, save);
        const next = other();
        expect(await reopened(next)).toEqual({ counts: 1, messages: 2 });
        await next.store.rest();
        expect((await reopened(other())).counts).toBe(0);
      });

      it('that are right when answers are lost', async () => {
        const { store, save, other } = open({ limits: three });
        await save('known', '1');
        await save('a', '1');
        await store.rest();
        const next = other();
        await next.save('b', '1');
        proxy.choose = faultOn('UpdateItem', { kind: 'lostAnswer' });
        await next.store.rest();
        await next.store.rest();
        proxy.choose = noFaults;
        expect(await reopened(other())).toEqual({ counts: 0, messages: 3 });
      });

      it('that are not read while no quota asks for them, and counted when one does', async () => {
        const { store, save, other } = open();
        const before = queries();
        for (const topic of ['known', 'a', 'b']) await save(topic, '1');
        await store.rest();
        await other().save('c', '1');
        expect(queries() - before).toBe(0);
        expect((await other().store.counted()).messages).toBe(4);
      });

      it('in which what expires counts until somebody needs to know', async () => {
        const clock = new ManualClock(Date.now());
        const { store, save, other } = open({ limits: three, clock });
        await save('known', '1');
        await settled(store.put(message('a', '1', { expiresAtMs: clock.nowMs() + 1000 }), clock.nowMs()));
        await store.rest();
        clock.advance(3_601_000);
        const next = other();
        const before = queries();
        expect((await next.store.counted()).messages).toBe(1);
        expect((await next.store.counted()).messages).toBe(1);
        expect(queries() - before).toBe(1);
      });

      it('that are counted anew once a month', async () => {
        const clock = new ManualClock(Date.now());
        const { store, save, other } = open({ limits: three, clock });
        await save('known', '1');
        await store.rest();
        for (const [days, counts] of [
          [29, 0],
          [29, 1],
          [29, 0],
        ]) {
          clock.advance(days! * 86_400_000);
          const next = other();
          expect((await reopened(next)).counts).toBe(counts);
          await next.store.rest();
        }
      });

      it('that a deleted tenant does not write any more', async () => {
        const { store, save } = open({ limits: three });
        await save('known', '1');
        const key = { pk: `t${tenants}#totals`, sk: 'totals' };
        await dynamo.delete('retained', key);
        store.close();
        await store.rest();
        expect(await dynamo.get('retained', key, { consistent: true })).toBeUndefined();
      });
    });
  });
}

for (const server of dynamoServers) retainedInTrouble(server);
