/** Rows beyond the numbered statements: connecting, sessions and wills. */
import { bytes } from '../../support/packet-codec.js';
import { connectBytes } from '../../support/packet-client.js';
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as sessions from '../scenarios/sessions.js';
import * as wills from '../scenarios/wills.js';

export const connectingRows: Row[] = [
  {
    id: 'SHOAL-CONNACK-1',
    says: 'CONNACK names the limits: Receive Maximum 256, Topic Alias Maximum 32, Maximum Packet Size; all features on',
    binds: 'server',
    async test(t) {
      const { properties } = (await t.connect()).connack;
      const { receiveMaximum, topicAliasMaximum, maximumPacketSize } = properties;
      if (receiveMaximum !== 256 || topicAliasMaximum !== 32 || !maximumPacketSize)
        throw new Error(JSON.stringify(properties));
      const off = [
        properties.maximumQoS,
        properties.retainAvailable,
        properties.wildcardSubscriptionAvailable,
        properties.subscriptionIdentifiersAvailable,
        properties.sharedSubscriptionAvailable,
      ].some((value) => value === 0);
      if (off) throw new Error(JSON.stringify(properties));
    },
  },
  {
    id: 'SHOAL-CONNACK-2',
    says: 'the advertised Maximum Packet Size is truthful: a packet of that size passes',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic(), 0);
      const p = await t.connect();
      const size = p.connack.properties.maximumPacketSize ?? 0;
      const overhead = p.publishBytes({ topic: t.topic(), qos: 1, payload: Buffer.alloc(200_000) }).length - 200_000;
      const payload = Buffer.alloc(size - overhead - (size >= 2_097_152 ? 1 : 0), 7);
      await p.expect('puback', { packetId: p.sendPublish({ topic: t.topic(), qos: 1, payload }), reasonCode: 0 });
      const got = await s.expect('publish');
      if (!got.payload!.equals(payload)) throw new Error(`${got.payload!.length} bytes arrived`);
    },
  },
  {
    id: 'SHOAL-CONNACK-3',
    says: 'a session expiry above the quota of the tenant is cut, and CONNACK says so',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'expiry', quotas: { sessionExpirySecondsMax: 7 } });
      const { connack } = await t.connect({ as, properties: { sessionExpiryInterval: 0xffffffff } });
      if (connack.properties.sessionExpiryInterval !== 7) throw new Error(JSON.stringify(connack.properties));
    },
  },
  {
    id: 'SHOAL-CONNECT-1',
    says: 'property values that the specification excludes, and repeated ones, are refused with 0x82',
    binds: 'server',
    async test(t) {
      const wrong = [
        [bytes.property('receiveMaximum', 0)],
        [bytes.property('maximumPacketSize', 0)],
        [bytes.property('requestProblemInformation', 2)],
        [bytes.property('requestResponseInformation', 2)],
        [bytes.property('sessionExpiryInterval', 1), bytes.property('sessionExpiryInterval', 1)],
        [bytes.property('topicAliasMaximum', 1), bytes.property('topicAliasMaximum', 1)],
        [bytes.property('authenticationData', Buffer.from('x'))],
      ];
      const { username, password } = t.broker.account;
      for (const parts of wrong) {
        const body = Buffer.concat(parts);
        const client = await t.raw();
        client.send(
          bytes.packet(
            'connect',
            0,
            ...[bytes.utf8('MQTT'), bytes.u8(5), bytes.u8(0xc2), bytes.u16(0), bytes.varint(body.length), body],
            ...[bytes.utf8(t.fresh()), bytes.utf8(username), bytes.utf8(password)],
          ),
        );
        await client.expectClosed(0x82);
      }
    },
  },
  {
    id: 'SHOAL-CONNECT-2',
    says: 'a property that does not belong on the packet is malformed (0x81)',
    binds: 'server',
    async test(t) {
      const properties = bytes.properties({ serverKeepAlive: 5 });
      await t.refuses(0x81, bytes.packet('publish', 0, bytes.utf8(t.topic()), properties));
      await t.refuses(0x81, bytes.packet('subscribe', 2, bytes.u16(1), properties, bytes.utf8(t.topic()), bytes.u8(0)));
      const client = await t.raw();
      client.sendConnect(t.fields({ properties: { topicAlias: 1 } }));
      await client.expectClosed(0x81);
    },
  },
  {
    id: 'SHOAL-CONNECT-3',
    says: 'packets may follow CONNECT at once, without waiting for CONNACK',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      const subscribe = [bytes.u16(1), bytes.properties(), bytes.utf8(t.topic()), bytes.u8(1)];
      client.send(
        connectBytes(t.fields()),
        bytes.packet('subscribe', 2, ...subscribe),
        client.publishBytes({ topic: t.topic(), payload: 'at once', qos: 1, packetId: 2 }),
      );
      await client.expect('connack', { reasonCode: 0 });
      await client.expect('suback', { packetId: 1 });
      const rest = [await client.next(), await client.next()].map((p) => p.cmd).sort();
      if (rest.join() !== 'puback,publish') throw new Error(rest.join());
    },
  },
  {
    id: 'SHOAL-CONNECT-4',
    says: 'a remaining length that does not end closes at once, before and after CONNECT',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.send('10ffffffff7f');
      await client.expectClosed();
      await t.refuses(0x81, 'c0ffffffff');
    },
  },
  {
    id: 'SHOAL-CONNECT-5',
    says: 'a CONNECT larger than any that is allowed is refused before it is read',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.send('10ffffff7f', '00044d515454');
      await client.expectClosed();
    },
  },
  {
    id: 'SHOAL-CONNECT-6',
    says: 'a connection that does not complete CONNECT within 10 s is closed, however slowly it keeps sending',
    binds: 'server',
    async test(t) {
      const [silent, slow] = [await t.raw(), await t.raw()];
      const packet = connectBytes(t.fields({ will: { topic: t.topic(), payload: 'x'.repeat(200) } }));
      let at = 0;
      const trickle = setInterval(() => slow.send(packet.subarray(at, ++at)), 250);
      for (const client of [silent, slow]) {
        client.boundMs = 14_000;
        await client.expectClosed();
      }
      clearInterval(trickle);
    },
  },
  {
    id: 'SHOAL-CONNECT-7',
    says: 'nobody is let in without an account: 0x86 or 0x87',
    binds: 'server',
    async test(t) {
      for (const wrong of [
        { username: undefined, password: undefined },
        { password: undefined },
        { username: undefined, password: 'x' },
        { username: 'no-tenant' },
        { username: '@' },
      ]) {
        const client = await t.raw();
        client.sendConnect(t.fields(wrong));
        await client.expectClosed([0x86, 0x87]);
      }
    },
  },
  {
    id: 'SHOAL-RESPONSE-1',
    says: 'asking for response information is accepted',
    binds: 'server',
    test: async (t) => (await t.connect({ properties: { requestResponseInformation: 1 } })).expectNothing(),
  },
];

