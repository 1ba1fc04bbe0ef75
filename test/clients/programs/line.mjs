/**
 * What every JavaScript program here shares: its task from the environment, orders from standard input, answers on
 * standard output. The other languages speak the same lines; ../program.ts says what they mean.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** What a script would wait before it tries again. */
const beforeAgainMs = 200;

const env = (name) => process.env[`CLIENT_${name}`] ?? '';

const transport = env('TRANSPORT');
export const task = {
  transport,
  host: env('HOST'),
  port: Number(env('PORT')),
  isWebSocket: transport === 'ws' || transport === 'wss',
  isSecure: transport === 'mqtts' || transport === 'wss',
  url: env('URL'),
  version: Number(env('VERSION')),
  caFile: env('CA_FILE'),
  ca: () => readFileSync(env('CA_FILE')),
  username: env('USERNAME'),
  password: env('PASSWORD'),
  clientId: env('ID'),
  /** The session is kept for an hour. */
  stored: env('STORED') === '1',
  will: { topic: env('WILL_TOPIC'), payload: 'gone', qos: 1, retain: false },
};

export const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);

/** Ends the program with what its user reads. */
export function refused(words) {
  process.stdout.write(`refused ${String(words).replaceAll('\n', ' ')}\n`, () => process.exit(1));
}

export const message = (topic, payload, qos, retain) => say('message', qos, retain ? 1 : 0, topic, String(payload));

/**
 * `subscribe(topic, qos)` and `publish(topic, payload, qos, retain)` return promises, or throw; `end` leaves properly.
 * A publish that fails is told, for whoever gave the order to give it again. `burst(topic, payloads)` publishes all at once,
 * QoS 1; who has none publishes them one by one, without waiting.
 */
export function serve({ subscribe, publish, burst, end }) {
  const send = (topic, payload, qos, retain) =>
    publish(topic, payload, qos, retain).then(
      () => say('published', payload),
      () => setTimeout(() => say('failed', payload), beforeAgainMs),
    );
  const orders = {
    sub: async (qos, topic) => {
      await subscribe(topic, Number(qos));
      say('subscribed');
    },
    pub: (qos, retain, topic, payload) => send(topic, payload, Number(qos), retain === '1'),
    burst: async (count, topic) => {
      const payloads = Array.from({ length: Number(count) }, (_, i) => String(i));
      if (burst) {
        await burst(topic, payloads);
        for (const payload of payloads) say('published', payload);
      } else for (const payload of payloads) void send(topic, payload, 1, false);
    },
    end: async () => {
      await end();
      process.exit(0);
    },
  };
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [order, ...args] = line.split(' ');
    orders[order](...args).catch((error) => refused(error?.stack ?? error));
  });
}
