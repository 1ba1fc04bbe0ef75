/** MQTT 3.1.1, section 3.1.3 on, and 3.2: the payload of CONNECT, and CONNACK. */
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
