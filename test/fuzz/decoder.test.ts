/** The decoder with random, mutated and valid bytes, cut in every way. `test/support/seeds.ts` says how to run a case again. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { Message } from '../../services/broker/message/message.js';
import {
  PacketReader,
  type PacketSink,
  type ProtocolVersion,
  reasons,
  Slab,
  TopicTable,
  writePublish,
} from '../../services/broker/wire/wire.js';
import { random, seed } from '../support/seeds.js';
import { anything, connectStream, mutated, offsets, streamOf, versions } from './mutations.js';
import { clientPacket, connectPacket, decodeAll, encode } from './packets.js';
import { bytewise, cut, nowMs, readAll } from './recorder.js';

describe(`any bytes (seed ${seed})`, () => {
  for (const version of [0, ...versions] as const) {
    it(`mean the same however they are cut, and fail only as a peer's fault (version ${version})`, () => {
      fc.assert(
        fc.property(anything(version), offsets, fc.constantFrom(64, 1024, 1 << 18), (stream, cuts, packetBytesMax) => {
          const whole = readAll([stream], version, packetBytesMax);
          expect(readAll(cut(stream, cuts), version, packetBytesMax)).toEqual(whole);
          expect(readAll(bytewise(stream), version, packetBytesMax)).toEqual(whole);
        }),
        random(400),
      );
    });
  }

  it('mean the same when cut in two at every boundary', () => {
    const stream = fc
      .constantFrom(...versions)
      .chain((version) => fc.tuple(fc.constant(version), mutated(connectStream(version))));
    fc.assert(
      fc.property(stream, ([_version, connecting]) => {
        const some = connecting.subarray(0, 600);
        const whole = readAll([some], 0);
        for (let at = 1; at < some.length; at++) expect(readAll(cut(some, [at]), 0)).toEqual(whole);
      }),
      random(25),
    );
  });

  it('mean the same when the reader is stopped and resumed between packets', () => {
    fc.assert(
      fc.property(streamOf(5), offsets, (stream, cuts) => {
        const whole = readAll([stream], 5, 1 << 18);
        const types: unknown[] = [];
        const stopping: PacketSink = {
          onPublish: () => note('publish'),
          onAck: (type) => note(type),
          onPacket: ({ type }) => note(type),
        };
        const reader = new PacketReader(new TopicTable(), stopping, 1 << 18);
        let isStopped = false;
        const note = (type: unknown): void => {
          expect(isStopped).toBe(false);
          types.push(type);
          reader.stop();
          isStopped = true;
        };
        const resume = (): void => {
          isStopped = false;
          reader.resume(nowMs);
        };
        reader.version = 5;
        for (const chunk of cut(stream, cuts)) {
          reader.read(chunk, nowMs);
          resume();
        }
        for (let i = 0; i <= whole.events.length; i++) resume();
        expect(types).toEqual(whole.events.map((event) => (event as { type: unknown }).type));
      }),
      random(150),
    );
  });
});

/** Properties with the shapes of both decoders made one: pairs become a list, flags numbers, bytes hex. */
function plain(properties: object | undefined): Record<string, unknown> {
  const entries = Object.entries(properties ?? {}).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries.map(([key, value]: [string, unknown]) => {
      if (Buffer.isBuffer(value)) return [key, value.toString('hex')];
      if (typeof value === 'boolean') return [key, Number(value)];
      if (key === 'userProperties')
        return [key, Array.isArray(value) ? pairsOf(grouped(value as [string, string][])) : pairsOf(value as object)];
      return [key, value];
    }),
  );
}

const pairsOf = (values: object): string[][] =>
  Object.entries(values).flatMap(([key, value]: [string, string | string[]]) =>
    [value].flat().map((one) => [key, one]),
  );

/** `mqtt-packet` keeps user properties by name. */
function grouped(pairs: readonly [string, string][]): Record<string, string[]> {
  const byName: Record<string, string[]> = {};
  for (const [name, value] of pairs) (byName[name] ??= []).push(value);
  return byName;
}

