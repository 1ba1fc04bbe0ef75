/** Sources that may write the same keys take turns, and what is refused concerns nobody but its own. */
import { expect, test } from 'vitest';
import { Received, StoredRoutes } from '../../../services/broker/inbox/inbox.js';
import { handedOn } from '../../../services/broker/message/message.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';

const partition = 'acme#c';
const route = (filter: string, qos: 0 | 1 | 2 = 1) =>
  ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 }) as const;

function subscriptions(log: MemoryCommitLog, epoch: number): StoredRoutes {
  return new StoredRoutes(partition, log, { epoch });
}

test('subscriptions of a session that has ended never come after those of the next one', () => {
  const log = new MemoryCommitLog({ nowMs: () => 0 });
  const old = subscriptions(log, 1);
  old.set(route('a'));
  log.take(); // Under way when the session ends; the rest has not begun.
  old.remove('b');
  old.set(route('c'));
  old.end();
  const next = subscriptions(log, 2);
  next.set(route('a', 2));
  next.set(route('b', 2));
  const { stored } = next;
  log.take();
  expect(log.taken).toEqual(['route a']);
  log.write();
  log.confirm();
  log.commit();
  expect(stored.reasonCode).toBe(0);
  expect([...log.tables.routes(partition)].map(([filter, { epoch }]) => `${filter} ${epoch}`)).toEqual(['a 2', 'b 2']);
});

test('packet identifiers of a session that has ended never replace those of the next one', () => {
  const log = new MemoryCommitLog({ nowMs: () => 0 });
  const [old, next] = [1, 2].map((epoch) => {
    const received = new Received(partition, log);
    received.renew(epoch);
    return received;
  });
  const late = old!.begin(7, false);
  old!.settle(late, handedOn);
  log.take();
  old!.end();
  const later = old!.settle(old!.begin(8, false), handedOn);
  next!.settle(next!.begin(9, false), handedOn);
  log.write();
  log.confirm();
  log.commit();
  expect(later.reasonCode).toBe(0);
  expect(log.taken).toEqual(['received 7', 'received 9']);
});

test('subscriptions that are too many for one commit are refused if any part of them is', () => {
  const log = new MemoryCommitLog({ nowMs: () => 0, writesMax: 2 });
  const routes = subscriptions(log, 1);
  for (const filter of ['a', 'b', 'c']) routes.set(route(filter));
  const { stored } = routes;
  log.take();
  log.refuse();
  expect(stored.reasonCode).toBeUndefined();
  log.commit();
  expect(stored.reasonCode).toBe(0x83);
  routes.set(route('d'));
  const { stored: next } = routes;
  log.commit();
  expect(next.reasonCode).toBe(0);
});
