/** MQTT 3.1.1, chapters 4, 6 and 7. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as delivering from '../scenarios/delivering.js';
import * as sessions from '../scenarios/sessions.js';
import * as subscribing from '../scenarios/subscribing.js';
import * as webSocket from '../scenarios/websocket.js';

export const operationRows: Row[] = [
  {
    id: 'MQTT-4.1.0-1',
    says: 'session state is kept for as long as the session lasts',
    binds: 'both',
    test: sessions.keptWhileConnected,
  },
  {
    id: 'MQTT-4.1.0-2',
    says: 'a session lasts at least as long as its connection',
    binds: 'both',
    coveredBy: 'MQTT-4.1.0-1',
  },
  { id: 'MQTT-4.3.1-1', says: 'QoS 0: sent with QoS 0 and DUP 0', binds: 'both', coveredBy: 'MQTT-2.3.1-5' },
  {
    id: 'MQTT-4.3.2-1',
    says: 'QoS 1, sender: free identifier, DUP 0, unacknowledged until PUBACK',
    binds: 'both',
    async test(t) {
      await delivering.freshIdentifiers(t, 1);
      await delivering.resent(t, 1);
    },
  },
  {
    id: 'MQTT-4.3.2-2',
    says: 'QoS 1, receiver: PUBACK, after which the identifier is a new message',
    binds: 'both',
    test: delivering.identifierFreeAfterPuback,
  },
  {
    id: 'MQTT-4.3.3-1',
    says: 'QoS 2, sender: free identifier, DUP 0, PUBREL for PUBREC until PUBCOMP, no PUBLISH after PUBREL',
    binds: 'both',
    async test(t) {
      await delivering.freshIdentifiers(t, 2);
      await delivering.releaseResent(t);
    },
  },
  {
    id: 'MQTT-4.3.3-2',
    says: 'QoS 2, receiver: PUBREC each time, delivery once, PUBCOMP, after which the identifier is a new message',
    binds: 'both',
    async test(t) {
      await delivering.duplicateBeforeRelease(t);
      await delivering.duplicateAcrossConnections(t);
    },
  },
  {
    id: 'MQTT-4.4.0-1',
    says: 'unacknowledged PUBLISH and PUBREL are sent again on reconnect with their identifiers',
    binds: 'both',
    async test(t) {
      await delivering.notResentWhileConnected(t);
      await delivering.releaseResent(t);
    },
  },
  {
    id: 'MQTT-4.5.0-1',
    says: 'an accepted message joins the session of every client with a matching subscription',
    binds: 'server',
    test: sessions.addedWhileAway,
  },
  {
    id: 'MQTT-4.5.0-2',
    says: 'a client acknowledges what it receives, wanted or not',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  {
    id: 'MQTT-4.6.0-1',
    says: 'PUBLISH is sent again in the order it was first sent',
    binds: 'both',
    test: (t) => delivering.resent(t, 2),
  },
  {
    id: 'MQTT-4.6.0-2',
    says: 'PUBACK in the order of the PUBLISH packets',
    binds: 'both',
    test: delivering.acknowledgedInOrder,
  },
  { id: 'MQTT-4.6.0-3', says: 'PUBREC in the order of the PUBLISH packets', binds: 'both', coveredBy: 'MQTT-4.6.0-2' },
  { id: 'MQTT-4.6.0-4', says: 'PUBREL in the order of the PUBREC packets', binds: 'both', coveredBy: 'MQTT-4.6.0-6' },
  {
    id: 'MQTT-4.6.0-5',
    says: 'every topic is ordered unless configured otherwise',
    binds: 'server',
    coveredBy: 'MQTT-4.6.0-6',
  },
  {
    id: 'MQTT-4.6.0-6',
    says: 'messages of one client, topic and QoS reach consumers in order',
    binds: 'server',
    test: delivering.ordered,
  },
  { id: 'MQTT-4.7.1-1', says: 'no wildcards in topic names', binds: 'both', coveredBy: 'MQTT-3.3.2-2' },
  {
    id: 'MQTT-4.7.1-2',
    says: '# stands alone or after a separator, and last',
    binds: 'both',
    async test(t) {
      await subscribing.badFilters(t, 'a#', 'a/#/b', '#/a', 'a/b#', '##');
      await subscribing.multiLevel(t);
    },
  },
  {
    id: 'MQTT-4.7.1-3',
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
    says: 'topic names and filters are UTF-8 of at most 65 535 bytes; long ones work',
    binds: 'both',
    test: subscribing.longTopic,
  },
  {
    id: 'MQTT-4.7.3-4',
    says: 'matching changes nothing in topic names and filters',
    binds: 'server',
    test: subscribing.noNormalization,
  },
  {
    id: 'MQTT-4.8.0-1',
    says: 'a protocol violation ends the connection',
    binds: 'both',
    async test(t) {
      await connecting.secondConnect(t);
      for (const packet of ['20020000', '9003000100', 'b0020001', 'd000', '30ffffffff7f'])
        await t.refuses(0x82, packet);
      await t.refuses(0x81, bytes.packet('publish', 0, Buffer.from('0010', 'hex')));
      await t.refuses(0x81, bytes.packet('puback', 0, Buffer.from('00', 'hex')));
    },
  },
  {
    id: 'MQTT-4.8.0-2',
    says: 'a transient error while handling a packet ends that connection',
    binds: 'both',
    notTestable: 'needs a fault inside the broker; unit tests of the store cover it',
  },
  {
    id: 'MQTT-6.0.0-1',
    says: 'packets are in binary frames; a text frame ends the connection',
    binds: 'both',
    test: webSocket.textFrameCloses,
  },
  {
    id: 'MQTT-6.0.0-2',
    says: 'packets and frames need not begin and end together',
    binds: 'both',
    test: webSocket.framesAreNotPackets,
  },
  {
    id: 'MQTT-6.0.0-3',
    says: 'the client offers the subprotocol mqtt; without it there is no connection',
    binds: 'client',
    test: webSocket.otherSubprotocolRefused,
  },
  { id: 'MQTT-6.0.0-4', says: 'the server selects the subprotocol mqtt', binds: 'server', test: webSocket.selectsMqtt },
  {
    id: 'MQTT-7.0.0-1',
    says: 'a server that connects to other servers conforms as a client, too',
    binds: 'server',
    notTestable: 'the server opens no MQTT connections',
  },
  {
    id: 'MQTT-7.0.0-2',
    says: 'no extension is needed to work together with another implementation',
    binds: 'both',
    notTestable: 'shown by the tests with other clients over TLS and WebSocket',
  },
  {
    id: 'MQTT-7.1.1-1',
    says: 'a server supports an ordered, lossless transport',
    binds: 'server',
    coveredBy: 'MQTT-3.1.4-4',
  },
  {
    id: 'MQTT-7.1.2-1',
    says: 'a client supports an ordered, lossless transport',
    binds: 'client',
    notTestable: 'binds the client only',
  },
];
