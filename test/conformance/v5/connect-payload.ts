/** MQTT 5.0, section 3.1: the payload of CONNECT and what the server does with it. */
import { connectBytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';

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
