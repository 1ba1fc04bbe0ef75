/** What leaves for the network while the lease is held, has lapsed, or DynamoDB is away: the real queue and flusher. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Flusher } from '../../../services/broker/outbox/flusher.js';
import type { AcknowledgementGate, OutboxStream } from '../../../services/broker/outbox/ports.js';
import { SendQueue } from '../../../services/broker/outbox/send-queue.js';
import { ManualClock } from '../../support/manual-clock.js';

class FakeStream implements OutboxStream {
  readonly unsentBytes = 0;
  sent = '';
  isDestroyed = false;
  write(bytes: Buffer): void {
    if (!this.isDestroyed) this.sent += bytes.toString();
  }
  destroy(): void {
    this.isDestroyed = true;
  }
}

/** Open for 5 s by a clock that the tests move; closing is noticed when somebody asks, as with the lease. */
class FakeGate implements AcknowledgementGate {
  asked = 0;
  afterwards: 'new' | 'none' = 'none';
  readonly #clock: ManualClock;
  #hasLapsed = false;
  #listeners: (() => void)[] = [];
  constructor(clock: ManualClock) {
    this.#clock = clock;
  }
  leave(): 'all' | 'new' | 'none' {
    this.asked++;
    if (this.#clock.monotonicMs() < 5000) return 'all';
    this.lapse();
    return this.afterwards;
  }
  lapse(): void {
    if (!this.#hasLapsed) for (const listener of this.#listeners) listener();
    this.#hasLapsed = true;
  }
  onLapsed(listener: () => void): void {
    this.#listeners.push(listener);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

let clock: ManualClock;
let gate: FakeGate;
let flusher: Flusher;
beforeEach(() => {
  clock = new ManualClock();
  gate = new FakeGate(clock);
  flusher = new Flusher(gate, clock);
});

function open() {
  const stream = new FakeStream();
  const queue = new SendQueue(stream, flusher);
  const push = (text: string, isAck: boolean): void => {
    const bytes = Buffer.from(text);
    queue.push(bytes, 0, bytes.length, isAck);
  };
  return { stream, queue, ack: (text: string) => push(text, true), message: (text: string) => push(text, false) };
}

describe('the gate for acknowledgements', () => {
  it('is asked once a turn, for however many', async () => {
    const all = Array.from({ length: 100 }, open);
    for (const { ack, message } of all) for (let i = 0; i < 10; i++) (ack('a'), message('m'));
    await turn();
    expect(all.map(({ stream }) => stream.sent)).toEqual(Array(100).fill('am'.repeat(10)));
    expect(gate.asked).toBe(1);
  });

  it('closes while they wait for the end of the turn: nothing of theirs leaves', async () => {
    const [answered, told] = [open(), open()];
    answered.message('m1');
    answered.ack('a');
    answered.message('m2');
    told.message('m');
    clock.advance(5000); // The process was frozen here.
    await turn();
    expect([answered.stream.sent, answered.stream.isDestroyed]).toEqual(['', true]);
    expect([told.stream.sent, told.stream.isDestroyed]).toEqual(['m', false]);
  });

  it('is asked before a burst that is written within the turn, too', async () => {
    const { stream, ack, message, queue } = open();
    ack('a');
    clock.advance(5000);
    message('m'.repeat(70_000));
    expect([stream.sent, queue.waitingBytes]).toEqual(['', 70_001]);
    await turn();
    expect([stream.sent, stream.isDestroyed]).toEqual(['', true]);
    const other = open();
    other.message('m'.repeat(70_000));
    expect(other.stream.sent).toHaveLength(70_000);
  });

  it('in an outage lets out what was made in the outage, not what is older', async () => {
    gate.afterwards = 'new';
    const [old, fresh] = [open(), open()];
    old.ack('a');
    clock.advance(5000);
    gate.lapse();
    fresh.ack('b');
    await turn();
    expect([old.stream.sent, old.stream.isDestroyed]).toEqual(['', true]);
    expect([fresh.stream.sent, fresh.stream.isDestroyed]).toEqual(['b', false]);
    fresh.ack('c');
    await turn();
    expect(fresh.stream.sent).toBe('bc');
  });

  it('lets out what was made just before the lapse while the time lasts', async () => {
    const { stream, ack } = open();
    ack('a');
    gate.lapse(); // Noticed before the time is over.
    await turn();
    expect([stream.sent, stream.isDestroyed]).toEqual(['a', false]);
  });

  it('forgets acknowledgements that have left', async () => {
    const { stream, ack, message } = open();
    ack('a');
    await turn();
    clock.advance(5000);
    message('m');
    await turn();
    expect([stream.sent, stream.isDestroyed]).toEqual(['am', false]);
  });
});
