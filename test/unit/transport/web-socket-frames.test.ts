/**
 * What leaves over WebSocket: each frame is one packet, on every way that packets take to a client, however many of them
 * leave at once. A real Transport and a client that looks at the bytes of the frames itself.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { packetFrames } from '../../../services/broker/transport/packet-frames.js';
import { bytes, publishBytes, subscribeBytes } from '../../support/packet-bytes.js';
import { decode, frameBytes, type Packet, type ProtocolLevel } from '../../support/packet-codec.js';
import { until } from '../../support/until.js';
import { Door, Peer } from './peer.js';
import { testTls, type Tls } from './test-tls.js';

let tls: Tls;
beforeAll(async () => void ({ ecdsa: tls } = await testTls()));

let door: Door;
const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.raw.destroy();
  door.transport.stop();
});

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** RFC 6455, section 5.2: frames of a server, each of which ends its message. */
function framesOf(received: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 2 <= received.length;) {
    const [first, second] = [received[at]!, received[at + 1]!];
    expect(first & 0xf0, 'FIN, and no extension').toBe(0x80);
    expect(second & 0x80, 'no mask').toBe(0);
    const headBytes = second === 127 ? 10 : second === 126 ? 4 : 2;
    if (at + headBytes > received.length) break;
    const length =
      second === 127
        ? Number(received.readBigUInt64BE(at + 2))
        : second === 126
          ? received.readUInt16BE(at + 2)
          : second;
    expect(headBytes, 'the shortest form').toBe(length > 0xffff ? 10 : length > 125 ? 4 : 2);
    if (at + headBytes + length > received.length) break;
    frames.push({ opcode: first & 0x0f, payload: received.subarray(at + headBytes, at + headBytes + length) });
    at += headBytes + length;
  }
  return frames;
}

/** The packets of the binary frames so far, each frame exactly one. */
function packetsOf(peer: Peer, level: ProtocolLevel): Packet[] {
  return framesOf(peer.received)
    .filter(({ opcode }) => opcode === 2)
    .map(({ payload }) => {
      expect(frameBytes(payload), 'the length of the packet in the frame').toBe(payload.length);
      return decode(payload, level);
    });
}

async function open(clientId: string, fields: { version?: ProtocolLevel; clean?: boolean; properties?: object } = {}) {
  const peer = await Peer.open(door);
  peers.push(peer);
  await peer.go('open', { clientId, version: 4, ...fields });
  await until(() => framesOf(peer.received).length > 0, 'CONNACK');
  return peer;
}

/** Several packets of the client in one frame. */
const say = (peer: Peer, ...packets: Buffer[]): void => peer.write(Buffer.concat(packets));
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('PUBLISH and PUBACK that leave together are two frames', async () => {
  door = await new Door('ws').listen(tls);
  const peer = await open('cpp');
  say(peer, subscribeBytes([{ filter: 'cpp/4/x', qos: 1 }], 4, 1));
  await until(() => packetsOf(peer, 4).length === 2, 'SUBACK');
  const before = peer.received.length;
  say(peer, publishBytes({ topic: 'cpp/4/x', payload: 'm1', qos: 1, packetId: 2 }, 4));
  await until(() => packetsOf(peer, 4).length === 4, 'both');
  expect(peer.received.toString('hex', before)).toBe('820f320d00076370702f342f7800016d31' + '820440020002');
});

