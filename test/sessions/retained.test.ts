/**
 * The retained messages that a SUBSCRIBE owes to a stored session come although its connection ends, however that happens,
 * and although the broker stops or is killed meanwhile.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Site } from '../crash/site.js';
import type { Packet } from '../support/packet-codec.js';
import { PacketClient } from '../support/packet-client.js';

let site: Site;
beforeAll(async () => {
  site = await Site.open(1);
  await site.start();
  const publisher = await PacketClient.open(site.broker()!.port);
  await publisher.connect({ ...site.account, clientId: 'publisher' });
  for (const topic of topicsOf('few', few)) await publisher.publish({ topic, payload: topic, qos: 1, retain: true });
  const publishing = topicsOf('many', many).map((topic) => ({ topic, payload: topic, qos: 1 as const, retain: true }));
  for (let from = 0; from < many; from += 100) {
    const packetIds = publishing.slice(from, from + 100).map((one) => publisher.sendPublish(one));
    for (const packetId of packetIds) await publisher.answer('puback', packetId);
  }
  await publisher.disconnect();
}, 120_000);
afterAll(async () => await site?.close());

const few = 20;
const many = 1500;
const answered = 400;
const topicsOf = (what: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${what}/${i}`);

async function connect(clientId: string, isKnown: boolean): Promise<PacketClient> {
  const client = await PacketClient.open(site.broker()!.port);
  client.boundMs = 15_000;
  await client.connect({ ...site.account, clientId, clean: false, properties: { sessionExpiryInterval: 3600 } });
  expect(client.connack.sessionPresent).toBe(isKnown);
  return client;
}

/** Takes messages and acknowledges them until it has seen so many topics, those known before included. */
async function take(client: PacketClient, seen: Set<string>, until: number): Promise<Packet[]> {
  const got: Packet[] = [];
  while (seen.size < until) {
    const packet = await client.next(`retained messages (${seen.size} of ${until} are there)`);
    if (packet.cmd !== 'publish') continue;
    expect(packet.retain).toBe(true);
    got.push(packet);
    seen.add(packet.topic!);
    client.sendAck('puback', packet.packetId!);
  }
  return got;
}

type End = (client: PacketClient) => Promise<void> | void;
const ends: [string, End][] = [
  ['DISCONNECT', (client) => client.disconnect()],
  ['FIN', (client) => client.drop()],
  ['RST', (client) => client.reset()],
];

describe.each(ends)('a connection that ends with %s', (name, end) => {
  test.each([1, 2, 3])('right after SUBACK leaves all of them owed (%i)', async (n) => {
    const clientId = `few ${name} ${n}`;
    const client = await connect(clientId, false);
    await client.subscribe({ filter: 'few/#', qos: 1 });
    await end(client);
    const again = await connect(clientId, true);
    await take(again, new Set(), few);
    await again.disconnect();
    const third = await connect(clientId, true);
    await third.expectNothing(); // Once.
    await third.disconnect();
  });

  test('in the middle leaves the rest owed', async () => {
    const clientId = `many ${name}`;
    const client = await connect(clientId, false);
    const seen = new Set<string>();
    await client.subscribe({ filter: 'many/#', qos: 1 });
    await take(client, seen, answered);
    await end(client);
    const again = await connect(clientId, true);
    const rest = await take(again, seen, many);
    await again.disconnect();
    expect(seen.size).toBe(many);
    // A reset may lose the last acknowledgements, and nothing more.
    expect(rest.length).toBeLessThanOrEqual(many - answered + (name === 'RST' ? answered : 0));
  }, 60_000);
});

test('a broker that stops in the middle leaves the rest to the next one', async () => {
  const client = await connect('stopped', false);
  const seen = new Set<string>();
  await client.subscribe({ filter: 'many/#', qos: 1 });
  await take(client, seen, answered);
  await site.running!.stop();
  await site.start();
  const again = await connect('stopped', true);
  const rest = await take(again, seen, many);
  await again.disconnect();
  expect(seen.size).toBe(many);
  expect(rest.length).toBeLessThan(many); // It did not begin anew.
}, 60_000);

test.each([
  ['right after SUBACK', 0],
  ['in the middle', answered],
  ['twice in the middle', answered],
])(
  'a broker that is killed %s costs none of them',
  async (when, before) => {
    const clientId = `killed ${when}`;
    let client = await connect(clientId, false);
    const seen = new Set<string>();
    await client.subscribe({ filter: 'many/#', qos: 1 });
    for (let deaths = when.startsWith('twice') ? 2 : 1; deaths > 0; deaths--) {
      await take(client, seen, Math.max(before, seen.size + (before > 0 ? 1 : 0)));
      await site.kill();
      client.destroy();
      await site.start();
      client = await connect(clientId, true);
    }
    await take(client, seen, many);
    expect(seen.size).toBe(many);
    await client.disconnect();
  },
  90_000,
);
