/**
 * Every packet of an exchange in every state of its packet identifier: acknowledgements of what we sent, for sessions that
 * are stored and for those that are not, and what a publisher sends.
 * The table is written out here: what `exchange.ts` says has to come out of real sessions, packet by packet.
 */
import type { Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { PeerFault, reasons } from '../../../services/broker/wire/wire.js';
import { MemoryCommitLog } from '../../support/memory/commit-log.js';
import { ack, type Client, connect, message, nowMs, publish, terms } from './world.js';

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
  const client = connect({ keeping: { partitionOf: () => 'acme#c', log } });
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

/** The other direction: the client sends under an identifier, and we have got as far as the state says. */
const receiving: Readonly<Record<string, (client: Client, log: MemoryCommitLog) => void>> = {
  'not in use': () => undefined,
  'QoS 2, not safe yet': (client) => client.send(publish('a', 'x', 2, 5)),
  'PUBREC sent': (client, log) => {
    client.send(publish('a', 'x', 2, 5));
    log.commit();
  },
  'PUBREL has come, is not stored': (client, log) => {
    client.send(publish('a', 'x', 2, 5));
    log.commit();
    client.send(ack('pubrel', 5));
  },
};

type Sent = 'PUBLISH of QoS 1' | 'PUBLISH of QoS 2' | 'PUBLISH with DUP' | 'PUBREL';
const sendings: Readonly<Record<Sent, Packet>> = {
  'PUBLISH of QoS 1': publish('a', 'y', 1, 5),
  'PUBLISH of QoS 2': publish('a', 'x', 2, 5),
  'PUBLISH with DUP': publish('a', 'x', 2, 5, { dup: true }),
  PUBREL: ack('pubrel', 5),
};

/** What is said when all is stored, and how often it has been published since. */
const received: Readonly<Record<string, Readonly<Record<Sent, readonly [string, number]>>>> = {
  'not in use': {
    'PUBLISH of QoS 1': ['puback 5', 1],
    'PUBLISH of QoS 2': ['pubrec 5', 1],
    'PUBLISH with DUP': ['pubrec 5', 1],
    PUBREL: ['pubcomp 5 0x92', 0],
  },
  'QoS 2, not safe yet': {
    'PUBLISH of QoS 1': ['pubrec 5,puback 5', 1], // In the order of the PUBLISHes. [MQTT-4.6.0-2]
    'PUBLISH of QoS 2': ['pubrec 5', 0], // A repetition, whatever DUP says. [MQTT-4.3.3-10]
    'PUBLISH with DUP': ['pubrec 5', 0],
    PUBREL: ['pubrec 5,pubcomp 5', 0], // Too early; nothing of it stays.
  },
  'PUBREC sent': {
    'PUBLISH of QoS 1': ['puback 5', 1],
    'PUBLISH of QoS 2': ['pubrec 5', 0],
    'PUBLISH with DUP': ['pubrec 5', 0],
    PUBREL: ['pubcomp 5', 0], // [MQTT-4.3.3-11]
  },
  'PUBREL has come, is not stored': {
    'PUBLISH of QoS 1': ['puback 5,pubcomp 5', 1], // Answers of different kinds have no order. (section 4.6)
    'PUBLISH of QoS 2': ['pubcomp 5,pubrec 5', 1],
    'PUBLISH with DUP': ['pubcomp 5,pubrec 5', 1],
    PUBREL: ['pubcomp 5,pubcomp 5 0x92', 0],
  },
};

describe('a publisher whose session is stored', () => {
  const cells = Object.keys(receiving).flatMap((state) =>
    (Object.keys(sendings) as Sent[]).map((sent) => [state, sent, ...received[state]![sent]] as const),
  );
  it.each(cells)('%s, then %s: %s', (state, sent, said, published) => {
    const log = new MemoryCommitLog({ nowMs: () => nowMs });
    const client = connect({ keeping: { partitionOf: () => 'acme#c', log } });
    receiving[state]!(client, log);
    client.outbox.said();
    const before = client.host.published.length;
    client.send(sendings[sent]);
    log.commit();
    expect([client.outbox.said().join(), client.host.published.length - before]).toEqual([said, published]);
    if (sent === 'PUBREL') expect(log.tables.received('acme#c')?.packetIds ?? []).toEqual([]);
  });
});
