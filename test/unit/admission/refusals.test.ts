/** Who is turned away hears why, in a code that its version of MQTT has for it, and finds it in the docs. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import {
  faultOf,
  passwordsBusy,
  strangersBusy,
  tenantBusy,
  waitedTooLong,
} from '../../../services/broker/admission/refusals.js';
import { TurnedAway, type TurnedAwayBy } from '../../../services/broker/tenant/tenant.js';
import { refusalOf } from '../../../services/broker/transport/last-packet.js';
import { PeerFault, reasons } from '../../../services/broker/wire/wire.js';
import { decodeAll } from '../../fuzz/packets.js';

const told: Readonly<Record<TurnedAwayBy, readonly [code5: number | undefined, code3: number | undefined]>> = {
  connections: [0x97, 3],
  sessions: [0x97, 3],
  units: [0x97, 3],
  memory: [0x97, 3],
  shed: [0x97, 3],
  rate: [0x9f, 3],
  will: [0x9f, 3],
  turn: [0x88, 3],
  elsewhere: [0x88, 3],
  // CONNACK has no code for these, and nobody reads it.
  displaced: [undefined, undefined],
  gone: [undefined, undefined],
};
const faults: [string, PeerFault, number | undefined, number | undefined][] = [
  ...Object.entries(told).map(
    ([by, [code5, code3]]) => [by, faultOf(new TurnedAway(by as TurnedAwayBy)), code5, code3] as never,
  ),
  ['strangers', strangersBusy(), 0x89, 3],
  ['tenant', tenantBusy(), 0x89, 3],
  ['waited', waitedTooLong(), 0x89, 3],
  ['passwords', passwordsBusy(), 0x89, 3],
  ['guesses', new PeerFault(reasons.tooManyWrongPasswords, reasons.tooManyWrongPasswords.words), 0x9f, 3],
];
const docs = ['troubleshooting', 'metrics', 'limits'].map((name) => readFileSync(`docs/${name}.md`, 'utf8')).join('\n');

it.each(faults)('%s', (_by, fault, code5, code3) => {
  const packetOf = (version: 4 | 5) => decodeAll(refusalOf(fault, version, Infinity) ?? Buffer.alloc(0), version)[0];
  expect(packetOf(5)).toEqual(
    code5 === undefined
      ? undefined
      : expect.objectContaining({ reasonCode: code5, properties: { reasonString: fault.message } }),
  );
  expect(packetOf(4)).toEqual(code3 === undefined ? undefined : expect.objectContaining({ returnCode: code3 }));
  expect(docs).toContain(`\`${fault.reason.name}\``);
});
