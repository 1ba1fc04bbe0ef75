/**
 * What `Outbound` promises, for both kinds: driven through a real session, channel and packet reader. Two tables have files of
 * their own, which run over both kinds, too: each acknowledgement in each state (`exchange.test.ts`), and publishers that are faster than
 * their subscriber (`held-back.test.ts`). Stories drawn by chance are in `outbound-stories.test.ts`.
 *
 * QoS 2 is sent when the store says so, where there is one: tests `settle` before they look.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Leaver, Message, QoS, SharedOrigin } from '../../../services/broker/message/message.js';
import { outboxBytesHigh, outboxBytesMax } from '../../../services/broker/session/channel.js';
import { windowBytesMax } from '../../../services/broker/session/window.js';
import { packetType, PeerFault } from '../../../services/broker/wire/wire.js';
import type { OutboundKind, OutboundWorld } from './outbound-kinds.js';
import { ack, message, terms } from './world.js';

/** Some of both, by their names. */
const mixed = [
  ['1', 1],
  ['2', 2],
  ['3', 2],
  ['4', 1],
  ['5', 2],
] as const;

export function outboundContract({ name, open }: OutboundKind): void {
  const worlds: OutboundWorld[] = [];
  afterEach(() => {
    for (const { faults } of worlds.splice(0)) expect(faults).toEqual([]);
  });

  describe(`${name}: delivery`, () => {
    it.each([
      [0, 2, 'publish q0 x'],
      [1, 2, 'publish q1 x'],
      [2, 1, 'publish q1 x'],
      [2, 2, 'publish q2 x'],
      [2, 0, 'publish q0 x'],
    ] as const)('published at %i and subscribed at %i [MQTT-3.8.4-8]', async (published, subscribed, said) => {
      const { deliver, reader, settle, host } = opened();
      deliver('x', published, { terms: { qos: subscribed } });
      await settle();
      expect(reader.take()).toEqual([said]);
      expect([host.meters.messagesSent, host.meters.bytesSent]).toEqual([1, 1]);
    });

    it('keeps the order of each topic and QoS [MQTT-4.6.0-6]', async () => {
      const { deliver, reader, readAll } = opened({ receiveMaximum: 3 });
      const wanted: string[] = [];
      for (let i = 0; i < 60; i++) {
        const qos = ((i % 2) + 1) as QoS;
        const topic = `t${i % 3}`;
        deliver(String(i), qos, { topic });
        wanted.push(`${topic} ${qos} ${i}`);
      }
      await readAll();
      const flow = (lines: readonly string[], start: string) => lines.filter((line) => line.startsWith(start));
      for (const start of ['t0 1', 't0 2', 't1 1', 't1 2', 't2 1', 't2 2'])
        expect(flow(reader.got, start)).toEqual(flow(wanted, start));
    });
  });

  describe(`${name}: acknowledgements`, () => {
    it('complete an exchange, and do nothing when it is over', async () => {
      const { deliver, reader, settle, client, session, host } = opened();
      deliver('one', 1);
      deliver('two', 2);
      await settle();
      expect(reader.take().sort()).toEqual(['publish q1 one', 'publish q2 two']);
      const [one, two] = [reader.idOf('one'), reader.idOf('two')];
      reader.answer('one', 'two');
      await settle();
      expect(reader.take()).toEqual(['pubrel two']);
      client.send(ack('pubrec', two), ack('puback', one)); // Once more.
      expect(reader.take()).toEqual(['pubrel two']);
      reader.answer('two');
      client.send(ack('pubcomp', two), ack('pubrec', 9), ack('puback', 4));
      await settle();
      expect(reader.take()).toEqual(['pubrel #9 0x92']);
      expect([session.queuedMessages, host.heldMessages, host.unsafe]).toEqual([0, 0, 0]);
    });

    it('that refuse a message end it, and free its place', async () => {
      const { deliver, reader, settle, session, host, pending } = opened({ receiveMaximum: 1 });
      deliver('one', 1);
      deliver('two', 2);
      deliver('next', 1);
      await settle();
      reader.take();
      reader.refuse('one', 0x97);
      await settle();
      expect(reader.take()).toEqual(['publish q2 two']);
      reader.refuse('two', 0x97);
      await settle();
      expect(reader.take()).toEqual(['publish q1 next']);
      reader.refuse('next', 0x80);
      await settle();
      expect([session.queuedMessages, host.heldMessages, host.unsafe, pending()]).toEqual([0, 0, 0, []]);
    });

    it('that the exchange does not allow are the fault of the client, and leave it as it was', async () => {
      const { deliver, reader, settle, session } = opened();
      deliver('one', 1);
      await settle();
      reader.take();
      const id = reader.idOf('one');
      expect(() => session.receiveAck(packetType.pubrec, id, 0, 0)).toThrow(PeerFault);
      reader.answer('one');
      expect(session.queuedMessages).toBe(0);
    });
  });

  describe(`${name}: the window`, () => {
    it.each([1, 2] as const)(
      'keeps to Receive Maximum, and the order behind it [MQTT-3.3.4-9], QoS %i',
      async (qos) => {
        const { deliver, reader, settle, session } = opened({ receiveMaximum: 2 });
        const said = async (): Promise<string[]> => {
          await settle();
          return reader.take().filter((line) => line.startsWith('publish'));
        };
        const finish = async (...names: string[]): Promise<void> => {
          for (let steps = 0; steps < qos; steps++) {
            reader.answer(...names);
            await settle();
            if (steps + 1 < qos) expect(reader.take()).toEqual(names.map((one) => `pubrel ${one}`)); // [MQTT-3.3.4-7]
          }
        };
        for (const payload of ['1', '2', '3', '4', '5']) deliver(payload, qos);
        expect(await said()).toEqual([`publish q${qos} 1`, `publish q${qos} 2`]);
        expect(session.readiness).toBe('queue');
        await finish('2');
        expect(await said()).toEqual([`publish q${qos} 3`]);
        await finish('1', '3');
        expect(await said()).toEqual([`publish q${qos} 4`, `publish q${qos} 5`]);
        await finish('4', '5');
        expect(session.readiness).toBe('now');
      },
    );

    it('is not for QoS 0', async () => {
      const { deliver, reader, settle } = opened({ receiveMaximum: 1 });
      for (const payload of ['1', '2']) deliver(payload, 1);
      for (const payload of ['a', 'b']) deliver(payload, 0);
      await settle();
      expect(reader.take()).toEqual(['publish q1 1', 'publish q0 a', 'publish q0 b']);
    });

    it('has thousands of small messages under way, and few large ones', () => {
      const small = opened({ version: 4 });
      const sixtyFour = (i: number): string => String(i).padEnd(64, 'x');
      for (let i = 0; i < 10_000; i++) small.deliver(sixtyFour(i), 1);
      const sent = small.client.outbox.take();
      // What they take in memory is what bounds them.
      expect(sent.length).toBeGreaterThan(2000);
      expect(sent.length).toBe(Math.ceil(windowBytesMax / message('a', sixtyFour(0), 1).heldBytes));
      small.client.send(ack('puback', sent[0]!.messageId!));
      expect(small.client.outbox.take()).toHaveLength(1);

      const large = opened({ version: 4 });
      for (let i = 0; i < 10; i++) large.deliver(String(i).padEnd(300_000, 'x'), 1);
      expect(large.client.outbox.take()).toHaveLength(7);
      large.client.send(ack('puback', 1));
      expect(large.client.outbox.take()).toHaveLength(1);
    });

    it('never takes an identifier that is in use, however often the numbers go round [MQTT-2.2.1-4]', async () => {
      const { client, session, host, settle } = opened({ receiveMaximum: 3 });
      const next = (payload: string): number => {
        session.deliver(message('a', payload, 1), terms(1), host.timeMs);
        return client.outbox.take()[0]!.messageId!;
      };
      const kept = next('kept');
      await settle();
      for (let i = 0; i < 70_000; i++) {
        const id = next('');
        if (id === kept) expect.fail('an identifier was used twice');
        session.receiveAck(packetType.puback, id, 0, host.timeMs);
      }
      client.send(ack('puback', kept));
      expect(session.queuedMessages).toBe(0);
    });
  });

  describe(`${name}: what the client is too small for`, () => {
    it('counts as delivered [MQTT-3.1.2-25]', async () => {
      const { deliver, reader, settle, client, host, pending } = opened({ packetBytesMax: 20, receiveMaximum: 1 });
      for (const qos of [0, 1, 2] as const) deliver('x'.repeat(20), qos);
      deliver('fits', 1);
      await settle();
      expect(reader.take()).toEqual(['publish q1 fits']);
      expect([client.outbox.closedBy, host.heldMessages, host.meters.messagesSent]).toEqual([undefined, 1, 1]);
      reader.answer('fits');
      expect(pending()).toEqual([]);
    });

    it.each([1, 2] as const)('does so by the thousand when it has come back with less, QoS %i', async (qos) => {
      const { deliver, reader, readAll, settle, leave, comeBack, host, session } = opened({ receiveMaximum: 10 });
      host.limits.queuedMessagesPerSession = 10_000;
      for (let i = 0; i < 5; i++) deliver(`sent ${i}`.padEnd(50), qos);
      await settle();
      leave();
      const count = qos === 1 ? 5000 : 300; // Each of QoS 2 has an item of its own, and a page is read after the other.
      for (let i = 0; i < count; i++) deliver(`waits ${i}`.padEnd(50), qos);
      deliver('fits', qos);
      await settle();
      comeBack({ packetBytesMax: 30, receiveMaximum: 10 });
      await readAll();
      expect(reader.got).toEqual([`a ${qos} fits`]);
      expect([session.queuedMessages, host.heldMessages, host.unsafe]).toEqual([0, 0, 0]);
      expect(host.meters.droppedOverQuota + host.meters.expiredMessages).toBe(0);
    });
  });

  describe(`${name}: message expiry`, () => {
    it.each(['the client is away', 'the window is full'])('is counted down while %s [MQTT-3.3.2-5]', async (why) => {
      const { deliver, reader, settle, leave, comeBack, host, client, pending } = opened({ receiveMaximum: 1 });
      const { timeMs } = host;
      if (why === 'the client is away') leave();
      else deliver('first', 1);
      for (const qos of [1, 2] as const) deliver(`short ${qos}`, qos, { expiresAtMs: timeMs + 1000 });
      deliver('long', 1, { expiresAtMs: timeMs + 10_500 });
      await settle();
      host.timeMs += 2000;
      if (why === 'the client is away') comeBack();
      else (reader.take(), reader.answer('first'));
      await settle();
      const sent = client.outbox.take();
      // [MQTT-3.3.2-6] What is left of it.
      expect(sent).toMatchObject([{ payload: Buffer.from('long'), properties: { messageExpiryInterval: 9 } }]);
      expect([host.meters.expiredMessages, host.heldMessages]).toEqual([2, 1]);
      await settle();
      expect(pending()).toEqual([]);
    });

    it('does not take back what has been sent: it is sent again', async () => {
      const { deliver, reader, settle, leave, comeBack, host } = opened();
      deliver('x', 1, { expiresAtMs: host.timeMs + 1000 });
      await settle();
      reader.take();
      leave();
      await settle();
      host.timeMs += 2000;
      comeBack();
      await settle();
      expect(reader.take()).toEqual(['publish q1d x']);
    });
  });

  describe(`${name}: what is dropped, and where it is counted`, () => {
    it('the last that come to a full queue', async () => {
      const { deliver, reader, settle, leave, comeBack, host, session, pending } = opened();
      host.limits.queuedMessagesPerSession = 2;
      leave();
      for (const payload of ['1', '2', '3', '4']) deliver(payload, 1);
      deliver('0', 0);
      await settle();
      expect([host.meters.droppedOverQuota, session.queuedMessages, pending()]).toEqual([2, 2, []]);
      comeBack();
      await settle();
      expect(reader.take()).toEqual(['publish q1 1', 'publish q1 2']);
    });

    it('QoS 0: nobody is there, the outbox is full, the rate is used up', () => {
      const { deliver, leave, comeBack, client, host } = opened();
      const { meters } = host;
      leave();
      deliver('x', 0);
      deliver('y', 1, { terms: { qos: 0 } });
      expect(meters.droppedOffline).toBe(2);
      comeBack();
      client.outbox.waitingBytes = outboxBytesMax;
      deliver('x', 0);
      client.outbox.waitingBytes = 0;
      host.deliveries = 0;
      deliver('x', 0);
      expect([meters.droppedSlowSubscriber, meters.droppedOverQuota, meters.messagesSent]).toEqual([1, 1, 0]);
      expect(client.outbox.said()).toEqual([]);
    });
  });

  describe(`${name}: a sink that is full`, () => {
    it.each([1, 2] as const)('makes QoS %i wait, and QoS 0 only at its limit', async (qos) => {
      const { deliver, reader, settle, client, session, host } = opened();
      client.outbox.waitingBytes = outboxBytesHigh + 1;
      deliver('1', qos);
      deliver('0', 0);
      await settle();
      expect(reader.take()).toEqual(['publish q0 0']);
      expect(session.readiness).toBe('queue');
      client.outbox.waitingBytes = outboxBytesMax;
      deliver('0', 0);
      expect([reader.take(), host.meters.droppedSlowSubscriber]).toEqual([[], 1]);
      client.outbox.waitingBytes = 0;
      session.pump(host.timeMs);
      await settle();
      expect(reader.take()).toEqual([`publish q${qos} 1`]);
    });

    it('holds up what is sent again, too', async () => {
      const { deliver, reader, settle, leave, comeBack, client, session, host } = opened();
      for (const [payload, qos] of mixed) deliver(payload, qos);
      await settle();
      reader.take();
      leave();
      await settle();
      comeBack();
      client.outbox.waitingBytes = outboxBytesHigh + 1; // With the first page, or before it.
      const before = reader.take().length;
      await settle();
      expect(reader.take()).toEqual([]);
      client.outbox.waitingBytes = 0;
      session.pump(host.timeMs);
      await settle();
      expect(before + reader.take().length).toBe(mixed.length);
    });

    it('may be the delivery rate of the tenant', async () => {
      const { deliver, reader, settle, host, session } = opened();
      host.deliveries = 1;
      for (const payload of ['1', '2']) deliver(payload, 1);
      await settle();
      expect(reader.take()).toEqual(['publish q1 1']);
      expect(host.waiting).toContain(session);
      host.deliveries = 1;
      session.pump(host.timeMs);
      expect(reader.take()).toEqual(['publish q1 2']);
    });
  });

  describe(`${name}: after a reconnect`, () => {
    it('sends again what was not acknowledged, in order and with DUP, before anything new [MQTT-4.4.0-1]', async () => {
      const { deliver, reader, settle, leave, comeBack, host } = opened();
      for (const [payload, qos] of mixed) deliver(payload, qos);
      await settle();
      reader.take();
      reader.answer('3', '4');
      leave();
      deliver('6', 1);
      deliver('lost', 0);
      await settle();
      comeBack();
      await settle();
      expect(reader.take()).toEqual(['publish q1d 1', 'publish q2d 2', 'pubrel 3', 'publish q2d 5', 'publish q1 6']);
      expect(host.meters.messagesSent).toBe(5 + 4); // Each PUBLISH.
    });

    it('keeps to a window that has become smaller', async () => {
      const { deliver, reader, settle, leave, comeBack } = opened();
      for (const payload of ['1', '2', '3', '4']) deliver(payload, 1);
      reader.take();
      leave();
      await settle();
      comeBack({ receiveMaximum: 2 });
      await settle();
      expect(reader.take()).toEqual(['publish q1d 1', 'publish q1d 2']);
      reader.answer('1');
      expect(reader.take()).toEqual(['publish q1d 3']);
      reader.answer('2', '3', '4');
      expect(reader.take()).toEqual(['publish q1d 4']);
    });

    it('may speak another dialect', async () => {
      const { deliver, reader, settle, leave, comeBack } = opened({ version: 5 });
      deliver('x', 1, { terms: { subscriptionIds: [7] } });
      await settle();
      reader.take();
      leave();
      await settle();
      comeBack({ version: 4 });
      await settle();
      expect(reader.take()).toEqual(['publish q1d x']);
    });

    it.each(['lost', 'read'])('repeats often: what was sent was %s', async (which) => {
      const { deliver, reader, settle, leave, comeBack, readAll, session } = opened({ receiveMaximum: 3 });
      for (let i = 0; i < 10; i++) deliver(String(i), i % 2 === 0 ? 1 : 2);
      for (let times = 0; times < 20; times++) {
        await settle();
        if (which === 'read') reader.take();
        leave();
        if (times % 2 === 0) await settle();
        comeBack({ receiveMaximum: (times % 3) + 1 });
      }
      await readAll();
      for (const qos of [1, 2])
        expect(reader.got.filter((line) => line.startsWith(`a ${qos}`)).map((line) => Number(line.slice(4)))).toEqual(
          [0, 2, 4, 6, 8].map((n) => n + qos - 1),
        );
      expect(session.queuedMessages).toBe(0);
    });
  });

  it(`${name}: nothing is sent when the connection is over`, async () => {
    const { deliver, reader, settle, leave, session, host } = opened({ receiveMaximum: 2 });
    for (const [payload, qos] of mixed) deliver(payload, qos);
    reader.take();
    leave();
    for (const qos of [0, 1, 2] as const) deliver(`later ${qos}`, qos);
    session.pump(host.timeMs);
    await settle();
    expect(worlds[0]!.faults).toEqual([]);
  });

  describe(`${name}: shared subscriptions`, () => {
    const group = (takes: (one: Message, leaver: Leaver) => boolean) => {
      const taken: string[] = [];
      const handOn = (one: Message, leaver: Leaver): boolean =>
        takes(one, leaver) && (taken.push(String(one.payload)), true);
      const origin: SharedOrigin = { name: '$share/g/a', handOn };
      return { taken, origin };
    };

    it('get back what a client leaves unacknowledged; a QoS 2 message that it has seen stays [MQTT-4.8.2-5]', async () => {
      const { deliver, reader, settle, leave, comeBack, host } = opened({ receiveMaximum: 3 });
      const { taken, origin } = group(() => true);
      host.groups.set(origin.name, origin);
      for (const [payload, qos] of mixed.slice(0, 4)) deliver(payload, qos, { terms: { group: origin } });
      await settle();
      reader.take();
      reader.answer('3');
      await settle();
      reader.take();
      leave();
      await settle();
      expect(taken).toEqual(['1', '4']);
      comeBack();
      await settle();
      expect(reader.take()).toEqual(['publish q2d 2', 'pubrel 3']);
      expect(host.heldMessages).toBe(2);
    });

    it('leave it where nobody else is connected, and pass it on to anyone when the session ends', async () => {
      const { deliver, settle, leave, session, host, pending } = opened({ receiveMaximum: 1 });
      const { taken, origin } = group((_message, { sessionEnds }) => sessionEnds);
      host.groups.set(origin.name, origin);
      for (const payload of ['1', '2']) deliver(payload, 1, { terms: { group: origin } });
      leave();
      await settle();
      expect(taken).toEqual([]);
      const ended = session.end(host.timeMs, true);
      await settle();
      await ended;
      expect([taken, host.heldMessages, pending()]).toEqual([['1', '2'], 0, []]);
    });
  });

  describe(`${name}: the session ends`, () => {
    it.each(['with its client', 'some time after its client has gone'])(
      '%s: all is let go of and paid',
      async (when) => {
        const { deliver, reader, settle, leave, session, host, pending } = opened({ receiveMaximum: 3 });
        for (const [payload, qos] of mixed) deliver(payload, qos);
        if (when !== 'with its client') await settle();
        reader.take();
        leave();
        if (when !== 'with its client') await settle();
        const ended = session.end(host.timeMs, false);
        await settle();
        await ended;
        expect([host.heldMessages, host.unsafe, pending(), host.backlog.messages]).toEqual([0, 0, [], 0]);
      },
    );
  });

  describe(`${name}: a slow source`, () => {
    it('is told when there is room, and when the client has gone', () => {
      const { deliver, reader, session, client, host, leave } = opened({ receiveMaximum: 1 });
      host.limits.queuedMessagesPerSession = 4;
      for (const payload of ['1', '2', '3']) deliver(payload, 1);
      reader.take();
      const calls: string[] = [];
      expect([session.roomMessages, session.freeMessages]).toEqual([0, 0]);
      session.whenRoom(() => calls.push('first'));
      expect(calls).toEqual([]);
      reader.answer('1');
      expect([calls, session.roomMessages]).toEqual([['first'], 1]);
      client.outbox.waitingBytes = outboxBytesHigh + 1;
      session.whenRoom(() => calls.push('gone'));
      leave();
      session.whenRoom(() => calls.push('nobody'));
      expect(calls).toEqual(['first', 'gone', 'nobody']);
    });
  });

  /** Its methods on their own. */
  function opened(wish?: Parameters<OutboundKind['open']>[0]) {
    const world = open(wish);
    worlds.push(world);
    return {
      ...{ host: world.host, client: world.client, reader: world.reader, settle: world.settle, session: world.session },
      deliver: world.deliver.bind(world),
      leave: world.leave.bind(world),
      comeBack: world.comeBack.bind(world),
      readAll: world.readAll.bind(world),
      pending: () => world.pending,
    };
  }
}
