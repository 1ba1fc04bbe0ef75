/**
 * What clients see while DynamoDB is away, and how long each of it takes to come right again: a broker process, the embedded
 * database behind a proxy that refuses connections, takes requests and never answers, or throttles a third of them.
 *
 *      npm run bench:outage -- --how refuse,hang,throttle --seconds 5,60
 */
import { parseArgs } from 'node:util';
import { Site } from '../test/crash/site.js';
import { randomFaults } from '../test/support/faults.js';
import { type ConnectFields, LiveClient } from '../test/support/live-client.js';

const seed = 1;
const kinds = ['refuse', 'hang', 'throttle'] as const;
type Kind = (typeof kinds)[number];

const { values } = parseArgs({
  options: {
    how: { type: 'string', default: kinds.join(',') },
    seconds: { type: 'string', default: '5,60' },
  },
});
const wanted = values.how.split(',').map((how) => {
  const kind = kinds.find((one) => one === how);
  if (kind === undefined) throw new Error(`--how: ${how} is none of ${kinds.join(', ')}`);
  return kind;
});
const lengths = values.seconds.split(',').map((text) => {
  if (!(Number(text) > 0)) throw new Error(`--seconds: ${text} is not a positive number`);
  return Number(text);
});

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const stored = { clean: false, properties: { sessionExpiryInterval: 86_400 } } as const;

/** Of the attempts during the outage: what was answered, the longest time of that, and when the rest was after its end. */
interface Row {
  answers: string;
  'slowest ms': number;
  'after the end ms': number;
}

/** Attempts of one kind. Each resolves with what was answered, in a few words. */
class Probe {
  readonly #attempt: (n: number) => Promise<string>;
  readonly #answers = new Map<string, number>();
  #slowestMs = 0;
  #lastAfterMs = 0;
  #count = 0;
  #under = 0;

  constructor(attempt: (n: number) => Promise<string>) {
    this.#attempt = attempt;
  }

  /** `endedAtMs`: undefined as long as the outage goes on. */
  async try(endedAtMs: () => number | undefined): Promise<void> {
    if (this.#under >= 20) return;
    this.#under++;
    const startedMs = performance.now();
    const answer = await this.#attempt(++this.#count).catch((error: unknown) => (error as Error).message);
    this.#under--;
    const ended = endedAtMs();
    if (ended !== undefined) {
      this.#lastAfterMs = Math.max(this.#lastAfterMs, performance.now() - ended);
      this.#note(`${answer} after the end`);
      return;
    }
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - startedMs);
    this.#note(answer);
  }

