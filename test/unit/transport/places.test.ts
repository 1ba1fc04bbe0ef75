/**
 * Who gets a place when places are short: sockets that never say who they are do not keep clients out, whether they come
 * from one address or from many, and clients that come all at once do not keep each other out.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Clock } from '../../../services/kernel/kernel.js';
import { Attention } from '../../../services/broker/transport/attention.js';
import { until } from '../../support/until.js';
import { Door, hasTls, type Listener, listeners, Peer, type Stage } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

let door: Door;
const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.raw.destroy();
  door.transport.stop();
});

/** The settings' defaults, if nothing else is said. */
const defaults = { share: 80, perAddress: 50 };

async function arrive(address?: string): Promise<Peer> {
  const peer = await Peer.open(door, address);
  peers.push(peer);
  return peer;
}

/** One after the other, each seen by the broker before the next comes. */
async function crowd(count: number, stage: Stage | 'mute', addressOf = (_i: number) => '203.0.113.7'): Promise<Peer[]> {
  const all: Peer[] = [];
  const unknown = door.sockets('proxy');
  for (let i = 0; i < count; i++) {
    const accepted = door.counted('shoal_sockets') + door.counted('shoal_sockets_refused_total');
    const peer = await arrive(addressOf(i));
    all.push(peer);
    await until(() => door.counted('shoal_sockets') + door.counted('shoal_sockets_refused_total') > accepted);
    if (stage === 'mute') continue;
    await peer.go(stage);
    // Behind a balancer it has an address of its own then.
    if (stage !== 'proxy') await until(() => door.sockets('proxy') <= unknown || peer.isEnded);
  }
  return all;
}

async function client(clientId: string, address?: string): Promise<Peer> {
  const peer = await arrive(address);
  await peer.go('open', { clientId });
  return peer;
}

const first: Record<Listener, Stage> = { mqtt: 'connect', mqtts: 'tls', ws: 'http', wss: 'tls' };

describe.each(listeners)('%s', (kind) => {
  test.each(['mute', first[kind]] as const)(
    '60 sockets for 50 places, all %s, do not keep a client out',
    async (stage) => {
      door = await new Door(kind, false, { max: 50, ...defaults }).listen(tls);
      await client('before');
      await crowd(60, stage);
      expect(door.counted('shoal_sockets_used_percent')).toBeLessThanOrEqual(100);
      expect(door.sockets()).toBe(26); // Half of the places for an address, and the client.
      const late = await client('late');
      expect(door.sockets('open')).toBe(2);
      expect(late.isEnded).toBe(false);
      expect(door.counted('shoal_sockets_refused_total', 'displaced')).toBe(60 - 25 + 1);
      expect(door.counted('shoal_sockets_refused_total', 'limit')).toBe(0);
    },
  );
});

test('clients that are in are never displaced: when all places are theirs, who comes is refused', async () => {
  door = await new Door('mqtt', false, { max: 3, ...defaults }).listen(tls);
  const clients = [await client('a'), await client('b'), await client('c')];
  const late = await arrive();
  await late.isLetGo();
  expect(door.counted('shoal_sockets_refused_total', 'limit')).toBe(1);
  expect(clients.some(({ isEnded }) => isEnded)).toBe(false);
  clients[0]!.raw.destroy();
  await until(() => door.sockets() === 2);
  await client('d');
});

test('who has had the last word makes room', async () => {
  door = await new Door('mqtt', false, { max: 3, ...defaults }).listen(tls);
  await client('a');
  await client('b');
  const refused = await arrive();
  await refused.go('closing');
  await until(() => door.sockets('closing') === 1);
  await client('c');
  expect(door.sockets()).toBe(3);
});

test.each(['mqtt', 'mqtts', 'ws'] as const)(
  '%s: many sockets of one address displace each other only',
  async (kind) => {
    door = await new Door(kind, true, { max: 20, ...defaults, perAddress: 100 }).listen(tls);
    const others = await crowd(4, 'connect', (i) => `192.0.2.${i}`);
    await crowd(40, 'connect');
    expect(others.some(({ isEnded }) => isEnded)).toBe(false);
    expect(door.sockets()).toBe(16); // 80 percent.
    expect(door.counted('shoal_sockets_refused_total', 'displaced')).toBe(44 - 16);
    await client('another', '192.0.2.9');
    await client('of the same address');
    expect(others.some(({ isEnded }) => isEnded)).toBe(false);
  },
);

test('behind a balancer the limit of an address is that of the client in the header, as soon as it is there', async () => {
  door = await new Door('mqtts', true, { max: 20, ...defaults }).listen(tls);
  const headersAlone = await crowd(9, 'mute');
  for (const peer of headersAlone) peer.raw.write(peer.rest);
  await client('later', '198.51.100.1'); // So they have been read.
  const others = await crowd(7, 'tls', (i) => `192.0.2.${i}`);
  await crowd(3, 'tls');
  expect(others.some(({ isEnded }) => isEnded)).toBe(false);
  expect(door.sockets()).toBe(17);
  await until(() => headersAlone.filter(({ isEnded }) => isEnded).length === 3);
});

test('sockets of as many addresses: nobody is displaced before it was listened to for 2 s', async () => {
  door = await new Door('mqtt', true, { max: 10, share: 50, perAddress: 50 }).listen(tls);
  const [oldest, ...others] = await crowd(5, 'connect', (i) => `192.0.2.${i}`);
  const refused = await arrive('198.51.100.1');
  // It is behind the same balancer as all the others until its header says who it is.
  await refused.go('connect').catch(() => undefined);
  await until(() => door.counted('shoal_sockets_refused_total', 'limit') === 1);
  await door.advance(2100);
  await client('patient', '198.51.100.2');
  await until(() => oldest!.isEnded);
  expect(others.some(({ isEnded }) => isEnded)).toBe(false);
});

test.each(listeners)('%s: as many clients as an address may have places come in at once', async (kind) => {
  const count = hasTls(kind) ? 40 : 100;
  door = await new Door(kind, false, { max: 2 * count, ...defaults }).listen(tls);
  await Promise.all(Array.from({ length: count }, (_, i) => client(`c${i}`)));
  expect(door.sockets('open')).toBe(count);
  expect(door.counted('shoal_sockets_refused_total')).toBe(0);
});

test('time in which the process was busy with others counts for nobody', () => {
  let [nowMs, step] = [0, (): void => undefined];
  const clock = { monotonicMs: () => nowMs, after: (_ms: number, run: () => void) => ((step = run), () => undefined) };
  const attention = new Attention(clock as unknown as Clock);
  for (let i = 0; i < 8; i++) {
    nowMs += 250;
    step();
  }
  expect(attention.listenedMs()).toBe(2000);
  nowMs += 60_000; // One turn of the event loop.
  expect(attention.listenedMs()).toBe(2500);
  step();
  nowMs += 100;
  expect(attention.listenedMs()).toBe(2600);
});
