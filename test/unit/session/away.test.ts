/** When a stored session sleeps, when it wakes, and that nobody can tell: each row of the table in `session/awake.ts`. */
import { describe, expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { type Message, PendingReceipt, type QoS, type SharedOrigin } from '../../../services/broker/message/message.js';
import type { Access, Contents, Restored } from '../../../services/broker/session/session.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { until } from '../../support/until.js';
import { ack, type Client, connect, FakeHost, message, nowMs, publish, terms } from './world.js';

const partition = 'acme#c';
const upper = 32_768;
const empty: Contents = {
  received: { packetIds: [], settled: { epoch: 1, number: 0 } },
  stored: { messages: 0, origins: [] },
};
const fresh: Restored = {
  ...{ epoch: 2, born: 1, routes: [], queuedMessages: 0, droppedMessages: 0, contents: empty },
};

function world(wish: { receiveMaximum?: number; restored?: Restored; access?: Access } = {}) {
  const log = new MemoryCommitLog({ nowMs: () => nowMs });
  const host = new FakeHost();
  const client = connect({ host, keeping: { partitionOf: () => partition, log }, ...wish });
  const { session } = client;
  return {
    ...{ log, host, client, session },
    stored: () => log.tables.payloads(partition),
    deliver: (payload: string, qos: QoS = 1) => session.deliver(message('a', payload, qos), terms(qos), nowMs),
    leave: () => session.detach(nowMs),
    subscribe: (filter: string) => {
      const subscriptions = [{ topic: filter, qos: 1 as const }];
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions } as never);
      log.commit();
      client.outbox.said();
    },
    /** What comes, acknowledged until nothing comes any more. */
    all: () => everythingOf(client, log),
  };
}

async function everythingOf(client: Client, log: MemoryCommitLog): Promise<string[]> {
  const got: string[] = [];
  for (let turns = 0; client.session.queuedMessages > 0 || turns === 0; turns++) {
    if (turns > 1000) throw new Error(`${client.session.queuedMessages} messages do not come`);
    await turn();
    log.commit();
    for (const line of client.outbox.said()) {
      const [kind, id, , , payload] = line.split(' ');
      if (kind === 'publish') got.push(payload!);
      const answer = kind === 'pubrel' ? 'pubcomp' : line.includes(' q2') ? 'pubrec' : 'puback';
      if (kind === 'publish' || kind === 'pubrel') client.send(ack(answer, Number(id)));
    }
  }
  log.commit();
  return got;
}

