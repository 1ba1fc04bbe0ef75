/** Rows beyond the numbered statements: sessions and wills. */
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as sessions from '../scenarios/sessions.js';
import * as wills from '../scenarios/wills.js';

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
