/** The stored QoS 2 identifiers of a publisher, and the stored subscriptions of a session. */
import { describe, expect, it } from 'vitest';
import { Received, StoredRoutes } from '../../../services/broker/inbox/inbox.js';
import { handedOn, PendingReceipt } from '../../../services/broker/message/message.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';

const partition = 'acme#c';

describe('packet identifiers received', () => {
  function world() {
    const log = new MemoryCommitLog({ nowMs: () => 0 });
    const received = new Received(partition, log);
    received.renew(5);
    return { log, received, stored: () => log.tables.received(partition)?.packetIds };
  }

  it('are stored after the message is safe, and answered after that', () => {
    const { log, received, stored } = world();
    const safe = new PendingReceipt();
    const answer = received.settle(received.begin(9, false), safe);
    log.commit();
    expect([stored(), answer.reasonCode]).toEqual([undefined, undefined]);
    safe.settle(0);
    log.take();
    log.write();
    expect([stored(), answer.reasonCode]).toEqual([[9], undefined]);
    log.confirm();
    expect(answer.reasonCode).toBe(0);
  });

  it('are stored in the order of their messages, whichever is safe first', () => {
    const { log, received, stored } = world();
    const [first, second] = [new PendingReceipt(), new PendingReceipt()];
    received.settle(received.begin(1, false), first);
    received.settle(received.begin(2, false), second);
    second.settle(0);
    log.commit();
    expect(stored()).toBeUndefined();
    first.settle(0);
    log.commit();
    expect(stored()).toEqual([1, 2]);
  });

  it('are gone before PUBCOMP, however often PUBREL comes', () => {
    const { log, received, stored } = world();
    received.settle(received.begin(9, false), handedOn);
    log.commit();
    const [once, twice] = [received.remove(9), received.remove(9)];
    expect([once.reasonCode, twice.reasonCode, stored()]).toEqual([undefined, undefined, [9]]);
    log.take();
    const thrice = received.remove(9);
    expect(thrice.reasonCode).toBeUndefined();
    log.write();
    log.confirm();
    expect([once.reasonCode, twice.reasonCode, thrice.reasonCode, stored()]).toEqual([0, 0, 0, []]);
    expect(received.remove(9).reasonCode).toBe(0);
  });
});

/** A message that an earlier broker took as its first, stored with a subscriber, while the publisher's state lacks it. */
const left = { publisher: 'p', epoch: 1, number: 1, packetId: 7, hash: 11 };