  #note(answer: string): void {
    this.#answers.set(answer, (this.#answers.get(answer) ?? 0) + 1);
  }

  get isDone(): boolean {
    return this.#under === 0;
  }

  get row(): Row {
    return {
      answers: [...this.#answers].map(([answer, count]) => `${count} x ${answer}`).join(', '),
      'slowest ms': Math.round(this.#slowestMs),
      'after the end ms': Math.round(this.#lastAfterMs),
    };
  }
}

const codeOf = (code: number | undefined): string => `0x${(code ?? 0).toString(16).padStart(2, '0')}`;

/** Clients that are there before the outage begins, and what they and others try in it. */
async function probes(site: Site, clients: LiveClient[]): Promise<Readonly<Record<string, Probe>>> {
  const open = async (): Promise<LiveClient> => {
    const client = await LiveClient.open(site.broker()!.port);
    clients.push(client);
    return client;
  };
  const connect = async (fields: ConnectFields): Promise<LiveClient> => {
    const client = await open();
    await client.connect({ ...site.account, ...fields });
    return client;
  };
  const [clean, keeper, sleeper] = [
    await connect({ clientId: 'clean' }),
    await connect({ clientId: 'keeper', ...stored }),
    await connect({ clientId: 'sleeper', ...stored }),
  ];
  await clean.subscribe({ filter: 'clean/#', qos: 1 });
  await keeper.subscribe({ filter: 'online/#', qos: 1 });
  await sleeper.subscribe({ filter: 'kept/#', qos: 1 });
  await sleeper.disconnect();
  const publisher = async (clientId: string, topic: string, qos: 0 | 1, retain = false): Promise<Probe> => {
    const client = await connect({ clientId });
    await client.publish({ topic, payload: 'before', qos: 1, retain });
    return new Probe(async (n) => {
      const before = clean.received.length;
      const answer = await client.publish({ topic, payload: String(n), qos, retain });
      if (qos === 0) await clean.receivedCount(before + 1, 10_000);
      return qos === 0 ? 'received' : codeOf(answer?.reasonCode);
    });
  };
  const subscribes = async (clientId: string, fields: Partial<ConnectFields>): Promise<Probe> => {
    const client = await connect({ clientId, ...fields });
    return new Probe(async (n) => codeOf((await client.subscribe({ filter: `of/${clientId}/${n}`, qos: 1 }))[0]));
  };
  const connects = (what: (n: number) => ConnectFields): Probe =>
    new Probe(async (n) => {
      const client = await open();
      const { reasonCode } = await client.tryConnect({ ...site.account, ...what(n) });
      client.destroy();
      return codeOf(reasonCode);
    });
  const leavers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => connect({ clientId: `leaver-${n}`, ...stored })),
  );
  return {
    'QoS 0': await publisher('zero', 'clean/0', 0),
    'QoS 1 to a clean session': await publisher('one', 'clean/1', 1),
    'QoS 1 to a stored session that is there': await publisher('online', 'online/1', 1),
    'QoS 1 to a stored session that is away': await publisher('kept', 'kept/1', 1),
    'retained, QoS 1': await publisher('retained', 'state/1', 1, true),
    'SUBSCRIBE of a clean session': await subscribes('clean-subscriber', {}),
    'SUBSCRIBE of a stored session': await subscribes('stored-subscriber', stored),
    'CONNECT, clean, known': connects(() => ({ clientId: 'one-more' })),
    'CONNECT, stored, known': connects(() => ({ clientId: 'sleeper-2', ...stored })),
    'CONNECT, clean, new': connects((n) => ({ clientId: `new-${n}` })),
    'DISCONNECT of a stored session': new Probe(async (n) => {
      const leaver = leavers[n - 1];
      if (!leaver) return 'no more of them';
      await leaver.disconnect();
      return 'ended';
    }),
  };
}

async function measure(kind: Kind, seconds: number): Promise<void> {
  const site = await Site.open(seed, { withProxy: true });
  const clients: LiveClient[] = [];
  try {
    await site.start();
    const all = await probes(site, clients);
    if (kind === 'throttle') site.setFaults(randomFaults(seed, { throttle: 1 / 3 }, 1));
    else await site.proxy!.beginOutage(kind);
    const beganMs = performance.now();
    const outage: { endedAtMs?: number } = {};
    const tryAll = (): void => {
      for (const probe of Object.values(all)) void probe.try(() => outage.endedAtMs);
    };
    const everyMs = Math.max(500, (seconds * 1000) / 15);
    for (await wait(1000); performance.now() - beganMs < seconds * 1000; await wait(everyMs)) tryAll();
    if (kind === 'throttle') site.setFaults(() => undefined);
    else await site.proxy!.endOutage();
    outage.endedAtMs = performance.now();
    // A new client again and again until it is let in: what was refused before says nothing of the recovery.
    for (let isIn = false; !isIn; await wait(20)) {
      const client = await LiveClient.open(site.broker()!.port);
      isIn = (await client.tryConnect({ ...site.account, clientId: 'first-after' })).reasonCode === 0;
      client.destroy();
    }
    const firstInMs = performance.now() - outage.endedAtMs;
    while (!Object.values(all).every(({ isDone }) => isDone)) await wait(20);
    console.log(`\n${kind}, ${seconds} s; the first client is let in ${Math.round(firstInMs)} ms after the end`);
    console.table(Object.fromEntries(Object.entries(all).map(([what, { row }]) => [what, row])));
  } finally {
    for (const client of clients) client.destroy();
    await site.close();
  }
}

for (const seconds of lengths) for (const kind of wanted) await measure(kind, seconds);
process.exit(0); // Whatever connection still waits for an answer.
