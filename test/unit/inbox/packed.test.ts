import { expect, test } from 'vitest';
import { type Delivery, Inbox, newDelivery, type Write } from '../../../services/broker/inbox/inbox.js';
import { Message } from '../../../services/broker/message/message.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';

const owner = {
  onStored: () => undefined,
  onSafe: () => undefined,
  onAllStored: () => undefined,
  restore: <T>(stored: T): T => stored,
};

function qos1(text: string): Delivery {
  const topic = { text: 't', bytes: Buffer.from('t') };
  const message = Message.of({ topic, payload: Buffer.from(text), qos: 1, retain: false, properties: Buffer.alloc(0) });
  return newDelivery(message, { qos: 1, retainAsPublished: false, subscriptionIds: [] }, 1, 0);
}

test('an item of several messages stays whole when one of them is sent while it is being written', () => {
  const log = new MemoryCommitLog({ nowMs: () => 1000 }); // The test takes what there is itself.
  const inbox = new Inbox('acme#pump', log, owner, { messages: 0, hold() {}, letGo() {} });
  inbox.renew(1);
  const deliveries = ['one', 'two', 'three'].map(qos1);
  for (const delivery of deliveries) inbox.accept(delivery, false);
  const table = new Map<string, string[]>();
  const commit = (): void => {
    const writes: readonly Write[] = inbox.take(25, 1000, Infinity);
    for (const write of writes)
      if (write.kind === 'messages') {
        expect(write.messages.map(({ packetId }) => packetId)).toEqual(write.messages.map(() => 0));
        table.set(
          write.key,
          write.messages.map(({ message }) => String(message.payload)),
        );
      } else if (write.kind === 'delete') table.delete(write.key);
  };
  deliveries[0]!.packetId = 1; // Sent before it is stored,
  commit();
  deliveries[1]!.packetId = 2; // and while it is.
  inbox.committed([]);
  commit();
  inbox.committed([]);
  expect([...table.values()]).toEqual([['one', 'two', 'three']]);
  for (const delivery of deliveries) inbox.done(delivery);
  commit();
  expect([...table.values()]).toEqual([]);
});

test('a commit takes no more items once they come to as many bytes as it has room for', () => {
  const log = new MemoryCommitLog({ nowMs: () => 1000 });
  const inbox = new Inbox('acme#much', log, owner, { messages: 0, hold() {}, letGo() {} });
  inbox.renew(1);
  for (let i = 0; i < 400; i++) inbox.accept(qos1('x'.repeat(1000)), true);
  const counts: number[] = [];
  while (!inbox.allStored) {
    const writes = inbox.take(25, 1000, 60_000);
    counts.push(writes.reduce((sum, write) => sum + (write.kind === 'messages' ? write.messages.length : 0), 0));
    inbox.committed([]);
  }
  // Items have up to 32 KB: two of them.
  expect(Math.max(...counts)).toBeLessThan(60);
  expect(counts.reduce((sum, count) => sum + count)).toBe(400);
});
