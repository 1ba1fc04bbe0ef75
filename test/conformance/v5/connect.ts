/** MQTT 5.0, section 3.1: CONNECT up to its properties. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as sessions from '../scenarios/sessions.js';
import * as wills from '../scenarios/wills.js';

export const connectRows: Row[] = [
  {
    id: 'MQTT-3.1.0-1',
    says: 'the first packet of a client is CONNECT; the server closes on any other',
    binds: 'client',
    test: connecting.firstPacketIsConnect,
  },
  {
    id: 'MQTT-3.1.0-2',
    says: 'a second CONNECT is a protocol error and ends the connection',
    binds: 'server',
    test: connecting.secondConnect,
  },
  {
    id: 'MQTT-3.1.2-1',
    says: 'a protocol name that is not MQTT ends the connection',
    binds: 'both',
    test: connecting.wrongProtocolName,
  },
  {
    id: 'MQTT-3.1.2-2',
    says: 'a protocol version the server does not speak ends the connection, with CONNACK 0x84',
    binds: 'server',
    async test(t) {
      for (const level of [6, 7, 42]) {
        const client = await t.raw(5);
        client.send(connecting.connectParts(t, { level }));
        await client.expectClosed(0x84);
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
    says: 'Clean Start 1 discards an existing session',
    binds: 'both',
    test: sessions.cleanDiscards,
  },
  {
    id: 'MQTT-3.1.2-5',
    says: 'Clean Start 0 resumes the session there is',
    binds: 'server',
    test: sessions.resumed,
  },
  {
    id: 'MQTT-3.1.2-6',
    says: 'Clean Start 0 without a session makes a new one',
    binds: 'server',
    async test(t) {
      const client = await t.connect({ clean: false });
      if (client.connack.sessionPresent) throw new Error('session present');
      await client.expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.2-7',
    says: 'the will is kept with the session',
    binds: 'server',
    test: wills.stored,
  },
  {
    id: 'MQTT-3.1.2-8',
    says: 'the will is published after the close, once its delay has passed or the session has ended, unless withdrawn',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const will = { topic, payload: 'late', properties: { willDelayInterval: 1 } };
      const client = await t.connect({ will, properties: { sessionExpiryInterval: 60 } });
      const start = performance.now();
      await client.drop();
      await watcher.expectNothing();
      await watcher.receive({ payload: 'late' });
      if (performance.now() - start < 900) throw new Error('published before its delay had passed');
      // A session that ends first does not wait for the delay.
      const brief = { topic, payload: 'session end', properties: { willDelayInterval: 600 } };
      await (await t.connect({ will: brief, properties: { sessionExpiryInterval: 0 } })).drop();
      await watcher.receive({ payload: 'session end' });
    },
  },
  {
    id: 'MQTT-3.1.2-9',
    says: 'with the will flag, will QoS and retain apply and topic and payload are there',
    binds: 'both',
    async test(t) {
      await wills.qosAndTopicUsed(t);
      await connecting.willFlagWithoutFields(t);
    },
  },
  {
    id: 'MQTT-3.1.2-10',
    says: 'a will is gone once published, or after a normal DISCONNECT',
    binds: 'server',
    test: wills.publishedOnce,
  },
  {
    id: 'MQTT-3.1.2-11',
    says: 'without the will flag, will QoS is 0',
    binds: 'client',
    test: connecting.willQosWithoutWill,
  },
  {
    id: 'MQTT-3.1.2-12',
    says: 'will QoS is 0, 1 or 2; 3 is malformed',
    binds: 'client',
    test: connecting.willQosThree,
  },
  {
    id: 'MQTT-3.1.2-13',
    says: 'without the will flag, will retain is 0',
    binds: 'client',
    test: connecting.willRetainWithoutWill,
  },
  {
    id: 'MQTT-3.1.2-14',
    says: 'a will without will retain is published not retained',
    binds: 'server',
    test: wills.notRetained,
  },
  {
    id: 'MQTT-3.1.2-15',
    says: 'a will with will retain is published retained',
    binds: 'server',
    test: wills.retained,
  },
  {
    id: 'MQTT-3.1.2-16',
    says: 'without the user name flag there is no user name',
    binds: 'client',
    test: connecting.usernameWithoutFlag,
  },
  {
    id: 'MQTT-3.1.2-17',
    says: 'with the user name flag there is a user name',
    binds: 'client',
    test: connecting.usernameFlagWithoutField,
  },
  {
    id: 'MQTT-3.1.2-18',
    says: 'without the password flag there is no password',
    binds: 'client',
    test: connecting.passwordWithoutFlag,
  },
  {
    id: 'MQTT-3.1.2-19',
    says: 'with the password flag there is a password',
    binds: 'client',
    test: connecting.passwordFlagWithoutField,
  },
  {
    id: 'MQTT-3.1.2-20',
    says: 'a client with a keep alive pings when it has nothing else to send; PINGREQ counts',
    binds: 'client',
    test: connecting.pingKeepsAlive,
  },
  {
    id: 'MQTT-3.1.2-21',
    says: 'a client uses the keep alive that the server returns',
    binds: 'client',
    notTestable: 'binds the client; the server names a keep alive of its own only when configured to',
  },
  {
    id: 'MQTT-3.1.2-22',
    says: 'silence for one and a half times the keep alive ends the connection as if the network had failed',
    binds: 'server',
    async test(t) {
      await connecting.keepAlive(t);
      await wills.afterKeepAlive(t);
    },
  },
  {
    id: 'MQTT-3.1.2-23',
    says: 'the session outlives the connection when its expiry is above 0',
    binds: 'both',
    test: sessions.keptAfterDrop,
  },
  {
    id: 'MQTT-3.1.2-24',
    says: 'no packet to the client is larger than the Maximum Packet Size it named',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      const s = await t.subscriber(topic, 1, { properties: { maximumPacketSize: 100 } });
      const p = await t.connect();
      await p.publish({ topic, payload: 'x'.repeat(101), qos: 1 });
      await p.publish({ topic, payload: 'fits', qos: 1 });
      await s.receive({ payload: 'fits' });
      await s.expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.2-25',
    says: 'a message too large for the client is dropped as if it had been sent',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      const properties = { maximumPacketSize: 100, receiveMaximum: 1 };
      const s = await t.persistent('s', { properties });
      await s.subscribe(topic);
      const p = await t.connect();
      for (let i = 0; i < 3; i++) await p.publish({ topic, payload: 'x'.repeat(200), qos: 2 });
      await p.publish({ topic, payload: 'small', qos: 1 });
      // The large ones hold no place in the window of one, and do not come back.
      await s.receive({ payload: 'small' });
      await s.disconnect();
      await (await t.persistent('s', { properties })).expectNothing();
    },
  },
  {
    id: 'MQTT-3.1.2-26',
    says: 'topic aliases to the client stay within the Topic Alias Maximum it named',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic('#'), 0, { properties: { topicAliasMaximum: 2 } });
      const p = await t.connect();
      // The client itself fails on an alias above 2 or one that it was never told.
      for (let round = 0; round < 3; round++)
        for (let i = 0; i < 5; i++) {
          await p.publish({ topic: t.topic(`a${i}`), payload: `${i}`, qos: 1 });
          await s.expect('publish', { topic: t.topic(`a${i}`), payload: `${i}` });
        }
    },
  },
  {
    id: 'MQTT-3.1.2-27',
    says: 'no topic aliases to a client that named none',
    binds: 'server',
    async test(t) {
      for (const properties of [{}, { topicAliasMaximum: 0 }]) {
        const topic = t.topic();
        const s = await t.subscriber(topic, 0, { properties });
        const p = await t.connect();
        for (let i = 0; i < 3; i++) await p.publish({ topic, payload: 'x', qos: 1 });
        for (let i = 0; i < 3; i++) await s.expect('publish', { topic, properties: { topicAlias: undefined } });
      }
    },
  },
  {
    id: 'MQTT-3.1.2-28',
    says: 'no Response Information unless asked for',
    binds: 'server',
    async test(t) {
      for (const properties of [{}, { requestResponseInformation: 0 }]) {
        const { connack } = await t.connect({ properties });
        if (connack.properties.responseInformation !== undefined) throw new Error('response information');
      }
    },
  },
  {
    id: 'MQTT-3.1.2-29',
    says: 'no reason strings or user properties but on PUBLISH, CONNACK and DISCONNECT when the client declines them',
    binds: 'server',
    async test(t) {
      // The client itself fails on a packet that carries them.
      const client = await t.connect({ properties: { requestProblemInformation: 0 } });
      await client.subscribe(`${t.topic()}/#/x`, t.topic('b'));
      await client.unsubscribe('never');
      await client.publish({ topic: t.topic('nobody'), qos: 1 });
      await client.publish({ topic: t.topic('nobody'), qos: 2 });
      client.sendAck('pubrel', 999);
      await client.expect('pubcomp', { packetId: 999, reasonCode: 0x92 });
      const userProperties: [string, string][] = [['a', 'b']];
      await (await t.connect()).publish({ topic: t.topic('b'), qos: 1, properties: { userProperties } });
      await client.receive({ properties: { userProperties } });
    },
  },
  {
    id: 'MQTT-3.1.2-30',
    says: 'a client that authenticates by a method sends only AUTH and DISCONNECT before CONNACK',
    binds: 'client',
    async test(t) {
      const watcher = await t.subscriber(t.topic());
      const client = await t.raw();
      client.sendConnect(t.fields({ properties: { authenticationMethod: 'SCRAM-SHA-1' } }));
      client.send(bytes.packet('publish', 0, bytes.utf8(t.topic()), bytes.properties()));
      await client.expectClosed([0x8c, 0x82]);
      await watcher.expectNothing();
    },
  },
];
