/**
 * The retained messages that a SUBSCRIBE owes to a stored session come, whatever ends in between: the connection, the
 * broker at any point of what is stored, the subscription. `session/owed-retained` lists the crash points.
 */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import {
  type RetainedRead,
  readsAtOnceMax,
  RetainedReads,
  sharersMax,
} from '../../../services/broker/fanout/fanout.js';
import { handedOn, Message } from '../../../services/broker/message/message.js';
import { biteMessagesMax } from '../../../services/broker/session/owed-retained.js';
import { ack, type Device, settle, Site } from './site.js';

type QoS = 0 | 1 | 2;
const many = 1500;
const partition = 'acme#c';
/** What is handed over and not acknowledged does not go far beyond the queue's share of memory. */
const more = { receiveMaximum: 100 };
const nameOf = (i: number): string => `r/${String(i).padStart(4, '0')}`;
const subscribe = (topic: string, qos: QoS = 1, more: object = {}, messageId = 1): Packet => ({
  cmd: 'subscribe',
  messageId,
  subscriptions: [{ topic, qos, ...more }],
});

function retain(site: Site, topic: string, payload = 'x', qos: QoS = 2, publisher?: string): Message {
  const name = { text: topic, bytes: Buffer.from(topic) };
  const message = Message.of({ topic: name, payload: Buffer.from(payload), qos, retain: true });
  message.publisher = publisher as Message['publisher'];
  site.retained.put(message, site.clock.nowMs());
  return message;
}

function open(count = many, qos: QoS = 2) {
  const site = new Site();
  for (let i = 0; i < count; i++) retain(site, nameOf(i), 'x', qos);
  return site;
}

/** What has come to it with CONNACK. */
const early = new Map<Device, Packet[]>();

/** What has come, answering not more than `answers` messages; stops when nothing more comes. */
async function hear(device: Device, answers = Infinity): Promise<string[]> {
  return (await hearAll(device, answers)).map(({ topic }) => topic);
}

async function hearAll(device: Device, answers = Infinity): Promise<IPublishPacket[]> {
  const got: IPublishPacket[] = [];
  for (let quiet = 0; quiet < 4;) {
    await settle(2);
    const packets = [...(early.get(device) ?? []), ...device.take()];
    early.delete(device);
    quiet = packets.length > 0 ? 0 : quiet + 1;
    for (const packet of packets) {
      if (packet.cmd === 'pubrel') device.send(ack('pubcomp', packet.messageId!));
      if (packet.cmd !== 'publish') continue;
      got.push(packet);
      if (packet.qos > 0 && answers-- > 0) device.send(ack(packet.qos === 1 ? 'puback' : 'pubrec', packet.messageId!));
    }
  }
  return got;
}

async function comeBack(site: Site): Promise<Device> {
  const device = await site.admit('c', { more });
  const packets = device.take();
  expect(packets[0]).toMatchObject({ cmd: 'connack', sessionPresent: true });
  early.set(device, packets);
  return device;
}

const distinct = (...lists: string[][]): number => new Set(lists.flat()).size;

/** Sends SUBSCRIBE and stores what that begins. */
async function made(site: Site, qos: QoS = 1, filter = 'r/#'): Promise<Device> {
  const device = await site.admit('c', { more });
  device.send(subscribe(filter, qos));
  await settle(1);
  site.log.commit();
  return device;
}