/** A page is read within a turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('a session whose client has left', () => {
  it('sleeps at once when all is stored, and when that has become so', () => {
    const idle = world();
    idle.leave();
    expect(idle.session.isAsleep).toBe(true);
    const busy = world();
    busy.deliver('x');
    busy.leave();
    expect(busy.session.isAsleep).toBe(false);
    busy.log.take();
    busy.log.write();
    expect(busy.session.isAsleep).toBe(false); // Confirmed late.
    busy.log.confirm();
    expect([busy.session.isAsleep, busy.session.queuedMessages, busy.stored()]).toEqual([true, 1, ['x']]);
  });

  it('stays awake while a subscription is being written', () => {
    const { client, session, log, leave } = world();
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] } as never);
    leave();
    expect(session.isAsleep).toBe(false);
    log.commit();
    expect([session.isAsleep, log.tables.routes(partition).size]).toEqual([true, 1]);
  });

  it('stays awake while retained messages are owed', async () => {
    const { client, session, host, log, leave } = world();
    host.whichMayBeRetained = (filters, answer) => answer(new Set(filters));
    const reads: (() => void)[] = [];
    host.readRetained = (_filter, { take, isWanted }) =>
      new Promise((resolve) => {
        reads.push(() => (isWanted() && take([], undefined), resolve()));
      });
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 1 }] } as never);
    log.commit();
    leave();
    log.commit();
    reads[0]!(); // Nobody wants it.
    await turn();
    expect(session.isAsleep).toBe(false);
    client.reconnect();
    reads[1]!();
    leave();
    log.commit();
    await until(() => session.isAsleep);
    expect(log.tables.routes(partition).get('a')!.route.owedAfter).toBeUndefined();
  });

  it('stays awake while a QoS 2 message of it waits for PUBREL, and its number goes on afterwards', () => {
    const { client, session, log, leave } = world();
    const numbers = (): unknown => log.tables.received(partition)?.settled;
    client.send(publish('t', 'x', 2, 7));
    log.commit();
    leave();
    log.commit();
    expect([session.isAsleep, numbers()]).toEqual([false, { epoch: 1, number: 1 }]);
    client.reconnect();
    client.send(publish('t', 'x', 2, 7, { dup: true }), ack('pubrel', 7));
    log.commit();
    expect(client.outbox.said()).toEqual(['pubrec 7', 'pubcomp 7']);
    leave();
    expect(session.isAsleep).toBe(true);
    client.reconnect();
    client.send(publish('t', 'y', 2, 7));
    log.commit();
    expect(numbers()).toEqual({ epoch: 1, number: 2 });
  });

  it('stays awake while a message it has passed on is not safe with the next one', () => {
    const { host, client, session, log, leave } = world();
    let copy: Message | undefined;
    const group: SharedOrigin = { name: '$share/g/a', handOn: (one: Message) => ((copy = one), copy.owe(), true) };
    session.deliver(message('a', 'x', 1), terms(1, { group }), nowMs);
    leave();
    log.commit();
    expect([session.isAsleep, client.session.queuedMessages]).toEqual([false, 1]);
    copy!.pay(0);
    log.commit();
    expect([session.isAsleep, session.queuedMessages, host.unsafe]).toEqual([true, 0, 0]);
  });

  it('stays awake while an item waits for the state of its publisher', () => {
    const { client, session, log, leave, stored } = world();
    const settled = new PendingReceipt();
    const one = message('a', 'x', 2);
    one.publisher = 'p' as ClientId;
    one.origin = { epoch: 1, number: 1, packetId: 1, again: undefined, settled };
    session.deliver(one, terms(2), nowMs);
    log.commit();
    for (const what of ['pubrec', 'pubcomp'] as const) {
      client.send(ack(what, upper));
      log.commit();
    }
    leave();
    log.commit();
    expect([session.isAsleep, stored()]).toEqual([false, ['released']]);
    settled.settle(0);
    log.commit();
    expect([session.isAsleep, stored()]).toEqual([true, []]);
  });

  it('sleeps though a page was being read when it left, and though that read fails', async () => {
    for (const readError of [undefined, new Error('DynamoDB is away')]) {
      const { client, session, log, leave, deliver, all } = world();
      leave();
      deliver('x');
      log.commit();
      expect(session.isAsleep).toBe(true);
      log.readError = readError;
      client.reconnect();
      leave();
      await until(() => (log.commit(), session.isAsleep));
      log.readError = undefined;
      client.reconnect();
      expect(await all()).toEqual(['x']);
    }
  });
});

describe('asleep', () => {
  it('a QoS 0 message is dropped and counted, and wakes nobody', () => {
    const { host, session, leave, deliver } = world();
    leave();
    deliver('x', 0);
    session.deliver(message('a', 'y', 0), terms(1), nowMs);
    expect([session.isAsleep, host.meters.droppedOffline]).toEqual([true, 2]);
  });

  it.each([1, 2] as const)('messages of QoS %i are stored, in order, and it sleeps after each', async (qos) => {
    const { client, session, host, log, leave, deliver, all, stored } = world();
    leave();
    for (const payload of ['1', '2', '3']) {
      deliver(payload, qos);
      expect([session.isAsleep, host.unsafe]).toEqual([false, 1]);
      log.commit();
      expect([session.isAsleep, host.unsafe]).toEqual([true, 0]);
    }
    expect([session.queuedMessages, stored()]).toEqual([3, ['1', '2', '3']]);
    client.reconnect();
    deliver('4', qos);
    expect(await all()).toEqual(['1', '2', '3', '4']);
    expect(stored()).toEqual([]);
  });

  it('a message is refused by a full queue, and one that an earlier owner has stored is ignored', async () => {
    const origin = { publisher: 'p', epoch: 1, number: 1, packetId: 5, shared: undefined };
    const stored = { messages: 0, origins: [origin] };
    const { host, session, leave, deliver, log } = world({ restored: { ...fresh, contents: { ...empty, stored } } });
    leave();
    deliver('w');
    await until(() => (log.commit(), session.isAsleep));
    host.limits = { ...host.limits, queuedMessagesPerSession: 1 };
    deliver('x');
    expect([session.droppedMessages, host.meters.droppedOverQuota, session.isAsleep]).toEqual([1, 1, true]);
    const again = message('a', 'x', 2);
    again.publisher = 'p' as ClientId;
    again.origin = { ...origin, again: () => true, settled: new PendingReceipt(), hash: undefined };
    session.deliver(again, terms(2), nowMs);
    expect([session.droppedMessages, session.queuedMessages, session.isAsleep]).toEqual([1, 1, true]);
  });

  it('it keeps the identifiers of QoS 1 messages that were sent [MQTT-4.4.0-1]', async () => {
    const { client, session, leave, deliver, log } = world();
    for (const payload of ['1', '2', '3']) deliver(payload);
    client.send(ack('puback', 2));
    leave();
    log.commit();
    expect(session.isAsleep).toBe(true);
    client.reconnect();
    await until(() => session.readiness === 'now');
    expect(client.outbox.said()).toEqual(['publish 1 q1d a 1', 'publish 3 q1d a 3']);
  });

  it('it remembers which messages of an item are done', async () => {
    const { client, session, leave, deliver, log, all } = world();
    for (const payload of ['1', '2', '3']) deliver(payload);
    log.delayOver();
    leave();
    log.commit();
    client.reconnect();
    await until(() => session.readiness === 'now');
    client.outbox.said();
    client.send(ack('puback', 1));
    leave();
    log.commit();
    expect([session.isAsleep, session.queuedMessages]).toEqual([true, 2]);
    client.reconnect();
    expect(await all()).toEqual(['2', '3']);
    expect(log.tables.items(partition)).toEqual([]);
  });

  it('it goes on with the same exchange of a QoS 2 message', async () => {
    const { client, session, leave, deliver, log } = world();
    for (const payload of ['1', '2']) deliver(payload, 2);
    log.commit();
    client.send(ack('pubrec', upper + 1));
    leave();
    log.commit();
    client.outbox.said();
    expect(session.isAsleep).toBe(true);
    client.reconnect();
    await until(() => session.readiness === 'now');
    log.commit();
    expect(client.outbox.said()).toEqual([`publish ${upper} q2d a 1`, `pubrel ${upper + 1}`]);
  });

  it('a claim renews its epoch: what comes is stored behind what is there, under keys that were never used', async () => {
    const { client, session, leave, deliver, log, all } = world();
    leave();
    for (const epoch of [2, 3]) {
      deliver(`before ${epoch}`);
      log.commit();
      session.renew(epoch);
      deliver(`after ${epoch}`);
      log.commit();
    }
    const keys = log.tables.items(partition).map(({ key }) => key);
    expect(keys).toEqual([...new Set(keys)].sort());
    client.reconnect();
    expect((await all()).length).toBe(4);
  });

  it.each([false, true])('it ends, and what waits is not counted any more; shared: %s', async (isShared) => {
    const { host, session, leave, deliver, log } = world();
    leave();
    deliver('x');
    log.commit();
    host.backlog.messages = 5;
    await session.end(nowMs, isShared);
    expect(host.backlog.messages).toBe(4);
  });

  it('its messages of shared subscriptions are read and go to others when it ends', async () => {
    const { host, session, leave, log } = world();
    const given: string[] = [];
    const handOn = (one: Message): boolean => (given.push(one.payload.toString()), true);
    const group: SharedOrigin = { name: '$share/g/a', handOn: () => false };
    leave();
    session.deliver(message('a', 'x', 1), terms(1, { group }), nowMs);
    log.commit();
    expect(session.isAsleep).toBe(true);
    host.groups.set(group.name, { ...group, handOn });
    const ended = session.end(nowMs, true);
    await until(() => (log.commit(), given.length > 0));
    log.commit();
    await ended;
    expect([given, log.tables.items(partition)]).toEqual([['x'], []]);
  });

  it('a change of its access takes a subscription from it, and it sleeps again when that is written', () => {
    const { host, session, leave, subscribe, log } = world();
    subscribe('a');
    subscribe('b');
    leave();
    session.setAccess({ mayPublish: () => true, maySubscribe: (filter) => filter !== 'a', madeOf: {} });
    expect([session.isAsleep, [...session.subscriptions.keys()]]).toEqual([false, ['b']]);
    log.commit();
    expect([session.isAsleep, [...log.tables.routes(partition).keys()], host.routes.at(-1)]).toEqual([
      true,
      ['b'],
      '-a',
    ]);
  });

  it('a shared subscription finds it away, and is told what it has stored', async () => {
    const shared = '$share/g/a';
    const origin = { publisher: 'p', epoch: 1, number: 1, packetId: 5, shared };
    const contents = { ...empty, stored: { messages: 1, origins: [origin] } };
    const { session, leave, log } = world({ restored: { ...fresh, contents } });
    leave();
    await until(() => (log.commit(), session.isAsleep));
    const one = message('a', 'x', 2);
    one.publisher = 'p' as ClientId;
    one.origin = { ...origin, again: undefined, settled: new PendingReceipt(), hash: undefined };
    const isTold: boolean[] = [];
    session.whenRoom(() => isTold.push(true));
    session.whenReady(() => isTold.push(false));
    session.pump(nowMs);
    expect([session.hasStored(one, shared), session.hasStored(one, '$share/h/a')]).toEqual([true, false]);
    expect([session.readiness, session.freeMessages, session.roomMessages, isTold]).toEqual([
      ...['disconnected', 0, 0, [true]],
    ]);
    expect([session.lookAtHeld(nowMs), session.owedAnswers, session.isAsleep]).toEqual([false, 0, true]);
  });

  it('a commit that an earlier part of it asked for does nothing', async () => {
    const { client, session, leave, deliver, log, all } = world();
    deliver('x'); // Asks for a commit after the delay.
    client.send(ack('puback', 1));
    leave();
    expect(session.isAsleep).toBe(true);
    deliver('y');
    log.commit();
    client.reconnect();
    log.delayOver();
    log.commit();
    client.outbox.said();
    expect([session.queuedMessages, log.taken]).toEqual([1, ['messages 1']]);
    leave();
    log.commit();
    client.reconnect();
    expect(await all()).toEqual(['y']);
  });
});

describe('a session that a broker has restored', () => {
  const restoredAsleep = (restored: Restored): boolean => {
    const log = new MemoryCommitLog({ nowMs: () => nowMs });
    let isAsleep: boolean | undefined;
    class Watching extends FakeHost {
      override subscribe(...args: Parameters<FakeHost['subscribe']>): void {
        isAsleep = args[0].isAsleep;
        super.subscribe(...args);
      }
    }
    connect({ host: new Watching(), keeping: { partitionOf: () => partition, log }, restored });
    return isAsleep!;
  };
  const route = { filter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;

  it('sleeps, with messages and without, unless something is owed or open', () => {
    const { received } = empty;
    const cases: [Restored, boolean][] = [
      [{ ...fresh, routes: [route] }, true],
      [{ ...fresh, routes: [route], contents: { ...empty, stored: { messages: 3, origins: [] } } }, true],
      [{ ...fresh, routes: [{ ...route, owedAfter: '' }] }, false],
      [{ ...fresh, routes: [route], contents: { ...empty, received: { ...received, packetIds: [7] } } }, false],
    ];
    for (const [restored, isAsleep] of cases) expect(restoredAsleep(restored)).toBe(isAsleep);
  });

  it('knows the QoS 2 messages of its client: those that were open, and how far they are settled', () => {
    const received = { packetIds: [], settled: { epoch: 1, number: 4 } };
    const { session } = world({ restored: { ...fresh, epoch: 3, contents: { ...empty, received } } });
    const origin = (number: number) => ({ publisher: 'c', epoch: 1, number, packetId: number, hash: undefined });
    expect([4, 5].map((number) => session.settlementOf(origin(number)).reasonCode)).toEqual([0, undefined]);
  });
});

it('falls asleep and wakes thousands of times, and nothing is lost, repeated or left', async () => {
  const { client, session, host, log, leave, deliver, stored } = world({ receiveMaximum: 5 });
  const got: string[] = [];
  let sent = 0;
  let slept = 0;
  leave();
  for (let round = 0; round < 2000; round++) {
    const qos = round % 3 === 0 ? 2 : 1;
    for (let i = 0; i < round % 4; i++) deliver(`${qos}.${++sent}`, qos);
    log.commit();
    expect(session.isAsleep).toBe(true);
    slept++;
    session.renew(round + 2);
    if (round % 10 < 9) continue;
    client.reconnect();
    got.push(...(await everythingOf(client, log)));
    leave();
    log.commit();
  }
  expect([slept, session.isAsleep, host.unsafe, session.queuedMessages]).toEqual([2000, true, 0, 0]);
  expect([got.length, new Set(got).size, stored()]).toEqual([sent, sent, []]);
  for (const qos of ['1', '2']) {
    const numbers = got.filter((payload) => payload.startsWith(qos)).map((payload) => Number(payload.slice(2)));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b)); // [MQTT-4.6.0-6]
  }
});
