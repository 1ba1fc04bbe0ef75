/** One connection between brokers without sockets: each state and event of the table, silence, credit. */
import { describe, expect, it } from 'vitest';
import { type Ending, endings } from '../../../services/broker/mesh/endings.js';
import {
  byeFrame,
  frame,
  frameBytesMax,
  FrameReader,
  type Hello,
  helloFrame,
  numberFrame,
  readCode,
  readNumber,
  types,
} from '../../../services/broker/mesh/frames/v1.js';
import {
  type LinkOut,
  LinkState,
  silentMs,
  type Stage,
  tickMs,
  unheardMax,
  windowBytes,
} from '../../../services/broker/mesh/link-state.js';

const hello = (from: string, to: string, more: Partial<Hello> = {}): Hello => ({
  ...{ min: 1, max: 1, purpose: 'link', incarnation: 1, from, to, cluster: 'test-', address: '127.0.0.1:1' },
  ...more,
});
const good = helloFrame(hello('b', 'a'));
const content = frame(0x20, Buffer.from('x'));
const typeNames = Object.fromEntries(Object.entries(types).map(([name, type]) => [type, name]));

class Probe implements LinkOut {
  unsentBytes = 0;
  nowMs = 0;
  refusal: Ending | undefined;
  ended: string | undefined;
  rooms = 0;
  skipped = 0;
  pongMs: number | undefined;
  takes: (type: number) => boolean | Promise<void> = (type) => type === 0x20;
  readonly stages: Stage[] = [];
  readonly written: string[] = [];
  grantedBytes = 0;
  readonly #reader = new FrameReader();
  readonly state: LinkState;

  constructor(role: 'dials' | 'accepts' = 'dials') {
    this.#reader.bytesMax = frameBytesMax;
    this.state = new LinkState({ role, hello: hello('a', role === 'dials' ? 'b' : '') }, this, 0);
  }
  write(bytes: Buffer): void {
    this.#reader.push(bytes, (type, body) => {
      if (type === types.credit) this.grantedBytes += readNumber(body)!;
      const name = typeNames[type] ?? 'content';
      return this.written.push(type === types.bye ? `${name} ${readCode(body)}` : name) > 0;
    });
  }
  judge(): Ending | undefined {
    return this.refusal;
  }
  onUp(): void {}
  onStage(stage: Stage): void {
    this.stages.push(stage);
  }
  onContent(type: number): boolean | Promise<void> {
    return this.takes(type);
  }
  onSkipped(): void {
    this.skipped++;
  }
  onPong(afterMs: number): void {
    this.pongMs = afterMs;
  }
  onRoom(): void {
    this.rooms++;
  }
  onEnd({ name }: Ending, isTold: boolean): void {
    expect(this.ended).toBeUndefined();
    this.ended = `${name}${isTold ? ' (told)' : ''}`;
  }

  hear(bytes: Buffer): this {
    this.state.received(bytes, this.nowMs);
    return this;
  }
  /** Ticks as they would come in that time. */
  pass(ms: number): this {
    for (const untilMs = this.nowMs + ms; this.nowMs < untilMs;) {
      this.nowMs += tickMs;
      this.state.tick(this.nowMs);
    }
    return this;
  }
  in(stage: Exclude<Stage, 'opening'>): this {
    this.state.opened();
    if (stage === 'ended') this.state.closed(endings.connectionLost);
    else if (stage !== 'greeting') this.hear(good);
    if (stage === 'silent') this.pass(silentMs);
    expect(this.state.stage).toBe(stage);
    this.written.length = 0;
    return this;
  }
}

const events = {
  opened: (probe: Probe) => probe.state.opened(),
  'good hello': (probe: Probe) => probe.hear(good),
  'refused hello': (probe: Probe) => {
    probe.refusal = endings.otherCluster;
    probe.hear(good);
  },
  content: (probe: Probe) => probe.hear(content),
  ping: (probe: Probe) => probe.hear(numberFrame(types.ping, 1)),
  bye: (probe: Probe) => probe.hear(byeFrame(16)),
  tick: (probe: Probe) => probe.pass(tickMs),
  stop: (probe: Probe) => probe.state.end(endings.stopping),
  closed: (probe: Probe) => probe.state.closed(endings.connectionLost),
};
type Event = keyof typeof events;

