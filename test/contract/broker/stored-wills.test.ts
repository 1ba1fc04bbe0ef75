/**
 * Wills that are long, in DynamoDB: where they are after each write, what is left when a broker dies between two of them (decision 41),
 * and what the writes of a client with one cost.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Claim, Claimed } from '../../../services/broker/residence/residence.js';
import type { OwnRecord } from '../../../services/broker/tenant/tenant.js';
import { DynamoSessionStore } from '../../../services/broker/store/store.js';
import type { Dynamo, Item } from '../../../services/dynamo/dynamo.js';
import { type BrokerId, type ClientId, Metrics, type TenantScope } from '../../../services/kernel/kernel.js';
import { clientPartition, RecordUnreadable, sessionKey } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';
import { dynamoServers } from './servers.js';

const acme = 'acme' as TenantScope;
const clientId = 'c' as ClientId;
const partition = clientPartition(acme, clientId);
const day = 86_400;

const willOf = (bytes: number, fill = 1) =>
  ({
    topic: 'gone',
    payload: new Uint8Array(bytes).fill(fill),
    qos: 1,
    retain: false,
    properties: Uint8Array.of(7),
    delaySeconds: 5,
  }) as const;

const claimWith = (will: Claim['will'], expirySeconds = 1000): Claim => ({
  tenant: acme,
  clientId,
  userName: 'device@acme',
  protocolVersion: '5',
  address: '192.0.2.1:5000',
  connected: true,
  connectedAtMs: 1000,
  keepAliveSeconds: 60,
  expirySeconds,
  queuedMessages: 0,
  droppedMessages: 0,
  ...(will && { will }),
});

describe.each(dynamoServers)('long wills in $name', (given) => {
  let server: Awaited<ReturnType<typeof given.start>>;
  beforeAll(async () => {
    server = await given.start();
  }, 90_000);
  afterAll(async () => await server?.stop());

  async function open() {
    const metrics = new Metrics();
    const dynamo = await server.open({ metrics });
    const clock = new ManualClock();
    const store = (owner: string) =>
      new DynamoSessionStore({ records: dynamo, contents: dynamo }, owner as BrokerId, clock);
    return { dynamo, clock, store, mine: store('broker-1'), spent: meterOf(metrics) };
  }

  const itemsOf = async (dynamo: Dynamo): Promise<Item[]> =>
    (await dynamo.query('inbox', { pk: partition, consistent: true })).items;
  const recordOf = async (dynamo: Dynamo): Promise<Item | undefined> =>
    await dynamo.get('sessions', sessionKey(acme, clientId), { consistent: true });

  /** As its broker has it. */
  const claimed = async (store: DynamoSessionStore, claim: Claim, known?: OwnRecord): Promise<OwnRecord> => ({
    ...claim,
    ...((await store.claim(claim, known?.born, known)) as Claimed),
  });
  const left = ({ will: _, ...record }: OwnRecord): OwnRecord => ({
    ...record,
    connected: false,
    disconnectedAtMs: 2000,
  });

  it('are stored before the record names them, and read by that name', async () => {
    const { dynamo, clock, mine, store } = await open();
    const { willItem } = await claimed(mine, claimWith(willOf(2000)));
    const [item] = await itemsOf(dynamo);
    expect(item).toMatchObject({ sk: willItem, ttl: Math.ceil(clock.nowMs() / 1000) + 5 + 400 * day });
    expect(await recordOf(dynamo)).toMatchObject({ willItem, will: { topic: 'gone', qos: 1, delaySeconds: 5 } });
    expect((await recordOf(dynamo))!['will']).not.toHaveProperty('payload');
    const { payload, properties } = willOf(2000);
    expect(await store('broker-2').will(acme, clientId, willItem!)).toEqual({ payload, properties });
  });

  it('are in the record when they are short, or when the session ends with its connection', async () => {
    const { dynamo, mine } = await open();
    for (const claim of [claimWith(willOf(511)), claimWith(willOf(60_000), 0)]) {
      expect(await mine.claim(claim, undefined)).not.toHaveProperty('willItem');
      expect(await recordOf(dynamo)).toMatchObject({ will: { payload: claim.will!.payload } });
    }
    expect(await itemsOf(dynamo)).toEqual([]);
    expect(await mine.claim(claimWith(willOf(512)), undefined)).toHaveProperty('willItem');
  });

  it('stay while the session does, and are not written again for a client that comes back with the same', async () => {
    const { dynamo, clock, mine, store } = await open();
    const first = await claimed(mine, claimWith(willOf(2000)));
    await mine.release(left(first));
    const found = await recordOf(dynamo);
    expect([found!['willItem'], found!['will']]).toEqual([first.willItem, undefined]);
    const second = await claimed(mine, claimWith(willOf(2000)), left(first));
    expect(second.willItem).toBe(first.willItem);
    // The next broker cannot know that it is there.
    const next = store('broker-2');
    await next.enter(acme);
    const pages = [];
    for await (const page of next.sessions(acme)) pages.push(...page);
    const { record } = pages[0]!;
    const { owner: _, ...inherited } = { ...record, ...next.inherit(record) };
    const third = await claimed(next, claimWith(willOf(2000)), inherited);
    expect(third.willItem).not.toBe(first.willItem);
    const fourth = await claimed(next, claimWith(willOf(2000)), third);
    expect([fourth.willItem, (await itemsOf(dynamo)).length]).toEqual([third.willItem, 2]);
    // What is different has another item: content, properties or delay; so has what is old.
    const others = [willOf(2000, 2), { ...willOf(2000), properties: Uint8Array.of(8) }];
    for (const will of [...others, { ...willOf(2000), delaySeconds: 6 }])
      expect((await claimed(next, claimWith(will), fourth)).willItem).not.toBe(third.willItem);
    clock.advance(30 * day * 1000);
    expect((await claimed(next, claimWith(willOf(2000)), fourth)).willItem).not.toBe(third.willItem);
  });

  it('go with their session, and what a broker that died has left without a name goes, too', async () => {
    const { dynamo, mine } = await open();
    const first = await claimed(mine, claimWith(willOf(2000)));
    const second = await claimed(mine, claimWith(willOf(2000, 2)), first); // It dies before it removes the first one's.
    expect(await itemsOf(dynamo)).toHaveLength(2);
    await mine.purge(acme, clientId, second.epoch + 1);
    expect(await itemsOf(dynamo)).toEqual([]);
  });

  it('of the present session stay when an earlier one is removed', async () => {
    const { dynamo, mine } = await open();
    const old = await claimed(mine, claimWith(willOf(2000)));
    const next: OwnRecord = {
      ...claimWith(willOf(2000)),
      ...((await mine.claim(claimWith(willOf(2000)), undefined, old)) as Claimed),
    };
    expect(next.willItem).not.toBe(old.willItem);
    await mine.purge(acme, clientId, old.epoch + 1);
    expect((await itemsOf(dynamo)).map(({ sk }) => sk)).toEqual([next.willItem]);
  });

  it('are not come across when a session is read', async () => {
    const { mine } = await open();
    const record = await claimed(mine, claimWith(willOf(2000)));
    expect((await mine.load(record)).stored).toEqual({ messages: 0, origins: [] });
  });

  it('can be absent, or not to be read', async () => {
    const { dynamo, mine } = await open();
    const { willItem } = await claimed(mine, claimWith(willOf(2000)));
    await dynamo.put('inbox', { pk: partition, sk: willItem!, v: 2 });
    await expect(mine.will(acme, clientId, willItem!)).rejects.toThrow(RecordUnreadable);
    await mine.dropWill(acme, clientId, willItem!);
    expect(await mine.will(acme, clientId, willItem!)).toBeUndefined();
  });

  it.each([
    { bytes: 0, first: 1, again: 1, calls: 1 },
    { bytes: 400, first: 1, again: 1, calls: 1 },
    { bytes: 1024, first: 3, again: 1, calls: 2 },
    { bytes: 10 * 1024, first: 12, again: 1, calls: 2 },
    { bytes: 60 * 1024, first: 62, again: 1, calls: 2 },
  ])('of $bytes bytes take $first write units for the first CONNECT', async ({ bytes, first, again, calls }) => {
    const { mine, spent } = await open();
    const claim = claimWith(bytes > 0 ? willOf(bytes) : undefined);
    const record = await spent(() => claimed(mine, claim));
    expect([record.units, record.calls]).toEqual([first, calls]);
    const disconnected = await spent(() => mine.release(left(record.result)));
    expect([disconnected.units, disconnected.calls]).toEqual([1, 1]);
    const back = await spent(() => claimed(mine, claim, left(record.result)));
    expect([back.units, back.calls]).toEqual([again, 1]);
    const noted = await spent(() => mine.note({ ...back.result, queuedMessages: 1 }));
    expect([noted.units, noted.calls]).toEqual([1, 1]);
  });
});

/** What is written while something is done. */
function meterOf(metrics: Metrics) {
  const sum = (name: string, isMeant: (labels: Readonly<Record<string, string>>) => boolean): number =>
    [...metrics.samples()]
      .filter((sample) => sample.name === name && isMeant(sample.labels))
      .reduce((all, { value }) => all + value, 0);
  const now = () => ({
    units: sum('shoal_dynamodb_units_total', ({ kind }) => kind === 'write'),
    calls: sum('shoal_dynamodb_calls_total', () => true),
  });
  return async <T>(work: () => Promise<T>): Promise<{ result: T; units: number; calls: number }> => {
    const before = now();
    const result = await work();
    const after = now();
    return { result, units: after.units - before.units, calls: after.calls - before.calls };
  };
}