export const sessionRows: Row[] = [
  {
    id: 'SHOAL-SESSION-1',
    says: 'Session Expiry on DISCONNECT replaces that of CONNECT, both ways',
    binds: 'server',
    async test(t) {
      const ends = await t.persistent('ends');
      await ends.disconnect(0, { sessionExpiryInterval: 0 });
      if ((await t.persistent('ends')).connack.sessionPresent) throw new Error('expiry 0 at DISCONNECT was ignored');
      const stays = await t.connect({ clientId: t.id('stays'), properties: { sessionExpiryInterval: 1 } });
      await stays.disconnect(0, { sessionExpiryInterval: 300 });
      await forwarding.pass(t, 1_500);
      if (!(await t.persistent('stays')).connack.sessionPresent) throw new Error('a longer expiry was ignored');
    },
  },
  {
    id: 'SHOAL-SESSION-2',
    says: 'Session Expiry above 0 on DISCONNECT after 0 on CONNECT is a protocol error (0x82)',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      client.sendDisconnect(0, { sessionExpiryInterval: 60 });
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'SHOAL-SESSION-3',
    says: 'taking over a session brings along what had not been acknowledged',
    binds: 'server',
    async test(t) {
      const old = await t.persistent('x');
      await old.subscribe(t.topic());
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
      const { packetId } = await old.expect('publish', { payload: 'x' });
      const young = await t.persistent('x');
      if (!young.connack.sessionPresent) throw new Error('no session');
      await young.receive({ payload: 'x', dup: true, packetId: packetId! });
      await old.expectClosed(0x8e);
    },
  },
  {
    id: 'SHOAL-SESSION-4',
    says: 'Clean Start 1 with an expiry starts anew and is kept',
    binds: 'server',
    async test(t) {
      const properties = { sessionExpiryInterval: 60 };
      const first = await t.connect({ clientId: t.id('x'), clean: true, properties });
      await first.subscribe(t.topic());
      await first.disconnect();
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
      const again = await t.persistent('x');
      if (!again.connack.sessionPresent) throw new Error('no session');
      await again.receive({ payload: 'x' });
    },
  },
  {
    id: 'SHOAL-SESSION-5',
    says: 'an unreleased QoS 2 message of a publisher is remembered across connections',
    binds: 'server',
    test: delivering.duplicateAcrossConnections,
  },
  {
    id: 'SHOAL-SESSION-6',
    says: 'subscriptions with their options and identifiers come back with the session',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('x');
      const subscription = { filter: t.topic(), qos: 1, noLocal: true, retainAsPublished: true };
      await first.expect('suback', { packetId: first.sendSubscribe([subscription], { subscriptionIdentifier: 9 }) });
      await first.disconnect();
      const again = await t.persistent('x');
      await again.publish({ topic: t.topic(), payload: 'own', qos: 1 });
      await (await t.connect()).publish({ topic: t.topic(), payload: 'foreign', qos: 2, retain: true });
      const properties = { subscriptionIdentifier: [9] };
      await again.receive({ payload: 'foreign', qos: 1, retain: true, properties });
      await again.expectNothing();
    },
  },
  {
    id: 'SHOAL-SESSION-7',
    says: 'a session made with 3.1.1 is resumed with 5.0, and the other way round',
    binds: 'server',
    async test(t) {
      for (const [from, to] of [
        [4, 5],
        [5, 4],
      ] as const) {
        const topic = t.topic(`${from}`);
        const first = await t.persistent(`from${from}`, { version: from });
        await first.subscribe({ filter: topic, qos: 1 });
        await first.disconnect();
        await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
        const again = await t.persistent(`from${from}`, { version: to });
        if (!again.connack.sessionPresent) throw new Error(`no session from ${from} to ${to}`);
        await again.receive({ payload: 'x', qos: 1 });
      }
    },
  },
  {
    id: 'SHOAL-SESSION-8',
    says: 'a dropped connection is noticed and its session kept',
    binds: 'server',
    test: sessions.keptAfterDrop,
  },
];

