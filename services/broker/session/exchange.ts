/**
 * What an acknowledgement of the client does, by where the exchange of its packet identifier stands: one table for all
 * sessions, stored or not. We are the sender here (MQTT 5.0 sections 4.3.2 and 4.3.3).
 *
 *      QoS 1   unused -> sent1 -> PUBACK -> unused
 *      QoS 2   unused -> sent2 -> PUBREC -> received -> PUBREL leaves -> released -> PUBCOMP -> unused
 *
 * An acknowledgement that the state does not allow is the client's fault and ends the connection: a client that takes
 * QoS 1 for QoS 2 would otherwise keep its message waiting, or end a message that it has never had. One for an
 * identifier that is not in use is no fault: the exchange may have ended while it was on its way.
 */
import { type AckType, packetType, protocolError } from '../wire/wire.js';
import type { Channel } from './channel.js';

export type Stage =
  | 'unused'
  /** QoS 1, sent. */
  | 'sent1'
  /** QoS 2, sent, PUBREC has not come. */
  | 'sent2'
  /** PUBREC has come; PUBREL leaves when that is stored. */
  | 'received'
  /** PUBREL has been sent. */
  | 'released';

/** What the client sends; `refusal` is PUBREC with a reason code of 0x80 or above. */
export type Acknowledgement = 'puback' | 'pubrec' | 'refusal' | 'pubcomp';

export type Step =
  /** The exchange is over: the identifier is free, and the message is done. */
  | 'done'
  /** PUBREL is due, as soon as it may be sent. */
  | 'release'
  /** PUBREL once more. */
  | 'repeat'
  /** PUBREL with 0x92, Packet Identifier not found. */
  | 'not-found'
  | 'nothing'
  /** A protocol error. */
  | 'fault';

export const steps: Readonly<Record<Stage, Readonly<Record<Acknowledgement, Step>>>> = {
  // A refusal ends the exchange at the client, too: it waits for nothing. (section 4.3.3)
  unused: { puback: 'nothing', pubrec: 'not-found', refusal: 'nothing', pubcomp: 'nothing' },
  sent1: { puback: 'done', pubrec: 'fault', refusal: 'fault', pubcomp: 'fault' },
  sent2: { puback: 'fault', pubrec: 'release', refusal: 'done', pubcomp: 'fault' },
  received: { puback: 'fault', pubrec: 'nothing', refusal: 'done', pubcomp: 'fault' },
  released: { puback: 'fault', pubrec: 'repeat', refusal: 'done', pubcomp: 'done' },
};

const names: Readonly<Record<number, string>> = {
  [packetType.puback]: 'PUBACK',
  [packetType.pubrec]: 'PUBREC',
  [packetType.pubcomp]: 'PUBCOMP',
};

/** Throws `PeerFault` where the table says `fault`. */
export function stepFor(stage: Stage, type: AckType, packetId: number, reasonCode: number): Exclude<Step, 'fault'> {
  const step = steps[stage][acknowledgementOf(type, reasonCode)];
  if (step === 'fault') throw protocolError(`${names[type]} for packet identifier ${packetId}, ${wordsFor[stage]}`);
  return step;
}

/** What the steps say that change nothing. 0x92 is told where the dialect can; MQTT 3.x completes the exchange either way. */
export function answerAgain(
  channel: Channel | undefined,
  step: 'repeat' | 'not-found' | 'nothing',
  packetId: number,
): void {
  if (step !== 'nothing') channel?.ack(packetType.pubrel, packetId, step === 'repeat' ? 0 : 0x92);
}

function acknowledgementOf(type: AckType, reasonCode: number): Acknowledgement {
  if (type === packetType.puback) return 'puback';
  if (type === packetType.pubcomp) return 'pubcomp';
  return reasonCode >= 0x80 ? 'refusal' : 'pubrec';
}

const wordsFor: Readonly<Record<Stage, string>> = {
  unused: 'which is not in use',
  sent1: 'whose message has QoS 1',
  sent2: 'whose message has QoS 2 and waits for PUBREC',
  received: 'whose message has QoS 2 and had its PUBREC',
  released: 'whose message has QoS 2 and waits for PUBCOMP',
};
