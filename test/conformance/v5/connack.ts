/** MQTT 5.0, section 3.2: CONNACK. */
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as sessions from '../scenarios/sessions.js';

export const connackRows: Row[] = [
  {
    id: 'MQTT-3.2.0-1',
    says: 'nothing but AUTH comes before a successful CONNACK',
    binds: 'server',
    async test(t) {
      // Messages are waiting for the session; the client itself fails on anything ahead of the CONNACK.
      await sessions.resumed(t);
    },
  },
  {
    id: 'MQTT-3.2.0-2',
    says: 'one CONNACK in a connection, no more',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      client.send(connectBytes(t.fields()));
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'MQTT-3.2.2-1',
    says: 'bits 7 to 1 of the acknowledge flags are 0',
    binds: 'server',
    async test(t) {
      const fresh = await t.persistent('x');
      await fresh.disconnect();
      const again = await t.persistent('x');
      if (fresh.connack.raw[2] !== 0 || again.connack.raw[2] !== 1) throw new Error(again.connack.raw.toString('hex'));
    },
  },
  {
    id: 'MQTT-3.2.2-2',
    says: 'Clean Start 1 is answered with Session Present 0',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-4',
  },
  {
    id: 'MQTT-3.2.2-3',
    says: 'Session Present tells whether there was a session',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-5',
  },
  {
    id: 'MQTT-3.2.2-4',
    says: 'a client without state closes when told that a session is present',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  {
    id: 'MQTT-3.2.2-5',
    says: 'a client drops its state when told that no session is present',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  {
    id: 'MQTT-3.2.2-6',
    says: 'a refused CONNECT has Session Present 0',
    binds: 'server',
    async test(t) {
      await (await t.persistent('x')).disconnect();
      const client = await t.raw();
      client.sendConnect(t.fields({ clientId: t.id('x'), clean: false, password: 'certainly not the password' }));
      await client.expect('connack', { sessionPresent: false, reasonCode: 0x86 });
    },
  },
  {
    id: 'MQTT-3.2.2-7',
    says: 'a CONNACK of 0x80 or above is followed by the close',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields({ properties: { authenticationMethod: 'none that exists' } }));
      await client.expectClosed(0x8c);
    },
  },
  {
    id: 'MQTT-3.2.2-8',
    says: 'CONNACK reason codes come from the table',
    binds: 'server',
    coveredBy: 'SHOAL-STRICT-1',
  },
  {
    id: 'MQTT-3.2.2-9',
    says: 'a server without QoS 1 or 2 says so in Maximum QoS',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      if (client.connack.properties.maximumQoS !== undefined) throw new Error('Maximum QoS is sent');
      await client.publish({ topic: t.topic(), qos: 2 });
    },
  },
  {
    id: 'MQTT-3.2.2-10',
    says: 'such a server still accepts subscriptions of every QoS',
    binds: 'server',
    notTestable: 'the server supports every QoS',
  },
  {
    id: 'MQTT-3.2.2-11',
    says: 'a client publishes at no more than the Maximum QoS',
    binds: 'client',
    notTestable: 'the server supports every QoS',
  },
  {
    id: 'MQTT-3.2.2-12',
    says: 'a will of a QoS the server does not support is refused',
    binds: 'server',
    notTestable: 'the server supports every QoS',
  },
  {
    id: 'MQTT-3.2.2-13',
    says: 'a retained will is refused by a server without retained messages',
    binds: 'server',
    notTestable: 'the server supports retained messages',
  },
  {
    id: 'MQTT-3.2.2-14',
    says: 'a client does not retain where Retain Available is 0',
    binds: 'client',
    notTestable: 'the server supports retained messages',
  },
  {
    id: 'MQTT-3.2.2-15',
    says: 'a client stays within the Maximum Packet Size of the server, which refuses more with 0x95',
    binds: 'client',
    async test(t) {
      const client = await t.connect();
      const maximum = client.connack.properties.maximumPacketSize;
      if (maximum === undefined) throw new Error('no Maximum Packet Size');
      // The header alone: nothing of the body needs to come.
      client.send('30', bytes.varint(maximum));
      await client.expectClosed(0x95);
    },
  },
  {
    id: 'MQTT-3.2.2-16',
    says: 'an empty client identifier is answered with a new assigned one',
    binds: 'server',
    coveredBy: 'MQTT-3.1.3-6',
  },
  {
    id: 'MQTT-3.2.2-17',
    says: 'a client uses no topic alias above the maximum, or is closed with 0x94',
    binds: 'client',
    async test(t) {
      const client = await t.connect();
      const topicAlias = (client.connack.properties.topicAliasMaximum ?? 0) + 1;
      client.sendPublish({ topic: t.topic(), properties: { topicAlias } });
      await client.expectClosed(0x94);
    },
  },
  {
    id: 'MQTT-3.2.2-18',
    says: 'a client uses no alias where Topic Alias Maximum is absent',
    binds: 'client',
    notTestable: 'the server names a Topic Alias Maximum',
  },
  {
    id: 'MQTT-3.2.2-19',
    says: 'no reason string that would make CONNACK too large',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      // 9 bytes hold a CONNACK without reason string, and hardly one with it.
      client.sendConnect(t.fields({ password: 'certainly not the password', properties: { maximumPacketSize: 9 } }));
      await client.expectClosed(0x86);
    },
  },
  {
    id: 'MQTT-3.2.2-20',
    says: 'no user properties that would make CONNACK too large',
    binds: 'server',
    coveredBy: 'MQTT-3.2.2-19',
  },
  {
    id: 'MQTT-3.2.2-21',
    says: 'a client obeys the Server Keep Alive',
    binds: 'client',
    notTestable: 'the server names a keep alive of its own only when configured to',
  },
  {
    id: 'MQTT-3.2.2-22',
    says: 'without Server Keep Alive the value of the client counts',
    binds: 'server',
    async test(t) {
      const client = await t.connect({ keepalive: 1 });
      if (client.connack.properties.serverKeepAlive !== undefined) throw new Error('Server Keep Alive is sent');
      await client.expectClosed(0x8d);
    },
  },
];
