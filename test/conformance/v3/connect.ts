/** MQTT 3.1.1, chapters 1 and 2 and sections 3.1 and 3.2. */
import { bytes } from '../../support/packet-codec.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as delivering from '../scenarios/delivering.js';
import * as retaining from '../scenarios/retaining.js';
import * as sessions from '../scenarios/sessions.js';
import * as subscribing from '../scenarios/subscribing.js';
import * as wills from '../scenarios/wills.js';

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

export const connectRows: Row[] = [
  {
    id: 'MQTT-3.1.0-1',
    says: 'the first packet of a client is CONNECT; the server closes on any other',
    binds: 'client',
    test: connecting.firstPacketIsConnect,
  },
  { id: 'MQTT-3.1.0-2', says: 'a second CONNECT ends the connection', binds: 'server', test: connecting.secondConnect },
  {
    id: 'MQTT-3.1.2-1',
    says: 'a protocol name that is not known is not processed as MQTT',
    binds: 'server',
    test: connecting.wrongProtocolName,
  },
  {
    id: 'MQTT-3.1.2-2',
    says: 'a protocol level that is not supported is answered with return code 1 and the close',
    binds: 'server',
    async test(t) {
      for (const level of [1, 2]) {
        const client = await t.raw();
        client.send(connecting.connectParts(t, { level }));
        await client.expectClosed(1);
      }
    },
  },
  {
    id: 'MQTT-3.1.2-3',
    says: 'the reserved connect flag must be 0',
    binds: 'server',
    test: connecting.reservedConnectFlag,
  },
  {
    id: 'MQTT-3.1.2-4',
    says: 'Clean Session 0 resumes the session or makes one, and keeps it after the connection',
    binds: 'both',
    test: sessions.resumed,
  },
  {
    id: 'MQTT-3.1.2-5',
    says: 'QoS 1 and 2 messages are stored for a session whose client is away',
    binds: 'server',
    test: sessions.addedWhileAway,
  },
  {
    id: 'MQTT-3.1.2-6',
    says: 'Clean Session 1 discards an earlier session and leaves none',
    binds: 'both',
    test: sessions.cleanDiscards,
  },
  {
    id: 'MQTT-3.1.2-7',
    says: 'retained messages are not part of the session and survive it',
    binds: 'server',
    test: retaining.outlivesSession,
  },
  {
    id: 'MQTT-3.1.2-8',
    says: 'the will is stored, and published when the connection ends without DISCONNECT',
    binds: 'server',
    async test(t) {
      await wills.stored(t);
      await wills.afterProtocolError(t);
      await wills.onTakeOver(t);
    },
  },
  {
    id: 'MQTT-3.1.2-9',
    says: 'with the will flag, will QoS and retain apply and topic and message are there',
    binds: 'both',
    async test(t) {
      await wills.qosAndTopicUsed(t);
      await connecting.willFlagWithoutFields(t);
    },
  },
  {
    id: 'MQTT-3.1.2-10',
    says: 'a will is gone once published or after DISCONNECT',
    binds: 'server',
    test: wills.publishedOnce,
  },
  {
    id: 'MQTT-3.1.2-11',
    says: 'without the will flag, will QoS and retain are 0 and there are no will fields',
    binds: 'client',
    async test(t) {
      await connecting.willQosWithoutWill(t);
      await connecting.willRetainWithoutWill(t);
    },
  },
  { id: 'MQTT-3.1.2-12', says: 'without the will flag there is no will', binds: 'server', test: wills.noneWithoutFlag },
  {
    id: 'MQTT-3.1.2-13',
    says: 'without the will flag, will QoS is 0',
    binds: 'client',
    test: connecting.willQosWithoutWill,
  },
  { id: 'MQTT-3.1.2-14', says: 'will QoS is 0, 1 or 2', binds: 'client', test: connecting.willQosThree },
  {
    id: 'MQTT-3.1.2-15',
    says: 'without the will flag, will retain is 0',
    binds: 'client',
    test: connecting.willRetainWithoutWill,
  },
  {
    id: 'MQTT-3.1.2-16',
    says: 'a will without will retain is published not retained',
    binds: 'server',
    test: wills.notRetained,
  },
  {
    id: 'MQTT-3.1.2-17',
    says: 'a will with will retain is published retained',
    binds: 'server',
    test: wills.retained,
  },
  {
    id: 'MQTT-3.1.2-18',
    says: 'without the user name flag there is no user name',
    binds: 'client',
    test: connecting.usernameWithoutFlag,
  },
  {
    id: 'MQTT-3.1.2-19',
    says: 'with the user name flag there is a user name',
    binds: 'client',
    test: connecting.usernameFlagWithoutField,
  },
  {
    id: 'MQTT-3.1.2-20',
    says: 'without the password flag there is no password',
    binds: 'client',
    test: connecting.passwordWithoutFlag,
  },
  {
    id: 'MQTT-3.1.2-21',
    says: 'with the password flag there is a password',
    binds: 'client',
    test: connecting.passwordFlagWithoutField,
  },
  {
    id: 'MQTT-3.1.2-22',
    says: 'no password flag without the user name flag',
    binds: 'client',
    test: (t) =>
      connecting.malformedConnect(
        t,
        connecting.connectParts(t, { flags: 0x42, payload: [bytes.utf8(t.fresh()), bytes.utf8('password')] }),
      ),
  },
  {
    id: 'MQTT-3.1.2-23',
    says: 'a client with a keep alive pings when it has nothing else to send; PINGREQ counts',
    binds: 'client',
    test: connecting.pingKeepsAlive,
  },
  {
    id: 'MQTT-3.1.2-24',
    says: 'silence for one and a half times the keep alive ends the connection as if the network had failed',
    binds: 'server',
    async test(t) {
      await connecting.keepAlive(t);
      await wills.afterKeepAlive(t);
    },
  },
  {
    id: 'MQTT-3.1.3-1',
    says: 'payload fields come in the order client identifier, will, user name, password',
    binds: 'client',
    test: connecting.connectFieldOrder,
  },
  {
    id: 'MQTT-3.1.3-2',
    says: 'the client identifier names the session',
    binds: 'both',
    test: connecting.clientIdNamesSession,
  },
  {
    id: 'MQTT-3.1.3-3',
    says: 'the client identifier is the first field and always there',
    binds: 'client',
    test: connecting.missingClientId,
  },
  {
    id: 'MQTT-3.1.3-4',
    says: 'the client identifier is a UTF-8 string',
    binds: 'client',
    test: connecting.clientIdUtf8,
  },
  {
    id: 'MQTT-3.1.3-5',
    says: 'client identifiers of 1 to 23 letters and digits are accepted',
    binds: 'server',
    test: connecting.plainClientIds,
  },
  {
    id: 'MQTT-3.1.3-6',
    says: 'a client without an identifier is given a unique one',
    binds: 'server',
    async test(t) {
      const [one, two] = [await t.connect({ clientId: '' }), await t.connect({ clientId: '' })];
      await one.subscribe(t.topic());
      await two.publish({ topic: t.topic(), payload: 'x', qos: 1 });
      await one.receive({ payload: 'x' });
    },
  },
  {
    id: 'MQTT-3.1.3-7',
    says: 'a client without an identifier sets Clean Session',
    binds: 'client',
    coveredBy: 'MQTT-3.1.3-8',
  },
  {
    id: 'MQTT-3.1.3-8',
    says: 'no identifier and Clean Session 0 is answered with return code 2 and the close',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields({ clientId: '', clean: false }));
      await client.expectClosed(2);
    },
  },
  {
    id: 'MQTT-3.1.3-9',
    says: 'a client identifier that the server rejects is answered with return code 2 and the close',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields({ clientId: 'c'.repeat(60_000) }));
      await client.expectClosed(2);
    },
  },
  {
    id: 'MQTT-3.1.3-10',
    says: 'the will topic is a UTF-8 string',
    binds: 'client',
    test: connecting.willTopicUtf8,
  },
  { id: 'MQTT-3.1.3-11', says: 'the user name is a UTF-8 string', binds: 'client', test: connecting.usernameUtf8 },
  {
    id: 'MQTT-3.1.4-1',
    says: 'a CONNECT of the wrong format is closed without CONNACK',
    binds: 'server',
    async test(t) {
      await connecting.reservedConnectFlag(t);
      await connecting.malformedConnect(t, '100a00044d51545404020000');
      await connecting.malformedConnect(t, '1000');
    },
  },
  {
    id: 'MQTT-3.1.4-2',
    says: 'a connected client of the same identifier is disconnected',
    binds: 'server',
    test: connecting.takeOver,
  },
  { id: 'MQTT-3.1.4-3', says: 'Clean Session is carried out', binds: 'server', coveredBy: 'MQTT-3.1.2-6' },
  {
    id: 'MQTT-3.1.4-4',
    says: 'an accepted CONNECT is answered with CONNACK 0',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields());
      const { raw } = await client.expect('connack', { reasonCode: 0 });
      if (raw.toString('hex') !== '20020000') throw new Error(raw.toString('hex'));
    },
  },
  {
    id: 'MQTT-3.1.4-5',
    says: 'after refusing CONNECT the server handles nothing more from that client',
    binds: 'server',
    test: connecting.rejectedConnectIsDeaf,
  },
];

