/** MQTT 5.0, sections 3.8 to 3.12: SUBSCRIBE, UNSUBSCRIBE, PINGREQ. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as delivering from '../scenarios/delivering.js';
import * as retaining from '../scenarios/retaining.js';
import * as subscribing from '../scenarios/subscribing.js';

export const subscribeRows: Row[] = [
  {
    id: 'MQTT-3.8.1-1',
    says: 'SUBSCRIBE with other flags than 0010 is malformed',
    binds: 'both',
    test: subscribing.subscribeFlags,
  },
  { id: 'MQTT-3.8.3-1', says: 'filters are UTF-8 strings', binds: 'both', test: subscribing.subscribeUtf8 },
  {
    id: 'MQTT-3.8.3-2',
    says: 'SUBSCRIBE has at least one filter; none is a protocol error (0x82)',
    binds: 'both',
    test: subscribing.subscribeWithoutFilter,
  },
  {
    id: 'MQTT-3.8.3-3',
    says: 'No Local: a client does not get its own messages back',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      await client.subscribe({ filter: t.topic(), qos: 1, noLocal: true });
      await client.publish({ topic: t.topic(), payload: 'own', qos: 1 });
      await client.expectNothing();
      await (await t.connect()).publish({ topic: t.topic(), payload: 'foreign', qos: 1 });
      await client.receive({ payload: 'foreign' });
      await client.subscribe({ filter: t.topic(), qos: 1 });
      await client.publish({ topic: t.topic(), payload: 'own', qos: 0 });
      await client.receive({ payload: 'own' });
    },
  },
  {
    id: 'MQTT-3.8.3-4',
    says: 'No Local on a shared subscription is a protocol error (0x82)',
    binds: 'client',
    async test(t) {
      const client = await t.connect();
      client.sendSubscribe([{ filter: `$share/g/${t.topic()}`, noLocal: true }]);
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'MQTT-3.8.3-5',
    says: 'reserved bits in the subscription options are malformed',
    binds: 'server',
    test: subscribing.reservedOptions,
  },
  { id: 'MQTT-3.8.4-1', says: 'SUBSCRIBE is answered with SUBACK', binds: 'server', test: subscribing.acknowledged },
  { id: 'MQTT-3.8.4-2', says: 'with the same packet identifier', binds: 'server', coveredBy: 'MQTT-3.8.4-1' },
  {
    id: 'MQTT-3.8.4-3',
    says: 'subscribing to the same filter replaces the subscription',
    binds: 'server',
    test: subscribing.replaced,
  },
  {
    id: 'MQTT-3.8.4-4',
    says: 'replacing sends retained messages again and loses nothing',
    binds: 'server',
    async test(t) {
      await subscribing.replacedWithoutLoss(t);
      await retaining.sentAgainOnResubscribe(t);
    },
  },
  {
    id: 'MQTT-3.8.4-5',
    says: 'several filters are handled one after the other and answered together',
    binds: 'server',
    test: subscribing.severalFilters,
  },
  {
    id: 'MQTT-3.8.4-6',
    says: 'SUBACK has a code for each filter',
    binds: 'server',
    test: subscribing.answersInOrder,
  },
  {
    id: 'MQTT-3.8.4-7',
    says: 'the code is the granted QoS or a failure',
    binds: 'server',
    test: (t) => subscribing.badFilters(t, 'a/#/b'),
  },
  {
    id: 'MQTT-3.8.4-8',
    says: 'delivery at the lower of the published and the granted QoS',
    binds: 'server',
    test: delivering.qosIsMinimum,
  },
  {
    id: 'MQTT-3.9.2-1',
    says: 'no reason string that would make SUBACK too large',
    binds: 'server',
    async test(t) {
      const client = await t.connect({ properties: { maximumPacketSize: 30 } });
      await client.subscribe('#/a');
      await client.unsubscribe('#/a');
    },
  },
  {
    id: 'MQTT-3.9.2-2',
    says: 'no user properties that would make SUBACK too large',
    binds: 'server',
    coveredBy: 'MQTT-3.9.2-1',
  },
  { id: 'MQTT-3.9.3-1', says: 'codes are in the order of the filters', binds: 'server', coveredBy: 'MQTT-3.8.4-6' },
  { id: 'MQTT-3.9.3-2', says: 'SUBACK codes come from the table', binds: 'server', coveredBy: 'SHOAL-STRICT-1' },
  {
    id: 'MQTT-3.10.1-1',
    says: 'UNSUBSCRIBE with other flags than 0010 is malformed',
    binds: 'both',
    test: subscribing.unsubscribeFlags,
  },
  { id: 'MQTT-3.10.3-1', says: 'filters are UTF-8 strings', binds: 'both', test: subscribing.unsubscribeUtf8 },
  {
    id: 'MQTT-3.10.3-2',
    says: 'UNSUBSCRIBE has at least one filter; none is a protocol error (0x82)',
    binds: 'both',
    test: subscribing.unsubscribeWithoutFilter,
  },
  {
    id: 'MQTT-3.10.4-1',
    says: 'filters are compared character by character, and a match ends the subscription',
    binds: 'server',
    test: subscribing.comparedExactly,
  },
  { id: 'MQTT-3.10.4-2', says: 'no new messages after UNSUBSCRIBE', binds: 'server', test: subscribing.unsubscribed },
  {
    id: 'MQTT-3.10.4-3',
    says: 'deliveries that were started are completed',
    binds: 'server',
    test: subscribing.startedDeliveryCompletes,
  },
  {
    id: 'MQTT-3.10.4-4',
    says: 'UNSUBSCRIBE is answered with UNSUBACK',
    binds: 'server',
    async test(t) {
      const client = await t.subscriber(t.topic());
      await client.expect('unsuback', { packetId: client.sendUnsubscribe(t.topic()), reasonCodes: [0] });
    },
  },
  {
    id: 'MQTT-3.10.4-5',
    says: 'UNSUBACK has the same identifier and comes even when there was no subscription',
    binds: 'server',
    test: subscribing.unsubscribeAlwaysAcknowledged,
  },
  {
    id: 'MQTT-3.10.4-6',
    says: 'several filters are handled one after the other and answered together',
    binds: 'server',
    test: subscribing.unsubscribesSeveral,
  },
  {
    id: 'MQTT-3.11.2-1',
    says: 'no reason string that would make UNSUBACK too large',
    binds: 'server',
    coveredBy: 'MQTT-3.9.2-1',
  },
  {
    id: 'MQTT-3.11.2-2',
    says: 'no user properties that would make UNSUBACK too large',
    binds: 'server',
    coveredBy: 'MQTT-3.9.2-1',
  },
  {
    id: 'MQTT-3.11.3-1',
    says: 'UNSUBACK codes are in the order of the filters',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      await client.subscribe(t.topic('a'), t.topic('c'));
      const ack = await client.unsubscribe(t.topic('a'), t.topic('b'), t.topic('c'), t.topic('a'));
      if (ack.reasonCodes?.join() !== '0,17,0,17') throw new Error(ack.reasonCodes?.join());
    },
  },
  { id: 'MQTT-3.11.3-2', says: 'UNSUBACK codes come from the table', binds: 'server', coveredBy: 'MQTT-3.11.3-1' },
  { id: 'MQTT-3.12.4-1', says: 'PINGREQ is answered with PINGRESP', binds: 'server', test: connecting.pings },
];

export const subscribeOptionRows: Row[] = [
  {
    id: 'SHOAL-OPTIONS-1',
    says: 'a requested QoS of 3 and Retain Handling of 3 are refused (0x82 or 0x81)',
    binds: 'server',
    async test(t) {
      await subscribing.requestedQosThree(t);
      const body = [bytes.u16(1), bytes.properties(), bytes.utf8(t.topic()), bytes.u8(0x30)];
      await t.refuses([0x81, 0x82], bytes.packet('subscribe', 2, ...body));
    },
  },
  {
    id: 'SHOAL-OPTIONS-2',
    says: 'a subscription identifier of 0, or two of them, is refused with 0x82',
    binds: 'server',
    async test(t) {
      for (const subscriptionIdentifier of [0, [1, 2]]) {
        const client = await t.connect();
        client.sendSubscribe([t.topic()], { subscriptionIdentifier });
        await client.expectClosed(0x82);
      }
    },
  },
];
