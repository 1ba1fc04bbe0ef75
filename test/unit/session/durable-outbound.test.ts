/** Delivery to a session that outlives its connection, over a commit log that goes as far as the test says. */
import { describe, expect, it } from 'vitest';
import type { ClientId } from '../../../services/kernel/kernel.js';
import { PendingReceipt, type QoS } from '../../../services/broker/message/message.js';
import type { Restored } from '../../../services/broker/session/session.js';
import { MemoryCommitLog, type MemoryCommitLogOptions } from '../../support/memory/commit-log.js';
import { until } from '../../support/until.js';
import { ack, type Client, connect, FakeHost, message, nowMs, terms } from './world.js';

const partition = 'acme#c';
/** Identifiers of QoS 2 are of the upper half. */
const upper = 32_768;
const delayMs = 50;

function world(options: Partial<MemoryCommitLogOptions> = {}, wish: { receiveMaximum?: number } = {}) {
  let timeMs = nowMs;
  const log = new MemoryCommitLog({ nowMs: () => timeMs, ...options });
  const host = new FakeHost();
  const client = connect({ host, keeping: { partitionOf: () => partition, log }, ...wish });
  return {
    log,
    host,
    client,
    stored: () => log.tables.payloads(partition),
    deliver: (payload: string, qos: QoS = 1) => client.session.deliver(message('a', payload, qos), terms(qos), nowMs),
    wait: (ms: number) => {
      timeMs += ms;
      log.delayOver();
      log.commit();
    },
    leave: () => client.session.detach(nowMs),
  };
}

/** The session of the same client on the next broker, with what is stored. */
function nextLife(log: MemoryCommitLog, wish: { receiveMaximum?: number } = {}): Client {
  const items = log.tables.items(partition);
  const restored: Restored = {
    epoch: 2,
    born: 1,
    routes: [...log.tables.routes(partition).values()].map(({ route }) => route),
    contents: {
      received: { packetIds: [], settled: { epoch: 1, number: 0 } },
      stored: { messages: items.reduce((sum, { messages }) => sum + messages.length, 0), origins: [] },
    },
    queuedMessages: 0,
    droppedMessages: 7,
  };
  return connect({ keeping: { partitionOf: () => partition, log }, restored, ...wish });
}

const published = (client: Client, dup = ''): string[] =>
  client.outbox
    .said()
    .filter((line) => line.startsWith('publish') && line.includes(dup))
    .map((line) => line.split(' ').at(-1)!);

describe('QoS 1 to a client that is there', () => {
  it('is sent at once and never written when it is acknowledged in time', () => {
    const { client, deliver, wait, log, host } = world();
    deliver('x');
    expect([client.outbox.said(), host.unsafe]).toEqual([['publish 1 q1 a x'], 1]);
    client.send(ack('puback', 1));
    expect([host.unsafe, client.session.queuedMessages]).toEqual([0, 0]);
    wait(delayMs);
    expect(log.taken).toEqual([]);
  });

  it('is stored after the delay, not before, several in one item; removed when all are acknowledged', () => {
    const { client, deliver, wait, log, host, stored } = world();
    for (const payload of ['1', '2', '3']) deliver(payload);
    wait(delayMs - 1);
    expect([stored(), host.unsafe]).toEqual([[], 3]);
    wait(1);
    expect([stored(), host.unsafe, log.taken]).toEqual([['1', '2', '3'], 0, ['messages 3']]);
    for (const id of [3, 1]) client.send(ack('puback', id));
    log.commit();
    expect(log.taken).toEqual(['messages 3']);
    client.send(ack('puback', 2));
    log.commit();
    expect([stored(), log.taken]).toEqual([[], ['messages 3', 'delete']]);
  });

  it('that is acknowledged while it is written is removed by a later commit', () => {
    const { client, deliver, log, host, stored } = world();
    deliver('x');
    client.session.detach(nowMs);
    client.reconnect();
    log.take();
    log.write();
    client.send(ack('puback', 1));
    expect([host.unsafe, stored()]).toEqual([0, ['x']]);
    log.confirm();
    log.commit();
    expect([host.unsafe, stored(), log.taken]).toEqual([0, [], ['messages 1', 'delete']]);
  });

  it('is stored at once when the client leaves, and sent again when it is back', async () => {
    const { client, deliver, log, stored, leave } = world();
    for (const payload of ['1', '2']) deliver(payload);
    leave();
    log.commit();
    expect(stored()).toEqual(['1', '2']);
    client.reconnect();
    await until(() => client.session.readiness === 'now');
    expect(client.outbox.said()).toEqual(['publish 1 q1d a 1', 'publish 2 q1d a 2']);
  });
});

it('after a restart QoS 1 is marked as sent again if it was, as far as its item knows [MQTT-3.3.1-1]', async () => {
  const { deliver, log, leave } = world({}, { receiveMaximum: 1 });
  for (const payload of ['sent', 'waiting']) deliver(payload);
  leave();
  deliver('later');
  log.commit();
  const next = nextLife(log);
  await until(() => next.session.readiness === 'now');
  // What shares an item is told apart.
  expect(next.outbox.said()).toEqual(['publish 1 q1d a sent', 'publish 2 q1 a waiting', 'publish 3 q1 a later']);
});

