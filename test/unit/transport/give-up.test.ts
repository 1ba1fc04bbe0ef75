/**
 * `Outbox.giveUp`: the connection ends after the turn, never inside the work of its session. The real connection and the
 * fake one of the session's tests keep the same rules, or the session's tests would show nothing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PendingReceipt } from '../../../services/broker/message/message.js';
import type { Outbox, Session } from '../../../services/broker/session/session.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import { decodeAll, encode } from '../../fuzz/packets.js';
import { heardFaults, type HeardFaults } from '../../support/heard-faults.js';
import { connect, FakeHost, publish } from '../session/world.js';
import { looseConnection, turn } from './loose-connection.js';

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

async function real(host: FakeHost): Promise<Subject> {
  const loose = await looseConnection(host);
  const { session, connection, sink, stream } = loose;
  return {
    session,
    outbox: connection,
    publish: (packetId) => sink.onBytes(encode(publish('t', 'x', 1, packetId), 5)),
    stopReading: () => {
      stream.unsentBytes = 3 << 20;
      sink.onDrain();
    },
    get endedBy() {
      return loose.endedBy;
    },
    sent: () => decodeAll(stream.take(), 5).map(({ cmd }) => cmd),
  };
}

let faults: HeardFaults;
beforeEach(() => {
  faults = heardFaults();
});
afterEach(() => {
  faults.stop();
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
