/** SUBSCRIBE and UNSUBSCRIBE: what is granted, refused, replaced and taken away. */
import { describe, expect, it } from 'vitest';
import type { ISubackPacket, IUnsubackPacket, Packet } from 'mqtt-packet';
import { reasons } from '../../../services/broker/wire/wire.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { connect, everything, FakeHost, nowMs } from './world.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

type Wish = { topic: string; qos?: 0 | 1 | 2; nl?: boolean; rh?: number };
const subscribe = (messageId: number, ...wishes: Wish[]): Packet => ({
  cmd: 'subscribe',
  messageId,
  subscriptions: wishes.map((wish) => ({ qos: 0, ...wish })),
});
const unsubscribe = (messageId: number, ...unsubscriptions: string[]): Packet => ({
  cmd: 'unsubscribe',
  messageId,
  unsubscriptions,
});
const granted = (packets: Packet[]): unknown =>
  packets.map((packet) => (packet as ISubackPacket | IUnsubackPacket).granted);
const access = { ...everything, maySubscribe: (filter: string) => !filter.startsWith('secret') };
const wishes: Wish[] = [
  { topic: 'a', qos: 1 },
  { topic: 'a/#/b' },
  { topic: 'secret/#' },
  { topic: '$share/g+/b' },
  { topic: '$share/g/b', qos: 2 },
  { topic: 'x'.repeat(1025) },
];

