/** MQTT 5.0, chapters 1 and 2: data representation and packet format. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as subscribing from '../scenarios/subscribing.js';

export const dataRows: Row[] = [
  {
    id: 'MQTT-1.5.4-1',
    says: 'strings are well-formed UTF-8 without surrogates',
    binds: 'both',
    test: subscribing.topicUtf8,
  },
  {
    id: 'MQTT-1.5.4-2',
    says: 'strings do not contain U+0000',
    binds: 'both',
    test: subscribing.nullInTopicName,
  },
  {
    id: 'MQTT-1.5.4-3',
    says: 'a byte order mark in a string is a character and stays',
    binds: 'both',
    test: subscribing.bomKept,
  },
  {
    id: 'MQTT-1.5.5-1',
    says: 'variable byte integers use as few bytes as possible',
    binds: 'both',
    async test(t) {
      await t.refuses(0x81, 'c08000');
      // In a property length.
      const body = [bytes.utf8(t.topic()), Buffer.from('8000', 'hex'), Buffer.from('x')];
      await t.refuses(0x81, bytes.packet('publish', 0, ...body));
    },
  },
  {
    id: 'MQTT-1.5.7-1',
    says: 'both strings of a pair are UTF-8 strings',
    binds: 'both',
    async test(t) {
      const good = bytes.utf8('name');
      for (const broken of ['c328', 'eda080', '00']) {
        const bad = bytes.binary(Buffer.from(broken, 'hex'));
        for (const pair of [
          [bad, good],
          [good, bad],
        ]) {
          const property = Buffer.concat([bytes.u8(0x26), ...pair]);
          const properties = Buffer.concat([bytes.varint(property.length), property]);
          await t.refuses(0x81, bytes.packet('publish', 0, bytes.utf8(t.topic()), properties));
        }
      }
    },
  },
  {
    id: 'MQTT-2.1.3-1',
    says: 'reserved flag bits have the value the specification gives',
    binds: 'both',
    async test(t) {
      await t.refuses(0x81, 'c100');
      await t.refuses(0x81, '410400010000');
      await t.refuses(0x81, bytes.packet('pubcomp', 2, bytes.u16(1)));
    },
  },
  {
    id: 'MQTT-2.2.1-2',
    says: 'a QoS 0 PUBLISH has no packet identifier',
    binds: 'both',
    test: delivering.qosZero,
  },
  {
    id: 'MQTT-2.2.1-3',
    says: 'a client uses a packet identifier that is not zero; zero is refused',
    binds: 'client',
    async test(t) {
      const body = [bytes.utf8(t.topic()), bytes.u16(0), bytes.properties(), Buffer.from('x')];
      await t.refuses([0x81, 0x82], bytes.packet('publish', 2, ...body));
      const one = [bytes.properties(), bytes.utf8(t.topic())];
      await t.refuses([0x81, 0x82], bytes.packet('subscribe', 2, bytes.u16(0), ...one, bytes.u8(0)));
      await t.refuses([0x81, 0x82], bytes.packet('unsubscribe', 2, bytes.u16(0), ...one));
    },
  },
  {
    id: 'MQTT-2.2.1-4',
    says: 'the server gives each new QoS 1 or 2 PUBLISH a packet identifier that is free and not zero',
    binds: 'server',
    async test(t) {
      await delivering.freshIdentifiers(t, 1);
      await delivering.freshIdentifiers(t, 2);
    },
  },
  {
    id: 'MQTT-2.2.1-5',
    says: 'acknowledgements carry the packet identifier of their PUBLISH',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-2.2.1-6',
    says: 'SUBACK and UNSUBACK carry the packet identifier of their request',
    binds: 'server',
    test: subscribing.acknowledged,
  },
  {
    id: 'MQTT-2.2.2-1',
    says: 'a packet without properties says so with a property length of zero',
    binds: 'both',
    async test(t) {
      const s = await t.subscriber(t.topic(), 0);
      await (await t.connect()).publish({ topic: t.topic(), payload: '' });
      const { raw } = await s.expect('publish', { payload: '' });
      if (raw.at(-1) !== 0) throw new Error(raw.toString('hex'));
      // Nor may a client leave it out.
      await t.refuses(0x81, bytes.packet('publish', 0, bytes.utf8(t.topic())));
    },
  },
];
