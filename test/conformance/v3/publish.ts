/** MQTT 3.1.1, sections 3.3 to 3.14. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as delivering from '../scenarios/delivering.js';
import * as retaining from '../scenarios/retaining.js';
import * as subscribing from '../scenarios/subscribing.js';
import * as wills from '../scenarios/wills.js';

export const publishRows: Row[] = [
  {
    id: 'MQTT-3.3.1-1',
    says: 'DUP is set on a PUBLISH that is sent again',
    binds: 'both',
    test: (t) => delivering.resent(t, 2),
  },
  { id: 'MQTT-3.3.1-2', says: 'DUP is clear at QoS 0', binds: 'both', test: delivering.dupClearOnQosZero },
  {
    id: 'MQTT-3.3.1-3',
    says: 'DUP towards the subscriber does not depend on DUP of the publisher',
    binds: 'both',
    test: delivering.dupNotPropagated,
  },
  { id: 'MQTT-3.3.1-4', says: 'QoS 3 ends the connection', binds: 'both', test: delivering.qosThree },
  { id: 'MQTT-3.3.1-5', says: 'a retained message is stored with its QoS', binds: 'server', test: retaining.replaced },
  {
    id: 'MQTT-3.3.1-6',
    says: 'a new subscription gets the last retained message of each topic that matches',
    binds: 'server',
    test: retaining.sentToNewSubscription,
  },
  {
    id: 'MQTT-3.3.1-7',
    says: 'a retained QoS 0 message discards the one before it',
    binds: 'server',
    test: retaining.qosZeroReplaces,
  },
  {
    id: 'MQTT-3.3.1-8',
    says: 'RETAIN is 1 on what a new subscription brings',
    binds: 'server',
    coveredBy: 'MQTT-3.3.1-6',
  },
  {
    id: 'MQTT-3.3.1-9',
    says: 'RETAIN is 0 on what a subscription that exists gets',
    binds: 'server',
    test: retaining.flagClearWhenForwarded,
  },
  {
    id: 'MQTT-3.3.1-10',
    says: 'an empty retained message removes the retained one and is itself delivered',
    binds: 'server',
    test: retaining.removedByEmpty,
  },
  {
    id: 'MQTT-3.3.1-11',
    says: 'an empty message is never retained',
    binds: 'server',
    test: retaining.emptyNotStored,
  },
  {
    id: 'MQTT-3.3.1-12',
    says: 'without RETAIN nothing is stored, replaced or removed',
    binds: 'server',
    test: retaining.untouchedWithoutFlag,
  },
  { id: 'MQTT-3.3.2-1', says: 'the topic name comes first and is UTF-8', binds: 'both', coveredBy: 'MQTT-1.5.3-1' },
  {
    id: 'MQTT-3.3.2-2',
    says: 'a topic name has no wildcards',
    binds: 'both',
    test: subscribing.wildcardInTopicName,
  },
  {
    id: 'MQTT-3.3.2-3',
    says: 'what a subscriber gets matches its filter',
    binds: 'server',
    test: subscribing.singleLevel,
  },
  { id: 'MQTT-3.3.4-1', says: 'PUBLISH is answered as its QoS asks', binds: 'both', test: delivering.responses },
  {
    id: 'MQTT-3.3.5-1',
    says: 'overlapping subscriptions: delivery at the highest QoS among them',
    binds: 'server',
    test: subscribing.overlapping,
  },
  {
    id: 'MQTT-3.3.5-2',
    says: 'a PUBLISH that is not allowed is acknowledged all the same, or the connection ends',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ grants: [{ effect: 'allow', action: 'subscribe', topic: '#' }] });
      const s = await t.subscriber(t.topic('#'));
      const p = await t.connect({ as });
      for (const qos of [0, 1, 2] as const) await p.publish({ topic: t.topic(), payload: 'no', qos });
      await p.expectNothing();
      await s.expectNothing();
    },
  },
  {
    id: 'MQTT-3.6.1-1',
    says: 'PUBREL with other flags than 0010 is malformed',
    binds: 'both',
    test: delivering.releaseFlags,
  },
];

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
    says: 'a server without wildcards refuses filters that have them',
    binds: 'server',
    notTestable: 'the server supports wildcards',
  },
  {
    id: 'MQTT-3.8.3-3',
    says: 'SUBSCRIBE has at least one filter',
    binds: 'both',
    test: subscribing.subscribeWithoutFilter,
  },
  {
    id: 'MQTT-3.8.3-4',
    says: 'reserved bits and a QoS of 3 are malformed',
    binds: 'server',
    async test(t) {
      await subscribing.reservedOptions(t);
      await subscribing.requestedQosThree(t);
    },
  },
  { id: 'MQTT-3.8.4-1', says: 'SUBSCRIBE is answered with SUBACK', binds: 'server', test: subscribing.acknowledged },
  { id: 'MQTT-3.8.4-2', says: 'with the same packet identifier', binds: 'server', coveredBy: 'MQTT-3.8.4-1' },
  {
    id: 'MQTT-3.8.4-3',
    says: 'subscribing to the same filter replaces, sends retained messages again and loses nothing',
    binds: 'server',
    async test(t) {
      await subscribing.replaced(t);
      await subscribing.replacedWithoutLoss(t);
      await retaining.sentAgainOnResubscribe(t);
    },
  },
  {
    id: 'MQTT-3.8.4-4',
    says: 'several filters are handled one after the other and answered together',
    binds: 'server',
    test: subscribing.severalFilters,
  },
  {
    id: 'MQTT-3.8.4-5',
    says: 'SUBACK has the granted QoS or a failure for each filter',
    binds: 'server',
    async test(t) {
      await subscribing.answersInOrder(t);
      await subscribing.badFilters(t, 'a/#/b');
    },
  },
  {
    id: 'MQTT-3.8.4-6',
    says: 'delivery at the lower of the published and the granted QoS',
    binds: 'server',
    test: delivering.qosIsMinimum,
  },
  { id: 'MQTT-3.9.3-1', says: 'codes are in the order of the filters', binds: 'server', coveredBy: 'MQTT-3.8.4-5' },
  {
    id: 'MQTT-3.9.3-2',
    says: 'SUBACK codes are 0, 1, 2 and 0x80 only',
    binds: 'server',
    coveredBy: 'SHOAL-STRICT-2',
  },
  {
    id: 'MQTT-3.10.1-1',
    says: 'UNSUBSCRIBE with other flags than 0010 is malformed',
    binds: 'both',
    test: subscribing.unsubscribeFlags,
  },
  { id: 'MQTT-3.10.3-1', says: 'filters are UTF-8 strings', binds: 'both', test: subscribing.unsubscribeUtf8 },
  {
    id: 'MQTT-3.10.3-2',
    says: 'UNSUBSCRIBE has at least one filter',
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
    says: 'UNSUBSCRIBE is answered with UNSUBACK of the same identifier',
    binds: 'server',
    async test(t) {
      const client = await t.subscriber(t.topic());
      const ack = await client.unsubscribe(t.topic());
      if (ack.raw.toString('hex') !== 'b0020002') throw new Error(ack.raw.toString('hex'));
    },
  },
  {
    id: 'MQTT-3.10.4-5',
    says: 'UNSUBACK comes even when there was no subscription',
    binds: 'server',
    test: subscribing.unsubscribeAlwaysAcknowledged,
  },
  {
    id: 'MQTT-3.10.4-6',
    says: 'several filters are handled one after the other and answered together',
    binds: 'server',
    test: subscribing.unsubscribesSeveral,
  },
  { id: 'MQTT-3.12.4-1', says: 'PINGREQ is answered with PINGRESP', binds: 'server', test: connecting.pings },
  {
    id: 'MQTT-3.14.1-1',
    says: 'reserved bits of DISCONNECT must be 0, else the connection ends as for any violation',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const client = await t.connect({ will: { topic, payload: 'no clean end' } });
      client.send(bytes.packet('disconnect', 1));
      await client.expectClosed();
      await watcher.receive({ payload: 'no clean end' });
    },
  },
  {
    id: 'MQTT-3.14.4-1',
    says: 'a client closes after DISCONNECT; the server does if the client has not',
    binds: 'client',
    test: async (t) => (await t.connect()).disconnect(),
  },
  {
    id: 'MQTT-3.14.4-2',
    says: 'a client sends nothing after DISCONNECT; the server handles nothing more',
    binds: 'client',
    async test(t) {
      const s = await t.subscriber(t.topic());
      const p = await t.connect();
      p.send(bytes.packet('disconnect', 0), p.publishBytes({ topic: t.topic(), payload: 'late' }));
      await p.expectClosed();
      await s.expectNothing();
    },
  },
  { id: 'MQTT-3.14.4-3', says: 'DISCONNECT withdraws the will', binds: 'server', test: wills.discardedOnDisconnect },
];
