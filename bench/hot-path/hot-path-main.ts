/**
 * The measured process of `bench/hot-path.ts`: real connections, sessions and one tenant, with streams that cost next to nothing
 * instead of sockets. Runs one shape of traffic, as long as it is told to, and answers with the CPU time of a message in nanoseconds.
 *
 * It is bundled with whichever checkout is measured, so it uses only what has been there all the time.
 */
import { Flusher } from '../../services/broker/outbox/flusher.js';
import { Connection } from '../../services/broker/transport/connection.js';
import type { ByteSink, ByteStream } from '../../services/broker/transport/ports.js';
import { DeadlineWheel } from '../../services/broker/transport/wheel.js';
import { TopicTable } from '../../services/broker/wire/wire.js';
import { Metrics, silentLog, systemClock } from '../../services/kernel/kernel.js';
import { encode } from '../../test/fuzz/packets.js';
import { settle, Site } from '../../test/unit/admission/site.js';

const chunkBytes = 1 << 16;
const payload = Buffer.alloc(64, 'x');
const warmUpMs = 700;
/** Unacknowledged messages of a publisher. */
const window = 100;

/** Far above what is measured: every meter is in the path, and none slows anybody down. */
const high = 1_000_000_000;
const quotas = {
  connections: 10_000,
  publishPerSecond: high,
  deliverPerSecond: high,
  bytesPerSecond: high * 1000,
  packetsPerSecond: high,
  subscribesPerSecond: high,
  connectsPerSecond: high,
  memoryBytes: high,
  cpuShare: 100,
};

/** The clock runs, which costs something when it is read. */
const site = new Site(quotas);
Object.assign(site, { clock: systemClock });
site.boot();
const world = {
  admission: site.admission,
  topics: new TopicTable(),
  flusher: new Flusher({ leave: () => 'all', onLapsed: () => undefined }, systemClock),
  wheel: new DeadlineWheel(() => systemClock.monotonicMs()),
  clock: systemClock,
  log: silentLog,
  metrics: new Metrics(),
  onGone: () => undefined,
};

class Client implements ByteStream {
  readonly remoteAddress = '192.0.2.1:5000';
  readonly unsentBytes = 0;
  isPaused = false;
  written = 0;
  /** Is given what the client gets; undefined: it is counted only. */
  hear: ((bytes: Buffer) => void) | undefined;
  #sink!: ByteSink;

  static async of(clientId: string, ...filters: string[]): Promise<Client> {
    const client = new Client();
    const place = { occupant: undefined, become: () => undefined, mayBeSilentFor: () => undefined };
    new Connection(world, place, (sink) => {
      client.#sink = sink;
      return client;
    });
    const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 60 } as const;
    const credential = { username: 'device@acme', password: Buffer.from('correct horse') };
    client.say(encode({ ...connect, ...credential, clientId }, 4));
    while (client.written === 0) await settle(1);
    for (const topic of filters)
      client.say(encode({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 1 }] }, 4));
    await settle();
    client.written = 0;
    return client;
  }

  say(bytes: Buffer): void {
    this.#sink.onBytes(bytes);
  }
  write(bytes: Buffer): void {
    this.written += bytes.length;
    this.hear?.(bytes);
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  end(): void {
    throw new Error('a connection was ended');
  }
  destroy(): void {
    throw new Error('a connection was destroyed');
  }
}

const publish = (topic: string, messageId = 0): Buffer =>
  encode({ cmd: 'publish', topic, payload, qos: messageId ? 1 : 0, dup: false, retain: false, messageId }, 4);

/** Whole packets, as many as fit; those of `topics` in turn. */
function chunkOf(topics: readonly string[]): Buffer {
  const packets = topics.map((topic) => publish(topic));
  const count = Math.floor(chunkBytes / packets[0]!.length);
  return Buffer.concat(Array.from({ length: count }, (_, i) => packets[i % packets.length]!));
}

/** Something that may be said in each turn of the event loop, and how many messages have arrived by now. */
interface Shape {
  turn(): void;
  arrived(): number;
}

