/** Connections through the front door: what one side does, the other side sees, and nothing is kept that nobody takes. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readProxyHeader } from '../../../services/broker/transport/proxy-header.js';
import { silentLog } from '../../../services/kernel/kernel.js';
import { type CertificateFiles, ensureCertificates } from '../../../services/local/certificates.js';
import { FrontDoor } from '../../../services/local/front-door/front-door.js';
import { lingerMs, stallMsMax } from '../../../services/local/front-door/passage.js';
import { ManualClock } from '../../support/manual-clock.js';
import { until } from '../../support/until.js';

const host = '127.0.0.1';

/** What stands for the broker: each connection that has come, and what has come of it. */
interface Arrived {
  readonly socket: Socket;
  bytes: Buffer;
  hasEnded: boolean;
  hasClosed: boolean;
}

let folder: string;
let certificates: CertificateFiles;
let broker: Server;
let arrived: Arrived[];
let clock: ManualClock;
let doors: FrontDoor[];
const clients: Socket[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-front-door-'));
  certificates = await ensureCertificates(folder, [host], Date.now());
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(async () => {
  arrived = [];
  doors = [];
  clock = new ManualClock();
  broker = createServer({ allowHalfOpen: true }, (socket) => {
    const one: Arrived = { socket, bytes: Buffer.alloc(0), hasEnded: false, hasClosed: false };
    arrived.push(one);
    socket.on('error', () => {});
    socket.on('data', (data) => (one.bytes = Buffer.concat([one.bytes, data])));
    socket.on('end', () => (one.hasEnded = true));
    socket.on('close', () => (one.hasClosed = true));
  });
  await new Promise<void>((resolve) => broker.listen(0, host, resolve));
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  for (const door of doors) door.destroy();
  for (const { socket } of arrived) socket.destroy();
  broker.close();
});

async function open(kind: 'mqtt' | 'mqtts', more: { connectionsMax?: number; port?: number | undefined } = {}) {
  const port = 'port' in more ? more.port : (broker.address() as AddressInfo).port;
  const door = new FrontDoor({
    targets: { next: () => port },
    tls: { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) },
    ...{ clock, log: silentLog, connectionsMax: more.connectionsMax ?? 100 },
  });
  doors.push(door);
  return { door, port: await door.listen(kind, host, 0) };
}

interface Client {
  readonly socket: Socket;
  text: string;
  hasEnded: boolean;
  hasClosed: boolean;
}

function enter(kind: 'mqtt' | 'mqtts', port: number): Client {
  const ca = readFileSync(certificates.caFile);
  const socket =
    kind === 'mqtt'
      ? connect({ host, port, allowHalfOpen: true })
      : connectTls({ host, port, ca, allowHalfOpen: true } as ConnectionOptions);
  clients.push(socket);
  const client: Client = { socket, text: '', hasEnded: false, hasClosed: false };
  socket.on('error', () => {});
  socket.on('data', (data: Buffer) => (client.text += data.toString('latin1')));
  socket.on('end', () => (client.hasEnded = true));
  socket.on('close', () => (client.hasClosed = true));
  return client;
}

const headerBytes = 28;
const body = ({ bytes }: Arrived): string => bytes.subarray(headerBytes).toString('latin1');