describe('SUBSCRIBE', () => {
  it.each([
    [5, [1, 0x8f, 0x87, 0x8f, 2, 0x8f]],
    [4, [1, 0x80, 0x80, 0x80, 2, 0x80]],
    [3, [1, 0x80, 0x80, 0x80, 2, 0x80]],
  ] as const)('answers each filter by itself (version %i)', (version, codes) => {
    const { send, outbox, host, session } = connect({ version, access });
    send(subscribe(1, ...wishes));
    expect(granted(outbox.take())).toEqual([codes]);
    expect(host.routes).toEqual(['+a:1', '+$share/g/b:2']);
    expect([...session.subscriptions.keys()]).toEqual(['a', '$share/g/b']);
  });

  it.each([
    [5, 0x8f],
    [4, 0x80],
  ] as const)('refuses a filter of more levels than there may be, shared or not (version %i)', (version, code) => {
    const { send, outbox, host } = connect({ version });
    host.topicLevelsMax = 9;
    const deep = 'a/'.repeat(8);
    send(
      subscribe(
        1,
        ...[`${deep}+`, `${deep}#`, `$share/g/${deep}`, `${deep}/`, `$share/g/${deep}/#`].map((topic) => ({ topic })),
      ),
    );
    expect(granted(outbox.take())).toEqual([[0, 0, 0, code, code]]);
    expect(host.routes).toHaveLength(3);
  });

  it('replaces, counts filters once, and stops at the quota', () => {
    const { send, outbox, host } = connect();
    host.limits.subscriptionsPerSession = 2;
    send(subscribe(1, { topic: 'a' }, { topic: 'b' }, { topic: 'c' }), subscribe(2, { topic: 'a', qos: 2 }));
    expect(granted(outbox.take())).toEqual([[0, 0, 0x97], [2]]);
    expect(host.routes).toEqual(['+a:0', '+b:0', '=a:2']);
  });

  it('asks for retained messages as Retain Handling says, and never for a shared subscription', async () => {
    const { send, host } = connect();
    const rounds = [0, 1, 2].map((rh) => ({ topic: `t${rh}`, rh }));
    send(subscribe(1, ...rounds, { topic: '$share/g/t' }));
    await turn();
    expect(host.retainedFor.splice(0)).toEqual(['t0', 't1']);
    send(subscribe(2, ...rounds));
    await turn();
    expect(host.retainedFor).toEqual(['t0']);
  });

  it('answers a filter as often as it is there, and asks for its retained messages once', async () => {
    const { send, outbox, host, session } = connect();
    send(subscribe(1, ...Array.from({ length: 1000 }, () => ({ topic: '#' }))));
    await turn();
    const [suback] = outbox.take() as ISubackPacket[];
    expect(suback!.granted).toHaveLength(1000);
    expect([host.retainedFor, host.routes, session.subscriptions.size]).toEqual([['#'], ['+#:0'], 1]);
  });

  it('does what is there twice once, in its place and as it is said last', async () => {
    const { send, outbox, host } = connect();
    host.limits.subscriptionsPerSession = 2;
    const again: Wish[] = [
      { topic: 'a', qos: 1, rh: 2 },
      { topic: 'b', rh: 1 },
      { topic: 'c' },
      { topic: 'b', qos: 1, rh: 2 },
      { topic: 'c' },
      { topic: 'a', qos: 2, rh: 1 },
      { topic: 'a', qos: 0, rh: 1 },
    ];
    send(subscribe(1, ...again));
    await turn();
    expect(granted(outbox.take())).toEqual([[1, 0, 0x97, 1, 0x97, 2, 0]]);
    expect(host.routes).toEqual(['+a:0', '+b:1']);
    expect(host.retainedFor).toEqual(['b']); // As new; "a" was not asked for when it was.
    expect(host.meters.refusedSubscriptions).toBe(2);
  });

  it.each([3, 4, 5] as const)('has at most 1000 filters, and so has UNSUBSCRIBE (version %i)', (version) => {
    const { send, host } = connect({ version });
    const filters = Array.from({ length: 1001 }, (_, i) => `t${i}`);
    for (const packet of [subscribe(1, ...filters.map((topic) => ({ topic }))), unsubscribe(2, ...filters)])
      expect(() => send(packet)).toThrow(expect.objectContaining({ reason: reasons.tooManyFilters }) as Error);
    expect(host.routes).toEqual([]);
    send(unsubscribe(2, ...filters.slice(1)));
  });

  it.each([0, 1000])('is answered when all brokers match it, and it is stored (expiry %i)', async (expiry) => {
    const log = new MemoryCommitLog({ nowMs: () => nowMs });
    const host = new FakeHost();
    host.unmatched = [];
    const { send, outbox } = connect({ host, ...(expiry > 0 && { keeping: { partitionOf: () => 'tenant#c', log } }) });
    send(subscribe(1, { topic: 'a' }));
    await turn();
    if (expiry > 0) log.commit();
    await turn();
    expect([outbox.take(), host.routes]).toEqual([[], ['+a:0']]);
    for (const then of host.unmatched) then();
    expect(granted(outbox.take())).toEqual([[0]]);
  });

  it('is refused what the tenant cannot have, and told why', () => {
    const { send, outbox, host, session } = connect({ problemInformation: true });
    host.filterError = (filter) => (filter.includes('+') ? 'no wildcards there' : undefined);
    send(subscribe(1, { topic: '$share/g/a/+' }, { topic: 'a' }));
    const [suback] = outbox.take() as ISubackPacket[];
    expect(suback).toMatchObject({
      granted: [0x97, 0],
      properties: { reasonString: '$share/g/a/+: no wildcards there' },
    });
    expect([...session.subscriptions.keys()]).toEqual(['a']);
  });

  it('stops at the quota of the tenant, whose sessions come back with what they had', () => {
    const host = new FakeHost();
    host.limits.subscriptions = 3;
    const first = connect({ host });
    const second = connect({ host, clientId: 'd' });
    first.send(subscribe(1, { topic: 'a' }, { topic: 'b' }));
    second.send(subscribe(1, { topic: 'a' }, { topic: 'b' }));
    expect(granted(second.outbox.take())).toEqual([[0, 0x97]]);
    second.send(subscribe(2, { topic: 'a', qos: 1 }));
    first.send(unsubscribe(3, 'a'));
    second.send(subscribe(4, { topic: '$share/g/b' }, { topic: 'b' }));
    expect(granted(second.outbox.take())).toEqual([[1], [0, 0x97]]);
    host.limits.subscriptions = 0;
    const route = { qos: 1 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const, id: 0 };
    const back = connect({
      host,
      keeping: { partitionOf: () => 'tenant#e', log: new MemoryCommitLog({ nowMs: () => nowMs }) },
      restored: {
        epoch: 1,
        born: 1,
        routes: ['x', '$share/g/y'].map((filter) => ({ ...route, filter })),
        contents: {
          received: { packetIds: [], settled: { epoch: 1, number: 0 } },
          stored: { messages: 0, origins: [] },
        },
        queuedMessages: 0,
        droppedMessages: 0,
      },
    });
    expect([...back.session.subscriptions.keys()]).toEqual(['x', '$share/g/y']);
    expect(host.subscriptions).toBe(5);
  });

  it.each([3, 4, 5] as const)('does nothing when the client does not take its answer (version %i)', async (version) => {
    const { send, outbox, host, session } = connect({ version, packetBytesMax: 12 });
    send(subscribe(1, ...Array.from({ length: 7 }, (_, i) => ({ topic: `t${i}` }))));
    expect(outbox.closedBy).toBeUndefined();
    send(subscribe(2, ...Array.from({ length: 9 }, (_, i) => ({ topic: `u${i}` }))));
    await turn();
    expect(outbox.closedBy).toBe(reasons.packetTooLarge);
    expect([host.retainedFor.filter((filter) => filter.startsWith('u')), session.subscriptions.size]).toEqual([[], 7]);
  });

  it('refuses No Local on a shared subscription as a protocol error', () => {
    const { send } = connect();
    expect(() => send(subscribe(1, { topic: '$share/g/a', nl: true }))).toThrow(/No Local/);
  });
});

