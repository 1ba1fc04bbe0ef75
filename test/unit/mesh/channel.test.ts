import { describe, expect, it } from 'vitest';
import { Channel, type ChannelFrame, OutOfOrder } from '../../../services/broker/mesh/mesh.js';

class Side {
  readonly got: string[] = [];
  readonly heard: string[] = [];
  readonly proofs: number[] = [];
  readonly sent: ChannelFrame<string>[] = [];
  answered = 0;
  /** Frames for which there is room. */
  room = Infinity;
  readonly channel = new Channel<string>({
    handle: (lane, frame) => void this.got.push(`${lane} ${frame}`),
    heard: (lane, number) => void this.heard.push(`${lane} ${number}`),
    answers: () => void this.answered++,
    proven: (pingedAtMs) => void this.proofs.push(pingedAtMs),
  });

  up(handled = { control: 0, data: 0 }): this {
    this.channel.connected(handled, (frame) => {
      if (this.room === 0) return false;
      this.room--;
      return this.sent.push(frame) > 0;
    });
    return this;
  }
}

const frame = (number: number, text: string, lane: 'control' | 'data' = 'control'): ChannelFrame<string> => ({
  type: 'frame',
  lane,
  number,
  frame: text,
});

describe('a channel', () => {
  it('keeps what has not been heard, and sends it again on the next connection', () => {
    const side = new Side();
    side.channel.send('control', 'a');
    side.up();
    side.channel.send('control', 'b');
    side.channel.send('data', 'x');
    side.channel.cut();
    side.channel.send('control', 'c');
    side.sent.length = 0;
    side.up({ control: 1, data: 0 });
    expect(side.sent).toEqual([frame(2, 'b'), frame(3, 'c'), frame(1, 'x', 'data')]);
    side.channel.receive({ type: 'heard', handled: { control: 3, data: 0 } }, 0);
    expect([side.channel.unheard('control'), side.channel.unheard('data')]).toEqual([0, 1]);
  });

  it('without room keeps frames until there is some, subscriptions before messages', () => {
    const side = new Side().up();
    side.room = 1;
    side.channel.send('data', 'x');
    side.channel.send('data', 'y');
    side.channel.send('control', 'a');
    expect(side.sent).toEqual([frame(1, 'x', 'data')]);
    side.channel.receive(frame(1, 'b'), 0);
    side.channel.flush();
    side.channel.ping(5);
    side.channel.receive({ type: 'ping', ping: 7 }, 5);
    expect(side.sent.length).toBe(1);
    side.room = Infinity;
    side.sent.length = 0;
    side.channel.room();
    expect(side.sent).toEqual([
      { type: 'heard', handled: { control: 1, data: 0 } },
      frame(1, 'a'),
      frame(2, 'y', 'data'),
    ]);
    // A ping that did not leave proves nothing.
    side.channel.receive({ type: 'pong', ping: 1, told: 0 }, 10);
    expect(side.proofs).toEqual([]);
    expect(() => side.channel.receive({ type: 'heard', handled: { control: 1, data: 2 } }, 0)).not.toThrow();
    expect([side.channel.unheard('control'), side.channel.unheard('data')]).toEqual([0, 0]);
  });

  it('handles a frame once, and says what it has handled in one word', () => {
    const side = new Side().up();
    for (const one of [frame(1, 'a'), frame(1, 'a'), frame(2, 'b'), frame(1, 'x', 'data')])
      side.channel.receive(one, 0);
    side.channel.flush();
    side.channel.flush();
    expect(side.got).toEqual(['control a', 'control b', 'data x']);
    expect(side.sent).toEqual([{ type: 'heard', handled: { control: 2, data: 1 } }]);
  });

  it.each<[string, ChannelFrame<string>]>([
    ['skips a number', frame(2, 'b')],
    ['has heard what was never sent', { type: 'heard', handled: { control: 1, data: 0 } }],
  ])('the other one %s: that is out of order', (_what, message) => {
    const side = new Side().up();
    expect(() => side.channel.receive(message, 0)).toThrow(OutOfOrder);
    expect(side.got).toEqual([]);
  });

  it('tells who sent a frame once it is heard, or the other one has died', () => {
    const side = new Side().up();
    const told: string[] = [];
    for (const text of ['a', 'b', 'c']) side.channel.send('data', text, () => told.push(text));
    side.channel.receive({ type: 'heard', handled: { control: 0, data: 2 } }, 0);
    expect(told).toEqual(['a', 'b']);
    side.channel.end();
    expect(told).toEqual(['a', 'b', 'c']);
  });

  it('an answer proves what was told before it, once that has been handled', () => {
    const side = new Side().up();
    side.channel.ping(100);
    side.channel.receive({ type: 'pong', ping: 1, told: 2 }, 150);
    side.channel.receive(frame(1, 'a'), 160);
    expect(side.proofs).toEqual([]);
    side.channel.receive(frame(2, 'b'), 170);
    expect(side.proofs).toEqual([100]);
  });

  it('several pings are under way on a slow connection, and each answer proves its own', () => {
    const side = new Side().up();
    for (const atMs of [100, 600, 1100]) side.channel.ping(atMs);
    side.channel.receive({ type: 'pong', ping: 1, told: 0 }, 1200);
    side.channel.receive({ type: 'pong', ping: 3, told: 0 }, 1300);
    // Overtaken, or made up.
    for (const ping of [2, 3, 7]) side.channel.receive({ type: 'pong', ping, told: 0 }, 1400);
    expect(side.proofs).toEqual([100, 1100]);
  });

  it('an answer from before the cut proves nothing after it', () => {
    const side = new Side().up();
    side.channel.ping(100);
    side.channel.receive({ type: 'pong', ping: 1, told: 1 }, 150);
    side.channel.cut();
    side.up();
    side.channel.receive(frame(1, 'a'), 900);
    side.channel.receive({ type: 'pong', ping: 1, told: 1 }, 950);
    expect(side.proofs).toEqual([]);
  });

  it('answers a ping behind what it has told, and not without a connection', () => {
    const side = new Side().up();
    side.channel.send('control', 'a');
    side.channel.receive({ type: 'ping', ping: 9 }, 0);
    expect(side.sent).toEqual([frame(1, 'a'), { type: 'pong', ping: 9, told: 1 }]);
    side.channel.cut();
    side.channel.ping(0);
    expect([side.answered, side.sent.length]).toEqual([1, 2]);
  });
});