describe.each(['mqtt', 'mqtts'] as const)('%s', (kind) => {
  test('the header says who the client is, and bytes go both ways', async () => {
    const { port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('from the client');
    await until(() => arrived.length === 1 && body(arrived[0]!) === 'from the client', 'the bytes');
    const reading = readProxyHeader(arrived[0]!.bytes);
    expect(reading).toMatchObject({ headerBytes, origin: { address: `${host}:${client.socket.localPort}` } });
    arrived[0]!.socket.write('from the broker');
    await until(() => client.text === 'from the broker', 'the answer');
  });

  test('the end of one direction is passed on, and the other stays open', async () => {
    const { door, port } = await open(kind);
    const client = enter(kind, port);
    client.socket.end('all that there is');
    await until(() => arrived[0]?.hasEnded, 'the end');
    expect(body(arrived[0]!)).toBe('all that there is');
    expect(client.hasEnded).toBe(false);
    arrived[0]!.socket.write('an answer, ');
    await until(() => client.text === 'an answer, ', 'the answer');
    arrived[0]!.socket.end('and the last');
    await until(() => client.hasClosed, 'the end of the client');
    expect([client.text, client.hasEnded]).toEqual(['an answer, and the last', true]);
    await until(() => door.connections === 0, 'nothing left');
  });

  test('a broker that ends first leaves the client its last words', async () => {
    const { door, port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('x');
    await until(() => arrived[0] && body(arrived[0]) === 'x');
    arrived[0]!.socket.end('goodbye');
    await until(() => client.hasEnded, 'the end');
    expect(client.text).toBe('goodbye');
    client.socket.end('and thanks');
    await until(() => arrived[0]!.hasEnded, 'the end of the client');
    expect(body(arrived[0]!)).toBe('xand thanks');
    await until(() => door.connections === 0, 'nothing left');
  });

  test('a client that is cut off ends at the broker, and a broker that is cut off at the client', async () => {
    const { door, port } = await open(kind);
    const [one, two] = [enter(kind, port), enter(kind, port)];
    for (const { socket } of [one, two]) socket.write('x');
    await until(() => arrived.length === 2 && arrived.every((each) => body(each) === 'x'));
    const portOf = (each: Arrived): string | undefined => {
      const reading = readProxyHeader(each.bytes);
      return reading.kind === 'header' ? reading.origin?.address.split(':')[1] : undefined;
    };
    const ofOne = arrived.find((each) => portOf(each) === String(one.socket.localPort))!;
    one.socket.destroy();
    await until(() => ofOne.hasEnded || ofOne.hasClosed, 'the end of the first');
    ofOne.socket.end();
    arrived.find((each) => each !== ofOne)!.socket.resetAndDestroy();
    await until(() => two.hasEnded || two.hasClosed, 'the end of the second');
    two.socket.end();
    await until(() => door.connections === 0, 'nothing left');
  });

  test.each(['client', 'broker'] as const)('what the %s does not take waits at the other side', async (slow) => {
    const { port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('x');
    await until(() => arrived[0] && body(arrived[0]) === 'x');
    const [taker, giver] =
      slow === 'client' ? [client.socket, arrived[0]!.socket] : [arrived[0]!.socket, client.socket];
    taker.pause();
    const piece = Buffer.alloc(1 << 20, 'y');
    let taken = 0;
    const give = (): void => {
      giver.write(piece, (error) => {
        if (error) return; // The test is over.
        taken++;
        give();
      });
    };
    give();
    // It is the system that has taken something; when it takes no more within some turns, all of the way is full.
    let before = -1;
    let sameFor = 0;
    await until(() => {
      sameFor = taken === before ? sameFor + 1 : 0;
      before = taken;
      return sameFor === 40;
    }, 'a way that is full');
    expect(taken).toBeLessThan(64);
    taker.resume();
    await until(() => taken > before + 20, 'what waited');
  });

  test('a client that stays when its broker has gone is not kept for ever', async () => {
    const { door, port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('x');
    await until(() => arrived[0] && body(arrived[0]) === 'x');
    arrived[0]!.socket.destroy();
    await until(() => client.hasEnded && clock.timers === 1, 'the deadline');
    clock.advance(lingerMs - 1);
    expect(door.connections).toBe(1);
    clock.advance(1);
    await until(() => door.connections === 0, 'its end');
  });

  test('a client that takes nothing is not kept for ever, nor is its broker', async () => {
    const { door, port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('x');
    await until(() => arrived[0] && body(arrived[0]) === 'x');
    expect(clock.timers).toBe(0);
    client.socket.pause();
    arrived[0]!.socket.write(Buffer.alloc(1 << 26, 'y'));
    await until(() => clock.timers === 1, 'a way that is full');
    clock.advance(stallMsMax - 1);
    expect(door.connections).toBe(1);
    clock.advance(1);
    await until(() => door.connections === 0 && arrived[0]!.hasEnded, 'its end');
  });

  test('a client that was slow and takes everything has no deadline any more', async () => {
    const { port } = await open(kind);
    const client = enter(kind, port);
    client.socket.write('x');
    await until(() => arrived[0] && body(arrived[0]) === 'x');
    client.socket.pause();
    const bytes = 1 << 26;
    arrived[0]!.socket.write(Buffer.alloc(bytes, 'y'));
    await until(() => clock.timers === 1, 'a way that is full');
    client.socket.resume();
    await until(() => client.text.length === bytes && clock.timers === 0, 'everything');
  });
});

test('no more than it takes; who goes makes room', async () => {
  const { door, port } = await open('mqtt', { connectionsMax: 2 });
  const three = [enter('mqtt', port), enter('mqtt', port), enter('mqtt', port)];
  await until(() => three.filter(({ hasEnded }) => hasEnded).length === 1, 'one that is refused');
  expect(door.connections).toBe(2);
  three.find(({ hasEnded }) => !hasEnded)!.socket.destroy();
  await until(() => arrived.some(({ hasEnded }) => hasEnded));
  for (const { socket, hasEnded } of arrived) if (hasEnded) socket.end();
  await until(() => door.connections === 1, 'room');
  const another = enter('mqtt', port);
  another.socket.write('x');
  await until(() => arrived.some((each) => body(each) === 'x'), 'the next one');
});

test('without a broker, and with one that is gone, a client is told so by the end', async () => {
  for (const port of [undefined, 1]) {
    const { door, port: at } = await open('mqtt', { port });
    const client = enter('mqtt', at);
    await until(() => client.hasClosed || client.hasEnded, 'its end');
    client.socket.end();
    await until(() => door.connections === 0);
  }
});

test('a door that closes lets nobody in, and keeps who is in', async () => {
  const { door, port } = await open('mqtt');
  const client = enter('mqtt', port);
  client.socket.write('x');
  await until(() => arrived[0] && body(arrived[0]) === 'x');
  door.stopAccepting();
  const late = enter('mqtt', port);
  await until(() => late.hasClosed, 'a refusal');
  let isEmpty = false;
  void door.empty().then(() => (isEmpty = true));
  client.socket.write('y');
  await until(() => body(arrived[0]!) === 'xy', 'more bytes');
  expect(isEmpty).toBe(false);
  client.socket.end();
  arrived[0]!.socket.end();
  await until(() => isEmpty, 'the last one');
});
