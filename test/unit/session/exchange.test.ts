/**
 * Every acknowledgement in every state of its packet identifier, for sessions that are stored and for those that are not.
 * The table is written out here: what `exchange.ts` says has to come out of real sessions, packet by packet.
 */
import { describe, expect, it } from 'vitest';
import { PeerFault, reasons } from '../../../services/broker/wire/wire.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { ack, type Client, connect, message, nowMs, terms } from './world.js';

type Acknowledgement = 'puback' | 'pubrec' | 'refusal' | 'pubcomp';

interface Place {
  readonly client: Client;
  readonly packetId: number;
  /** Everything that waits to be stored is. */
  readonly store: () => void;
}

const packet = (kind: Acknowledgement, packetId: number) =>
  kind === 'refusal' ? ack('pubrec', packetId, 0x83) : ack(kind, packetId);

function memory(): Place {
  const client = connect();
  return { client, packetId: 1, store: () => undefined };
}

function stored(qos: 1 | 2): Place {
  const log = new MemoryCommitLog({ nowMs: () => nowMs });
  const client = connect({ keeping: { partition: 'acme#c', log } });
  return { client, packetId: qos === 2 ? 32_768 : 1, store: () => log.commit() };
}

type Step = (place: Place) => void;
const deliver =
  (qos: 1 | 2): Step =>
  ({ client }) =>
    client.session.deliver(message('a', 'x', qos), terms(qos), nowMs);
const store: Step = ({ store }) => store();
const pubrec: Step = ({ client, packetId }) => client.send(ack('pubrec', packetId));

/** How each state is reached. */
const states: Readonly<Record<string, { qos: 1 | 2; steps: readonly Step[]; durableOnly?: boolean }>> = {
  'not in use': { qos: 2, steps: [] },
  'not sent, its item is not stored': { qos: 2, steps: [deliver(2)], durableOnly: true },
  'QoS 1 sent': { qos: 1, steps: [deliver(1), store] },
  'QoS 2 sent': { qos: 2, steps: [deliver(2), store] },
  'PUBREC has come, is not stored': { qos: 2, steps: [deliver(2), store, pubrec], durableOnly: true },
  'PUBREL sent': { qos: 2, steps: [deliver(2), store, pubrec, store] },
};

/** What is said then; `over`: the message is done as well; `fault`: the connection ends, and the message waits. */
const table: Readonly<Record<string, Readonly<Record<Acknowledgement, string>>>> = {
  'not in use': { puback: '', pubrec: 'pubrel 0x92', refusal: '', pubcomp: '' },
  'not sent, its item is not stored': { puback: '', pubrec: 'pubrel 0x92', refusal: '', pubcomp: '' },
  'QoS 1 sent': { puback: 'over', pubrec: 'fault', refusal: 'fault', pubcomp: 'fault' },
  'QoS 2 sent': { puback: 'fault', pubrec: 'pubrel', refusal: 'over', pubcomp: 'fault' },
  // Once, when it is stored, however often PUBREC comes.
  'PUBREC has come, is not stored': { puback: 'fault', pubrec: 'pubrel', refusal: 'over', pubcomp: 'fault' },
  'PUBREL sent': { puback: 'fault', pubrec: 'pubrel', refusal: 'over', pubcomp: 'over' },
};

function outcome(place: Place, kind: Acknowledgement): string {
  const { client, packetId } = place;
  client.outbox.said();
  const waiting = client.session.queuedMessages;
  try {
    client.send(packet(kind, packetId));
  } catch (error) {
    if (!(error instanceof PeerFault) || error.reason !== reasons.protocolError) throw error;
    expect(client.session.queuedMessages).toBe(waiting);
    return 'fault';
  }
  if (kind === 'pubrec') place.store();
  const said = client.outbox.said().map((line) => line.replace(` ${packetId}`, ''));
  if (client.session.queuedMessages < waiting) said.push('over');
  return said.filter((line) => !line.startsWith('publish')).join();
}

describe.each([
  ['in memory', memory],
  ['stored', stored],
] as const)('a session %s', (kind, open) => {
  const rows = Object.entries(states).filter(([, { durableOnly }]) => !durableOnly || kind === 'stored');
  const cells = rows.flatMap(([name]) =>
    (['puback', 'pubrec', 'refusal', 'pubcomp'] as const).map((sent) => [name, sent, table[name]![sent]] as const),
  );
  it.each(cells)('%s, then %s: %s', (name, sent, wanted) => {
    const { qos, steps } = states[name]!;
    const place = open(qos);
    for (const step of steps) step(place);
    expect(outcome(place, sent)).toBe(wanted);
  });
});
