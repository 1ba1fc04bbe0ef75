/** Writes of a tick: in turns by tenant, no longer than others may wait, and paid for. */
import { beforeEach, expect, it } from 'vitest';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { OutboxStream, Payer } from '../../../services/broker/outbox/ports.js';
import { SendQueue } from '../../../services/broker/outbox/send-queue.js';
import { ManualClock } from '../../support/manual-clock.js';

const writeTakesMs = 0.02;

class Account implements Payer {
  ms = 0;
  spend(ms: number): void {
    this.ms += ms;
  }
}

let clock: ManualClock;
let flusher: Flusher;
let gate: { leave(): 'all' | 'new' | 'none'; onLapsed(): void };
let gateAsked: number;
/** Whose writes there have been, in order. */
let written: string[];

/** Turns of the event loop until there have been so many; what a test leaves behind would go on in the next. */
async function allWritten(count: number): Promise<void> {
  while (written.length < count) await new Promise(setImmediate);
}

beforeEach(() => {
  clock = new ManualClock();
  written = [];
  gateAsked = 0;
  gate = { leave: () => (gateAsked++, 'all'), onLapsed: () => undefined };
  flusher = new Flusher(gate, clock);
});

function open(name: string, payer?: Payer): SendQueue {
  const write = (): void => {
    written.push(name);
    clock.advance(writeTakesMs);
  };
  const stream: OutboxStream = { unsentBytes: 0, write, destroy: () => undefined };
  const queue = new SendQueue(stream, flusher);
  queue.payer = payer;
  return queue;
}

const push = (queue: SendQueue): void => queue.push(Buffer.from('x'), 0, 1);

it('writes for a tenant with one outbox before the thousand of another are done', async () => {
  const [crowd, quiet] = [new Account(), new Account()];
  for (let n = 0; n < 1000; n++) push(open('crowd', crowd));
  push(open('quiet', quiet));
  flusher.flush();
  expect(written.indexOf('quiet')).toBe(32);
  await allWritten(1001);
});

it('leaves what takes too long for the ticks to come, and each outbox is written once', async () => {
  const account = new Account();
  const queues = Array.from({ length: 1000 }, () => open('crowd', account));
  for (const queue of queues) push(queue);
  flusher.flush();
  expect(written.length).toBeLessThan(200);
  push(queues.at(-1)!); // Waits already.
  await allWritten(1000);
  await new Promise(setImmediate);
  expect([written.length, gateAsked > 3]).toEqual([1000, true]);
  expect(account.ms).toBeCloseTo(10);
});

it('writes for those who are not in yet', () => {
  push(open('stranger'));
  flusher.flush();
  expect(written).toEqual(['stranger']);
});

it('writes nothing more after the gate has closed between two ticks', async () => {
  const account = new Account();
  for (let n = 0; n < 300; n++) open('crowd', account).push(Buffer.from('x'), 0, 1, true);
  flusher.flush();
  const before = written.length;
  gate.leave = () => 'none';
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect([before < 300, written.length]).toEqual([true, before]);
});