const ackTypes: Readonly<Record<string, number>> = { puback: 4, pubrec: 5, pubrel: 6, pubcomp: 7 };
type Loose = Record<string, unknown>;

/** What the reader should say of a packet that `mqtt-packet` has decoded from the same bytes. */
function expected(decoded: Packet, version: ProtocolVersion): Record<string, unknown> {
  const packet = decoded as unknown as Loose;
  // User properties of these go nowhere, and are not kept.
  const { userProperties: _, ...properties } = plain(packet['properties'] as object | undefined);
  switch (decoded.cmd) {
    case 'subscribe':
      return {
        type: 'subscribe',
        packetId: packet['messageId'],
        properties,
        subscriptions: decoded.subscriptions.map(({ topic, qos, nl, rap, rh }) => ({
          filter: topic,
          qos,
          noLocal: nl ?? false,
          retainAsPublished: rap ?? false,
          retainHandling: rh ?? 0,
        })),
      };
    case 'unsubscribe':
      return { type: 'unsubscribe', packetId: packet['messageId'], filters: decoded.unsubscriptions, properties };
    case 'disconnect':
      return { type: 'disconnect', reasonCode: decoded.reasonCode ?? 0, properties };
    case 'pingreq':
      return { type: 'pingreq' };
    case 'connect': {
      const { will, username, password, clean, clientId, keepalive } = decoded;
      return {
        type: 'connect',
        version,
        isBridge: false,
        cleanStart: clean,
        keepAliveSeconds: keepalive,
        clientId,
        userName: username,
        password: password === undefined ? undefined : Buffer.from(password).toString('hex'),
        will: will && {
          topic: will.topic,
          payload: Buffer.from(will.payload).toString('hex'),
          qos: will.qos,
          retain: will.retain,
          properties: plain(will.properties),
        },
        properties,
      };
    }
    default:
      return { type: ackTypes[decoded.cmd], packetId: packet['messageId'], reasonCode: packet['reasonCode'] ?? 0 };
  }
}

/** What the reader said, in the form of `expected`. */
function said(event: unknown): Record<string, unknown> {
  const packet = event as Loose;
  const hex = (value: unknown): unknown => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value);
  // A structured clone turns buffers into plain arrays of bytes.
  const properties = (of: Loose): object =>
    plain(Object.fromEntries(Object.entries(of['properties'] ?? {}).map(([key, value]) => [key, hex(value)])));
  const will = packet['will'] as Loose | undefined;
  return {
    ...packet,
    ...(packet['type'] === 'connect' && {
      password: hex(packet['password']),
      will: will && { ...will, payload: hex(will['payload']), properties: properties(will) },
    }),
    ...(packet['properties'] !== undefined && { properties: properties(packet) }),
  };
}

describe(`packets that mqtt-packet has written (seed ${seed})`, () => {
  for (const version of versions) {
    it(`decode to what it decodes itself (version ${version})`, () => {
      fc.assert(
        fc.property(clientPacket(version), (packet) => {
          const stream = encode(packet, version);
          const { events, fault } = readAll([stream], version, 1 << 18);
          expect(fault).toBeUndefined();
          expect(events).toHaveLength(1);
          const [reference] = decodeAll(stream, version);
          if (reference!.cmd === 'publish') comparePublish(events[0] as Loose, reference, version);
          else expect(said(events[0])).toEqual(expected(reference!, version));
        }),
        random(500),
      );
    });

    it(`begin a connection (version ${version})`, () => {
      fc.assert(
        fc.property(connectPacket(version), (packet) => {
          const stream = encode(packet, version);
          const { events, fault } = readAll([stream], 0, 1 << 18);
          expect(fault).toBeUndefined();
          expect(said(events[0])).toEqual(expected(decodeAll(stream, version)[0]!, version));
        }),
        random(300),
      );
    });
  }
});