describe('UNSUBSCRIBE', () => {
  it('answers each filter, and takes the routes away', () => {
    const { send, outbox, host, session } = connect();
    send(subscribe(1, { topic: 'a' }, { topic: '$share/g/a' }));
    outbox.take();
    send(unsubscribe(2, '$share/g/a', 'b', 'a', 'a', 'a/#/b', '$share/+/a'));
    expect(granted(outbox.take())).toEqual([[0, 0x11, 0, 0x11, 0x8f, 0x8f]]);
    expect(host.routes.slice(2)).toEqual(['-$share/g/a', '-a']);
    expect(session.subscriptions.size).toBe(0);
  });

  it('takes away a filter that could not be subscribed to any more', () => {
    const { send, outbox, host } = connect();
    send(subscribe(1, { topic: '1/2/3' }));
    outbox.take();
    host.topicLevelsMax = 2;
    send(unsubscribe(2, '1/2/3', '1/2/3', '1/2'));
    expect(granted(outbox.take())).toEqual([[0, 0x8f, 0x11]]);
    expect(host.routes.slice(1)).toEqual(['-1/2/3']);
  });
});

it('new access rules end the subscriptions that they do not allow', () => {
  const { send, session, host } = connect();
  send(subscribe(1, { topic: 'secret/a' }, { topic: '$share/g/secret/b' }, { topic: 'open' }));
  session.setAccess(access);
  expect([...session.subscriptions.keys()]).toEqual(['open']);
  expect(host.routes.slice(3)).toEqual(['-secret/a', '-$share/g/secret/b']);
});

it('the same access rules at the next connection are not asked again for each subscription', () => {
  let asked = 0;
  const madeOf = {};
  const counting = { ...everything, maySubscribe: () => ++asked > 0, madeOf };
  const { send, session } = connect({ access: counting });
  send(subscribe(1, { topic: 'a' }, { topic: 'b' }));
  session.setAccess(counting);
  expect(asked).toBe(4); // Nobody has compared them with these rules before.
  session.setAccess({ ...counting });
  expect(asked).toBe(4);
  session.setAccess({ ...access, madeOf: {} });
  session.setAccess({ ...counting });
  expect(asked).toBe(6);
});

it('filters beyond the quota of the session are not compared with the access rules', () => {
  let asked = 0;
  const { send, outbox, host } = connect({ access: { ...everything, maySubscribe: () => ++asked > 0 } });
  host.limits.subscriptionsPerSession = 2;
  send(subscribe(1, ...Array.from({ length: 100 }, (_, n) => ({ topic: `a/${n}` }))));
  expect(granted(outbox.take())).toEqual([[0, 0, ...new Array<number>(98).fill(0x97)]]);
  expect(asked).toBe(2);
});
