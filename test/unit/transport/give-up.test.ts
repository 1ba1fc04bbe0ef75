/**
 * `Outbox.giveUp`: the connection ends after the turn, never inside the work of its session. The real connection and the
 * fake one of the session's tests keep the same rules, or the session's tests would show nothing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  Admission,
  Admitted,
  Connection as AdmissionConnection,
} from '../../../services/broker/admission/admission.js';
import { PendingReceipt } from '../../../services/broker/message/message.js';
import { Channel, type Outbox, Session } from '../../../services/broker/session/session.js';
import { Connection } from '../../../services/broker/transport/connection.js';
import { Flusher } from '../../../services/broker/transport/flusher.js';
import type { ByteSink, ByteStream } from '../../../services/broker/transport/ports.js';
import { DeadlineWheel } from '../../../services/broker/transport/wheel.js';
import { reasons, Slab, TopicTable } from '../../../services/broker/wire/wire.js';
import { type ClientId, Metrics, silentLog, systemClock } from '../../../services/kernel/kernel.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { heardFaults, type HeardFaults } from '../../support/heard-faults.js';
import { connect, everything, FakeHost, nowMs, publish } from '../session/world.js';

interface Subject {
  readonly session: Session;
  readonly outbox: Outbox;
  /** Publishes with QoS 1 and this packet identifier. */
  publish(packetId: number): void;
  /** The network takes nothing any more. */
  stopReading(): void;
  /** The reason with which it ended. */
  readonly endedBy: string | undefined;
  /** Commands of the packets that have left. */
  sent(): string[];
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function fake(host: FakeHost): Subject {
  const client = connect({ host });
  return {
    session: client.session,
    outbox: client.outbox,
    publish: (packetId) => client.send(publish('t', 'x', 1, packetId)),
    stopReading: () => (client.outbox.waitingBytes = 3 << 20),
    get endedBy() {
      return client.session.channel ? undefined : client.outbox.closedBy?.name;
    },
    sent: () => client.outbox.take().map(({ cmd }) => cmd),
  };
}

const wheels: DeadlineWheel[] = [];

async function real(host: FakeHost): Promise<Subject> {
  const session = new Session('c' as ClientId, host, everything);
  session.renew(1);
  const limits = { packetBytesMax: 1 << 18 };
  const tenant = { id: 'acme', limits, spendPublish: () => 0, publishWaitMs: () => 0 } as unknown as Admitted['tenant'];
  const admission = {
    connect(_: unknown, connection: AdmissionConnection): Promise<void> {
      const wish = { version: 5, receiveMaximum: 65_535, inFlightMax: 256, packetBytesMax: Infinity } as const;
      const channel = new Channel(connection, new Slab(), { ...wish, topicAliasMax: 0, problemInformation: false });
      connection.admitted({ tenant, session, channel, keepAliveSeconds: 0 });
      session.attach(channel, nowMs);
      return Promise.resolve();
    },
    disconnected: () => session.detach(nowMs), // At once, as the departure does it.
  } as unknown as Admission;
  const written: Buffer[] = [];
  const stream = {
    remoteAddress: 'test',
    unsentBytes: 0,
    write: (bytes: Buffer) => void written.push(Buffer.from(bytes)),
    pause() {},
    resume() {},
    end() {},
    destroy() {},
  };
  const metrics = new Metrics();
  const wheel = new DeadlineWheel(() => performance.now());
  wheels.push(wheel);
  const flusher = new Flusher({ leave: () => 'all', onLapsed() {} });
  const world = { admission, topics: new TopicTable(), flusher, wheel, clock: systemClock, log: silentLog, metrics };
  let sink!: ByteSink;
  const connection = new Connection({ ...world, onGone() {} }, (given): ByteStream => {
    sink = given;
    return stream;
  });
  sink.onBytes(
    encode({ cmd: 'connect', clientId: 'c', protocolId: 'MQTT', protocolVersion: 5, clean: true, keepalive: 0 }, 5),
  );
  await turn();
  return {
    session,
    outbox: connection,
    publish: (packetId) => sink.onBytes(encode(publish('t', 'x', 1, packetId), 5)),
    stopReading: () => {
      stream.unsentBytes = 3 << 20;
      sink.onDrain();
    },
    get endedBy() {
      const closed = [...metrics.samples()].find(({ name }) => name === 'shoal_connections_closed_total');
      return connection.closed ? closed?.labels['reason'] : undefined;
    },
    sent: () => decodeAll(Buffer.concat(written.splice(0)), 5).map(({ cmd }) => cmd),
  };
}

let faults: HeardFaults;
beforeEach(() => {
  faults = heardFaults();
});
afterEach(() => {
  faults.stop();
  for (const wheel of wheels.splice(0)) wheel.stop();
});

describe.each([
  ['the connection', real],
  ['the outbox of the tests', fake],
])('%s', (_, open) => {
  it('ends after the turn, and is mute before that', async () => {
    const { session, outbox, ...subject } = await open(new FakeHost());
    subject.sent();
    const packet = encode({ cmd: 'pingresp' }, 5);
    outbox.giveUp(reasons.clientTooSlow);
    expect(session.channel).toBeDefined();
    outbox.push(packet, 0, packet.length);
    await turn();
    expect(session.channel).toBeUndefined();
    expect(subject.sent().filter((cmd) => cmd !== 'disconnect')).toEqual([]);
  });

  it('ends once, with the first reason', async () => {
    const subject = await open(new FakeHost());
    subject.outbox.giveUp(reasons.clientTooSlow);
    subject.outbox.giveUp(reasons.packetTooLarge);
    await turn();
    subject.outbox.giveUp(reasons.packetTooLarge);
    expect(subject.endedBy).toBe('client-too-slow');
  });

  it('is given up in the middle of acknowledgements: whoever settles goes on, and does so once', async () => {
    const host = new FakeHost();
    const receipts = [1, 2, 3].map(() => new PendingReceipt());
    host.receipts = [...receipts];
    const subject = await open(host);
    for (const packetId of [1, 2, 3]) subject.publish(packetId);
    subject.stopReading();
    // In reverse: the last one releases all three.
    const neighbours: number[] = [];
    for (const [i, receipt] of receipts.entries()) receipt.whenSettled(() => neighbours.push(i));
    for (const receipt of [...receipts].reverse()) expect(() => receipt.settle(0)).not.toThrow();
    await turn();
    expect(neighbours).toEqual([2, 1, 0]);
    expect(subject.endedBy).toBe('client-too-slow');
    expect(subject.session.owedAnswers).toBe(0);
    expect(faults.counts).toEqual({});
  });
});

it('a fault of ours in an answer that waited costs its connection, and no other that waits for the same message', async () => {
  const shared = new PendingReceipt();
  const host = new FakeHost();
  host.receipts = [shared, shared];
  const [broken, neighbour] = [fake(host), fake(host)];
  for (const one of [broken, neighbour]) one.publish(1);
  broken.outbox.push = () => {
    throw new Error('planted');
  };
  shared.settle(0);
  await turn();
  expect([broken.endedBy, neighbour.endedBy]).toEqual(['unspecified-error', undefined]);
  expect(neighbour.sent()).toEqual(['puback']);
  expect(faults.counts).toEqual({ session: 1 });
});
