/**
 * A real mosquitto as a bridge to Shoal over TLS, in the dialects it speaks: what goes in and out arrives once as long as
 * everybody lives, and none of what was acknowledged is lost when the broker or mosquitto is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, test } from 'vitest';
import type { Endpoints } from '../../services/local/endpoints.js';
import { call, endpointsIn, freePorts, Workshop } from '../local/shoal.js';
import { answers, freePort } from '../support/ports.js';
import { until } from '../support/until.js';

const workshop = new Workshop();
const clients: MqttClient[] = [];
const mosquittos: Mosquitto[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
  for (const mosquitto of mosquittos.splice(0)) await mosquitto.end('SIGKILL');
  await workshop.clean();
});

/** A broker that is killed is followed by one that waits until its lease has run out; clients come back when they like. */
const backWithinMs = 40_000;

interface Login {
  readonly username: string;
  readonly password: string;
}

/** On one port and with its messages on disk, however often it starts. */
class Mosquitto {
  readonly port: number;
  readonly #config: string;
  #process: ChildProcess | undefined;
  #log = '';

  constructor(folder: string, port: number, { mqtts, caFile }: Endpoints, login: Login, dialect: string) {
    this.port = port;
    this.#config = join(folder, 'mosquitto.conf');
    mkdirSync(join(folder, 'kept'));
    const lines = [
      `user ${userInfo().username}`,
      ...['persistence true', `persistence_location ${join(folder, 'kept')}/`],
      // Each change at once: what it has acknowledged to Shoal before it is killed is its own to keep.
      ...['autosave_on_changes true', 'autosave_interval 1', 'max_queued_messages 10000'],
      ...[`listener ${port} 127.0.0.1`, 'allow_anonymous true'],
      // The bridge, with nothing that is not needed to find Shoal.
      ...['connection cloud', `address 127.0.0.1:${mqtts.port}`, `bridge_cafile ${caFile}`],
      ...[`remote_username ${login.username}`, `remote_password ${login.password}`],
      ...[`bridge_protocol_version ${dialect}`, 'topic both/# both 1', 'restart_timeout 1'],
    ];
    writeFileSync(this.#config, `${lines.join('\n')}\n`);
  }

  async start(): Promise<this> {
    this.#process = spawn('mosquitto', ['-c', this.#config, '-v'], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream!.on('data', (data) => (this.#log += String(data)));
    await until(() => answers(this.port), `mosquitto to listen: ${this.#log}`);
    return this;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }
}

/** Comes back by itself, with its session; notes what it gets. */
class Listener {
  readonly got: string[] = [];
  readonly client: MqttClient;

  private constructor(client: MqttClient) {
    this.client = client;
    client.on('message', (topic, payload, { retain }) =>
      this.got.push(`${topic} ${payload.toString()}${retain ? ' retained' : ''}`),
    );
    client.on('error', () => undefined);
  }

  static async at(port: number, login: Partial<Login> = {}, filter = 'both/#', name = 'listener'): Promise<Listener> {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
      ...login,
      clientId: name,
      clean: false,
      reconnectPeriod: 200,
      connectTimeout: 5000,
    });
    clients.push(client);
    const listener = new Listener(client);
    await client.subscribeAsync(filter, { qos: 1 });
    return listener;
  }

  async has(payloads: readonly string[]): Promise<void> {
    const missing = (): string[] => payloads.filter((payload) => !this.got.some((line) => line.includes(payload)));
    await until(() => missing().length === 0, 'all messages', backWithinMs).catch((error: unknown) => {
      throw new Error(`${missing().length} missing, first ${missing()[0]}`, { cause: error });
    });
  }
}

const numbered = (what: string, count: number): string[] => Array.from({ length: count }, (_, i) => `<${what}-${i}>`);

/** Resolves when all are acknowledged. */
const publish = (client: MqttClient, payloads: readonly string[]): Promise<unknown> =>
  Promise.all(payloads.map((payload) => client.publishAsync('both/t', payload, { qos: 1 })));

/**
 * Resolves when the bridge has subscribed, which it does after it has said its state: without a session that it has kept,
 * what comes in between is not for it. Both have got nothing then.
 */
async function subscribed(cloud: Listener, local: Listener): Promise<void> {
  let probes = 0;
  const probe = async (): Promise<boolean> => {
    await cloud.client.publishAsync('both/probe', `<probe-${++probes}>`, { qos: 1 });
    return local.got.some((line) => line.startsWith('both/probe'));
  };
  await until(probe, 'the subscription of the bridge', backWithinMs);
  for (const listener of [cloud, local]) {
    await listener.has([`<probe-${probes}>`]);
    listener.got.length = 0;
  }
}