describe('a connection that ends', () => {
  it.each([0, 400, 1499])(
    'costs nothing: of 1500, broken after %i acknowledgements, all the others come',
    async (n) => {
      const site = open();
      const device = await made(site);
      const before = await hear(device, n);
      device.end({ publishWill: true });
      site.log.commit();
      const after = await hear(await comeBack(site));
      expect(distinct(before, after)).toBe(many);
      expect([after.length, distinct(after)]).toEqual([many - n, many - n]);
    },
  );

  it.each([1, 2] as const)('right after SUBACK, nine times: all 20 come, of QoS %i', async (qos) => {
    for (let tries = 0; tries < 9; tries++) {
      const site = open(20);
      (await made(site, qos)).end({ publishWill: true });
      const device = await comeBack(site);
      const hearing = hear(device);
      for (let i = 0; i < 8; i++) await settle(1).then(() => site.log.commit());
      const got = await hearing;
      expect([got.length, distinct(got)]).toEqual([20, 20]);
    }
  });

  it('because another one takes over goes on there', async () => {
    const site = open();
    const device = await made(site);
    const before = await hear(device, 300);
    const after = await hear(await comeBack(site));
    expect([device.closed, distinct(before, after), after.length]).toEqual([true, many, many - 300]);
  });

  it('while SUBACK waits leaves them owed as well', async () => {
    const site = open(20);
    const device = await site.admit('c', { more });
    device.send(subscribe('r/#'));
    device.end({ publishWill: true });
    await settle();
    site.log.commit();
    expect(await hear(await comeBack(site))).toHaveLength(20);
  });

  it('leaves those of QoS 0 owed that had no room yet', async () => {
    const site = open(many, 0);
    const device = await site.admit('c', { more });
    device.send(subscribe('r/#', 0));
    device.waitingBytes = 1 << 19; // It does not read.
    await settle(1);
    site.log.commit();
    expect(await hear(device)).toEqual([]);
    device.end({ publishWill: true });
    expect(await hear(await comeBack(site))).toHaveLength(many);
  });

  it('ends them with a session that ends with it', async () => {
    const site = open(20);
    const device = await site.admit('c', { expiry: 0 });
    device.waitingBytes = 1 << 19;
    device.send(subscribe('r/#'));
    device.end({ publishWill: true });
    const again = await site.admit('c', { expiry: 0 });
    expect(again.take()[0]).toMatchObject({ cmd: 'connack', sessionPresent: false });
    expect(await hear(again)).toEqual([]);
  });
});

describe('a broker that dies', () => {
  interface Row {
    readonly at: string;
    readonly steps: (site: Site, device: Device) => Promise<string[]>;
    /** How many messages come in the next life. */
    readonly next: number;
    /** Without: there was no SUBACK, and nothing is promised. */
    readonly promised?: false;
  }
  const answered = 400;
  const sent = async (site: Site, device: Device): Promise<void> => {
    device.send(subscribe('r/#'));
    await settle(1);
    site.log.take();
  };
  const broken = async (site: Site, device: Device): Promise<string[]> => {
    await sent(site, device);
    site.log.write();
    site.log.confirm();
    const got = await hear(device, answered);
    device.end({ publishWill: true });
    return got;
  };
  const complete = async (site: Site, device: Device): Promise<string[]> => {
    await sent(site, device);
    site.log.write();
    site.log.confirm();
    return await hear(device);
  };
  const rows: Row[] = [
    { at: 'before the subscription is stored', steps: (s, d) => sent(s, d).then(() => []), next: 0, promised: false },
    {
      at: 'after that, before SUBACK',
      steps: async (site, device) => {
        await sent(site, device);
        site.log.write();
        return [];
      },
      next: many,
    },
    {
      at: 'between SUBACK and the first message',
      steps: async (site, device) => {
        await sent(site, device);
        site.log.write();
        site.log.confirm();
        return [];
      },
      next: many,
    },
    {
      at: 'between two bites',
      steps: async (site, device) => {
        await sent(site, device);
        site.log.write();
        site.log.confirm();
        return await hear(device, answered);
      },
      next: many,
    },
    { at: 'when the client has left, and what it was sent is not stored', steps: broken, next: many },
    {
      at: 'when that is stored, and the place is not',
      steps: async (site, device) => {
        const got = await broken(site, device);
        site.log.take();
        site.log.write();
        return got;
      },
      next: Infinity, // What is in the inbox, and all.
    },
    {
      at: 'when that is stored and confirmed, and the place is not',
      steps: async (site, device) => {
        const got = await broken(site, device);
        site.log.take();
        site.log.write();
        site.log.confirm();
        return got;
      },
      next: Infinity,
    },
    {
      at: 'when both are stored',
      steps: async (site, device) => {
        const got = await broken(site, device);
        site.log.commit();
        return got;
      },
      next: many - answered,
    },
    { at: 'after the last message, before its item says so', steps: complete, next: many },
    {
      at: 'when the item says so',
      steps: async (site, device) => {
        const got = await complete(site, device);
        site.log.commit();
        return got;
      },
      next: 0,
    },
  ];
  it.each(rows)('$at: all come that were promised', async ({ steps, next, promised }) => {
    const site = open();
    const device = await site.admit('c', { more });
    const before = await steps(site, device);
    site.boot();
    const again = await site.admit('c', { more });
    const after = await hear(again);
    expect(distinct(before, after)).toBe(promised === false ? 0 : many);
    if (next === Infinity) expect(after.length).toBeGreaterThan(many);
    else expect(after.length).toBe(next);
    site.log.commit();
    site.boot(); // Now nothing is owed any more.
    expect(await hear(await site.admit('c', { more }))).toEqual([]);
  });

  it('twice, at the same point, with everything stored that could be', async () => {
    const site = open();
    const lives: string[][] = [];
    let device = await made(site);
    for (let life = 0; life < 4; life++) {
      lives.push(await hear(device, 300));
      device.end({ publishWill: true });
      site.log.commit();
      site.boot();
      device = await site.admit('c', { more });
    }
    lives.push(await hear(device));
    expect(distinct(...lives)).toBe(many);
    expect(lives.at(-1)!.length).toBeLessThan(many / 2); // It did not begin anew.
  });
});

