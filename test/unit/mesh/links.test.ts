/** Links over real sockets: who dials whom, what refuses a link, and what ends one. */
import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { newcomersMax } from '../../../services/broker/mesh/sockets.js';
import { readAddress } from '../../../services/broker/mesh/mesh.js';
import { until } from '../../support/until.js';
import { testTls } from '../transport/test-tls.js';
import { broker, hear, key, memberOf, metric, otherKey, type TestBroker } from './brokers.js';

const up = (one: TestBroker): number => one.mesh.links.up;
const allUp = (brokers: readonly TestBroker[]): Promise<void> =>
  until(() => brokers.every((one) => up(one) === brokers.length - 1), 'a link of each pair');
const ends = (one: TestBroker, reason: string): number => metric(one, 'shoal_link_ends_total', reason);

async function three(): Promise<[TestBroker, TestBroker, TestBroker]> {
  const brokers: [TestBroker, TestBroker, TestBroker] = [await broker('a'), await broker('b'), await broker('c')];
  hear(
    brokers,
    brokers.map((one) => memberOf(one)),
  );
  await allUp(brokers);
  return brokers;
}

/** A connection of somebody who is no broker. */
function stranger(to: TestBroker): Socket {
  const socket = connect({ ...readAddress(to.address)! });
  socket.on('error', () => undefined).resume();
  onTestFinished(() => void socket.destroy());
  return socket;
}

describe('members', () => {
  it('have one link a pair, and say so', async () => {
    const brokers = await three();
    for (const one of brokers) {
      expect(one.mesh.links).toEqual({ up: 2, expected: 2 });
      expect([metric(one, 'shoal_links', 'up'), metric(one, 'shoal_links', 'missing')]).toEqual([2, 0]);
      expect(one.lines.filter((line) => line === 'info a link is up')).toHaveLength(2);
    }
    await until(() => brokers.every((one) => metric(one, 'shoal_link_newcomers') === 0), 'the ends of knocks in vain');
  });

  it.each([
    ['the lower id', 'b', 'a'],
    ['the higher id', 'a', 'b'],
  ])('that join are linked at once, whoever has read of whom: the newcomer has %s', async (_, old, young) => {
    const first = await broker(old);
    hear([first], [memberOf(first)]);
    const second = await broker(young);
    // Its lease is written after the first one's last look.
    hear([second], [memberOf(first), memberOf(second)]);
    await second.mesh.joined();
    await allUp([first, second]);
    expect([first.mesh.links.expected, second.mesh.links.expected]).toEqual([1, 1]);
  });

  it('that have said hello stay until a read that began later does not find them', async () => {
    const [a, b] = [await broker('a'), await broker('b')];
    hear([a], [memberOf(a), memberOf(b)]);
    await until(() => up(b) === 1);
    b.clock.advance(1);
    b.mesh.heard([memberOf(b)], 0); // Began before the hello.
    expect(up(b)).toBe(1);
    hear([b], [memberOf(b)]);
    expect(b.mesh.links).toEqual({ up: 0, expected: 0 });
    await until(() => ends(a, 'lease-ended') === 1);
  });

  it('that are killed are dialled until their lease has ended', async () => {
    const [a, b, c] = await three();
    // As a killed process: nothing is said, the connections are gone, nobody listens.
    const port = readAddress(c.address)!.port;
    c.mesh.stop();
    await until(() => up(a) === 1 && up(b) === 1, 'the ends of two links');
    a.clock.advance(100);
    await until(() => ends(a, 'unreachable') === 1, `nobody listens on ${port}`);
    expect([a.mesh.links, b.mesh.links]).toEqual(Array(2).fill({ up: 1, expected: 2 }));
    a.clock.advance(200);
    await until(() => ends(a, 'unreachable') === 2);
    expect(metric(a, 'shoal_link_reconnects_total')).toBe(2);
    hear([a, b], [memberOf(a), memberOf(b), memberOf(c, true)]);
    expect([a.mesh.links, b.mesh.links]).toEqual(Array(2).fill({ up: 1, expected: 1 }));
    a.clock.advance(60_000);
    expect(ends(a, 'unreachable')).toBe(2);
  });

  it('are linked again after a cut', async () => {
    const [a, b] = [await broker('a'), await broker('b')];
    const cut = await relay(readAddress(b.address)!.port);
    hear([a], [memberOf(a), { ...memberOf(b), address: `127.0.0.1:${cut.port}` }]);
    await allUp([a, b]);
    cut.reset();
    await until(() => up(a) === 0 && up(b) === 0);
    a.clock.advance(100);
    await allUp([a, b]);
    expect([ends(a, 'connection-lost'), ends(b, 'connection-lost')]).toEqual([1, 1]);
    expect(metric(a, 'shoal_link_reconnects_total')).toBe(1);
  });

  it('replace a link of which one side knows nothing any more', async () => {
    const [a, b] = [await broker('a'), await broker('b')];
    const cut = await relay(readAddress(b.address)!.port);
    hear([a], [memberOf(a), { ...memberOf(b), address: `127.0.0.1:${cut.port}` }]);
    await allUp([a, b]);
    cut.resetDialler(); // b hears nothing of it.
    await until(() => up(a) === 0);
    expect(up(b)).toBe(1);
    a.clock.advance(100);
    await until(() => ends(b, 'replaced') === 1);
    await allUp([a, b]);
  });

  it('say that they stop', async () => {
    const [a, b] = await three();
    b.mesh.stop();
    await until(() => ends(a, 'stopping') === 1);
  });
});

