/**
 * The neighbour: a tenant of its own with 20 round trips a second of QoS 0 and of QoS 1, 5 messages to a stored session that
 * is away, and two CONNECTs. A process of its own, so that nobody but the broker makes it wait.
 */
import { LiveClient } from '../support/live-client.js';
import { streams, type Latencies, type NeighbourJob, type Served, type Stream } from './neighbour.js';
import { atMost, every } from './pace.js';

/** What comes later is lost: clients have given up. */
const lostAfterMs = 10_000;

/** One kind of question: when each was asked, and how long it took. */
class Probe {
  readonly #askedMs = new Map<number, number>();
  #took: number[] = [];
  #refused = 0;
  #next = 0;

  ask(): number {
    this.#askedMs.set(++this.#next, performance.now());
    return this.#next;
  }

  answered(n: number): void {
    const askedMs = this.#askedMs.get(n);
    if (askedMs !== undefined) this.#took.push(performance.now() - askedMs);
    this.#askedMs.delete(n);
  }

  refused(n: number): void {
    if (this.#askedMs.delete(n)) this.#refused++;
  }

  get isSettled(): boolean {
    return this.#askedMs.size === 0;
  }

  /** And begins anew. */
  take(): Latencies {
    const took = this.#took.sort((a, b) => a - b);
    const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? NaN;
    const lost = this.#refused + this.#askedMs.size;
    this.#took = [];
    this.#refused = 0;
    this.#askedMs.clear();
    return { count: took.length, p50: at(0.5), p99: at(0.99), max: at(1), lost };
  }
}

const probes = Object.fromEntries(streams.map((stream) => [stream, new Probe()])) as Record<Stream, Probe>;
let pauses = false;

process.once('message', (job: NeighbourJob) => void live(job).then(() => process.send!('living')));

async function live(job: NeighbourJob): Promise<void> {
  const { port, credential } = job;
  const open = async (fields: Parameters<LiveClient['connect']>[0]): Promise<LiveClient> => {
    const client = await LiveClient.open(port);
    await client.connect({ ...credential, ...fields });
    return client;
  };
  const away = await open({ clientId: 'away', clean: false, properties: { sessionExpiryInterval: 3600 } });
  await away.subscribe({ filter: 'stored/#', qos: 1 });
  await away.disconnect();

  const publisher = new Steady(() => open({ clientId: 'publisher' }));
  // Of its own, because acknowledgements come in order: those of the others would wait for the database, too.
  const storer = new Steady(() => open({ clientId: 'storer' }));
  const subscriber = new Steady(async () => {
    const client = await open({ clientId: 'subscriber' });
    client.onMessage = ({ topic, payload }) => arrived(topic === 'trip/0' ? 'qos0' : 'qos1', Number(payload));
    await client.subscribe({ filter: 'trip/0', qos: 0 }, { filter: 'trip/1', qos: 1 });
    return client;
  });
  await Promise.all([publisher.ready(), storer.ready(), subscriber.ready()]);

  every(20, () => pauses || publisher.now?.packets.sendPublish({ topic: 'trip/0', payload: `${probes.qos0.ask()}` }));
  every(20, () => pauses || publish('qos1', 'trip/1', publisher));
  every(5, () => pauses || publish('stored', 'stored/x', storer));
  every(2, (n) => pauses || void visit(job, n));
}

/** Of these, QoS 1 is complete when the message and its PUBACK are here. */
const halves = new Set<number>();

function arrived(stream: 'qos0' | 'qos1', n: number): void {
  if (stream === 'qos0') probes.qos0.answered(n);
  else if (halves.delete(n)) probes.qos1.answered(n);
  else halves.add(n);
}

function publish(stream: 'qos1' | 'stored', topic: string, publisher: Steady): void {
  const n = probes[stream].ask();
  publisher.now?.publish({ topic, payload: String(n), qos: 1 }).then(
    (answer) => {
      if ((answer?.reasonCode ?? 0) >= 0x80) probes[stream].refused(n);
      else if (stream === 'qos1') arrived('qos1', n);
      else probes.stored.answered(n);
    },
    () => probes[stream].refused(n),
  );
}

async function visit({ port, credential, chosen }: NeighbourJob, n: number): Promise<void> {
  const asked = probes.connects.ask();
  const account = n % 2 === 1 && chosen.length > 0 ? chosen[((n - 1) / 2) % chosen.length]! : credential;
  let client: LiveClient | undefined;
  try {
    client = await LiveClient.open(port);
    const connack = await atMost(lostAfterMs, client.tryConnect({ ...account, clientId: `visit${n}` }));
    if (connack?.reasonCode === 0) probes.connects.answered(asked);
    else probes.connects.refused(asked);
  } catch {
    probes.connects.refused(asked);
  } finally {
    client?.destroy();
  }
}

/** A client that is replaced when its connection ends. */
class Steady {
  now: LiveClient | undefined;
  readonly #open: () => Promise<LiveClient>;
  #opening = false;

  constructor(open: () => Promise<LiveClient>) {
    this.#open = open;
    every(10, () => this.now?.ended !== false && void this.ready().catch(() => undefined));
  }

  async ready(): Promise<void> {
    if (this.#opening) return;
    this.#opening = true;
    try {
      this.now = await this.#open();
    } finally {
      this.#opening = false;
    }
  }
}

/** Asks no more, waits for what it has asked, says how it was served, and goes on. */
async function take(): Promise<void> {
  pauses = true;
  const endMs = performance.now() + lostAfterMs;
  while (performance.now() < endMs && !streams.every((stream) => probes[stream].isSettled))
    await new Promise((resolve) => setTimeout(resolve, 5));
  const served = Object.fromEntries(streams.map((stream) => [stream, probes[stream].take()])) as Served;
  halves.clear();
  pauses = false;
  process.send!(served);
}

process.on('message', (message) => message === 'take' && void take());
