/** MQTT 3.1.1, chapters 1 and 2. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as subscribing from '../scenarios/subscribing.js';

export const dataRows: Row[] = [
  {
    id: 'MQTT-1.5.3-1',
    says: 'strings are well-formed UTF-8 without surrogates, else the connection ends',
    binds: 'both',
    test: subscribing.topicUtf8,
  },
  {
    id: 'MQTT-1.5.3-2',
    says: 'strings do not contain U+0000, else the connection ends',
    binds: 'both',
    test: subscribing.nullInTopicName,
  },
  {
    id: 'MQTT-1.5.3-3',
    says: 'a byte order mark in a string is a character and stays',
    binds: 'both',
    test: subscribing.bomKept,
  },
  {
    id: 'MQTT-2.2.2-1',
    says: 'reserved flag bits have the value the specification gives',
    binds: 'both',
    coveredBy: 'MQTT-2.2.2-2',
  },
  {
    id: 'MQTT-2.2.2-2',
    says: 'other flags end the connection',
    binds: 'both',
    async test(t) {
      for (const packet of ['c100', '41020001', '72020001', '00', 'f000']) await t.refuses(0x81, packet, '00');
    },
  },
  {
    id: 'MQTT-2.3.1-1',
    says: 'SUBSCRIBE, UNSUBSCRIBE and PUBLISH above QoS 0 have a packet identifier that is not zero',
    binds: 'both',
    async test(t) {
      await t.refuses(0x81, bytes.packet('publish', 2, bytes.utf8(t.topic()), bytes.u16(0)));
      await t.refuses(0x81, bytes.packet('subscribe', 2, bytes.u16(0), bytes.utf8(t.topic()), bytes.u8(0)));
      await t.refuses(0x81, bytes.packet('unsubscribe', 2, bytes.u16(0), bytes.utf8(t.topic())));
      await delivering.freshIdentifiers(t, 1);
    },
  },
  {
    id: 'MQTT-2.3.1-2',
    says: 'a client takes a free packet identifier for each new packet',
    binds: 'client',
    notTestable: 'binds the client only; the server is MQTT-2.3.1-4',
  },
  {
    id: 'MQTT-2.3.1-3',
    says: 'a client sends again with the same packet identifier',
    binds: 'client',
    notTestable: 'binds the client only; the server is MQTT-2.3.1-4',
  },
  {
    id: 'MQTT-2.3.1-4',
    says: 'both hold for PUBLISH from the server: free identifiers, and the same one when sent again',
    binds: 'server',
    async test(t) {
      await delivering.freshIdentifiers(t, 2);
      await delivering.resent(t, 1);
    },
  },
  {
    id: 'MQTT-2.3.1-5',
    says: 'a QoS 0 PUBLISH has no packet identifier',
    binds: 'both',
    test: delivering.qosZero,
  },
  {
    id: 'MQTT-2.3.1-6',
    says: 'acknowledgements carry the packet identifier of their PUBLISH',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-2.3.1-7',
    says: 'SUBACK and UNSUBACK carry the packet identifier of their request',
    binds: 'server',
    test: subscribing.acknowledged,
  },
];
