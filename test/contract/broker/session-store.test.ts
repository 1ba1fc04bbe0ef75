/** What every store of sessions does: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Claim, SessionStore } from '../../../services/broker/residence/residence.js';
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
  store(owner: BrokerId): SessionStore;
  readonly log: CommitLog;
  readonly clock: ManualClock;
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
        const store = (owner: BrokerId) => new MemorySessionStore(tables, owner, clock, (other) => other === alive);
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
          store: (owner: BrokerId) => new DynamoSessionStore({ records: dynamo, contents: dynamo }, owner, clock),
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

    const recordOf = async (store: SessionStore) => {
      const all = [];
      for await (const page of store.sessions(acme)) all.push(...page);
      return all[0]?.record;
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

    it('say who is connected, and what is left when the client goes', async () => {
      const { store, clock } = await server.open();
      const mine = store(one);
      const base = Math.floor(clock.nowMs() / 10);
      const first = await mine.claim(claim, undefined);
      expect(first).toEqual({ epoch: base + 1, born: base + 1 });
      expect(await recordOf(mine)).toEqual({ ...claim, ...first, owner: one });
      await mine.release({ ...claim, ...first, ...away });
      expect(await recordOf(mine)).toEqual({ ...claim, ...first, ...away, owner: one });
      const next = await mine.claim(claim, first.born);
      expect(next).toEqual({ epoch: first.epoch + 1, born: first.born });
      expect(await recordOf(mine)).toEqual({ ...claim, ...next, owner: one });
      await mine.release({ ...claim, ...next, expirySeconds: 0 });
      await mine.release({ ...claim, ...next }); // Not made again.
      expect(await recordOf(mine)).toBeUndefined();
    });

    it('belong to the last who claimed them, and to nobody else while that broker lives', async () => {
      const { store } = await server.open();
      const first = await store(one).claim(claim, undefined);
      const second = await store(two).claim(claim, undefined);
      expect(second).toEqual({ epoch: first.epoch + 1, born: first.epoch + 1 });
      await store(one).release({ ...claim, ...first, ...away });
      await store(one).release({ ...claim, ...second, expirySeconds: 0 });
      await store(two).release({ ...claim, ...first, ...away });
      expect(await recordOf(store(one))).toMatchObject({ owner: two, epoch: second.epoch, connected: true });
      const third = await store(alive).claim(claim, second.born);
      await expect(store(one).claim(claim, second.born)).rejects.toThrow('alive');
      expect(await recordOf(store(one))).toMatchObject({ owner: alive, epoch: third.epoch });
    });

    it('are told what waits for them by their owner alone, and nothing else changes', async () => {
      const { store } = await server.open();
      const first = await store(one).claim({ ...claim, will }, undefined);
      const depth = { queuedMessages: 7, droppedMessages: 2 };
      const told = { ...claim, ...first, ...depth, connected: false, expirySeconds: 1 };
      await store(one).note(told);
      const noted = { ...claim, will, ...first, ...depth, owner: one };
      expect(await recordOf(store(one))).toEqual(noted);
      await store(two).note({ ...told, queuedMessages: 9 });
      expect(await recordOf(store(one))).toEqual(noted);
      const second = await store(two).claim(claim, first.born);
      await store(one).note({ ...told, queuedMessages: 9 });
      expect(await recordOf(store(two))).toMatchObject({ ...second, owner: two, queuedMessages: 0 });
      await store(two).release({ ...claim, ...second, expirySeconds: 0 });
      await store(two).note({ ...claim, ...second });
      expect(await recordOf(store(two))).toBeUndefined();
    });

    it('are adopted by one of many, and by that one again', async () => {
      const { store } = await server.open();
      await store(one).claim(claim, undefined);
      const record = (await recordOf(store(two)))!;
      const brokers = ['b1', 'b2', 'b3'].map((id) => store(id as BrokerId));
      const outcomes = await Promise.all(brokers.map((broker) => broker.adopt(record, away)));
      expect(outcomes.filter((adopted) => adopted)).toMatchObject([{ ...away, epoch: record.epoch + 1 }]);
      const winner = brokers[outcomes.findIndex((adopted) => adopted)]!;
      expect(await winner.adopt(record, away)).toMatchObject({ epoch: record.epoch + 1 });
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
      const record = { ...claim, epoch: 12, born: 10, droppedMessages: 6 };
      const expected = {
        epoch: 12,
        born: 10,
        received: { packetIds: [4, 5], settled },
        stored: { messages: 3, origins: [] },
        droppedMessages: 6,
      };
      expect(await mine.load(record)).toEqual(expected);
      await mine.claim(claim, 10);
      expect(await routesOf(mine)).toEqual([route('a')]);
      await mine.purge(acme, claim.clientId, 10);
      const everything = { ...record, born: 0 };
      expect(await mine.load(everything)).toEqual({ ...expected, born: 0 });
      await mine.purge(acme, claim.clientId, 13);
      const { received, stored: left } = await mine.load(everything);
      expect([await routesOf(mine), received.packetIds, left.messages]).toEqual([[], [], 0]);
    });

    it('are discarded with all that is stored of them, unless they began later or belong to a broker that is alive', async () => {
      const { store, log } = await server.open();
      const mine = store(one);
      const first = await store(two).claim(claim, undefined);
      await commit(log, [
        { kind: 'route', route: route('a'), epoch: first.epoch },
        { kind: 'messages', key: keyAt(first.epoch, 1), messages: [stored('1')] },
        { kind: 'received', packetIds: [4], epoch: first.epoch, settled },
      ]);
      await mine.discard(acme, claim.clientId, first.born - 1);
      expect(await recordOf(mine)).toMatchObject(first);
      await mine.discard(acme, claim.clientId, first.born);
      expect(await recordOf(mine)).toBeUndefined();
      const { received, stored: left } = await mine.load({ ...claim, epoch: 1, born: 0 });
      expect([received.packetIds, left.messages]).toEqual([[], 0]);
      await mine.discard(acme, claim.clientId, first.born);
      await store(alive).claim(claim, undefined);
      await expect(mine.discard(acme, claim.clientId, undefined)).rejects.toThrow('alive');
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