/** A PUBLISH is compared as the next client gets it: written by our encoder, read by `mqtt-packet`. */
function comparePublish(event: Loose, reference: IPublishPacket, version: ProtocolVersion): void {
  const { topicAlias, ...forwarded } = (reference.properties ?? {}) as Record<string, unknown>;
  expect(event['topicAlias']).toBe(topicAlias ?? 0);
  expect(event['dup']).toBe(reference.dup);
  const expiry = forwarded['messageExpiryInterval'] as number | undefined;
  expect(event['expiresAtMs']).toBe(expiry === undefined ? Infinity : nowMs + expiry * 1000);
  const message = Message.of({
    topic: { text: event['topic'] as string, bytes: Buffer.from(event['topicBytes'] as string, 'hex') },
    payload: Buffer.from(event['payload'] as string, 'hex'),
    qos: event['qos'] as 0 | 1 | 2,
    retain: event['retain'] as boolean,
    properties: Buffer.from(event['properties'] as string, 'hex'),
    expiresAtMs: event['expiresAtMs'] as number,
  });
  const slab = new Slab();
  const form = { version, qos: message.qos, dup: reference.dup, retain: message.retain, subscriptionIds: [] };
  const packetId = event['packetId'] as number;
  const start = writePublish(slab, message, { ...form, packetId, topicAlias: 0, sendTopic: true }, nowMs);
  const [again] = decodeAll(slab.bytes.subarray(start, slab.at), version) as IPublishPacket[];
  for (const field of ['topic', 'payload', 'qos', 'retain', 'dup', 'messageId'] as const)
    expect(again![field]).toEqual(reference[field]);
  expect(plain(again!.properties)).toEqual(plain(forwarded));
}

describe('memory', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heldBy = (make: () => unknown): number => {
    collect();
    collect(); // What the first has made unreachable is swept while it goes on.
    const before = process.memoryUsage().arrayBuffers;
    const made = make();
    collect();
    collect();
    const held = process.memoryUsage().arrayBuffers - before;
    expect(made).toBeDefined(); // Alive until here.
    return held;
  };
  const silent: PacketSink = { onPublish() {}, onAck() {}, onPacket() {} };
  const packetBytesMax = 1 << 18;
  const readers = 400;
  /** PUBLISH that announces as much as it may. */
  const announced = Buffer.concat([Buffer.of(0x30, 0xfb, 0xff, 0x0f), Buffer.of(0, 1, 0x61)]);

  function reading(chunkBytes: number, arrivingBytes: number): PacketReader[] {
    const topics = new TopicTable();
    return Array.from({ length: readers }, () => {
      const reader = new PacketReader(topics, silent, packetBytesMax);
      reader.version = 4;
      reader.read(announced, nowMs);
      for (let left = arrivingBytes; left > 0; left -= chunkBytes)
        reader.read(Buffer.alloc(Math.min(left, chunkBytes)), nowMs);
      return reader;
    });
  }

  it('is not taken for what a peer only announces', () => {
    expect(heldBy(() => reading(1, 0))).toBeLessThan(readers * 64);
  });

  it.each([
    { chunkBytes: 100, arrivingBytes: 5_000 },
    { chunkBytes: 4096, arrivingBytes: 100_000 },
    { chunkBytes: 65_536, arrivingBytes: 250_000 },
  ])(
    'is at most twice what has come ($arrivingBytes bytes in pieces of $chunkBytes)',
    ({ chunkBytes, arrivingBytes }) => {
      const held = heldBy(() => reading(chunkBytes, arrivingBytes));
      expect(held).toBeGreaterThan(readers * arrivingBytes * 0.9);
      expect(held).toBeLessThan(readers * Math.min(2 * (arrivingBytes + 16) + 64, packetBytesMax + 64));
    },
  );

  it('is not pinned by the rest of a large chunk', () => {
    const topics = new TopicTable();
    const held = heldBy(() =>
      Array.from({ length: readers }, () => {
        const reader = new PacketReader(topics, silent, packetBytesMax);
        reader.version = 4;
        reader.read(
          Buffer.concat([
            encode({ cmd: 'publish', topic: 'a', payload: Buffer.alloc(60_000), qos: 0, dup: false, retain: false }, 4),
            announced,
          ]),
          nowMs,
        );
        return reader;
      }),
    );
    expect(held).toBeLessThan(readers * 64 + 100_000); // The last PUBLISH stays in the reader's one record.
  });

  it('is given back when the packet is complete', () => {
    const reader = new PacketReader(new TopicTable(), silent, packetBytesMax);
    reader.version = 4;
    const packet = encode(
      { cmd: 'publish', topic: 'a', payload: Buffer.alloc(200_000), qos: 0, dup: false, retain: false },
      4,
    );
    const held = heldBy(() => {
      for (let i = 0; i < 20; i++) for (const chunk of cut(packet, [70_000, 140_000])) reader.read(chunk, nowMs);
      return reader;
    });
    expect(held).toBeLessThan(2 * packetBytesMax); // The last packet at most: its message is the reader's record.
  });
});

