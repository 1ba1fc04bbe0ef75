/** Clients that people really use, over the TLS endpoints of the whole stack: mqtt.js, and mosquitto's in all dialects. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { connect as connectClient, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Credential } from '../support/broker.js';
import { Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
let tenant: TestTenant;
let account: Credential;
const clients: MqttClient[] = [];
const processes: ChildProcess[] = [];
beforeAll(async () => {
  stack = await Stack.start();
  tenant = await stack.tenant();
  account = await tenant.account();
}, 60_000);
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  for (const child of processes.splice(0)) child.kill('SIGKILL');
});
afterAll(() => stack?.close());

/** A topic that no other test uses. */
let topics = 0;
const newTopic = (): string => `real/${++topics}`;

describe.each([
  ['mqtts', 4],
  ['mqtts', 5],
  ['wss', 4],
  ['wss', 5],
] as const)('mqtt.js over %s with protocol %d', (scheme, protocolVersion) => {
  const connect = async (
    options: IClientOptions = {},
    before: (client: MqttClient) => void = () => undefined,
  ): Promise<MqttClient> => {
    const { url } = stack.endpoints[scheme];
    const ca = readFileSync(stack.endpoints.caFile);
    const client = connectClient(url, { ...account, ca, reconnectPeriod: 0, protocolVersion, ...options });
    clients.push(client);
    before(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
    });
    client.on('error', () => {});
    return client;
  };

  const messagesOf = (client: MqttClient): string[] => {
    const seen: string[] = [];
    client.on('message', (topic, payload, { qos, retain }) =>
      seen.push(`${topic} ${payload.toString()} ${qos}${retain ? ' retained' : ''}`),
    );
    return seen;
  };

  test.each([0, 1, 2] as const)('publishes and receives at QoS %d', async (qos) => {
    const [subscriber, publisher, topic] = [await connect(), await connect(), newTopic()];
    const seen = messagesOf(subscriber);
    await subscriber.subscribeAsync(`${topic}/#`, { qos });
    for (let i = 0; i < 50; i++) await publisher.publishAsync(`${topic}/${i}`, `message ${i}`, { qos });
    await until(() => seen.length === 50, 'all messages');
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => `${topic}/${i} message ${i} ${qos}`));
  });

  test('sends 900 messages at once to a session that is away', async () => {
    const topic = newTopic();
    const clientId = `away-${topic.replace('/', '-')}-${scheme}-${protocolVersion}`;
    const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 300 } } : {};
    const away = await connect({ clientId, clean: false, ...properties });
    await away.subscribeAsync(topic, { qos: 1 });
    await away.endAsync();
    const publisher = await connect();
    const sent = Array.from({ length: 900 }, (_, i) => String(i));
    // It knows of the broker's Receive Maximum and does not keep to it.
    await Promise.all(sent.map((payload) => publisher.publishAsync(topic, payload, { qos: 1 })));
    const seen: string[] = [];
    await connect({ clientId, clean: false, ...properties }, (client) =>
      client.on('message', (_topic, payload) => seen.push(payload.toString())),
    );
    await until(() => seen.length >= sent.length, 'all messages');
    expect(seen).toEqual(sent);
  });

  test('gets retained messages, wills and what it missed', async () => {
    const topic = newTopic();
    const publisher = await connect();
    await publisher.publishAsync(`${topic}/state`, 'kept', { qos: 1, retain: true });
    const session = {
      clientId: `session-${topic.replace('/', '-')}-${scheme}-${protocolVersion}`,
      clean: false,
      ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 300 } }),
    };
    const subscriber = await connect(session);
    const seen = messagesOf(subscriber);
    await subscriber.subscribeAsync(`${topic}/#`, { qos: 1 });
    await until(() => seen.length === 1, 'the retained message');
    const mortal = await connect({
      will: { topic: `${topic}/will`, payload: Buffer.from('gone'), qos: 1, retain: false },
    });
    mortal.stream.destroy();
    await until(() => seen.length === 2, 'the will');
    expect(seen).toEqual([`${topic}/state kept 1 retained`, `${topic}/will gone 1`]);
    await subscriber.endAsync();
    await publisher.publishAsync(`${topic}/later`, 'missed', { qos: 1 });
    const missed: string[] = [];
    // What was missed comes right behind CONNACK: the listener has to be there before.
    await connect(session, (client) => client.on('message', (_, payload) => missed.push(payload.toString())));
    await until(() => missed.length === 1, 'the missed message');
    expect(missed).toEqual(['missed']);
  });

  test('is refused with a wrong password', async () => {
    await expect(connect({ password: 'not the password' })).rejects.toMatchObject({
      code: protocolVersion === 5 ? 0x86 : 4,
    });
  });
});

// mosquitto's clients.

const run = promisify(execFile);

interface Dialect {
  readonly name: string;
  readonly version: string;
}
const dialects: Dialect[] = [
  { name: '3.1', version: 'mqttv31' },
  { name: '3.1.1', version: 'mqttv311' },
  { name: '5', version: 'mqttv5' },
];

test('the mosquitto clients are installed', async () => {
  for (const program of ['mosquitto_pub', 'mosquitto_sub'])
    await run(program, ['--help']).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT')
        throw new Error(`${program} is missing: install the Debian package mosquitto-clients (.ci/run does it)`);
    });
});