export const willRows: Row[] = [
  {
    id: 'SHOAL-WILL-1',
    says: 'a pending will is published when Clean Start 1 ends its session',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const will = { topic, payload: 'session over', properties: { willDelayInterval: 600 } };
      await (await t.persistent('x', { will })).drop();
      await t.connect({ clientId: t.id('x'), clean: true });
      await watcher.receive({ payload: 'session over' });
    },
  },
  {
    id: 'SHOAL-WILL-2',
    says: 'a will without delay is published when the client is taken over',
    binds: 'server',
    test: wills.onTakeOver,
  },
  {
    id: 'SHOAL-WILL-3',
    says: 'a will with a delay is not published when the session is taken over',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const will = { topic, payload: 'never', properties: { willDelayInterval: 1 } };
      const old = await t.persistent('x', { will });
      await t.persistent('x');
      await old.expectClosed(0x8e);
      await forwarding.pass(t, 1_300);
      await watcher.expectNothing();
    },
  },
  {
    id: 'SHOAL-WILL-4',
    says: 'DISCONNECT 0x04 asks for the will',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      await (await t.connect({ will: { topic, payload: 'asked for' } })).disconnect(0x04);
      await watcher.receive({ payload: 'asked for' });
    },
  },
  {
    id: 'SHOAL-WILL-5',
    says: 'a will carries its properties, and its expiry begins when it is published',
    binds: 'server',
    async test(t) {
      const topic = t.topic('will');
      const watcher = await t.subscriber(topic);
      const properties = {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 300,
        contentType: 'text/plain',
        responseTopic: 'answers/here',
        correlationData: Buffer.from('0102', 'hex'),
        userProperties: [['k', 'v']] as [string, string][],
      };
      const will = { topic, payload: 'x', qos: 1, properties: { willDelayInterval: 1, ...properties } };
      await (await t.persistent('x', { will })).drop();
      await watcher.receive({ payload: 'x', qos: 1, properties });
    },
  },
  {
    id: 'SHOAL-WILL-6',
    says: 'a protocol error and a lapse of the keep alive publish the will',
    binds: 'server',
    async test(t) {
      await wills.afterProtocolError(t);
      await wills.afterKeepAlive(t);
    },
  },
];
