/** MQTT 5.0, section 3.1: the payload of CONNECT and what the server does with it. */
import { connectBytes } from '../../support/packet-client.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as sessions from '../scenarios/sessions.js';

export const connectPayloadRows: Row[] = [
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
      const clients = [];
      for (let i = 0; i < 5; i++) clients.push(await t.connect({ clientId: '' }));
      if (new Set(clients.map((c) => c.clientId)).size !== 5 || clients.some((c) => c.clientId === ''))
        throw new Error(`assigned ${clients.map((c) => c.clientId).join()}`);
      for (const client of clients) await client.expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.3-7',
    says: 'the assigned identifier is returned and works as if the client had brought it',
    binds: 'server',
    async test(t) {
      const properties = { sessionExpiryInterval: 60 };
      const first = await t.connect({ clientId: '', properties });
      await first.subscribe(t.topic());
      await first.disconnect();
      const again = await t.connect({ clientId: first.clientId, clean: false, properties });
      if (!again.connack.sessionPresent) throw new Error('the assigned identifier does not name the session');
    },
  },
  {
    id: 'MQTT-3.1.3-8',
    says: 'a client identifier that the server rejects ends the connection, with CONNACK 0x85',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields({ clientId: 'c'.repeat(60_000) }));
      await client.expectClosed(0x85);
    },
  },
  {
    id: 'MQTT-3.1.3-9',
    says: 'no will when the client is back before the will delay has passed',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const will = { topic, payload: 'never', properties: { willDelayInterval: 1 } };
      const first = await t.persistent('x', { will });
      await first.drop();
      await t.persistent('x');
      // The clock: a will of the same delay on a connection that ended later.
      const clock = await t.persistent('clock', { will: { ...will, payload: 'clock' } });
      await clock.drop();
      await watcher.receive({ payload: 'clock' });
      await watcher.expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.3-10',
    says: 'user properties of a will keep their order',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const userProperties: [string, string][] = [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
        ['', ''],
      ];
      const client = await t.connect({ will: { topic, payload: 'x', properties: { userProperties } } });
      await client.drop();
      await watcher.receive({ payload: 'x', properties: { userProperties } });
    },
  },
  {
    id: 'MQTT-3.1.3-11',
    says: 'the will topic is a UTF-8 string',
    binds: 'client',
    test: connecting.willTopicUtf8,
  },
  {
    id: 'MQTT-3.1.3-12',
    says: 'the user name is a UTF-8 string',
    binds: 'client',
    test: connecting.usernameUtf8,
  },
  {
    id: 'MQTT-3.1.4-1',
    says: 'a CONNECT of the wrong format ends the connection',
    binds: 'server',
    async test(t) {
      // Cut short, with a tail, and with an unknown property.
      const good = connectBytes(t.fields());
      const shorter = Buffer.concat([Buffer.from([0x10, good[1]! - 3]), good.subarray(2, -3)]);
      const longer = Buffer.concat([Buffer.from([0x10, good[1]! + 2]), good.subarray(2), Buffer.from('zz')]);
      await connecting.malformedConnect(t, shorter);
      if (t.broker.target === 'shoal') await connecting.malformedConnect(t, longer);
      const unknown = connectBytes(t.fields({ properties: { sessionExpiryInterval: 1 } }));
      unknown[unknown.indexOf(0x11, 10)] = 0x7e;
      await connecting.malformedConnect(t, unknown);
    },
  },
  {
    id: 'MQTT-3.1.4-2',
    says: 'a client that fails the checks is not let in',
    binds: 'server',
    async test(t) {
      for (const wrong of [{ password: 'certainly not the password' }, { username: 'nobody@nowhere' }]) {
        const client = await t.raw();
        client.sendConnect(t.fields(wrong));
        await client.expectClosed(0x86);
      }
    },
  },
  {
    id: 'MQTT-3.1.4-3',
    says: 'a connected client of the same identifier is told 0x8E and closed',
    binds: 'server',
    test: connecting.takeOver,
  },
  {
    id: 'MQTT-3.1.4-4',
    says: 'Clean Start is carried out',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-4',
  },
  {
    id: 'MQTT-3.1.4-5',
    says: 'an accepted CONNECT is answered with CONNACK 0x00',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields());
      await client.expect('connack', { reasonCode: 0, sessionPresent: false });
      await client.expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.4-6',
    says: 'after refusing CONNECT the server handles nothing more from that client',
    binds: 'server',
    test: connecting.rejectedConnectIsDeaf,
  },
];

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
      client.send(
        Buffer.from([
          0x30,
          0x80 | (maximum & 127),
          0x80 | ((maximum >> 7) & 127),
          0x80 | ((maximum >> 14) & 127),
          maximum >> 21,
        ]),
      );
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
