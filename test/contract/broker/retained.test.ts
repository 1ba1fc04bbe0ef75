/** What every store of retained messages does: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RetainedStore } from '../../../services/broker/fanout/fanout.js';
import { Message } from '../../../services/broker/message/message.js';
import { DynamoRetained } from '../../../services/broker/store/store.js';
import { type ClientId, silentLog, type TenantScope } from '../../../services/kernel/kernel.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryRetained } from '../../support/memory/retained.js';
import { bites, message, read, settled, unlimited } from './retained.js';
import { dynamoServers } from './servers.js';

/** A store of one tenant; stores of one tenant are as of several brokers. */
type Make = (tenant: TenantScope, limits: typeof unlimited, clock: ManualClock) => RetainedStore;

interface Subject {
  readonly name: string;
  start(): Promise<{ make: Make; stop(): Promise<void> }>;
}

const inMemory: Subject = {
  name: 'memory',
  start: () => {
    const tables = new Map<TenantScope, NonNullable<ConstructorParameters<typeof MemoryRetained>[0]['table']>>();
    const make: Make = (tenant, limits, clock) => {
      const table = tables.get(tenant) ?? new Map();
      tables.set(tenant, table);
      return new MemoryRetained({ table, limits, clock });
    };
    return Promise.resolve({ make, stop: () => Promise.resolve() });
  },
};

const overDynamo: Subject[] = dynamoServers.map(({ name, start }) => ({
  name,
  start: async () => {
    const server = await start();
    const dynamo = await server.open();
    return {
      make: (tenant, limits, clock) =>
        new DynamoRetained(dynamo, tenant, limits, { waitMs: () => 0 }, clock, silentLog),
      stop: () => server.stop(),
    };
  },
}));