async function flood(topics: readonly string[], filter: string, subscribers: number): Promise<Shape> {
  const publisher = await Client.of('publisher');
  const all: Client[] = [];
  for (let i = 0; i < subscribers; i++) all.push(await Client.of(`subscriber-${i}`, filter));
  const chunk = chunkOf(topics);
  const packetBytes = publish(topics[0]!).length;
  return {
    turn: () => {
      if (!publisher.isPaused) publisher.say(chunk);
    },
    arrived: () => all.reduce((sum, { written }) => sum + written, 0) / packetBytes,
  };
}

/** Each publisher says all of its window when the one before is acknowledged; subscribers acknowledge in the next turn. */
async function pairs(count: number): Promise<Shape> {
  let arrived = 0;
  const turns: (() => void)[] = [];
  for (let n = 0; n < count; n++) {
    const topic = `pair/${n}`;
    const [publisher, subscriber] = [await Client.of(`publisher-${n}`), await Client.of(`subscriber-${n}`, topic)];
    const chunk = Buffer.concat(Array.from({ length: window }, (_, i) => publish(topic, i + 1)));
    const packetBytes = chunk.length / window;
    const idAt = packetBytes - payload.length - 2;
    const ackBytes = 4;
    const owed = Buffer.alloc(16 * window * ackBytes);
    let owedBytes = 0;
    subscriber.hear = (bytes) => {
      for (let at = 0; at < bytes.length; at += packetBytes) {
        owed[owedBytes] = 0x40;
        owed[owedBytes + 1] = 2;
        owed[owedBytes + 2] = bytes[at + idAt]!;
        owed[owedBytes + 3] = bytes[at + idAt + 1]!;
        owedBytes += ackBytes;
        arrived++;
      }
    };
    publisher.written = window * ackBytes;
    turns.push(() => {
      if (publisher.written === window * ackBytes && !publisher.isPaused) {
        publisher.written = 0;
        publisher.say(chunk);
      }
      if (owedBytes === 0 || subscriber.isPaused) return;
      const acks = owed.subarray(0, owedBytes);
      owedBytes = 0;
      subscriber.say(acks);
    });
  }
  return { turn: () => turns.forEach((turn) => turn()), arrived: () => arrived };
}

/** One packet at a time of publishers in turn. */
async function sparse(count: number, aTurn: number): Promise<Shape> {
  const subscriber = await Client.of('subscriber', 'sparse/#');
  const publishers: Client[] = [];
  for (let i = 0; i < count; i++) publishers.push(await Client.of(`publisher-${i}`));
  const packets = publishers.map((_, i) => publish(`sparse/${String(i).padStart(4, '0')}`));
  let next = 0;
  return {
    turn: () => {
      for (let i = 0; i < aTurn; i++, next = (next + 1) % count)
        if (!publishers[next]!.isPaused) publishers[next]!.say(packets[next]!);
    },
    arrived: () => subscriber.written / packets[0]!.length,
  };
}

const hundredTopics = Array.from({ length: 100 }, (_, i) => `bench/${String(i).padStart(2, '0')}`);
const shapes: Readonly<Record<string, () => Promise<Shape>>> = {
  '1to1-qos0': () => flood(['bench/1'], 'bench/1', 1),
  '1to1-100-topics': () => flood(hundredTopics, 'bench/#', 1),
  '1to100-qos0': () => flood(['bench/1'], 'bench/1', 100),
  'pairs-qos1': () => pairs(10),
  'sparse-fan-in': () => sparse(1000, 50),
};

/** CPU nanoseconds of a message, over at least `ms`. */
async function measure(shape: Shape, ms: number): Promise<number> {
  const before = { arrived: shape.arrived(), cpu: process.cpuUsage() };
  const untilMs = performance.now() + ms;
  do {
    shape.turn();
    await settle(1);
  } while (performance.now() < untilMs);
  const { user, system } = process.cpuUsage(before.cpu);
  const arrived = shape.arrived() - before.arrived;
  if (arrived === 0) throw new Error('nothing arrives any more');
  return ((user + system) * 1000) / arrived;
}

/** Says what it can do, makes the shape that it is sent, and then measures for as many milliseconds as it is told to. */
let shape: Shape | undefined;
process.on('message', (wanted: string | number) => {
  const answer = async (): Promise<number> => {
    if (typeof wanted === 'number') return measure(shape!, wanted);
    shape = await shapes[wanted]!();
    return measure(shape, warmUpMs);
  };
  answer().then(
    (ns) => process.send!(ns),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit());
process.send!(Object.keys(shapes));