describe('known shapes of abuse', () => {
  const hex = (text: string): string => Buffer.from(text).toString('hex');
  const cases: readonly { name: string; hex: string; version: ProtocolVersion | 0; reason: string }[] = [
    { name: 'a remaining length of five bytes', hex: '30ffffffff7f', version: 4, reason: 'malformed-packet' },
    { name: 'the same before CONNECT', hex: '30ffffffff7f', version: 0, reason: 'not-mqtt' },
    {
      name: 'CONNECT with a remaining length of five bytes',
      hex: '10ffffffff7f',
      version: 0,
      reason: 'malformed-packet',
    },
    { name: 'a remaining length longer than needed', hex: 'c08000', version: 5, reason: 'malformed-packet' },
    { name: 'the same in PUBLISH', hex: '3083000001612a', version: 5, reason: 'malformed-packet' },
    { name: 'HTTP', hex: hex('GET / HTTP/1.1\r\n'), version: 0, reason: 'http-on-mqtt-port' },
    { name: 'HTTP that is hardly there', hex: hex('PATCH '), version: 0, reason: 'http-on-mqtt-port' },
    { name: 'what begins as HTTP', hex: hex('POSTA'), version: 0, reason: 'not-mqtt' },
    { name: 'TLS on the plain port', hex: '16030100c8010000', version: 0, reason: 'tls-on-plain-port' },
    {
      name: 'CONNECT with the flags that TLS begins with',
      hex: '160400044d51',
      version: 0,
      reason: 'malformed-packet',
    },
    { name: 'a PROXY header, v1', hex: hex('PROXY TCP4 1'), version: 0, reason: 'unexpected-proxy-header' },
    { name: 'a PROXY header, v2', hex: '0d0a0d0a000d0a515549540a21', version: 0, reason: 'unexpected-proxy-header' },
    { name: 'an empty line', hex: '0d0a0d0a41', version: 0, reason: 'not-mqtt' },
    { name: 'a packet type of zero', hex: '0000', version: 4, reason: 'malformed-packet' },
    { name: 'AUTH before MQTT 5.0', hex: 'f000', version: 4, reason: 'malformed-packet' },
    { name: 'more than it may announce', hex: '30ffffff7f', version: 4, reason: 'packet-too-large' },
  ];
  it.each(cases)('$name is $reason', ({ hex, version, reason }) => {
    const stream = Buffer.from(hex, 'hex');
    expect(readAll([stream], version, 1 << 18).fault).toMatch(new RegExp(`^${reason}:`));
    expect(readAll(bytewise(stream), version, 1 << 18).fault).toMatch(new RegExp(`^${reason}:`));
  });

  it('a fault is always one of the table', () => {
    const names = new Set(Object.values(reasons).map(({ name }) => name));
    fc.assert(
      fc.property(anything(5), (stream) => {
        const { fault } = readAll([stream], 5);
        if (fault !== undefined) expect(names).toContain(fault.split(':')[0]);
      }),
      random(200),
    );
  });
});
