/** What waits until a session that has come here is known to the end. */
import { expect, test } from 'vitest';
import { type DeliveryTerms, Message, topicName } from '../../../services/broker/message/message.js';
import { EarlyArrivals } from '../../../services/broker/session/early-arrivals.js';
import type { SessionHost } from '../../../services/broker/session/ports.js';
import { heardFaults } from '../../support/heard-faults.js';

test('one that cannot be delivered is not acknowledged, and those behind it go on', () => {
  const told: string[] = [];
  const tell =
    (what: string) =>
    ({ payload }: Message, reasonCode?: number): void =>
      void told.push([what, payload.toString(), ...(reasonCode === undefined ? [] : [reasonCode])].join(' '));
  const backlog = { hold: tell('hold'), letGo: tell('let go') };
  const early = new EarlyArrivals({ owe: () => undefined, pay: tell('pay'), backlog } as unknown as SessionHost);
  const terms = {} as DeliveryTerms;
  for (const text of ['1', 'bad', '3'])
    early.hold(Message.of({ topic: topicName('a'), payload: Buffer.from(text), qos: 1, retain: false }), terms);
  told.length = 0;
  const faults = heardFaults();
  early.letGo((message) => {
    if (message.payload.toString() === 'bad') throw new Error('planted');
    tell('deliver')(message);
  });
  expect(faults.counts).toEqual({ 'fan-out': 1 });
  faults.stop();
  expect(told).toEqual([
    ...['deliver 1', 'let go 1', 'pay 1 0'],
    ...['let go bad', 'pay bad 128'],
    ...['deliver 3', 'let go 3', 'pay 3 0'],
  ]);
});