export const connackRows: Row[] = [
  {
    id: 'MQTT-3.2.0-1',
    says: 'the first packet from the server is CONNACK',
    binds: 'server',
    // Messages wait for the session; the client itself fails on anything ahead of the CONNACK.
    test: sessions.keptAfterDrop,
  },
  {
    id: 'MQTT-3.2.2-1',
    says: 'Clean Session 1 is answered with Session Present 0',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-6',
  },
  {
    id: 'MQTT-3.2.2-2',
    says: 'Session Present 1 when there was a session',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-4',
  },
  {
    id: 'MQTT-3.2.2-3',
    says: 'Session Present 0 when there was none',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-4',
  },
  {
    id: 'MQTT-3.2.2-4',
    says: 'a refused CONNECT has Session Present 0',
    binds: 'server',
    async test(t) {
      await (await t.persistent('x')).disconnect();
      const client = await t.raw();
      client.sendConnect(t.fields({ clientId: t.id('x'), clean: false, password: 'certainly not the password' }));
      const refused = await client.expect('connack', { sessionPresent: false });
      if (refused.reasonCode !== 4 && refused.reasonCode !== 5) throw new Error(`return code ${refused.reasonCode}`);
    },
  },
  {
    id: 'MQTT-3.2.2-5',
    says: 'a CONNACK that refuses is followed by the close',
    binds: 'server',
    coveredBy: 'MQTT-3.1.3-8',
  },
  {
    id: 'MQTT-3.2.2-6',
    says: 'where no return code fits, the server closes without CONNACK',
    binds: 'server',
    coveredBy: 'MQTT-3.1.4-1',
  },
];
