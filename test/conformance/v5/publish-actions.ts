/** MQTT 5.0, section 3.3.4: what PUBLISH asks of its receiver. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as subscribing from '../scenarios/subscribing.js';

export const publishActionRows: Row[] = [
  {
    id: 'MQTT-3.3.4-1',
    says: 'PUBLISH is answered as its QoS asks',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-3.3.4-2',
    says: 'overlapping subscriptions: delivery at the highest QoS among them',
    binds: 'server',
    test: subscribing.overlapping,
  },
  {
    id: 'MQTT-3.3.4-3',
    says: 'the subscription identifiers of overlapping subscriptions are in the message',
    binds: 'server',
    test: forwarding.subscriptionIdentifiers,
  },
  {
    id: 'MQTT-3.3.4-4',
    says: 'a single copy carries the identifiers of all matching subscriptions',
    binds: 'server',
    test: forwarding.allIdentifiersOnOneCopy,
  },
  {
    id: 'MQTT-3.3.4-5',
    says: 'of several copies each carries the identifier of its subscription',
    binds: 'server',
    notTestable: 'the server sends one copy (MQTT-3.3.4-4)',
  },
  {
    id: 'MQTT-3.3.4-6',
    says: 'a client puts no subscription identifier on PUBLISH, or is closed with 0x82',
    binds: 'client',
    async test(t) {
      const client = await t.connect();
      client.sendPublish({ topic: t.topic(), properties: { subscriptionIdentifier: 1 } });
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'MQTT-3.3.4-7',
    says: 'a client stays within Receive Maximum, or is closed with 0x93',
    binds: 'client',
    async test(t) {
      const client = await t.connect();
      const maximum = client.connack.properties.receiveMaximum ?? 65_535;
      for (let i = 1; i <= maximum + 1; i++) client.sendPublish({ topic: t.topic(), qos: 2, packetId: i });
      for (let i = 1; i <= maximum; i++) await client.expect('pubrec', { packetId: i });
      await client.expectClosed(0x93);
    },
  },
  {
    id: 'MQTT-3.3.4-8',
    says: 'a full window holds up nothing but PUBLISH on the side of the client',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  {
    id: 'MQTT-3.3.4-9',
    says: 'the server keeps within the Receive Maximum of the client',
    binds: 'server',
    test: forwarding.receiveMaximum,
  },
  {
    id: 'MQTT-3.3.4-10',
    says: 'a full window holds up nothing but PUBLISH on the side of the server',
    binds: 'server',
    test: forwarding.othersPassFullWindow,
  },
];

/** The properties of PUBLISH that may be there once only; a second one is a protocol error. */
export const publishOnceRows: Row[] = [
  {
    id: 'SHOAL-ONCE-1',
    says: 'a property that may appear once is refused the second time with 0x82',
    binds: 'server',
    async test(t) {
      const twice = [
        bytes.property('payloadFormatIndicator', 1),
        bytes.property('messageExpiryInterval', 9),
        bytes.property('contentType', 'a'),
        bytes.property('responseTopic', 'a'),
        bytes.property('correlationData', Buffer.from('a')),
        bytes.property('topicAlias', 1),
      ];
      for (const property of twice) {
        const properties = Buffer.concat([bytes.varint(2 * property.length), property, property]);
        await t.refuses(0x82, bytes.packet('publish', 0, bytes.utf8(t.topic()), properties));
      }
    },
  },
];
