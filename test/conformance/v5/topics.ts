/** MQTT 5.0, sections 4.7 to 4.13: topics, shared subscriptions, flow control, errors. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as sharing from '../scenarios/sharing.js';
import * as subscribing from '../scenarios/subscribing.js';

export const topicRows: Row[] = [
  { id: 'MQTT-4.7.0-1', says: 'no wildcards in topic names', binds: 'both', test: subscribing.wildcardInTopicName },
  {
    id: 'MQTT-4.7.1-1',
    says: '# stands alone or after a separator, and last',
    binds: 'both',
    async test(t) {
      await subscribing.badFilters(t, 'a#', 'a/#/b', '#/a', 'a/b#', '##');
      await subscribing.multiLevel(t);
    },
  },
  {
    id: 'MQTT-4.7.1-2',
    says: '+ fills a whole level, at any level',
    binds: 'both',
    async test(t) {
      await subscribing.badFilters(t, 'a+', '+a', 'a/b+/c', '++');
      await subscribing.singleLevel(t);
    },
  },
  {
    id: 'MQTT-4.7.2-1',
    says: 'a filter that begins with a wildcard does not match topics that begin with $',
    binds: 'server',
    test: subscribing.dollarTopics,
  },
  {
    id: 'MQTT-4.7.3-1',
    says: 'topic names and filters have at least one character',
    binds: 'both',
    async test(t) {
      await subscribing.emptyTopicName(t);
      await subscribing.emptyFilter(t);
    },
  },
  {
    id: 'MQTT-4.7.3-2',
    says: 'topic names and filters have no U+0000',
    binds: 'both',
    async test(t) {
      await subscribing.nullInTopicName(t);
      await subscribing.subscribeUtf8(t);
    },
  },
  {
    id: 'MQTT-4.7.3-3',
    says: 'topic names and filters are UTF-8 of at most 65 535 bytes; long ones work or are refused by name',
    binds: 'both',
    test: subscribing.longTopic,
  },
  {
    id: 'MQTT-4.7.3-4',
    says: 'matching changes nothing in topic names and filters',
    binds: 'server',
    test: subscribing.noNormalization,
  },
];

export const sharedRows: Row[] = [
  {
    id: 'MQTT-4.8.2-1',
    says: 'a shared filter is $share/, a name of at least one character, and a filter',
    binds: 'both',
    async test(t) {
      await subscribing.badFilters(t, '$share//a');
      await subscribing.shareOfNothing(t, '$share/', '$share//');
    },
  },
  {
    id: 'MQTT-4.8.2-2',
    says: 'the share name has no / + or #, and a filter follows it',
    binds: 'both',
    async test(t) {
      await subscribing.badFilters(t, '$share/a+/b', '$share/#/b', '$share/+/b');
      await subscribing.shareOfNothing(t, '$share/name', '$share/name/');
    },
  },
  {
    id: 'MQTT-4.8.2-3',
    says: 'a shared delivery respects the QoS granted to the member',
    binds: 'server',
    test: sharing.grantedQos,
  },
  {
    id: 'MQTT-4.8.2-4',
    says: 'QoS 2: what was sent to a member is completed with that member when it is back',
    binds: 'server',
    test: sharing.completedWithMember,
  },
  {
    id: 'MQTT-4.8.2-5',
    says: 'QoS 2: when the session of the member ends first, no other member gets the message',
    binds: 'server',
    test: sharing.notHandedOnAtQosTwo,
  },
  {
    id: 'MQTT-4.8.2-6',
    says: 'a message that a member refuses (0x80 or above) is discarded, not handed on',
    binds: 'server',
    test: sharing.refusedIsDiscarded,
  },
];

export const flowRows: Row[] = [
  {
    id: 'MQTT-4.9.0-1',
    says: 'the send quota starts above 0 and at most at Receive Maximum',
    binds: 'both',
    test: forwarding.receiveMaximum,
  },
  {
    id: 'MQTT-4.9.0-2',
    says: 'each QoS 1 or 2 PUBLISH takes from the quota; at 0 no more are sent',
    binds: 'both',
    coveredBy: 'MQTT-4.9.0-1',
  },
  {
    id: 'MQTT-4.9.0-3',
    says: 'other packets are handled and answered at quota 0',
    binds: 'both',
    test: forwarding.othersPassFullWindow,
  },
];

export const errorRows: Row[] = [
  {
    id: 'MQTT-4.13.1-1',
    says: 'a malformed packet or protocol error ends the connection',
    binds: 'server',
    async test(t) {
      // Packet types that do not exist or that only a server sends; lengths that do not end; bodies cut short.
      await t.refuses([0x81, 0x82], '0000');
      for (const packet of ['2003000000', '900400010000', 'b00400010000', 'd000'])
        await t.refuses([0x81, 0x82], packet);
      await t.refuses(0x81, '30ffffffff7f');
      await t.refuses(0x81, bytes.packet('publish', 0, Buffer.from('0010', 'hex')));
      await t.refuses(0x81, bytes.packet('puback', 0, Buffer.from('00', 'hex')));
      await t.refuses(0x81, bytes.packet('subscribe', 2, bytes.u16(1), bytes.properties(), bytes.utf8('a')));
    },
  },
  {
    id: 'MQTT-4.13.2-1',
    says: 'CONNACK or DISCONNECT of 0x80 or above goes with the close',
    binds: 'both',
    async test(t) {
      await connecting.secondConnect(t);
      const client = await t.raw();
      client.sendConnect(t.fields({ properties: { authenticationMethod: 'none that exists' } }));
      await client.expectClosed(0x8c);
    },
  },
];
