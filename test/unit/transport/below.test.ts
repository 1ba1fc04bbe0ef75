/** A plain socket below Node's stream classes does what it does as a stream: the same bytes, ends, pauses and errors. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { takeBelow } from '../../../services/broker/transport/below.js';
import type { ByteSink } from '../../../services/broker/transport/ports.js';
import { SocketStream } from '../../../services/broker/transport/socket-stream.js';
import { until } from '../../support/until.js';

class Recorder implements ByteSink {
  readonly chunks: Buffer[] = [];
  drains = 0;
  ends = 0;
  closes = 0;
  onChunk: (chunk: Buffer) => void = () => {};
  onBytes(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onChunk(chunk);
  }
  onDrain(): void {
    this.drains++;
  }
  onEnd(): void {
    this.ends++;
  }
  onFault(): void {}
  onClosed(): void {
    this.closes++;
  }
  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

interface Pair {
  readonly client: Socket;
  readonly socket: Socket;
  readonly sink: Recorder;
  readonly stream: SocketStream;
}

const ways = { below: takeBelow, 'as a stream': () => undefined };
const sockets: Socket[] = [];
let server: Server | undefined;

async function pairOf(below: typeof takeBelow, before: (socket: Socket) => void = () => {}): Promise<Pair> {
  server ??= createServer().listen(0, '127.0.0.1');
  if (!server.listening) await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  const [socket] = await accepted;
  sockets.push(client, socket);
  before(socket);
  const sink = new Recorder();
  const stream = new SocketStream(socket, sink, undefined, below);
  return { client, socket, sink, stream };
}

/** Bytes of which each says where it stands. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + seed * 17 + (at >> 8)) & 0xff;
  return bytes;
}

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.close();
  server = undefined;
});

it('is possible on this Node', async () => {
  const { socket } = await pairOf(() => undefined);
  const above = { onBytes: () => {}, onTaken: () => {}, destroy: () => {} };
  expect(takeBelow(socket, above)).toBeDefined();
  // Whoever has the handle keeps it, and so does a kind of socket that is more than TCP.
  expect(takeBelow(socket, above)).toBeUndefined();
  expect(takeBelow(new Socket(), above)).toBeUndefined();
  class Special extends Socket {}
  expect(takeBelow(new Special(), above)).toBeUndefined();
});

describe.each(Object.entries(ways))('%s', (_, below) => {
  it('gives what has come to its own sink, and leaves it as it was', async () => {
    const pairs = [await pairOf(below), await pairOf(below), await pairOf(below)];
    const sent = pairs.map((_, n) => [1, 700, 9000, 100_000].map((length) => pattern(length, n)));
    for (let turn = 0; turn < 4; turn++) pairs.forEach(({ client }, n) => client.write(sent[n]![turn]!));
    for (const [n, { sink }] of pairs.entries()) {
      const all = Buffer.concat(sent[n]!);
      await until(() => sink.bytes.length === all.length, 'all bytes');
      expect(sink.bytes.equals(all)).toBe(true);
    }
  });

  it('goes on behind what waits in the stream', async () => {
    const { client, sink } = await pairOf(below, (socket) => socket.unshift(Buffer.from('first ')));
    client.write('second third');
    await until(() => sink.bytes.length === 18, 'all bytes');
    expect(String(sink.bytes)).toBe('first second third');
  });

  it('reads nothing while it is paused, and everything afterwards', async () => {
    const { client, sink, stream } = await pairOf(below);
    sink.onChunk = () => stream.pause(); // In the middle of a read.
    const all = pattern(3_000_000, 5);
    client.write(all);
    await until(() => sink.chunks.length > 0, 'the first chunk');
    const other = await pairOf(below); // Some turns of the loop later.
    other.client.write('x');
    await until(() => other.sink.bytes.length === 1, 'another socket is read');
    const paused = sink.bytes.length;
    expect(paused).toBeLessThan(all.length);
    sink.onChunk = () => {};
    stream.resume();
    await until(() => sink.bytes.length === all.length, 'the rest');
    expect(sink.bytes.equals(all)).toBe(true);
  });

  it('tells of an end behind all that has come, and still writes', async () => {
    const { client, sink, stream } = await pairOf(below);
    const got: Buffer[] = [];
    client.on('data', (chunk: Buffer) => got.push(chunk));
    client.end(pattern(50_000, 1));
    await until(() => sink.ends === 1, 'the end');
    expect(sink.bytes.length).toBe(50_000);
    stream.write(Buffer.from('goodbye'));
    stream.end();
    await until(() => sink.closes === 1, 'closed');
    await until(() => Buffer.concat(got).length === 7, 'what was written');
  });

  it('keeps the order of writes to a peer that does not read, counts them, and says when they are taken', async () => {
    const { client, sink, stream } = await pairOf(below);
    client.pause();
    const parts = Array.from({ length: 40 }, (_, n) => pattern(200_000, n));
    for (const part of parts) stream.write(part);
    expect(stream.unsentBytes).toBeGreaterThan(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(stream.unsentBytes).toBeGreaterThan(0);
    const got: Buffer[] = [];
    client.on('data', (chunk: Buffer) => got.push(chunk));
    client.resume();
    await until(() => stream.unsentBytes === 0, 'everything is taken');
    stream.write(Buffer.from('last'));
    stream.end();
    await once(client, 'end');
    expect(Buffer.concat(got).equals(Buffer.concat([...parts, Buffer.from('last')]))).toBe(true);
    expect(sink.drains).toBeGreaterThan(0);
  });

  it('ends once, whatever is under way: reset by the peer, destroyed under a write, destroyed by its own sink', async () => {
    const reset = await pairOf(below);
    reset.client.pause();
    for (let n = 0; n < 40; n++) reset.stream.write(pattern(200_000, n));
    reset.client.resetAndDestroy();
    const destroyed = await pairOf(below);
    destroyed.client.pause();
    for (let n = 0; n < 40; n++) destroyed.stream.write(pattern(200_000, n));
    destroyed.stream.destroy();
    destroyed.stream.write(Buffer.from('too late'));
    destroyed.stream.pause();
    destroyed.stream.resume();
    const inside = await pairOf(below);
    inside.sink.onChunk = () => inside.stream.destroy();
    inside.client.write(pattern(1_000_000, 1));
    for (const { sink } of [reset, destroyed, inside]) await until(() => sink.closes === 1, 'closed');
    const chunks = inside.sink.chunks.length;
    const after = await pairOf(below); // Nothing of the three is left that could disturb another.
    after.client.write('x');
    await until(() => after.sink.bytes.length === 1, 'another socket is read');
    expect([reset, destroyed, inside].map(({ sink }) => sink.closes)).toEqual([1, 1, 1]);
    expect(inside.sink.chunks.length).toBe(chunks);
  });
});

it('closes after a reset, and makes no error of it; an end is an end', async () => {
  const [broken, ended] = [await pairOf(takeBelow), await pairOf(takeBelow)];
  const errors: Error[] = [];
  for (const { socket } of [broken, ended]) socket.on('error', (error) => errors.push(error));
  broken.client.resetAndDestroy();
  ended.client.end('last');
  await until(() => broken.sink.closes === 1 && ended.sink.ends === 1, 'both are told');
  expect([broken.sink.ends, ended.sink.closes, ended.sink.bytes.toString()]).toEqual([0, 0, 'last']);
  expect(errors).toEqual([]);
});

it('tells the ends of many that go in the same moment in turns, each with what came before it', async () => {
  const pairs: Pair[] = [];
  while (pairs.length < 300) pairs.push(await pairOf(takeBelow));
  const count = (what: (sink: Recorder) => number): number => pairs.reduce((sum, { sink }) => sum + what(sink), 0);
  let most = 0;
  let before = 0;
  const watch = (): void => {
    const ends = count((sink) => sink.ends);
    most = Math.max(most, ends - before);
    before = ends;
    if (ends < pairs.length) setImmediate(watch);
  };
  setImmediate(watch);
  // Half of them are reset, which is an error and no end; one is destroyed here before it is its turn.
  pairs.forEach(({ client }, i) => (i % 2 === 0 ? client.end('last') : client.resetAndDestroy()));
  await until(() => count((sink) => sink.ends) > 0);
  pairs.at(-2)!.stream.destroy();
  for (const { stream } of pairs) {
    stream.pause(); // Where it waits for its turn, the end is read once more when that is over.
    stream.resume();
  }
  await until(() => count((sink) => Math.min(1, sink.ends + sink.closes)) === pairs.length);
  expect(most).toBeLessThanOrEqual(40);
  const ended = pairs.filter(({ sink }, i) => i % 2 === 0 && sink.ends > 0);
  expect(ended.length).toBeGreaterThan(100);
  expect(pairs.filter(({ sink }) => sink.ends > 1)).toEqual([]);
  expect(ended.every(({ sink }) => sink.bytes.toString() === 'last')).toBe(true);
  for (const { stream } of pairs) stream.destroy();
  await until(() => count((sink) => sink.closes) === pairs.length);
});
