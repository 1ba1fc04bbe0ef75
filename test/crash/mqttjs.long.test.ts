/**
 * MQTT.js in both roles over brokers that are killed: QoS 2, exactly once. It sends again without DUP after a
 * reconnection, so a repetition has to be told by what was stored. DynamoDB is slow, so that many deaths come between what
 * is stored for the subscribers and what is stored of the publisher.
 */
import { createServer, connect as dial, type AddressInfo, type Server } from 'node:net';
import mqtt, { type MqttClient } from 'mqtt';
import { afterEach, expect, test } from 'vitest';
import { noFaults } from '../support/faults.js';
import { until } from '../support/until.js';
import { wait } from './device.js';
import { note, rounds, seed, withinMs } from './settings.js';
import { Site } from './site.js';

const count = rounds(2);
const windowMax = 8;
/** PUBCOMP of an exchange that was complete before the broker died: MQTT.js calls that an error. */
const packetIdentifierNotFound = 0x92;
const clients: MqttClient[] = [];
let site: Site;
let door: Server;

afterEach(async () => {
  for (const client of clients) client.end(true);
  door.close();
  await site.close();
});

/** One port, behind which is whichever broker serves. */
async function openDoor(): Promise<number> {
  door = createServer((socket) => {
    const broker = site.broker();
    if (!broker) return void socket.destroy();
    const onward = dial(broker.port, '127.0.0.1');
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  return (door.address() as AddressInfo).port;
}

function open(port: number, clientId: string, protocolVersion: 4 | 5): MqttClient {
  const client = mqtt.connect({
    host: '127.0.0.1',
    port,
    clientId,
    protocolVersion,
    clean: false,
    ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 3600 } }),
    ...site.account,
    reconnectPeriod: 50,
    connectTimeout: 20_000,
  });
  client.on('error', () => undefined);
  clients.push(client);
  return client;
}

/** Publishes numbered messages, some at a time, for as long as it is to; knows which are complete. */
class Source {
  readonly complete = new Set<string>();
  /** MQTT.js said that the connection had closed: it may have been sent or not, and may come once. */
  readonly givenUp = new Set<string>();
  /** How often a PUBLISH left that had left before, with and without DUP. */
  readonly again = { withDup: 0, without: 0 };
  sent = 0;
  isGoing = true;
  readonly #client: MqttClient;
  readonly #topic: string;

  constructor(client: MqttClient, topic: string) {
    this.#client = client;
    this.#topic = topic;
    const left = new Set<string>();
    client.on('packetsend', (packet) => {
      if (packet.cmd !== 'publish') return;
      const payload = String(packet.payload);
      if (left.has(payload)) this.again[packet.dup ? 'withDup' : 'without']++;
      left.add(payload);
    });
  }

  begin(): void {
    for (let i = 0; i < windowMax; i++) this.#next();
  }

  #next(): void {
    if (!this.isGoing) return;
    const payload = `${this.#topic} ${++this.sent}`;
    this.#client.publish(this.#topic, payload, { qos: 2 }, (error) => {
      const isComplete = !error || (error as { code?: number }).code === packetIdentifierNotFound;
      (isComplete ? this.complete : this.givenUp).add(payload);
      setTimeout(() => this.#next(), 5);
    });
  }
}

test(`MQTT.js sends and gets QoS 2 exactly once over ${count} kills`, { timeout: withinMs(count) }, async () => {
  site = await Site.open(seed, { withProxy: true });
  await site.start();
  const port = await openDoor();
  const got = new Map<string, Map<string, number>>();
  for (const version of [4, 5] as const) {
    const clientId = `subscriber-${version}`;
    const ofClient = new Map<string, number>();
    got.set(clientId, ofClient);
    const subscriber = open(port, clientId, version);
    subscriber.on('message', (_, payload) => {
      ofClient.set(String(payload), (ofClient.get(String(payload)) ?? 0) + 1);
    });
    await subscriber.subscribeAsync('load/#', { qos: 2 });
  }
  const sources = ([4, 5] as const).map(
    (version) => new Source(open(port, `source-${version}`, version), `load/${version}`),
  );
  for (const source of sources) source.begin();
  site.setFaults((action) =>
    action === 'BatchWriteItem' ? { kind: 'lateWrite', delayMs: site.chance.between(20, 420) } : undefined,
  );
  for (let round = 0; round < count; round++) {
    await wait(site.chance.between(200, 1500));
    await site.kill();
    await site.start();
  }
  site.setFaults(noFaults);
  await wait(1000);
  for (const source of sources) source.isGoing = false;
  await until(
    () => sources.every(({ sent, complete, givenUp }) => complete.size + givenUp.size === sent),
    'all to be complete',
    60_000,
  );
  const all = sources.flatMap(({ complete }) => [...complete]);
  const isThere = (): boolean => [...got.values()].every((ofClient) => all.every((payload) => ofClient.has(payload)));
  await until(isThere, 'all to arrive', 30_000).catch(() => undefined);
  await wait(700); // Time for one that comes twice.
  const wrong = [...got].flatMap(([clientId, ofClient]) =>
    all.flatMap((payload) =>
      ofClient.get(payload) === 1 ? [] : [`${clientId}: ${payload} ${ofClient.get(payload) ?? 0} times`],
    ),
  );
  const again = sources.map(({ again: { withDup, without } }) => `${without} without DUP, ${withDup} with`).join('; ');
  for (const [clientId, ofClient] of got)
    for (const [payload, times] of ofClient) if (times > 1) wrong.push(`${clientId}: ${payload} ${times} times`);
  const told = note(`${count} kills: ${all.length} messages to two subscribers; sent again: ${again}`);
  expect(wrong.join('\n'), told).toBe('');
  console.log(told);
  await Promise.all(clients.map((client) => client.endAsync()));
  await site.running!.stop();
});
