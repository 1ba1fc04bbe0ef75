/** What every store of sessions does: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Claim, Claimed, SessionStore } from '../../../services/broker/residence/residence.js';
import type { CommitLog, StoredMessage, Write } from '../../../services/broker/inbox/inbox.js';
import { Message } from '../../../services/broker/message/message.js';
import { DynamoSessionStore } from '../../../services/broker/store/store.js';
import { type BrokerId, type ClientId, type TenantScope } from '../../../services/kernel/kernel.js';
import { brokerLeaseToItem, sessionKey } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { MemorySessionStore } from '../../support/memory/session-store.js';
import { SessionTables } from '../../support/memory/session-tables.js';
import { until } from '../../support/until.js';
import { groupCommitOver, Source } from './commits.js';
import { dynamoServers } from './servers.js';

interface Opened {
  store(owner: BrokerId): OfOneBroker;
  readonly log: CommitLog;
  readonly clock: ManualClock;
}

/** Of tests in which a session is never another broker's that lives, or should not be. */
type OfOneBroker = Omit<SessionStore, 'claim'> & {
  claim(...args: Parameters<SessionStore['claim']>): Promise<Claimed>;
};

function ofOneBroker(store: SessionStore): OfOneBroker {
  const claim = store.claim.bind(store);
  const followed: OfOneBroker['claim'] = async (...args) => {
    const outcome = await claim(...args);
    if (!('isAlive' in outcome)) return outcome;
    throw new Error('another broker that is alive owns the session');
  };
  return Object.assign(store, { claim: followed });
}

interface Subject {
  readonly name: string;
  start(): Promise<{ open(): Promise<Opened>; stop(): Promise<void> }>;
}

const alive = 'alive' as BrokerId;
const [one, two] = ['broker-1' as BrokerId, 'broker-2' as BrokerId];
const acme = 'acme' as TenantScope;
const claim: Claim = {
  tenant: acme,
  clientId: 'c/ä' as ClientId,
  userName: 'device@acme',
  protocolVersion: '5',
  address: '192.0.2.1:5000',
  connected: true,
  connectedAtMs: 1000,
  keepAliveSeconds: 60,
  expirySeconds: 100,
  queuedMessages: 0,
  droppedMessages: 0,
};
const will = {
  topic: 'gone',
  payload: Uint8Array.of(1),
  qos: 1,
  retain: false,
  properties: new Uint8Array(),
  delaySeconds: 5,
} as const;
const partition = `acme#${claim.clientId}`;
const away = { connected: false, disconnectedAtMs: 2000 };

const inMemory: Subject = {
  name: 'memory',
  start: async () =>
    await Promise.resolve({
      open: async () => {
        const [tables, clock] = [new SessionTables(), new ManualClock()];
        const log = new MemoryCommitLog({ tables, nowMs: () => clock.nowMs(), prompt: true });
        const store = (owner: BrokerId) =>
          ofOneBroker(new MemorySessionStore(tables, owner, clock, (other) => other === alive));
        return await Promise.resolve({ store, log, clock });
      },
      stop: () => Promise.resolve(),
    }),
};

const overDynamo: Subject[] = dynamoServers.map(({ name, start }) => ({
  name,
  start: async () => {
    const server = await start();
    return {
      stop: () => server.stop(),
      open: async () => {
        const [dynamo, clock] = [await server.open(), new ManualClock()];
        const lease = { brokerId: alive, leaseUntilMs: clock.nowMs() + 60_000, startedAtMs: 0 };
        await dynamo.put('cluster', brokerLeaseToItem(lease));
        const log = groupCommitOver(dynamo);
        return {
          store: (owner: BrokerId) =>
            ofOneBroker(new DynamoSessionStore({ records: dynamo, contents: dynamo }, owner, clock)),
          log,
          clock,
        };
      },
    };
  },
}));

/** Writes all of it, in one commit, and waits for that. */
async function commit(log: CommitLog, writes: readonly Write[], to = partition): Promise<void> {
  const source = new Source(log, new Set(), to, writes);
  log.request(source);
  await until(() => source.isDone, 'the commit');
}

