/** What only `CleanOutbound` does; all else is in `outbound.contract.ts`. */
import { expect, it } from 'vitest';
import type { Message, SharedOrigin } from '../../../services/broker/message/message.js';
import { queueBytesMax } from '../../../services/broker/session/clean-outbound.js';
import { connect, message, nowMs, terms } from './world.js';

it('drops what the tenant may not hold any more', () => {
  const { session, host, outbox } = connect();
  host.heldMax = 1;
  for (const x of ['1', '2']) session.deliver(message('a', x, 1), terms(1), nowMs);
  expect(outbox.said()).toEqual(['publish 1 q1 a 1']);
  expect(host.meters.droppedOverQuota).toBe(1);
});

it('drops what does not fit into the memory of one queue', () => {
  const { session, host } = connect();
  session.detach(nowMs);
  const bytes = message('a', 'x'.repeat(1 << 20), 1).heldBytes;
  for (let i = 0; i < 9; i++) session.deliver(message('a', 'x'.repeat(1 << 20), 1), terms(1), nowMs);
  const fit = Math.floor(queueBytesMax / bytes);
  expect([session.queuedMessages, host.held, host.meters.droppedOverQuota]).toEqual([fit, fit, 9 - fit]);
});

it('acknowledges what it queues: nobody waits for it', () => {
  const { session, host } = connect({ receiveMaximum: 1 });
  for (const x of ['1', '2', '3']) session.deliver(message('a', x, 1), terms(1), nowMs);
  expect([session.queuedMessages, host.unsafe]).toEqual([3, 0]);
});

it('gives QoS 2 messages of a shared subscription back that it has not sent', () => {
  const { session } = connect({ receiveMaximum: 1 });
  const taken: string[] = [];
  const handOn = (one: Message): boolean => (taken.push(String(one.payload)), true);
  const group: SharedOrigin = { name: '$share/g/a', handOn };
  for (const x of ['sent', 'waits']) session.deliver(message('a', x, 2), terms(2, { group }), nowMs);
  session.detach(nowMs);
  expect([taken, session.queuedMessages]).toEqual([['waits'], 1]);
});
