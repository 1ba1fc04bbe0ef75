/** MQTT 3.1.1, section 3.1. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as retaining from '../scenarios/retaining.js';
import * as sessions from '../scenarios/sessions.js';
import * as wills from '../scenarios/wills.js';

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
];