const stored = (payload: string, qos: 1 | 2 = 1): StoredMessage => ({
  message: Message.of({
    topic: { text: 'a', bytes: Buffer.from('a') },
    payload: Buffer.from(payload),
    qos,
    retain: false,
  }),
  terms: { qos, retainAsPublished: true, subscriptionIds: [7] },
  qos,
  packetId: 0,
  released: false,
  shared: '$share/g/a',
});
const keyAt = (epoch: number, n: number): string =>
  `m${epoch.toString(16).padStart(10, '0')}${n.toString(16).padStart(10, '0')}`;
const route = (filter: string) =>
  ({ filter, qos: 1, noLocal: false, retainAsPublished: true, retainHandling: 2, id: 3 }) as const;
const settled = { epoch: 1, number: 0 };

function sessionStoreContract({ name, start }: Subject): void {
  describe(`sessions stored in ${name}`, () => {
    let server: Awaited<ReturnType<Subject['start']>>;
    beforeAll(async () => {
      server = await start();
    }, 90_000);
    afterAll(async () => await server?.stop());

    const recordsOf = async (store: SessionStore) => {
      const all = [];
      for await (const page of store.sessions(acme)) all.push(...page.map(({ record }) => record));
      return all;
    };

    /** As somebody else reads it. */
    const recordOf = async ({ store }: Opened) => (await recordsOf(store('reader' as BrokerId)))[0];

    /** As `broker` has it, which follows whoever had it. */
    const inheritedBy = async (broker: SessionStore) => {
      expect(await broker.enter(acme)).toBe(true);
      const found = (await recordsOf(broker))[0]!;
      const { owner: _, ...record } = found;
      return { ...record, ...broker.inherit(found) };
    };

    const routesOf = async (store: SessionStore) => {
      const all = [];
      for await (const page of store.sessions(acme)) all.push(...page);
      return all.flatMap(({ routes }) => routes);
    };

    it('come with their subscriptions, page by page, whoever is in the same partition', async () => {
      const { store, log } = await server.open();
      const mine = store(one);
      const filters = ['a/#', '$share/g/b', 'x'.repeat(1020)];
      for (let i = 0; i < 60; i++) {
        const { epoch } = await mine.claim({ ...claim, clientId: `c${i}` as ClientId }, undefined);
        const writes = filters
          .slice(0, i % 4)
          .map((filter) => ({ kind: 'route', route: route(filter), epoch }) as const);
        if (i % 4 > 0) await commit(log, writes, `acme#c${i}`);
      }
      const found = new Map<string, string[]>();
      for await (const page of mine.sessions(acme))
        for (const { record, routes } of page) found.set(record.clientId, routes.map(({ filter }) => filter).sort());
      expect(found.size).toBe(60);
      for (let i = 0; i < 60; i++) expect(found.get(`c${i}`)).toEqual(filters.slice(0, i % 4).sort());
    });

    it('are all found, also when those of one partition are more than a page', async () => {
      const { store } = await server.open();
      const mine = store(one);
      const { pk } = sessionKey(acme, 'c0' as ClientId);
      const ids = Array.from({ length: 500 }, (_, i) => `c${i}` as ClientId);
      const together = ids.filter((clientId) => sessionKey(acme, clientId).pk === pk).slice(0, 24);
      expect(together).toHaveLength(24);
      const large = { ...will, payload: new Uint8Array(60_000) };
      for (const clientId of together) await mine.claim({ ...claim, clientId, will: large }, undefined);
      const found: string[] = [];
      for await (const page of mine.sessions(acme)) found.push(...page.map(({ record }) => record.clientId));
      expect(found.sort()).toEqual(together.sort());
    }, 30_000);

    it('lead to their tenant, though whoever adopts them dies before it is done', async () => {
      const { store } = await server.open();
      const [first, second, third] = [store(one), store(two), store('broker-3' as BrokerId)];
      const beta = 'beta' as TenantScope;
      for (const tenant of [acme, beta]) {
        await first.enter(tenant);
        await first.claim({ ...claim, tenant }, undefined);
      }
      await second.enter(acme); // And dies: before it has adopted anything, or after.
      expect((await third.scopesOf(one)).toSorted()).toEqual([acme, beta]);
      expect([await third.enter(acme), await third.enter(beta)]).toEqual([true, true]);
      third.entered(acme);
      await third.forget(one);
      expect([await third.enter(acme), await third.enter(beta)]).toEqual([false, true]);
      expect((await store('broker-4' as BrokerId).scopesOf('broker-3' as BrokerId)).toSorted()).toEqual([acme, beta]);
    });

    it('lead to their tenant until somebody else has them', async () => {
      const { store } = await server.open();
      const [first, second] = [store(one), store(two)];
      expect(await first.enter(acme)).toBe(false); // Nobody was there before.
      await first.claim(claim, undefined);
      first.entered(acme);
      expect(await first.enter(acme)).toBe(false);
      expect(await second.scopesOf(one)).toEqual([acme]);
      expect(await second.enter(acme)).toBe(true);
      expect(await second.enter(acme)).toBe(true); // What has failed begins anew.
      await second.claim(claim, undefined);
      second.entered(acme);
      expect(await second.enter(acme)).toBe(false);
      await second.forget(one);
      expect([await second.scopesOf(one), await second.scopesOf(two)]).toEqual([[], [acme]]);
      expect(await store('broker-3' as BrokerId).enter(acme)).toBe(true);
    });

    it('tell their epoch, whatever a client calls itself', async () => {
      const mine = (await server.open()).store(one);
      const clientId = '"epoch":{"N":"7"},"born":{"N":"8"}' as ClientId;
      const first = await mine.claim({ ...claim, clientId, userName: '\\"epoch":{"N":"9"}' }, undefined);
      expect(first.born).toBe(first.epoch);
      const next = await mine.claim({ ...claim, clientId, sdk: '"born":{"N":"1"}' }, first.born);
      expect(next).toEqual({ epoch: first.epoch + 1, born: first.born });
    });

    it('say who is connected, and what is left when the client goes', async () => {
      const opened = await server.open();
      const { store, clock } = opened;
      const mine = store(one);
      const base = Math.floor(clock.nowMs() / 10);
      const first = await mine.claim(claim, undefined);
      expect(first).toEqual({ epoch: base + 1, born: base + 1 });
      expect(await recordOf(opened)).toEqual({ ...claim, ...first, owner: one });
      await mine.release({ ...claim, ...first, ...away });
      expect(await recordOf(opened)).toEqual({ ...claim, ...first, ...away, owner: one });
      const next = await mine.claim(claim, first.born, { ...claim, ...first });
      expect(next).toEqual({ epoch: first.epoch + 1, born: first.born });
      expect(await recordOf(opened)).toEqual({ ...claim, ...next, owner: one });
      await mine.release({ ...claim, ...next, expirySeconds: 0 });
      await mine.release({ ...claim, ...next }); // Not made again.
      expect(await recordOf(opened)).toBeUndefined();
    });

    it('belong to the last who claimed them, and to nobody else while that broker lives', async () => {
      const opened = await server.open();
      const { store } = opened;
      const first = await store(one).claim(claim, undefined);
      const second = await store(two).claim(claim, undefined);
      expect(second).toEqual({ epoch: first.epoch + 1, born: first.epoch + 1 });
      await store(one).release({ ...claim, ...first, ...away });
      await store(one).release({ ...claim, ...second, expirySeconds: 0 });
      await store(two).release({ ...claim, ...first, ...away });
      expect(await recordOf(opened)).toMatchObject({ owner: two, epoch: second.epoch, connected: true });
      const third = await store(alive).claim(claim, second.born);
      await expect(store(one).claim(claim, second.born)).rejects.toThrow('alive');
      expect(await recordOf(opened)).toMatchObject({ owner: alive, epoch: third.epoch });
    });

    it('are taken by one of those who have read the same, and keep everything else', async () => {
      const opened = await server.open();
      const { store } = opened;
      const { epoch, born } = await store(alive).claim({ ...claim, will }, undefined);
      const says = { owner: alive, epoch };
      const taken = await Promise.all([one, two].map((owner) => store(owner).take(claim, says, says)));
      expect(taken.filter((next) => next !== undefined)).toEqual([epoch + 1]);
      const owner = taken[0] === undefined ? two : one;
      expect(await recordOf(opened)).toEqual({ ...claim, will, born, owner, epoch: epoch + 1, takenFrom: says });
      expect(await store(alive).take(claim, says)).toBeUndefined();
      expect((await store(one).sessionOf(acme, claim.clientId))?.record).toEqual(await recordOf(opened));
      // The next claim of its owner tells that nothing is left to be done.
      const next = await store(owner).claim(claim, born);
      expect(await recordOf(opened)).toEqual({ ...claim, ...next, owner });
    });

    it('are told what waits for them by their owner alone, and nothing else changes', async () => {
      const opened = await server.open();
      const { store } = opened;
      const first = await store(one).claim({ ...claim, will }, undefined);
      const depth = { queuedMessages: 7, droppedMessages: 2 };
      const told = { ...claim, ...first, ...depth, connected: false, expirySeconds: 1 };
      await store(one).note(told);
      const noted = { ...claim, will, ...first, ...depth, owner: one };
      expect(await recordOf(opened)).toEqual(noted);
      await store(two).note({ ...told, queuedMessages: 9 });
      expect(await recordOf(opened)).toEqual(noted);
      const second = await store(two).claim(claim, first.born);
      await store(one).note({ ...told, queuedMessages: 9 });
      expect(await recordOf(opened)).toMatchObject({ ...second, owner: two, queuedMessages: 0 });
      await store(two).release({ ...claim, ...second, expirySeconds: 0 });
      await store(two).note({ ...claim, ...second });
      expect(await recordOf(opened)).toBeUndefined();
    });

    describe('are inherited', () => {
      /** One has a session and dies; two follows. */
      async function followed() {
        const opened = await server.open();
        const { store } = opened;
        const [first, second] = [store(one), store(two)];
        await first.enter(acme);
        const claimed = { ...claim, will, ...(await first.claim({ ...claim, will }, undefined)) };
        const record = await inheritedBy(second);
        const own = { ...record, ...away };
        return { opened, store, first, second, claimed, record, own };
      }

      it('without a write, under an epoch of their own', async () => {
        const { opened, claimed, record } = await followed();
        expect(await recordOf(opened)).toEqual({ ...claimed, owner: one });
        expect(record).toEqual({
          ...claimed,
          epoch: record.epoch,
          inheritedFrom: { owner: one, epoch: claimed.epoch },
        });
        expect(record.epoch).toBeGreaterThan(claimed.epoch);
      });

      it('by any number of brokers, one after the other, each under a greater epoch', async () => {
        const { store, second, record } = await followed();
        const again = await inheritedBy(second); // Its first attempt at the tenant has failed.
        const third = await inheritedBy(store('broker-3' as BrokerId));
        await store('broker-3' as BrokerId).forget(one);
        await store('broker-3' as BrokerId).forget(two);
        const fourth = await inheritedBy(store('broker-4' as BrokerId));
        const epochs = [record, again, third, fourth].map(({ epoch }) => epoch);
        expect(epochs).toEqual([...new Set(epochs)].sort((a, b) => a - b));
        for (const each of [again, third, fourth]) expect(each.inheritedFrom).toEqual(record.inheritedFrom);
      });

      it('under a greater epoch than any record has, though clocks were set back', async () => {
        const { store } = await server.open();
        const ahead = { ...claim, epoch: 10 ** 12, born: 5 };
        const { epoch } = await store(one).claim(claim, undefined, ahead);
        expect(epoch).toBeGreaterThan(ahead.epoch);
        await store(one).enter(acme);
        expect((await inheritedBy(store(two))).epoch).toBeGreaterThan(epoch);
        // Nothing is written under it, and the next one knows of it all the same.
        expect((await inheritedBy(store('broker-3' as BrokerId))).epoch).toBeGreaterThan(epoch + 1);
      });

      it('and claimed, with what they were', async () => {
        const { opened, second, record } = await followed();
        const claimed = await second.claim(claim, record.born, record);
        expect(claimed).toEqual({ epoch: record.epoch + 1, born: record.born });
        expect(await recordOf(opened)).toEqual({ ...claim, ...claimed, owner: two });
      });

      it('and claimed by a client that begins anew, above all that was stored', async () => {
        const { second, record } = await followed();
        expect(await second.claim(claim, undefined, record)).toEqual({
          epoch: record.epoch + 1,
          born: record.epoch + 1,
        });
      });

      it('and written once: from then on they are the own ones of their broker', async () => {
        const { opened, second, own } = await followed();
        await second.release(own);
        const { inheritedFrom: _, ...written } = own;
        expect(await recordOf(opened)).toEqual({ ...written, owner: two });
        await second.release({ ...own, queuedMessages: 1 }); // The answer to the first was lost.
        expect(await recordOf(opened)).toMatchObject({ queuedMessages: 1 });
        await second.release({ ...written, queuedMessages: 2 });
        expect(await recordOf(opened)).toMatchObject({ queuedMessages: 2, owner: two });
        await second.release({ ...written, expirySeconds: 0 });
        await second.release({ ...own, expirySeconds: 0 });
        expect(await recordOf(opened)).toBeUndefined();
      });

      it('and noted, and nothing else changes', async () => {
        const { opened, second, own, claimed } = await followed();
        await second.note({ ...own, queuedMessages: 5 });
        expect(await recordOf(opened)).toEqual({ ...claimed, queuedMessages: 5, owner: one });
      });

      type Broker = Awaited<ReturnType<typeof followed>>;
      /** What the dead broker had under way, and what of it is found afterwards. */
      const late: [string, (broker: Broker) => Promise<unknown>][] = [
        ['nothing', () => Promise.resolve()],
        ['a claim', ({ first, claimed }) => first.claim(claim, claimed.born, claimed)],
        ['a claim that begins anew', ({ first, claimed }) => first.claim(claim, undefined, claimed)],
        [
          'a claim, and its giving back',
          async ({ first, claimed }) => {
            const again = await first.claim(claim, claimed.born, claimed);
            await first.release({ ...claim, ...again, ...away });
          },
        ],
        ['a release', ({ first, claimed: { will: _, ...left } }) => first.release({ ...left, ...away })],
        ['a note', ({ first, claimed }) => first.note({ ...claimed, queuedMessages: 3 })],
        ['its removal', ({ first, claimed }) => first.release({ ...claimed, expirySeconds: 0 })],
      ];

      describe.each(late)('when %s of the broker before comes late', (what, comes) => {
        it('a client comes in, above all that was stored', async () => {
          const broker = await followed();
          await comes(broker);
          const { opened, second, record } = broker;
          const claimed = await second.claim(claim, record.born, record);
          expect(claimed.epoch).toBeGreaterThan(record.epoch);
          expect(await recordOf(opened)).toEqual({ ...claim, ...claimed, born: record.born, owner: two });
          await comes(broker).catch(() => undefined);
        });

        it('what is written is what this broker says, and nothing that comes later changes it', async () => {
          const broker = await followed();
          const { opened, second, own, claimed, first } = broker;
          await comes(broker);
          await second.release({ ...own, queuedMessages: 9 });
          const { inheritedFrom: _, ...written } = { ...own, queuedMessages: 9, owner: two };
          const expected = what === 'its removal' ? undefined : written;
          expect(await recordOf(opened)).toEqual(expected);
          await first.release({ ...claimed, expirySeconds: 0 });
          await first.release({ ...claimed, ...away });
          await first.note({ ...claimed, queuedMessages: 4 });
          expect(await recordOf(opened)).toEqual(expected);
        });

        it('what is removed is gone', async () => {
          const broker = await followed();
          await comes(broker);
          await broker.second.release({ ...broker.own, expirySeconds: 0 });
          expect(await recordOf(broker.opened)).toBeUndefined();
        });
      });

      it('and not written over by one who has been followed, and does not know', async () => {
        const { opened, store, second, own } = await followed();
        const third = store('broker-3' as BrokerId);
        const next = await inheritedBy(third);
        await third.release({ ...next, ...away, queuedMessages: 8 });
        await second.release(own);
        await second.release({ ...own, expirySeconds: 0 });
        await second.note(own);
        expect(await recordOf(opened)).toMatchObject({ owner: 'broker-3', epoch: next.epoch, queuedMessages: 8 });
      });

      it('by the next one as well, when one who has been followed has written late', async () => {
        const { opened, store, second, own } = await followed();
        const third = store('broker-3' as BrokerId);
        const next = await inheritedBy(third);
        await second.release({ ...own, queuedMessages: 7 });
        await third.release({ ...next, ...away, queuedMessages: 8 });
        expect(await recordOf(opened)).toMatchObject({ owner: 'broker-3', epoch: next.epoch, queuedMessages: 8 });
      });
    });

    it('come back with what was stored since they began; the rest is purged', async () => {
      const { store, log } = await server.open();
      const mine = store(one);
      await commit(log, [
        { kind: 'route', route: route('old/#'), epoch: 9 },
        { kind: 'messages', key: keyAt(9, 1), messages: [stored('old')] },
        { kind: 'route', route: route('a'), epoch: 10 },
        { kind: 'messages', key: keyAt(10, 1), messages: [stored('1'), stored('2')] },
        { kind: 'messages', key: keyAt(11, 1), messages: [stored('3', 2)] },
        { kind: 'received', packetIds: [4, 5], epoch: 10, settled },
      ]);
      const record = { ...claim, epoch: 12, born: 10 };
      const expected = { received: { packetIds: [4, 5], settled }, stored: { messages: 3, origins: [] } };
      expect([await mine.load(record), await mine.load(record, true)]).toEqual([expected, expected]);
      // What this broker has stored meanwhile it knows.
      await commit(log, [{ kind: 'messages', key: keyAt(12, 1), messages: [stored('4')] }]);
      expect(await mine.load(record)).toEqual(expected);
      await commit(log, [{ kind: 'delete', key: keyAt(12, 1) }]);
      await mine.claim(claim, 10);
      expect(await routesOf(mine)).toEqual([route('a')]);
      await mine.purge(acme, claim.clientId, 10);
      const everything = { ...record, born: 0 };
      expect(await mine.load(everything)).toEqual(expected);
      await mine.purge(acme, claim.clientId, 13);
      const { received, stored: left } = await mine.load(everything);
      expect([await routesOf(mine), received.packetIds, left.messages]).toEqual([[], [], 0]);
    });

    it('are discarded with all that is stored of them, unless they began later or belong to a broker that is alive', async () => {
      const opened = await server.open();
      const { store, log } = opened;
      const mine = store(one);
      const first = await store(two).claim(claim, undefined);
      await commit(log, [
        { kind: 'route', route: route('a'), epoch: first.epoch },
        { kind: 'messages', key: keyAt(first.epoch, 1), messages: [stored('1')] },
        { kind: 'received', packetIds: [4], epoch: first.epoch, settled },
      ]);
      await mine.discard(acme, claim.clientId, first.born - 1);
      expect(await recordOf(opened)).toMatchObject(first);
      await mine.discard(acme, claim.clientId, first.born);
      expect(await recordOf(opened)).toBeUndefined();
      const { received, stored: left } = await mine.load({ ...claim, epoch: first.epoch + 1, born: 0 });
      expect([received.packetIds, left.messages]).toEqual([[], 0]);
      await mine.discard(acme, claim.clientId, first.born);
      await store(alive).claim(claim, undefined);
      expect(await mine.discard(acme, claim.clientId, undefined)).toBe(false);
    });

    it('give messages back in order and page by page, as they were written last', async () => {
      const { log } = await server.open();
      const keys = Array.from({ length: 40 }, (_, i) => keyAt(300, i + 1));
      for (let at = 0; at < keys.length; at += 20)
        await commit(
          log,
          keys.slice(at, at + 20).map((key) => ({ kind: 'messages', key, messages: [stored(key, 2)] })),
        );
      await commit(log, [
        { kind: 'delete', key: keys[0]! },
        { kind: 'messages', key: keys[1]!, messages: [{ ...stored('x', 2), packetId: 40_000, released: true }] },
      ]);
      const seen: string[] = [];
      let after = keyAt(300, 0);
      for (let more = true; more;) {
        const page = await log.read(partition, after, keys[38]!);
        for (const { key, messages } of page.items) {
          expect(messages).toMatchObject([{ qos: 2, shared: '$share/g/a', terms: { subscriptionIds: [7] } }]);
          seen.push(key);
        }
        ({ more } = page);
        after = page.items.at(-1)?.key ?? after;
      }
      expect(seen).toEqual(keys.slice(1, 39));
      const { items } = await log.read(partition, keys[0]!, keys[1]!);
      expect(items[0]!.messages).toMatchObject([{ packetId: 40_000, released: true }]);
    });
  });
}

for (const subject of [inMemory, ...overDynamo]) sessionStoreContract(subject);