/** Stage by event: the next stage, and how it ended. */
const table: Record<Stage, Record<Event, string>> = {
  opening: {
    ...{ opened: 'greeting', tick: 'opening', stop: 'ended stopping', closed: 'ended connection-lost' },
    // The wire says nothing before it is open.
    ...{ 'good hello': '-', 'refused hello': '-', content: '-', ping: '-', bye: '-' },
  },
  greeting: {
    ...{ opened: 'greeting', 'good hello': 'up', 'refused hello': 'ended other-cluster' },
    ...{ content: 'ended not-a-hello', ping: 'ended not-a-hello', bye: 'ended stopping (told)', tick: 'greeting' },
    ...{ stop: 'ended stopping', closed: 'ended connection-lost' },
  },
  up: {
    ...{ opened: 'up', 'good hello': 'ended unexpected-frame', 'refused hello': 'ended unexpected-frame' },
    ...{ content: 'up', ping: 'up', bye: 'ended stopping (told)', tick: 'up' },
    ...{ stop: 'ended stopping', closed: 'ended connection-lost' },
  },
  silent: {
    ...{ opened: 'silent', 'good hello': 'ended unexpected-frame', 'refused hello': 'ended unexpected-frame' },
    ...{ content: 'up', ping: 'up', bye: 'ended stopping (told)', tick: 'silent' },
    ...{ stop: 'ended stopping', closed: 'ended connection-lost' },
  },
  ended: Object.fromEntries(Object.keys(events).map((event) => [event, 'ended connection-lost'])) as Record<
    Event,
    string
  >,
};

describe.each(Object.keys(table) as Stage[])('in stage %s', (stage) => {
  const cases = Object.entries(table[stage]).filter(([, then]) => then !== '-');
  it.each(cases)('%s leads to %s', (event, then) => {
    const probe = new Probe();
    if (stage !== 'opening') probe.in(stage);
    events[event as Event](probe);
    expect([probe.state.stage, probe.ended].filter(Boolean).join(' ')).toBe(then);
    if (stage === 'ended') expect(probe.written).toEqual([]);
    if (then.startsWith('ended')) {
      // Nothing leads out of it.
      for (const after of Object.values(events)) after(probe);
      expect(probe.state.stage).toBe('ended');
    }
  });
});

describe('the greeting', () => {
  it('is begun by who dials, and answered once it is good', () => {
    const [dials, accepts] = [new Probe('dials'), new Probe('accepts')];
    dials.state.opened();
    accepts.state.opened();
    expect([dials.written, accepts.written]).toEqual([['hello'], []]);
    accepts.hear(good);
    expect(accepts.written).toEqual(['hello', 'credit']);
  });

  it('has five seconds, TLS included', () => {
    for (const isOpen of [false, true]) {
      const probe = new Probe('accepts');
      if (isOpen) probe.state.opened();
      expect(probe.pass(4500).ended).toBeUndefined();
      expect(probe.pass(500).ended).toBe('greeting-late');
    }
  });

  it.each([
    [hello('b', 'a', { min: 2, max: 3 }), 'no-common-version', 'bye 6'],
    [hello('b', 'a', { min: 1, max: 3 }), undefined, 'credit'],
  ])('finds the common version', (said, ended, last) => {
    const probe = new Probe().in('greeting').hear(helloFrame(said));
    expect([probe.ended, probe.written.at(-1)]).toEqual([ended, last]);
  });
});

describe('silence', () => {
  it('begins after two seconds without a word, and ends with the next', () => {
    const probe = new Probe().in('up').pass(silentMs - tickMs);
    expect(probe.state.stage).toBe('up');
    expect(probe.pass(tickMs).state.stage).toBe('silent');
    probe.hear(numberFrame(types.pong, 4));
    expect([probe.state.stage, probe.pongMs]).toEqual(['up', 0]);
    expect(probe.pass(silentMs - tickMs).state.stage).toBe('up');
  });

  it('ends the link after twelve pings', () => {
    const probe = new Probe().in('up').pass(unheardMax * tickMs);
    expect([probe.ended, probe.written.length]).toEqual([undefined, unheardMax]);
    probe.pass(tickMs);
    expect([probe.ended, probe.written.at(-1)]).toEqual(['silent', 'bye 12']);
  });

  it('is no reason to give up for a process that was frozen itself', () => {
    const probe = new Probe().in('up');
    probe.nowMs += 60_000;
    probe.state.tick(probe.nowMs);
    expect([probe.state.stage, probe.ended]).toEqual(['silent', undefined]);
    expect(probe.hear(numberFrame(types.ping, 9)).state.stage).toBe('up');
  });
});