describe('a link is refused', () => {
  it('without a common key, in words that help, and never with the key', async () => {
    const [a, b] = [await broker('a', { keys: [otherKey] }), await broker('b')];
    hear([a], [memberOf(a), memberOf(b)]);
    await until(() => ends(a, 'unknown-key') === 1 && ends(b, 'unknown-key') === 1);
    expect(a.lines).toContain('warn no link comes about: unknown-key');
    expect(b.lines).toContain('warn a connection to the port for brokers was refused: unknown-key');
    expect(b.logged.join()).toContain('compare SHOAL_CLUSTER_KEY');
    expect(b.logged.join()).toContain(otherKey.identity);
    for (const { logged } of [a, b])
      for (const { secret } of [key, otherKey])
        for (const form of ['hex', 'base64'] as const) expect(logged.join()).not.toContain(secret.toString(form));
  });

  it.each([
    ['its cluster is another one', { cluster: 'other-' }, 'other-cluster'],
    ['it is for a broker that was there before', {}, 'other-broker'],
  ])('when %s', async (_, given, reason) => {
    const [a, b] = [await broker('a', given), await broker('b')];
    const id = reason === 'other-broker' ? 'b-before' : 'b';
    hear([a], [memberOf(a), memberOf({ ...b, id })]);
    await until(() => ends(a, reason) === 1 && ends(b, reason) === 1);
    expect([up(a), b.mesh.links.expected]).toEqual([0, 0]);
  });

  it('when the lease of who dials has ended', async () => {
    const [a, b] = [await broker('a'), await broker('b')];
    hear([b], [memberOf(a, true), memberOf(b)]);
    hear([a], [memberOf(a), memberOf(b)]);
    await until(() => ends(a, 'lease-ended') === 1 && ends(b, 'lease-ended') === 1);
  });

  it('by a broker to a server that has a certificate and not the key', async () => {
    const { ecdsa } = await testTls();
    const server = createTlsServer({ ...ecdsa, minVersion: 'TLSv1.3' });
    server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await until(() => server.listening);
    const a = await broker('a');
    hear(
      [a],
      [memberOf(a), memberOf({ id: 'b', address: `127.0.0.1:${(server.address() as { port: number }).port}` })],
    );
    await until(() => ends(a, 'handshake-failed') === 1);
    expect(up(a)).toBe(0);
  });
});

it('a key is changed broker by broker, and there are links all the while', async () => {
  for (const [keysOfA, keysOfB] of [
    [[key], [key, otherKey]],
    [
      [key, otherKey],
      [key, otherKey],
    ],
    [
      [otherKey, key],
      [key, otherKey],
    ],
    [
      [otherKey, key],
      [otherKey, key],
    ],
    [[otherKey], [otherKey, key]],
  ] as const) {
    const [a, b] = [await broker('a', { keys: keysOfA }), await broker('b', { keys: keysOfB })];
    hear([a, b], [memberOf(a), memberOf(b)]);
    await allUp([a, b]);
    b.mesh.stop();
    a.mesh.stop();
  }
});

describe('strangers at the port', () => {
  it.each([
    ['plain text', 'GET / HTTP/1.1\r\n\r\n'],
    ['a CONNECT of MQTT', '\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00'],
    ['a record of TLS with nonsense in it', '\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff'],
  ])('with %s are refused, and the links stay', async (_, bytes) => {
    const [a, b] = await three();
    const socket = stranger(b);
    socket.write(bytes, 'latin1');
    await until(() => socket.destroyed || socket.readableEnded, 'the end of the stranger');
    await until(() => ends(b, 'handshake-failed') === 1 && metric(b, 'shoal_link_newcomers') === 0);
    expect([up(a), up(b)]).toEqual([2, 2]);
  });

  it.each([
    ['nothing', ''],
    ['half a handshake', '\x16\x03\x01\x02\x00\x01'],
  ])('that send %s have their time, and no more', async (_, bytes) => {
    const b = await broker('b');
    const socket = stranger(b);
    socket.write(bytes, 'latin1');
    await until(() => metric(b, 'shoal_link_newcomers') === 1);
    b.clock.advance(4999);
    expect(metric(b, 'shoal_link_newcomers')).toBe(1);
    b.clock.advance(1);
    await until(() => socket.closed && metric(b, 'shoal_link_newcomers') === 0);
    expect(ends(b, 'greeting-late')).toBe(1);
  });

  it('are few at a time, and keep no broker out', async () => {
    const [a, b] = [await broker('a'), await broker('b')];
    const crowd = Array.from({ length: newcomersMax + 10 }, () => stranger(b));
    await until(() => crowd.filter((socket) => socket.closed).length === 10, 'the first ten to be gone');
    expect(metric(b, 'shoal_link_newcomers')).toBe(newcomersMax);
    hear([a], [memberOf(a), memberOf(b)]);
    await allUp([a, b]);
    expect(ends(b, 'crowded-out')).toBe(11);
  });
});

/** A TCP relay whose two halves are cut apart from each other. */
async function relay(toPort: number) {
  const [near, far] = [new Set<Socket>(), new Set<Socket>()];
  const server = createServer((socket) => {
    const other = connect({ port: toPort, host: '127.0.0.1' });
    near.add(socket);
    far.add(other);
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const)
      from.on('error', () => undefined).on('data', (chunk) => void to.write(chunk));
  });
  server.listen(0, '127.0.0.1');
  await until(() => server.listening);
  const cut = (sockets: Set<Socket>): void => {
    for (const socket of sockets) socket.resetAndDestroy();
    sockets.clear();
  };
  onTestFinished(() => {
    cut(near);
    cut(far);
    server.close();
  });
  return {
    port: (server.address() as { port: number }).port,
    reset: () => [near, far].forEach(cut),
    resetDialler: () => cut(near),
  };
}