describe('what is owed', () => {
  const routes = (site: Site) => [...site.tables.routes(partition).values()].map(({ route }) => route);
  /** A client that has got some of them, and is away. */
  async function interrupted(answers = 100): Promise<{ site: Site; before: string[] }> {
    const site = open();
    const device = await made(site);
    const before = await hear(device, answers);
    device.end({ publishWill: true });
    site.log.commit();
    return { site, before };
  }
  /** The same, but what it was sent is acknowledged: the rest is in the table of retained messages alone. */
  async function halted(): Promise<{ site: Site; device: Device; before: string[] }> {
    const site = open();
    const device = await site.admit('c', { more });
    device.send(subscribe('r/#'));
    await settle(1);
    site.log.commit();
    await settle(1);
    device.waitingBytes = 1 << 19;
    device.in!.session.pump(0);
    const before = await hear(device);
    expect(before.length).toBeGreaterThan(0);
    expect(before.length).toBeLessThan(many);
    return { site, device, before };
  }
  const goOn = (device: Device): void => {
    device.waitingBytes = 0;
    device.in!.session.pump(0);
  };

  it('costs one more write of the subscription, and none where nothing matches', async () => {
    const site = open(3);
    const device = await made(site, 1, 'none/#');
    await hear(device);
    site.log.commit();
    expect(site.log.taken).toEqual(['route none/#']);
    device.send(subscribe('r/#'), subscribe('r/+', 0), subscribe('r/0001', 1));
    for (let i = 0; i < 3; i++) {
      await hear(device);
      site.log.commit();
    }
    expect(site.log.taken.slice(1).sort()).toEqual(
      ['r/#', 'r/#', 'r/+', 'r/+', 'r/0001', 'r/0001'].map((f) => `route ${f}`),
    );
    expect(routes(site).map(({ owedAfter }) => owedAfter)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('begins anew when the client subscribes again', async () => {
    const { site, device, before } = await halted();
    device.send(subscribe('r/#', 0));
    await settle(1);
    site.log.commit();
    goOn(device);
    const after = await hear(device);
    expect(after.filter((topic) => before.includes(topic))).toEqual(before);
    expect(distinct(after)).toBe(many);
  });

  it.each([1, 2])('goes on, on the new terms, when it does so with Retain Handling %i', async (rh) => {
    const { site, device, before } = await halted();
    device.send(subscribe('r/#', 0, { rh, nl: false, rap: false }));
    await settle(1);
    site.log.commit();
    expect(routes(site)).toMatchObject([{ qos: 0, owedAfter: '' }]);
    goOn(device);
    const rest = await hearAll(device);
    const after = rest.map(({ topic }) => topic);
    expect([before.length + after.length, distinct(before, after)]).toEqual([many, many]);
    expect(rest.find(({ topic }) => topic === nameOf(many - 1))!.qos).toBe(0);
  });

  it('ends with the subscription, whether it is taken away, forbidden, or the session ends', async () => {
    for (const end of [
      (device: Device) => device.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['r/#'] }),
      (device: Device) => device.in!.session.setAccess({ mayPublish: () => true, maySubscribe: () => false }),
    ]) {
      const { site, device } = await halted();
      const inQueue = device.in!.session.queuedMessages;
      end(device);
      site.log.commit();
      goOn(device);
      expect((await hear(device)).length).toBeLessThanOrEqual(inQueue);
      device.send(subscribe('r/#', 1, { rh: 2 })); // Asks for none.
      await settle(1);
      site.log.commit();
      device.end({ publishWill: true });
      expect(await hear(await comeBack(site))).toEqual([]);
    }
    const { site } = await interrupted();
    const device = await site.admit('c', { clean: true });
    await site.calm();
    expect([await hear(device), routes(site)]).toEqual([[], []]);
  });

  it('is not stored for a subscription that was taken away while the table was asked', async () => {
    const site = open(3);
    const device = await site.admit('c', { more });
    device.send(subscribe('r/#'), { cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['r/#'] });
    await settle();
    site.log.commit();
    await settle();
    site.log.commit();
    expect(
      device
        .take()
        .map(({ cmd }) => cmd)
        .sort(),
    ).toEqual(['connack', 'suback', 'unsuback']);
    expect([routes(site), await hear(device)]).toEqual([[], []]);
  });

  it('is a message once: the newer one, when it is replaced on the way', async () => {
    const { site, device, before } = await halted();
    const [handed, waiting] = [before[0]!, nameOf(many - 1)];
    for (const topic of [handed, waiting]) {
      const message = retain(site, topic, 'new');
      device.in!.tenant.publish(message, 0);
    }
    goOn(device);
    const payloads: Record<string, string[]> = { [handed]: [], [waiting]: [] };
    for (const { topic, payload, retain: isRetained } of await hearAll(device))
      payloads[topic]?.push(`${payload.toString()}${isRetained ? ' retained' : ''}`);
    // The live one first; what follows as retained is never older.
    expect(payloads).toEqual({ [handed]: ['new'], [waiting]: ['new', 'new retained'] });
  });

  it('leaves out what the client has published itself, with No Local, and keeps the Subscription Identifier', async () => {
    const site = open(0);
    retain(site, 'r/mine', 'x', 1, 'c');
    retain(site, 'r/other', 'x', 1, 'd');
    const device = await site.admit('c', { more });
    device.send({ ...subscribe('r/#', 1, { nl: true }), properties: { subscriptionIdentifier: 7 } } as Packet);
    await settle(1);
    site.log.commit();
    device.end({ publishWill: true });
    site.log.commit();
    site.boot();
    const again = await comeBack(site);
    await settle();
    const got = [...early.get(again)!, ...again.take()].filter(({ cmd }) => cmd === 'publish') as IPublishPacket[];
    expect(got.map(({ topic, properties, retain: r }) => [topic, properties?.subscriptionIdentifier, r])).toEqual([
      ['r/other', 7, true],
    ]);
  });
});

describe('bounded memory', () => {
  it('a client that does not read costs no page, however often it subscribes', async () => {
    const site = open();
    for (const expiry of [0, 1000]) {
      const device = await site.admit('c', { expiry, clean: true });
      device.waitingBytes = 1 << 19;
      let [underWay, most, reads] = [0, 0, 0];
      const read = site.retained.read.bind(site.retained);
      site.retained.read = async (...args) => {
        reads++;
        most = Math.max(most, ++underWay);
        await read(...args).finally(() => underWay--);
      };
      for (let i = 0; i < 1500; i++) device.send(subscribe(i % 100 === 0 ? '#' : `r/+/${i % 90}`, 0, {}, i + 1));
      await settle();
      site.log.commit();
      await settle();
      expect([reads, most]).toEqual([0, 0]);
      device.waitingBytes = 0;
      device.in!.session.pump(0);
      await settle();
      expect(most).toBe(1);
    }
  });

  it('all sessions of a tenant read so many bites at once, first come first served, and none for nobody', async () => {
    const held: { filter: string; take: () => void }[] = [];
    let [underWay, most] = [0, 0];
    const reads = new RetainedReads(
      {
        put: () => handedOn,
        overwritten: () => undefined,
        rest: () => Promise.resolve(),
        close: () => undefined,
        counted: () => Promise.resolve({ messages: 0, bytes: 0 }),
        mayMatch: () => Promise.resolve(false),
        read: async (filter, read) => {
          most = Math.max(most, ++underWay);
          await new Promise<void>((resolve) => held.push({ filter, take: resolve }));
          read.take([], undefined);
          underWay--;
        },
      },
      () => Promise.resolve(),
    );
    const taken: string[] = [];
    const all = Array.from({ length: 100 }, (_, i) =>
      reads.read(String(i), {
        after: '',
        messagesMax: biteMessagesMax,
        isWanted: () => i % 10 !== 9,
        take: () => void taken.push(String(i)),
      }),
    );
    await settle(1);
    expect(held).toHaveLength(readsAtOnceMax);
    expect(await reads.mayMatch('a/+')).toBe(true); // It does not wait.
    expect(await reads.mayMatch('a')).toBe(false); // It needs no place.
    for (let next = held.shift(); next; next = held.shift()) {
      next.take();
      await settle(1);
    }
    await Promise.all(all);
    expect([most, taken]).toEqual([
      readsAtOnceMax,
      Array.from({ length: 100 }, (_, i) => String(i)).filter((_, i) => i % 10 !== 9),
    ]);
    expect(await reads.mayMatch('a/+')).toBe(false);
  });

  it('those who wait for the same bite begin in one moment, and each takes it in a turn of its own', async () => {
    /** In which turn each of them began. */
    const began: number[] = [];
    let turns = 0;
    const store = {
      ...{ put: () => handedOn, overwritten: () => undefined, rest: () => Promise.resolve(), close: () => undefined },
      ...{ counted: () => Promise.resolve({ messages: 0, bytes: 0 }), mayMatch: () => Promise.resolve(false) },
      read: async (filter: string, read: RetainedRead) => {
        if (filter === 'same') began.push(turns);
        await settle(1);
        await read.turn!();
        if (filter === 'fails') throw new Error('planted');
        read.take([], undefined);
      },
    };
    const reads = new RetainedReads(store, () => Promise.resolve(void turns++));
    const taken: number[] = [];
    const one = (filter: string, i: number) =>
      reads.read(filter, { after: '', messagesMax: 1, isWanted: () => true, take: () => void taken.push(i) });
    const busy = Array.from({ length: readsAtOnceMax }, (_, i) => one(`busy/${i}`, -1));
    const same = Array.from({ length: sharersMax + 1 }, (_, i) => one('same', i));
    const fails = expect(one('fails', -1)).rejects.toThrow('planted');
    await Promise.all([...busy, ...same, fails]);
    expect(new Set(began.slice(0, sharersMax)).size).toBe(1);
    expect(began[sharersMax]).toBeGreaterThan(began[0]!);
    expect(taken.filter((i) => i >= 0)).toEqual(Array.from({ length: sharersMax + 1 }, (_, i) => i));
  });

  it('one that throws is told so, and costs nobody a place', async () => {
    const store = {
      ...{ put: () => handedOn, overwritten: () => undefined, rest: () => Promise.resolve(), close: () => undefined },
      ...{ counted: () => Promise.resolve({ messages: 0, bytes: 0 }), mayMatch: () => Promise.resolve(false) },
      read: (_: string, read: RetainedRead) => Promise.resolve(read.take([], undefined)),
    };
    const reads = new RetainedReads(store, () => Promise.resolve());
    const fails = (): never => {
      throw new Error('planted');
    };
    let taken = 0;
    const take = (): void => void taken++;
    for (let i = 0; i < 2 * readsAtOnceMax; i++) {
      const one = { after: '', messagesMax: 1, isWanted: () => true, take };
      const all = await Promise.allSettled([
        reads.read('a', { ...one, isWanted: fails }),
        reads.read('a', { ...one, take: fails }),
        reads.read('a', one),
      ]);
      expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'fulfilled']);
    }
    expect(taken).toBe(2 * readsAtOnceMax);
  });

  it('nothing is read before it is the turn of the tenant, and nothing when nobody wants it any more by then', async () => {
    const read: string[] = [];
    const turns: (() => void)[] = [];
    const store = {
      ...{ put: () => handedOn, overwritten: () => undefined, rest: () => Promise.resolve(), close: () => undefined },
      ...{ counted: () => Promise.resolve({ messages: 0, bytes: 0 }), mayMatch: () => Promise.resolve(false) },
      read: (filter: string) => Promise.resolve(void read.push(filter)),
    };
    const reads = new RetainedReads(store, () => new Promise((resolve) => turns.push(resolve)));
    let isWanted = true;
    const one = (filter: string, wanted: () => boolean) =>
      reads.read(filter, { after: '', messagesMax: 1, isWanted: wanted, take: () => undefined });
    const all = [one('a', () => true), one('b', () => isWanted)];
    await settle(1);
    expect([read, turns.length]).toEqual([[], 2]);
    isWanted = false;
    for (const turn of turns) turn();
    await Promise.all(all);
    expect(read).toEqual(['a']);
  });

  it('a small queue loses none of them', async () => {
    for (const queuedMessagesPerSession of [1, 10])
      for (const expiry of [0, 1000]) {
        const site = new Site({ queuedMessagesPerSession });
        for (let i = 0; i < 500; i++) retain(site, nameOf(i));
        const device = await site.admit('c', { expiry, more });
        device.send(subscribe('r/#'));
        await settle(1);
        site.log.commit();
        const got = await hear(device);
        expect([got.length, distinct(got), device.in!.tenant.meters.droppedOverQuota]).toEqual([500, 500, 0]);
      }
  });
});