describe('QoS 2', () => {
  it('is sent when its item says its identifier, released when the item says PUBREC, gone after PUBCOMP', () => {
    const { client, deliver, log, stored } = world();
    const items = (): unknown[] =>
      log.tables.items(partition).flatMap(({ messages }) => messages.map((m) => [m.packetId, m.released]));
    deliver('x', 2);
    expect(client.outbox.said()).toEqual([]);
    log.take();
    log.write();
    expect([client.outbox.said(), items()]).toEqual([[], [[upper, false]]]);
    log.confirm();
    expect(client.outbox.said()).toEqual([`publish ${upper} q2 a x`]);
    client.send(ack('pubrec', upper));
    expect(client.outbox.said()).toEqual([]);
    log.take();
    log.write();
    expect([client.outbox.said(), items()]).toEqual([[], [[upper, true]]]);
    log.confirm();
    expect(client.outbox.said()).toEqual([`pubrel ${upper}`]);
    client.send(ack('pubcomp', upper));
    log.commit();
    expect([stored(), log.taken]).toEqual([[], ['messages 1', 'messages 1', 'delete']]);
  });

  it('goes on where the stored item says after a restart', async () => {
    const { client, deliver, log } = world();
    for (const payload of ['1', '2', '3']) deliver(payload, 2);
    log.commit();
    client.send(ack('pubrec', upper + 1));
    log.commit();
    client.send(ack('pubcomp', upper + 1), ack('pubrec', upper)); // PUBREC is not stored any more.
    const next = nextLife(log);
    await until(() => next.session.readiness === 'now');
    log.commit();
    expect(next.outbox.said()).toEqual([
      `publish ${upper} q2d a 1`,
      `pubrel ${upper + 1}`,
      `publish ${upper + 2} q2d a 3`,
    ]);
  });

  it.each(['after the client has gone', 'before'])(
    'leaves its item until its origin is settled, also if memory let it go meanwhile: it came %s',
    async (when) => {
      const { client, log, leave, stored } = world();
      const settled = new PendingReceipt();
      const one = message('a', 'x', 2);
      one.publisher = 'p' as ClientId;
      one.origin = { epoch: 1, number: 1, packetId: 1, again: undefined, settled };
      if (when === 'before') client.session.deliver(one, terms(2), nowMs);
      log.commit();
      leave();
      if (when !== 'before') client.session.deliver(one, terms(2), nowMs);
      log.commit();
      client.reconnect();
      await until(() => client.session.readiness === 'now');
      log.commit();
      for (const what of ['pubrec', 'pubcomp'] as const) {
        client.send(ack(what, upper));
        log.commit();
      }
      expect([stored(), client.session.queuedMessages]).toEqual([['released'], 0]);
      settled.settle(0);
      log.commit();
      expect(stored()).toEqual([]);
    },
  );

  it('keeps its identifier when memory lets it go, and PUBREC is not forgotten', async () => {
    const { client, deliver, log, leave } = world();
    for (const payload of ['1', '2']) deliver(payload, 2);
    log.commit();
    client.outbox.said();
    client.send(ack('pubrec', upper + 1));
    leave();
    log.commit();
    expect(client.session.queuedMessages).toBe(2);
    client.reconnect();
    await until(() => client.session.readiness === 'now');
    log.commit();
    expect(client.outbox.said()).toEqual([`publish ${upper} q2d a 1`, `pubrel ${upper + 1}`]);
  });

  it('that came back with the client before PUBREC was stored is released once that is', async () => {
    const { client, deliver, log, leave } = world({ writesMax: 1 });
    for (const payload of ['1', '2', '3']) deliver(payload, 2);
    log.commit();
    client.send(ack('pubrec', upper), ack('pubrec', upper + 1), ack('pubrec', upper + 2));
    leave();
    client.outbox.said();
    log.take();
    log.write();
    log.confirm(); // One of three.
    client.reconnect();
    await until(() => client.session.queuedMessages === 3);
    await until(() => (log.commit(), client.session.readiness === 'now'));
    log.commit();
    expect(client.outbox.said().sort()).toEqual([0, 1, 2].map((i) => `pubrel ${upper + i}`));
  });
});