describe('credit', () => {
  const body = (bytes: number): Buffer => Buffer.alloc(bytes - 5);
  it('is granted for a window, and again by halves of it', () => {
    const probe = new Probe().in('greeting').hear(good);
    expect(probe.grantedBytes).toBe(windowBytes);
    for (let n = 0; n < 7; n++) probe.hear(frame(0x20, body(1 << 16)));
    expect(probe.grantedBytes).toBe(windowBytes);
    probe.hear(frame(0x20, body(1 << 16)));
    expect(probe.grantedBytes).toBe(windowBytes + 8 * (1 << 16));
    expect(probe.ended).toBeUndefined();
  });

  it('leaves room for the longest frame, whatever is not granted again yet', () => {
    const probe = new Probe().in('up');
    probe.hear(frame(0x20, body(frameBytesMax - 1)));
    probe.hear(frame(0x20, Buffer.alloc(frameBytesMax - 1)));
    expect(probe.ended).toBeUndefined();
  });

  it('that is exceeded ends the link: a handler that takes its time holds it back', async () => {
    const probe = new Probe().in('up');
    let settle = (): void => undefined;
    probe.takes = () => new Promise((resolve) => (settle = resolve));
    for (let n = 0; n < 16; n++) probe.hear(frame(0x20, body(1 << 16)));
    expect([probe.ended, probe.grantedBytes]).toEqual([undefined, windowBytes]);
    probe.hear(frame(0x20, body(1 << 16)));
    expect(probe.ended).toBe('credit-exceeded');
    settle();
    await Promise.resolve();
  });

  it('bounds what is sent: what has none is refused, and may be tried again when some comes', () => {
    const probe = new Probe().in('up');
    expect(probe.state.send(0x20, body(100))).toBe(false);
    probe.hear(numberFrame(types.credit, 150));
    expect(probe.rooms).toBe(1);
    expect([probe.state.send(0x20, body(100)), probe.state.send(0x20, body(51))]).toEqual([true, false]);
    probe.hear(numberFrame(types.credit, 1));
    expect([probe.rooms, probe.state.send(0x20, body(51))]).toEqual([2, true]);
  });

  it('of any size does not let more wait than the bound of this side', () => {
    const probe = new Probe().in('up').hear(numberFrame(types.credit, 0xffff_ffff));
    probe.hear(numberFrame(types.credit, 0xffff_ffff));
    probe.unsentBytes = windowBytes - 99;
    expect(probe.state.send(0x20, body(100))).toBe(false);
    probe.unsentBytes = 0;
    probe.state.drained();
    expect([probe.rooms, probe.state.send(0x20, body(100))]).toEqual([1, true]);
    probe.unsentBytes = windowBytes;
    probe.written.length = 0;
    expect(probe.hear(numberFrame(types.ping, 1)).written).toEqual([]);
  });

  it('is no matter of frames that are longer than one may be', () => {
    const probe = new Probe().in('up');
    expect(() => probe.state.send(0x20, Buffer.alloc(frameBytesMax))).toThrow(RangeError);
    expect(() => probe.state.send(types.ping, Buffer.alloc(4))).toThrow(RangeError);
  });
});

it.each([
  ['control', 0x0f, 'unknown-frame', 0],
  ['content', 0x7f, 'unknown-frame', 0],
  ['content that may be skipped', 0x80, undefined, 1],
])('an unknown frame, %s, is refused or skipped by its type alone', (_, type, ended, skipped) => {
  const probe = new Probe().in('up').hear(frame(type, Buffer.from('of a later release')));
  expect([probe.ended, probe.skipped]).toEqual([ended, skipped]);
});
