/** What every store of shared subscriptions does: in memory, as tests of other rooms use it, and in DynamoDB. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SharedStore } from '../../../services/broker/tenant/tenant.js';
import type { CommitLog, Write } from '../../../services/broker/inbox/inbox.js';
import { handedOn, Message } from '../../../services/broker/message/message.js';
import { DynamoSharedStore } from '../../../services/broker/store/store.js';
import type { ClientId, TenantScope } from '../../../services/kernel/kernel.js';
import { clientPartition, sharedPartition } from '../../../services/tenancy/tenancy.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { SessionTables } from '../../support/memory/session-tables.js';
import { MemorySharedStore } from '../../support/memory/shared-store.js';
import { until } from '../../support/until.js';
import { groupCommitOver, Source } from './commits.js';
import { dynamoServers } from './servers.js';

interface Subject {
  readonly name: string;
  start(): Promise<{ open(): Promise<{ store: SharedStore; log: CommitLog }>; stop(): Promise<void> }>;
}

const inMemory: Subject = {
  name: 'memory',
  start: () =>
    Promise.resolve({
      open: () => {
        const tables = new SessionTables();
        const log = new MemoryCommitLog({ tables, nowMs: () => 0, prompt: true });
        return Promise.resolve({ store: new MemorySharedStore(tables), log });
      },
      stop: () => Promise.resolve(),
    }),
};

const overDynamo: Subject[] = dynamoServers.map(({ name, start }) => ({
  name,
  start: async () => {
    const server = await start();
    return {
      open: async () => {
        const dynamo = await server.open();
        return { store: new DynamoSharedStore(dynamo), log: groupCommitOver(dynamo) };
      },
      stop: () => server.stop(),
    };
  },
}));

const [acme, other] = ['acme' as TenantScope, 'other' as TenantScope];
const name = '$share/gruppe-ä/a/+/#';
const keyAt = (epoch: number, n: number): string =>
  `m${epoch.toString(16).padStart(10, '0')}${n.toString(16).padStart(10, '0')}`;
const origin = (epoch: number, number: number) => ({ epoch, number, packetId: 40_000 + number });

/** `origins`: as many QoS 2 messages, each in an item of its own, after one item of two QoS 1 messages. */
function writesOf(epoch: number, origins: number): Write[] {
  const stored = (qos: 1 | 2, n: number) => {
    const topic = { text: 'a/b', bytes: Buffer.from('a/b') };
    const publisher = 'p' as ClientId;
    const message = Message.of({ topic, payload: Buffer.from(String(n)), qos, retain: false, publisher });
    if (qos === 2) message.origin = { ...origin(epoch, n), again: undefined, settled: handedOn };
    const terms = { qos, retainAsPublished: false, subscriptionIds: [] };
    return { message, terms, qos, packetId: 0, released: false, shared: name };
  };
  const exactlyOnce = Array.from({ length: origins }, (_, i) => i + 1);
  return [
    { kind: 'messages', key: keyAt(epoch, 0), messages: [stored(1, 0), stored(1, 0)] },
    ...exactlyOnce.map((n) => ({ kind: 'messages' as const, key: keyAt(epoch, n), messages: [stored(2, n)] })),
  ];
}

function sharedStoreContract({ name: where, start }: Subject): void {
  describe(`shared subscriptions stored in ${where}`, () => {
    let subject: Awaited<ReturnType<Subject['start']>>;
    beforeAll(async () => {
      subject = await start();
    }, 90_000);
    afterAll(async () => await subject?.stop());

    async function open() {
      const { store, log } = await subject.open();
      const write = async (writes: readonly Write[], partition = sharedPartition(acme, name)): Promise<void> => {
        const source = new Source(log, new Set(), partition, writes);
        log.request(source);
        await until(() => source.isDone, 'the commits');
      };
      return { store, write };
    }
    const nothing = { messages: 0, origins: [], lastEpoch: 0 };

    it('come to nothing as long as nothing is stored', async () => {
      const { store } = await open();
      expect(await store.loadShared(acme, name)).toEqual(nothing);
      await store.removeShared(acme, name, [keyAt(1, 1)]);
      await store.purgeShared(acme, name, 5);
    });

    it('come to all their messages, with the origins in order', async () => {
      const { store, write } = await open();
      await write(writesOf(300, 60));
      await write(writesOf(20, 1));
      const { messages, origins, lastEpoch } = await store.loadShared(acme, name);
      expect([messages, lastEpoch]).toEqual([65, 300]);
      const expected = [[20, 1], ...Array.from({ length: 60 }, (_, i) => [300, i + 1])] as [number, number][];
      expect(origins).toEqual(
        expected.map(([epoch, n]) => ({
          key: keyAt(epoch, n),
          origin: { publisher: 'p', ...origin(epoch, n), shared: name },
        })),
      );
    });

    it('are of one tenant, group and filter, and no client has them', async () => {
      const { store, write } = await open();
      await write(writesOf(1, 1));
      for (const [tenant, group] of [
        [other, name],
        [acme, '$share/gruppe-ä/a/+'],
        [acme, '$share/g/a/+/#'],
      ] as const) {
        await store.purgeShared(tenant, group, 9);
        expect(await store.loadShared(tenant, group)).toEqual(nothing);
      }
      await write(writesOf(1, 1), clientPartition(acme, name as ClientId));
      expect((await store.loadShared(acme, name)).messages).toBe(3);
    });

    it('lose what is removed, by key or by epoch, and nothing else', async () => {
      const { store, write } = await open();
      for (const epoch of [15, 16, 17]) await write(writesOf(epoch, 30));
      await store.purgeShared(acme, name, 16);
      const left = await store.loadShared(acme, name);
      expect([left.messages, left.origins[0]!.key, left.lastEpoch]).toEqual([64, keyAt(16, 1), 17]);
      const keys = left.origins.slice(0, 45).map(({ key }) => key);
      await store.removeShared(acme, name, keys);
      await store.removeShared(acme, name, keys.slice(0, 2));
      const rest = await store.loadShared(acme, name);
      expect(rest).toEqual({ ...left, messages: 64 - 45, origins: left.origins.slice(45) });
      await store.purgeShared(acme, name, 18);
      expect(await store.loadShared(acme, name)).toEqual(nothing);
    });
  });
}

for (const subject of [inMemory, ...overDynamo]) sharedStoreContract(subject);
