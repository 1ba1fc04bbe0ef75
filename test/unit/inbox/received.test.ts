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

describe('stored subscriptions', () => {
  const route = (filter: string, qos: 0 | 1 | 2 = 1) =>
    ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 }) as const;

  it('settle when they are stored, the last state of each filter', () => {
    const log = new MemoryCommitLog({ nowMs: () => 0, writesMax: 2 });
    const routes = new StoredRoutes(partition, log);
    routes.renew(5);
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
    const routes = new StoredRoutes(partition, log);
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