describe.each(['ws', 'wss'] as const)('%s', (kind) => {
  test('acknowledgements and answers', async () => {
    door = await new Door(kind).listen(tls);
    const peer = await open('c');
    say(
      peer,
      subscribeBytes(['elsewhere'], 4, 1),
      ...numbers(50).map((i) => publishBytes({ topic: 'a', qos: 1, packetId: 100 + i }, 4)),
      ...numbers(50).map((i) => publishBytes({ topic: 'a', qos: 2, packetId: 200 + i }, 4)),
      ...numbers(50).map((i) => bytes.packet('pubrel', 2, bytes.u16(200 + i))),
      bytes.packet('unsubscribe', 2, bytes.u16(9), bytes.utf8('elsewhere')),
      bytes.packet('pingreq', 0),
    );
    await until(() => packetsOf(peer, 4).length === 1 + 1 + 50 + 50 + 50 + 1 + 1, 'all answers');
    const all = packetsOf(peer, 4).map(({ cmd }) => cmd);
    expect([...new Set(all)].sort()).toEqual(
      ['connack', 'pingresp', 'puback', 'pubcomp', 'pubrec', 'suback', 'unsuback'].sort(),
    );
  });

  test.each([
    [4, 0],
    [4, 1],
    [4, 2],
    [5, 0],
    [5, 1],
    [5, 2],
  ] as const)('messages of a burst, MQTT level %i, QoS %i', async (version, qos) => {
    door = await new Door(kind).listen(tls);
    const subscriber = await open('subscriber', { version });
    say(subscriber, subscribeBytes([{ filter: 'a/#', qos }], version, 1));
    await until(() => packetsOf(subscriber, version).length === 2, 'SUBACK');
    const publisher = await open('publisher', { version });
    const publish = (i: number): Buffer =>
      publishBytes({ topic: `a/${i}`, payload: 'x'.repeat(i), qos, packetId: i + 1 }, version);
    say(publisher, ...numbers(200).map(publish));
    await until(() => packetsOf(subscriber, version).length === 202, 'all 200');
  });

  test('retained messages that a SUBSCRIBE asks for', async () => {
    door = await new Door(kind).listen(tls);
    const peer = await open('c');
    say(peer, ...numbers(100).map((i) => publishBytes({ topic: `r/${i}`, retain: true, payload: `${i}` }, 4)));
    say(peer, subscribeBytes(['r/#'], 4, 1));
    await until(() => packetsOf(peer, 4).length === 102, 'all 100');
  });

  test('CONNACK and what has waited for the session', async () => {
    door = await new Door(kind).listen(tls);
    const kept = { version: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const;
    const first = await open('kept', kept);
    say(first, subscribeBytes([{ filter: 'q', qos: 1 }], 5, 1));
    await until(() => packetsOf(first, 5).length === 2, 'SUBACK');
    first.raw.destroy();
    await until(() => door.sockets('open') === 0, 'it to be gone');
    const publisher = await open('publisher');
    say(publisher, ...numbers(100).map((i) => publishBytes({ topic: 'q', qos: 1, packetId: i + 1 }, 4)));
    await until(() => packetsOf(publisher, 4).length === 101, 'all to be acknowledged');
    const again = await open('kept', kept);
    await until(() => packetsOf(again, 5).length === 101, 'all that waited');
    expect(packetsOf(again, 5)[0]).toMatchObject({ cmd: 'connack', sessionPresent: true });
  });

  test('DISCONNECT, and then the close frame', async () => {
    door = await new Door(kind).listen(tls);
    const peer = await open('c', { version: 5 });
    await open('c', { version: 5 });
    await until(() => framesOf(peer.received).length === 3, 'all of it');
    const [connack, disconnect, close] = framesOf(peer.received);
    expect([connack!, disconnect!].map(({ payload }) => decode(payload, 5).cmd)).toEqual(['connack', 'disconnect']);
    expect([close!.opcode, close!.payload.readUInt16BE()]).toEqual([8, 1000]);
  });

  test('packets of all sizes to a client that reads late', async () => {
    door = await new Door(kind).listen(tls);
    const subscriber = await open('subscriber');
    say(subscriber, subscribeBytes([{ filter: 'a', qos: 1 }], 4, 1));
    await until(() => packetsOf(subscriber, 4).length === 2, 'SUBACK');
    subscriber.vanish();
    const publisher = await open('publisher');
    // Around each form of the head of a frame, around what is copied, and more than the network takes at once.
    const sizes = [116, 117, 118, 119, 1010, 1020, 65_524, 65_525, 65_526, 65_527, 200_000];
    const all = [...sizes, ...numbers(300), ...Array<number>(20).fill(200_000), ...sizes];
    all.forEach((size, i) =>
      publisher.write(publishBytes({ topic: 'a', payload: Buffer.alloc(size, i), qos: 1, packetId: i + 1 }, 4)),
    );
    await until(() => packetsOf(publisher, 4).length > 320, 'more than the network takes to be there');
    subscriber.comeBack();
    let seen = 0;
    await until(() => {
      const packets = packetsOf(subscriber, 4);
      for (; seen < packets.length; seen++)
        if (packets[seen]!.cmd === 'publish')
          say(subscriber, bytes.packet('puback', 0, bytes.u16(packets[seen]!.packetId!)));
      return seen === all.length + 2;
    }, 'all of it');
    const payloads = packetsOf(subscriber, 4)
      .slice(2)
      .map(({ payload }) => (payload as Buffer).length);
    expect(payloads).toEqual(all);
  });
});

describe('frames', () => {
  const packet = (size: number): Buffer => publishBytes({ topic: 'a', payload: Buffer.alloc(size, 7) }, 4);

  test('small ones are one piece, of however many writes', () => {
    const pieces = packetFrames([Buffer.concat([packet(3), packet(200)]), packet(0)]);
    expect(pieces).toHaveLength(1);
    expect(framesOf(pieces[0]!).map(({ payload }) => payload.length)).toEqual([8, 206, 5]);
  });

  test('large ones are not copied', () => {
    const large = packet(100_000);
    const pieces = packetFrames([packet(1), large, packet(2)]);
    expect(pieces.map(({ buffer }) => buffer === large.buffer)).toEqual([false, true, false]);
    expect(framesOf(Buffer.concat(pieces)).map(({ payload }) => payload.length)).toEqual([6, large.length, 7]);
  });
});