describe('messages that an earlier broker has left open', () => {
  function world(open: readonly object[] = [left], again: { packetId: number; epoch: number; number: number }[] = []) {
    const log = new MemoryCommitLog({ nowMs: () => 0 });
    const received = new Received(partition, log);
    received.renew(5);
    received.restore({ packetIds: [], settled: { epoch: 1, number: 0 }, again });
    for (const one of open) received.leftOpen({ ...left, ...one });
    const settled = (origin = left): boolean => received.settlementOf(origin).reasonCode !== undefined;
    return { log, received, settled };
  }

  it.each([
    ['with DUP, and nothing of it is known', true, []],
    ['with DUP', true, [left]],
    ['without', false, [left]],
  ])('are settled when the table knows that they came again: %s', (_, dup, open) => {
    const { log, received, settled } = world(open);
    const asked = received.settlementOf(left);
    received.settle(received.begin(7, dup, left.hash), handedOn);
    expect([asked.reasonCode, settled()]).toEqual([undefined, false]);
    log.take();
    log.write();
    expect([asked.reasonCode, settled()]).toEqual([undefined, false]);
    log.confirm();
    expect([asked.reasonCode, settled()]).toEqual([0, true]);
  });

  it('are not settled by a write that does not say it yet, or that the store did not take', () => {
    const { log, received, settled } = world();
    received.settle(received.begin(1, false, 1), handedOn);
    log.take(); // without it
    received.settle(received.begin(7, true, left.hash), handedOn);
    log.write();
    log.confirm();
    expect(settled()).toBe(false);
    log.take();
    log.refuse();
    expect(settled()).toBe(false);
  });

  it('are not settled because one of an even earlier life came again', () => {
    const again = [{ packetId: 7, epoch: 3, number: 9 }];
    const later = { ...left, epoch: 4 };
    const { log, received, settled } = world([later], again);
    expect([settled(left), settled(later)]).toEqual([true, false]);
    received.settle(received.begin(8, true, 1), handedOn);
    log.commit();
    expect([settled(left), settled(later)]).toEqual([true, false]);
  });

  it.each([
    ['the same content', left, { dup: true, hash: 11 }, true],
    ['the same content, and the client does not set DUP', left, { dup: false, hash: 11 }, true],
    ['other content', left, { dup: false, hash: 12 }, false],
    ['other content with DUP: it was sent, and never came', left, { dup: true, hash: 12 }, false],
    ['DUP, of an item that does not say what it holds', { ...left, hash: undefined }, { dup: true, hash: 11 }, true],
    ['no DUP, of such an item', { ...left, hash: undefined }, { dup: false, hash: 11 }, false],
    ['another identifier', { ...left, packetId: 8 }, { dup: true, hash: 11 }, false],
    ['one that is settled', { ...left, epoch: 0 }, { dup: true, hash: 11 }, false],
  ])('are told by content: %s', (_, stored, { dup, hash }, isSame) => {
    const { received } = world([stored]);
    expect(received.begin(7, dup, hash).again?.(stored) ?? false).toBe(isSame);
  });

  it('are open until their identifier is used: what comes under it after that is new', () => {
    const { received } = world();
    expect(received.begin(7, false, 11).again?.(left)).toBe(true);
    expect(received.begin(7, true, 11).again?.(left)).toBe(false);
  });
});

describe('PUBREL before PUBREC', () => {
  it.each(['before', 'while'] as const)('leaves nothing stored: %s the message is made safe', (when) => {
    const log = new MemoryCommitLog({ nowMs: () => 0 });
    const received = new Received(partition, log);
    received.renew(5);
    const safe = new PendingReceipt();
    const answer = received.settle(received.begin(7, false), safe);
    if (when === 'while') {
      safe.settle(0);
      log.take();
    }
    const removed = received.remove(7);
    expect(removed.reasonCode).toBeUndefined();
    if (when === 'while') {
      log.write();
      log.confirm();
    }
    safe.settle(0);
    log.commit();
    expect([answer.reasonCode, removed.reasonCode]).toEqual([0, 0]);
    expect(log.tables.received(partition)).toMatchObject({ packetIds: [], settled: { epoch: 5, number: 1 } });
  });
});

describe('stored subscriptions', () => {
  const route = (filter: string, qos: 0 | 1 | 2 = 1) =>
    ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 }) as const;

  it('settle when they are stored, the last state of each filter', () => {
    const log = new MemoryCommitLog({ nowMs: () => 0, writesMax: 2 });
    const routes = new StoredRoutes(partition, log, { epoch: 5 });
    for (const filter of ['a', 'b', 'c']) routes.set(route(filter, 0));
    routes.set(route('a', 2));
    routes.remove('b');
    const { stored } = routes;
    log.take();
    log.write();
    log.confirm();
    expect(stored.reasonCode).toBeUndefined(); // One of three is left.
    log.commit();
    expect(stored.reasonCode).toBe(0);
    expect([...log.tables.routes(partition)]).toEqual([
      ['a', { route: route('a', 2), epoch: 5 }],
      ['c', { route: route('c', 0), epoch: 5 }],
    ]);
    expect(routes.stored.reasonCode).toBe(0);
  });

  it('that change while they are written are written again', () => {
    const log = new MemoryCommitLog({ nowMs: () => 0 });
    const routes = new StoredRoutes(partition, log, { epoch: 0 });
    routes.set(route('a'));
    log.take();
    routes.remove('a');
    const { stored } = routes;
    log.write();
    log.confirm();
    expect([stored.reasonCode, log.tables.routes(partition).size]).toEqual([undefined, 1]);
    log.commit();
    expect([stored.reasonCode, log.tables.routes(partition).size]).toEqual([0, 0]);
  });
});