async function signUp(endpoints: Endpoints): Promise<Login> {
  const { body } = await call(`${endpoints.api.url}/v1/tenants`, { body: { name: 'acme' } });
  const key = String(body['apiKey']);
  const url = `${endpoints.api.url}/v1/tenants/acme/credentials`;
  return (await call(url, { key, body: { name: 'bridge' } })).body as unknown as Login;
}

/** Of MQTT 5.0 the bridge of 2.0.11 asks for a session that ends with its connection: what comes while it is away is not for it. */
describe.each([
  ['mqttv31', true],
  ['mqttv311', true],
  ['mqttv50', false],
])('mosquitto as a bridge, %s', (dialect, keepsSession) => {
  test(
    'carries both ways, says its state, and loses nothing when either side is killed',
    { timeout: 150_000 },
    async () => {
      const folder = workshop.folder();
      await workshop.start(['--data', folder, ...freePorts]).ready();
      const endpoints = endpointsIn(folder);
      const login = await signUp(endpoints);
      const states = await Listener.at(endpoints.mqtt.port, login, '$SYS/broker/connection/#', 'states');
      const mosquitto = new Mosquitto(workshop.folder(), await freePort(), endpoints, login, dialect);
      mosquittos.push(mosquitto);
      await mosquitto.start();
      await until(
        () => states.got.some((line) => /\.cloud\/state 1/.test(line)),
        'the state of the bridge',
        backWithinMs,
      );

      const cloud = await Listener.at(endpoints.mqtt.port, login);
      const local = await Listener.at(mosquitto.port);
      await subscribed(cloud, local);
      const [up, down] = [numbered('up', 50), numbered('down', 50)];
      await Promise.all([publish(local.client, up), publish(cloud.client, down)]);
      for (const listener of [cloud, local]) {
        await listener.has([...up, ...down]);
        // No message has gone round.
        expect(listener.got).toHaveLength(100);
      }

      // RETAIN goes through as it was published.
      await cloud.client.publishAsync('both/kept/down', 'kept', { qos: 1, retain: true });
      await local.client.publishAsync('both/kept/up', 'kept', { qos: 1, retain: true });
      await cloud.has(['both/kept/up']);
      await local.has(['both/kept/down']);
      for (const late of [
        await Listener.at(endpoints.mqtt.port, login, 'both/kept/#', 'late'),
        await Listener.at(mosquitto.port, {}, 'both/kept/#', 'late'),
      ])
        await late.has(['both/kept/up kept retained', 'both/kept/down kept retained']);

      // The broker is killed while messages go both ways.
      const [upAcross, downAcross] = [numbered('up-across', 100), numbered('down-across', 100)];
      const across = Promise.all([publish(local.client, upAcross), publish(cloud.client, downAcross)]);
      process.kill(endpointsIn(folder).pids.broker, 'SIGKILL');
      await across;
      await cloud.has([...upAcross, ...downAcross]);
      await local.has(keepsSession ? [...upAcross, ...downAcross] : upAcross);

      // mosquitto is killed; what comes meanwhile waits in the session of the bridge.
      states.got.length = 0;
      await mosquitto.end('SIGKILL');
      await until(() => states.got.some((line) => /\.cloud\/state 0/.test(line)), 'its will', backWithinMs);
      const missed = numbered('missed', 100);
      await publish(cloud.client, missed);
      await mosquitto.start();
      if (keepsSession) await local.has(missed);
      await until(() => states.got.some((line) => /\.cloud\/state 1/.test(line)), 'its state', backWithinMs);
      await subscribed(cloud, local);
      const [upAfter, downAfter] = [numbered('up-after', 20), numbered('down-after', 20)];
      await Promise.all([publish(local.client, upAfter), publish(cloud.client, downAfter)]);
      for (const listener of [cloud, local]) await listener.has([...upAfter, ...downAfter]);
    },
  );
});

test('a wrong password keeps the bridge out, and Shoal says so', async () => {
  const folder = workshop.folder();
  const shoal = await workshop.start(['--data', folder, '--ephemeral', '--log-level', 'info', ...freePorts]).ready();
  const endpoints = endpointsIn(folder);
  const login = { ...(await signUp(endpoints)), password: 'not the password' };
  const mosquitto = new Mosquitto(workshop.folder(), await freePort(), endpoints, login, 'mqttv311');
  mosquittos.push(mosquitto);
  await mosquitto.start();
  await until(() => shoal.stderr.includes('bad-user-name-or-password'), 'the refusal in the log');
});