describe('what does not fit into memory', () => {
  const many = Array.from({ length: 1500 }, (_, i) => String(i));

  it.each([1, 2] as const)('is stored and read again in order, QoS %i', async (qos) => {
    const { client, deliver, log, host, leave } = world({}, { receiveMaximum: 10 });
    host.limits = { ...host.limits, queuedMessagesPerSession: 5000 };
    leave();
    for (const payload of many.slice(0, 700)) deliver(payload, qos);
    log.commit();
    expect(host.unsafe).toBe(0);
    client.reconnect();
    for (const payload of many.slice(700)) deliver(payload, qos);
    const seen: string[] = [];
    await until(() => {
      log.commit();
      for (const line of client.outbox.said()) {
        const [kind, id, , , payload] = line.split(' ');
        if (kind === 'publish') seen.push(payload!);
        client.send(ack(kind === 'pubrel' ? 'pubcomp' : qos === 1 ? 'puback' : 'pubrec', Number(id)));
      }
      return client.session.queuedMessages === 0;
    }, 'everything delivered');
    expect(seen).toEqual(many);
    log.commit();
    expect([log.tables.payloads(partition), host.unsafe]).toEqual([[], 0]);
  });

  it.each([1, 2] as const)('may be in their thousands under way, and is sent again in order, QoS %i', async (qos) => {
    const { client, deliver, log, leave, host } = world();
    host.limits = { ...host.limits, queuedMessagesPerSession: 10_000 };
    const wanted = Array.from({ length: 2000 }, (_, i) => String(i));
    for (const payload of wanted) deliver(payload, qos);
    log.commit();
    const first = client.outbox.take().map(({ messageId }) => messageId!);
    expect(first).toHaveLength(wanted.length);
    leave();
    log.commit();
    client.reconnect();
    await until(() => (log.commit(), client.session.readiness === 'now'));
    const again = client.outbox.take();
    expect(again.map(({ messageId }) => messageId)).toEqual(first); // [MQTT-4.4.0-1]
    expect(again.map((packet) => packet.cmd === 'publish' && String(packet.payload))).toEqual(wanted);
    expect(again.every((packet) => packet.cmd === 'publish' && packet.dup)).toBe(true);
  });

  it('may be large: what waits for the window is bounded in bytes, too', async () => {
    const { client, deliver, log, host } = world({}, { receiveMaximum: 1 });
    const large = Array.from({ length: 12 }, (_, i) => String(i).padEnd(100_000, '.'));
    for (const payload of large) deliver(payload);
    const seen: string[] = [];
    await until(() => {
      for (const payload of published(client)) seen.push(payload);
      if (seen.length > 0) client.send(ack('puback', seen.length));
      if (seen.length % 3 === 0) log.commit();
      return client.session.queuedMessages === 0;
    }, 'everything delivered');
    expect([seen, host.readFailures]).toEqual([large, 0]);
  });

  it('is refused over the quota, and counted', () => {
    const { client, deliver, log, host, leave, stored } = world();
    host.limits = { ...host.limits, queuedMessagesPerSession: 2 };
    leave();
    for (const payload of ['1', '2', '3', '4']) deliver(payload);
    deliver('0', 0);
    log.commit();
    expect([stored(), client.session.droppedMessages, host.meters.droppedOverQuota]).toEqual([['1', '2'], 2, 2]);
    expect([host.unsafe, host.meters.droppedOffline]).toEqual([0, 1]);
  });

  it('is read again after a read that failed', async () => {
    const { client, deliver, log, host, leave } = world();
    leave();
    deliver('x');
    log.commit();
    log.readError = new Error('away');
    client.reconnect();
    await until(() => host.readFailures === 1);
    expect(published(client)).toEqual([]);
    log.readError = undefined;
    client.session.pump(nowMs);
    await until(() => client.session.readiness === 'now');
    expect(published(client)).toEqual(['x']);
  });
});

describe('a restart', () => {
  it('gives everything that was stored, in order, before what comes later', async () => {
    const { deliver, log, leave } = world();
    leave();
    for (const payload of ['1', '2', '3']) deliver(payload);
    log.commit();
    const next = nextLife(log);
    expect([next.session.queuedMessages, next.session.droppedMessages]).toEqual([3, 7]);
    next.session.deliver(message('a', '4', 1), terms(1), nowMs);
    await until(() => (log.commit(), next.session.readiness === 'now'));
    expect(published(next)).toEqual(['1', '2', '3', '4']);
    for (const id of [1, 2, 3, 4]) next.send(ack('puback', id));
    log.commit();
    expect(log.tables.payloads(partition)).toEqual([]);
  });
});

describe('a message that the store refuses', () => {
  it('is told to its publisher, and those after it go on', () => {
    const { client, deliver, log, host, leave } = world();
    leave();
    const bad = message('a', 'bad', 1);
    client.session.deliver(bad, terms(1), nowMs);
    const receipt = bad.pending!;
    log.take();
    log.refuse();
    expect([receipt.reasonCode, host.unsafe, client.session.queuedMessages]).toEqual([0x83, 0, 0]);
    deliver('good');
    log.commit();
    expect(log.tables.payloads(partition)).toEqual(['good']);
  });

  it('gives the place in the window back, and the store is left alone', () => {
    const { client, deliver, log } = world({}, { receiveMaximum: 1 });
    deliver('bad', 2);
    deliver('good', 2);
    log.take();
    log.refuse();
    log.commit();
    deliver('good', 2);
    log.commit();
    expect([published(client), client.session.queuedMessages]).toEqual([['good'], 1]);
  });
});