const login = (): string[] => {
  const { caFile, host, mqtts } = stack.endpoints;
  return ['--cafile', caFile, '-h', host, '-p', String(mqtts.port), '-u', account.username, '-P', account.password];
};

async function publish(version: string, ...args: string[]): Promise<void> {
  await run('mosquitto_pub', [...login(), '-V', version, ...args], { timeout: 15_000 });
}

class MosquittoSub {
  stdout = '';
  stderr = '';
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;

  /** `-d` makes it say when it is subscribed, and `stdbuf` lets it say so at once, into a pipe, too. */
  constructor(version: string, ...args: string[]) {
    this.process = spawn('stdbuf', ['-oL', 'mosquitto_sub', ...login(), '-V', version, '-d', ...args]);
    processes.push(this.process);
    this.process.stdout?.on('data', (data) => (this.stdout += String(data)));
    this.process.stderr?.on('data', (data) => (this.stderr += String(data)));
    this.ended = new Promise((resolve) => this.process.once('close', resolve));
  }

  async subscribed(): Promise<this> {
    await until(() => this.stdout.includes('Subscribed (mid'), `a subscription: ${this.stderr}`);
    return this;
  }

  /** What `-F` printed, without what `-d` adds, and without a line of which there is more to come. */
  get lines(): string[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('> '));
  }

  async printed(count: number): Promise<string[]> {
    await until(() => this.lines.length >= count, `${count} messages of ${this.lines.length}`);
    return this.lines;
  }
}

const format = ['-F', '> %t %p %q %r'];

describe.each(dialects)('mosquitto clients with MQTT $name', ({ version }) => {
  const subscribe = (...args: string[]): Promise<MosquittoSub> =>
    new MosquittoSub(version, ...format, ...args).subscribed();

  test.each(['0', '1', '2'])('QoS %s through a wildcard', async (qos) => {
    const topic = newTopic();
    const subscriber = await subscribe('-t', `${topic}/+/x`, '-q', qos);
    await publish(version, '-t', `${topic}/a/x`, '-m', 'first', '-q', qos);
    await publish(version, '-t', `${topic}/a/y`, '-m', 'other', '-q', qos);
    await publish(version, '-t', `${topic}/b/x`, '-m', 'last', '-q', qos);
    expect(await subscriber.printed(2)).toEqual([`> ${topic}/a/x first ${qos} 0`, `> ${topic}/b/x last ${qos} 0`]);
  });

  test('retained, and cleared again', async () => {
    const topic = newTopic();
    await publish(version, '-t', topic, '-m', 'state', '-q', '1', '-r');
    const subscriber = await subscribe('-t', topic, '-q', '1');
    expect(await subscriber.printed(1)).toEqual([`> ${topic} state 1 1`]);
    await publish(version, '-t', topic, '-n', '-q', '1', '-r');
    await publish(version, '-t', `${topic}/end`, '-m', 'end', '-q', '1', '-r');
    const late = await subscribe('-t', topic, '-t', `${topic}/end`, '-q', '1');
    expect(await late.printed(1)).toEqual([`> ${topic}/end end 1 1`]);
  });

  test('a will, when the client is killed', async () => {
    const topic = newTopic();
    const subscriber = await subscribe('-t', `${topic}/will`, '-q', '1');
    const mortal = await new MosquittoSub(
      version,
      ...['-t', `${topic}/none`, '--will-topic', `${topic}/will`, '--will-payload', 'gone', '--will-qos', '1'],
    ).subscribed();
    mortal.process.kill('SIGKILL');
    expect(await subscriber.printed(1)).toEqual([`> ${topic}/will gone 1 0`]);
  });

  test('a shared subscription gives each message to one member', async () => {
    const topic = newTopic();
    const members = [
      await subscribe('-t', `$share/g/${topic}`, '-q', '1'),
      await subscribe('-t', `$share/g/${topic}`, '-q', '1'),
    ];
    for (const payload of ['a', 'b', 'c', 'd']) await publish(version, '-t', topic, '-m', payload, '-q', '1');
    const all = (): string[] => members.flatMap(({ lines }) => lines);
    await until(() => all().length >= 4, 'four messages');
    expect(all().sort()).toEqual(['a', 'b', 'c', 'd'].map((payload) => `> ${topic} ${payload} 1 0`));
    for (const { lines } of members) expect(lines).toHaveLength(2);
  });

  test('200 KB in one message', async () => {
    const topic = newTopic();
    const subscriber = await subscribe('-t', topic, '-q', '1');
    const payload = 'Shoal '.repeat(34_134);
    const child = run('mosquitto_pub', [...login(), '-V', version, '-t', topic, '-q', '1', '-s'], { timeout: 15_000 });
    child.child.stdin?.end(payload);
    await child;
    expect(await subscriber.printed(1)).toEqual([`> ${topic} ${payload} 1 0`]);
  });

  test('a wrong password is an error that is told', async () => {
    const wrong = [...login().slice(0, -1), 'not the password', '-V', version, '-t', 'x', '-m', 'x'];
    await expect(run('mosquitto_pub', wrong, { timeout: 15_000 })).rejects.toThrow(/[Cc]onnection [Rr]efused|[Bb]ad/);
  });
});