function retainedStoreContract({ name, start }: Subject): void {
  describe(`retained messages in ${name}`, () => {
    let subject: Awaited<ReturnType<Subject['start']>>;
    let tenants = 0;
    beforeAll(async () => {
      subject = await start();
    }, 90_000);
    afterAll(async () => await subject?.stop());

    function open(
      limits = unlimited,
      tenant = `tenant-${++tenants}` as TenantScope,
      clock = new ManualClock(Date.now()),
    ) {
      const store = subject.make(tenant, limits, clock);
      const put = (topic: string, payload: string | Buffer, atMs = clock.nowMs()) =>
        store.put(message(topic, payload), atMs);
      return {
        store,
        put,
        clock,
        save: (topic: string, payload: string | Buffer, atMs?: number) => settled(put(topic, payload, atMs)),
        /** Another broker of the tenant. */
        other: () => open(limits, tenant, clock),
      };
    }

    describe('a message', () => {
      it('comes back as it was, on any broker', async () => {
        const { store, clock, other } = open();
        const original = message('a/ä', 'x', {
          qos: 2,
          properties: Buffer.from('0300026161', 'hex'),
          expiresAtMs: clock.nowMs() + 60_000,
          publisher: 'me' as ClientId,
        });
        expect(await settled(store.put(original, clock.nowMs()))).toBe(0);
        const found: Message[] = [];
        await bites(other().store, 'a/+', (one) => found.push(one));
        expect(found).toHaveLength(1);
        for (const field of ['topic', 'payload', 'qos', 'retain', 'properties', 'expiresAtMs', 'publisher'] as const)
          expect(found[0]![field]).toEqual(original[field]);
      });

      it('is not seen by other tenants', async () => {
        await open().save('a', '1');
        expect(await read(open().store, '#')).toEqual({});
        expect(await read(open().store, 'a')).toEqual({});
      });

      it('is replaced by the next and removed by an empty one, which is not kept itself', async () => {
        const { store, save, other } = open();
        await save('a', '1');
        await save('a', '2');
        expect(await read(other().store, 'a')).toEqual({ a: '2' });
        expect(await save('a', '')).toBe(0);
        for (const filter of ['a', '#', '+']) expect(await read(store, filter)).toEqual({});
        await save('a', '3');
        expect(await read(other().store, '#')).toEqual({ a: '3' });
      });

      it('is not there any more when it has expired', async () => {
        const { store, clock } = open();
        await settled(store.put(message('a', '1', { expiresAtMs: clock.nowMs() + 1000 }), clock.nowMs()));
        expect(await read(store, 'a')).toEqual({ a: '1' });
        clock.advance(1000);
        for (const filter of ['a', '#']) expect(await read(store, filter)).toEqual({});
      });

      it('is as large as a packet may be, and refused when it is larger than an item', async () => {
        const { store, save } = open();
        const large = Buffer.alloc(384 << 10, 'x');
        expect(await save('t'.repeat(1024), large)).toBe(0);
        expect(await save('a', 'before')).toBe(0);
        const [tooLarge, next] = [save('a', Buffer.alloc(401 << 10, 'x')), save('b', 'beside')];
        expect(await Promise.all([tooLarge, next])).toEqual([0x83, 0]);
        expect(await read(store, '+')).toEqual({
          ['t'.repeat(1024)]: large.toString(),
          a: 'before',
          b: 'beside',
        });
        expect(await save('a', 'after')).toBe(0);
      });

      it('of a read buffer is copied before that is used again', async () => {
        const { store, clock } = open();
        const buffer = Buffer.from('-1-');
        const reused = Message.volatile();
        Object.assign(reused, { topic: { text: 'a', bytes: Buffer.from('a') }, retain: true, source: buffer });
        Object.assign(reused, { payloadStart: 1, payloadEnd: 2 });
        const receipt = store.put(reused, clock.nowMs());
        buffer.fill('?');
        reused.renew();
        await settled(receipt);
        expect(await read(store, 'a')).toEqual({ a: '1' });
      });
    });

    describe('a read', () => {
      it.each([
        ['a', ['a']],
        ['a/#', ['a', 'a/b', 'a/b/c']],
        ['a/+', ['a/b']],
        ['+', ['a', 'ab']],
        ['#', ['a', 'a/b', 'a/b/c', 'ab']],
        ['$x/#', ['$x/y']],
        ['+/y', []],
        ['none', []],
      ])('of %s finds what it matches', async (filter, topics) => {
        const { store, save } = open();
        await Promise.all(['a', 'a/b', 'a/b/c', 'ab', '$x/y'].map((topic) => save(topic, '1')));
        expect(Object.keys(await read(store, filter)).sort()).toEqual(topics);
      });

      it.each(['', '/#', '/+'])('of a filter longer than any stored topic finds nothing (%s)', async (end) => {
        const { store, save } = open();
        await save('l', '1');
        expect(await read(store, 'l'.repeat(2000) + end)).toEqual({});
      });

      it('of many comes in bites, and nothing is cut off', async () => {
        const { store, put } = open();
        const topics = Array.from({ length: 1500 }, (_, i) => `${i % 7}/${i}`);
        const receipts = topics.map((topic) => put(topic, Buffer.alloc(500, 'x')));
        expect(new Set(await Promise.all(receipts.map(settled)))).toEqual(new Set([0]));
        const found: string[] = [];
        const sizes = await bites(store, '#', ({ topic }) => found.push(topic.text));
        expect(found).toEqual([...topics].sort());
        expect(Math.max(...sizes)).toBeLessThanOrEqual(100);
        expect(Object.keys(await read(store, '3/+'))).toHaveLength(
          topics.filter((topic) => topic.startsWith('3')).length,
        );
      }, 60_000);

      it('sees what is written before it began, and leaves out what is replaced meanwhile', async () => {
        const { store, put, save } = open();
        for (const topic of ['a', 'b', 'gone']) await save(topic, 'old');
        const receipts = [put('a', 'new'), put('gone', ''), put('fresh', '1')];
        expect(await read(store, '#')).toEqual({ a: 'new', b: 'old', fresh: '1' });
        await Promise.all(receipts.map(settled));
        const found: string[] = [];
        const reading = bites(store, '#', ({ topic }) => found.push(topic.text));
        const receipt = put('a', 'newer'); // The subscriber has got this one live.
        await reading;
        expect(found).toEqual(['b', 'fresh']);
        await settled(receipt);
      });

      it('goes on behind any topic, in the order of bytes, whether that is stored, being written or gone', async () => {
        const { store, put, save } = open();
        const topics = ['a', 'b', 'b/c', 'ä', '\uffee', '𝄞', 'z'].map((name) => `t/${name}`);
        const inOrder = [...topics].sort((one, other) => Buffer.from(one).compare(Buffer.from(other)));
        await Promise.all(topics.filter((_, i) => i % 2 === 0).map((topic) => save(topic, 'old')));
        for (const messagesMax of [1, 2, 3, 100])
          expect(Object.keys(await read(store, 't/#', messagesMax))).toEqual(
            inOrder.filter((topic) => topics.indexOf(topic) % 2 === 0),
          );
        for (const messagesMax of [1, 2, 3, 100]) {
          const receipts = topics.map((topic) => put(topic, `new ${messagesMax}`));
          const found = await read(store, 't/#', messagesMax);
          expect(Object.keys(found)).toEqual(inOrder);
          expect(new Set(Object.values(found))).toEqual(new Set([`new ${messagesMax}`]));
          await Promise.all(receipts.map(settled));
        }
        let rest: string[] = [];
        const take = (messages: readonly Message[]): void => void (rest = messages.map(({ topic }) => topic.text));
        await store.read('t/#', { after: 't/b/b', messagesMax: 9, isWanted: () => true, take });
        expect(rest).toEqual(inOrder.slice(inOrder.indexOf('t/b/c')));
        await store.read('t/a', { after: 't/a', messagesMax: 9, isWanted: () => true, take });
        expect(rest).toEqual([]);
      });

      it('takes large messages in bites that a subscriber can hold', async () => {
        const { store, save } = open();
        await Promise.all(Array.from({ length: 12 }, (_, i) => save(`t/${i}`, Buffer.alloc(100 << 10, 'x'))));
        let bytes = 0;
        const sizes = await bites(store, '#', ({ payloadBytes }) => (bytes += payloadBytes));
        expect(bytes).toBe(12 * (100 << 10));
        if (name !== 'memory') expect(Math.max(...sizes)).toBeLessThanOrEqual(2);
      });

      it('finds the few that match among many', async () => {
        const { store, put } = open();
        const receipts = Array.from({ length: 700 }, (_, i) => put(`t/${i}/${i % 100 === 0 ? 'cfg' : 'state'}`, '1'));
        await Promise.all(receipts.map(settled));
        expect(Object.keys(await read(store, '+/+/cfg'))).toHaveLength(7);
      });

      it('that nobody wants any more is not gone on with', async () => {
        const { store, save } = open();
        await save('a', '1');
        let asked = 0;
        const messages: Message[] = [];
        await store.read('+/none', {
          after: '',
          messagesMax: 9,
          isWanted: () => asked++ > 9,
          take: (some) => messages.push(...some),
        });
        expect(messages).toEqual([]);
        expect(await read(store, '#')).toEqual({ a: '1' });
      });
    });

    describe('a look', () => {
      it('tells whether anything may match, in the table or on its way there', async () => {
        const { store, save, put, clock } = open();
        const looks = async (): Promise<boolean[]> =>
          await Promise.all(['a/b', 'a/#', '+/b', 'c', 'c/#', 'a/+/x'].map((filter) => store.mayMatch(filter)));
        expect(await looks()).toEqual([false, false, false, false, false, false]);
        const receipt = put('a/b', '1');
        expect(await looks()).toEqual([true, true, true, false, false, false]);
        await settled(receipt);
        expect(await looks()).toEqual([true, true, true, false, false, false]);
        await save('a/b', '');
        expect(await looks()).toEqual([false, false, false, false, false, false]);
        await settled(store.put(message('c', '1', { expiresAtMs: clock.nowMs() + 1000 }), clock.nowMs()));
        expect(await looks()).toEqual([false, false, false, true, true, false]);
        clock.advance(1000);
        expect(await looks()).toEqual([false, false, false, false, false, false]);
      });

      it('is not certain where there is much to look through, and then says yes', async () => {
        const { store, put } = open();
        await Promise.all(Array.from({ length: 50 }, (_, i) => settled(put(`t/${i}`, '1'))));
        expect(await store.mayMatch('t/+')).toBe(true);
        if (name !== 'memory') expect(await store.mayMatch('+/none')).toBe(true);
        expect(await store.mayMatch('u/+')).toBe(false);
      });
    });

    describe('of several writers', () => {
      it('the last one stays, however many come at once, and all are answered', async () => {
        const { put, other } = open();
        const receipts = Array.from({ length: 300 }, (_, i) => put(`busy/${i % 3}`, String(i)));
        expect(new Set(await Promise.all(receipts.map(settled)))).toEqual(new Set([0]));
        expect(await read(other().store, '#')).toEqual({ 'busy/0': '297', 'busy/1': '298', 'busy/2': '299' });
      });

      it('on several brokers the last by time stays, whether it keeps or removes', async () => {
        const { store, save, clock, other } = open();
        const behind = other();
        const nowMs = clock.nowMs();
        await save('a', 'newer', nowMs + 1000);
        expect([await behind.save('a', 'older', nowMs), await behind.save('a', '', nowMs)]).toEqual([0, 0]);
        await save('b', '', nowMs + 1000);
        expect(await behind.save('b', 'older', nowMs)).toBe(0);
        await save('c', '1', nowMs);
        await save('c', '', nowMs + 1000);
        expect(await behind.save('c', 'older', nowMs + 500)).toBe(0);
        expect(await read(store, '#')).toEqual({ a: 'newer' });
        expect(await behind.save('c', 'newest', nowMs + 1001)).toBe(0);
        expect(await read(store, '#')).toEqual({ a: 'newer', c: 'newest' });
      });

      it('on one broker the last to come stays, whatever the clock does', async () => {
        const { store, save, clock } = open();
        await save('a', '1', clock.nowMs());
        await save('a', '2', clock.nowMs() - 60_000);
        expect(await read(store, 'a')).toEqual({ a: '2' });
      });
    });

    describe('quotas', () => {
      const two = { retainedMessages: 2, retainedBytes: Infinity };

      it('refuse one message too many, and take replacements and room that was made', async () => {
        const { store, save, other } = open(two);
        expect([await save('a', '1'), await save('b', '1'), await save('c', '1')]).toEqual([0, 0, 0x97]);
        expect([await save('a', '2'), await save('a', 'longer'), await save('b', '')]).toEqual([0, 0, 0]);
        expect(await save('c', '1')).toBe(0);
        expect(await read(store, '#')).toEqual({ a: 'longer', c: '1' });
        expect(await other().save('d', '1')).toBe(0x97);
        expect(await other().save('c', 'longer')).toBe(0);
        expect(await other().save('b', '1')).toBe(0x97); // It was removed: nothing to replace.
      });

      it('count bytes with topics, and let a message grow while there is room', async () => {
        const { store, save } = open({ retainedMessages: Infinity, retainedBytes: 10 });
        expect([await save('abc', '1234567'), await save('d', ''), await save('e', '1')]).toEqual([0, 0, 0x97]);
        expect(await save('abc', '12')).toBe(0);
        expect([await save('e', '1'), await save('e', '1234'), await save('e', '12345')]).toEqual([0, 0, 0x97]);
        expect(await read(store, '#')).toEqual({ abc: '12', e: '1234' });
      });

      it('do not count what has expired', async () => {
        const { store, save, clock, other } = open(two);
        for (const topic of ['a', 'b'])
          await settled(store.put(message(topic, '1', { expiresAtMs: clock.nowMs() + 1000 }), clock.nowMs()));
        expect(await save('c', '1')).toBe(0x97);
        clock.advance(61_000); // A store may believe for a minute that it is full.
        expect([await save('c', '1'), await save('a', '1'), await save('b', '1')]).toEqual([0, 0, 0x97]);
        expect(await other().save('b', '1')).toBe(0x97);
        expect(await read(store, '#')).toEqual({ a: '1', c: '1' });
      });
    });

    it('are all stored when the store rests', async () => {
      const { store, put, other } = open();
      await store.rest();
      for (let i = 0; i < 100; i++) put(`t/${i}`, '1');
      for (let i = 0; i < 100; i++) put(`t/${i}`, '2');
      await store.rest();
      const found = await read(other().store, 't/+');
      expect([Object.keys(found).length, new Set(Object.values(found))]).toEqual([100, new Set(['2'])]);
    });

    it('are not written any more once the store is closed, and nobody waits for ever', async () => {
      const { store, save, put, other } = open();
      await save('a', '1');
      const waiting = Array.from({ length: 100 }, (_, i) => put(`w/${i}`, '1'));
      store.close();
      expect(await save('a', '2')).toBe(0);
      await Promise.all(waiting.map(settled));
      await store.rest();
      expect(await read(other().store, 'a')).toEqual({ a: '1' });
    });
  });
}

for (const subject of [inMemory, ...overDynamo]) retainedStoreContract(subject);
