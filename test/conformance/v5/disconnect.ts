/** MQTT 5.0, sections 3.14 and 3.15: DISCONNECT and AUTH. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as connecting from '../scenarios/connecting.js';
import * as wills from '../scenarios/wills.js';

export const disconnectRows: Row[] = [
  {
    id: 'MQTT-3.14.0-1',
    says: 'the server sends no DISCONNECT before it has accepted the connection',
    binds: 'server',
    async test(t) {
      // The client itself fails on a DISCONNECT ahead of a successful CONNACK.
      await connecting.firstPacketIsConnect(t);
      await connecting.reservedConnectFlag(t);
    },
  },
  {
    id: 'MQTT-3.14.1-1',
    says: 'reserved bits of DISCONNECT must be 0, else 0x81',
    binds: 'both',
    async test(t) {
      for (const first of ['e1', 'e2', 'e8']) await t.refuses(0x81, `${first}00`);
    },
  },
  {
    id: 'MQTT-3.14.2-1',
    says: 'DISCONNECT reason codes come from the table; one that does not is refused',
    binds: 'both',
    async test(t) {
      await t.refuses([0x81, 0x82], 'e00103');
      await connecting.secondConnect(t);
    },
  },
  {
    id: 'MQTT-3.14.2-2',
    says: 'the server puts no Session Expiry Interval on DISCONNECT',
    binds: 'server',
    async test(t) {
      // The client itself fails on a property that a server may not send.
      const properties = { sessionExpiryInterval: 60 };
      const old = await t.connect({ clientId: t.id('x'), properties });
      await t.connect({ clientId: t.id('x'), properties });
      await old.expectClosed(0x8e);
    },
  },
  {
    id: 'MQTT-3.14.2-3',
    says: 'no reason string that would make DISCONNECT too large',
    binds: 'both',
    async test(t) {
      const client = await t.connect({ properties: { maximumPacketSize: 30 } });
      client.send(bytes.packet('subscribe', 2, bytes.u16(1), bytes.properties()));
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'MQTT-3.14.2-4',
    says: 'no user properties that would make DISCONNECT too large',
    binds: 'both',
    coveredBy: 'MQTT-3.14.2-3',
  },
  {
    id: 'MQTT-3.14.4-1',
    says: 'nothing is sent after DISCONNECT',
    binds: 'both',
    async test(t) {
      const topic = t.topic();
      const old = await t.persistent('x');
      await old.subscribe(topic);
      const young = await t.persistent('x');
      await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
      await young.receive({ payload: 'x' });
      await old.expectClosed(0x8e);
    },
  },
  {
    id: 'MQTT-3.14.4-2',
    says: 'the sender of DISCONNECT closes; the server also closes when it receives one',
    binds: 'both',
    async test(t) {
      await (await t.connect()).disconnect();
      await (await t.connect()).disconnect(0x04);
      await connecting.secondConnect(t);
    },
  },
  {
    id: 'MQTT-3.14.4-3',
    says: 'DISCONNECT 0x00 withdraws the will',
    binds: 'server',
    async test(t) {
      await wills.discardedOnDisconnect(t);
      const topic = t.topic('explicit');
      const watcher = await t.subscriber(topic);
      await (await t.connect({ will: { topic, payload: 'never' } })).disconnect(0x00);
      await watcher.expectNothing();
    },
  },
];

export const authRows: Row[] = [
  {
    id: 'MQTT-3.15.1-1',
    says: 'reserved bits of AUTH must be 0, else it is malformed',
    binds: 'both',
    test: (t) => t.refuses(0x81, bytes.packet('auth', 1, bytes.u8(0x19), bytes.properties())),
  },
  {
    id: 'MQTT-3.15.2-1',
    says: 'AUTH reason codes come from the table; one that does not is refused',
    binds: 'both',
    async test(t) {
      const properties = bytes.properties({ authenticationMethod: 'none' });
      await t.refuses([0x81, 0x82, 0x8c], bytes.packet('auth', 0, bytes.u8(0x42), properties));
    },
  },
  {
    id: 'MQTT-3.15.2-2',
    says: 'no reason string that would make AUTH too large',
    binds: 'both',
    notTestable: 'the server offers no authentication method and never sends AUTH',
  },
  {
    id: 'MQTT-3.15.2-3',
    says: 'no user properties that would make AUTH too large',
    binds: 'both',
    notTestable: 'the server offers no authentication method and never sends AUTH',
  },
];

export const authenticationRows: Row[] = [
  {
    id: 'MQTT-4.12.0-1',
    says: 'an authentication method that the server does not know ends the connection, with CONNACK 0x8C',
    binds: 'server',
    async test(t) {
      for (const authenticationMethod of ['SCRAM-SHA-256', '']) {
        const client = await t.raw();
        client.sendConnect(t.fields({ properties: { authenticationMethod } }));
        await client.expectClosed(0x8c);
      }
    },
  },
  {
    id: 'MQTT-4.12.0-2',
    says: 'the server continues an authentication with AUTH 0x18',
    binds: 'server',
    notTestable: 'the server offers no authentication method',
  },
  {
    id: 'MQTT-4.12.0-3',
    says: 'the client answers with AUTH 0x18',
    binds: 'client',
    notTestable: 'the server offers no authentication method',
  },
  {
    id: 'MQTT-4.12.0-4',
    says: 'the server may reject the authentication at any point, and then closes',
    binds: 'server',
    coveredBy: 'MQTT-4.12.0-1',
  },
  {
    id: 'MQTT-4.12.0-5',
    says: 'AUTH and a successful CONNACK repeat the authentication method of CONNECT',
    binds: 'both',
    notTestable: 'the server offers no authentication method',
  },
  {
    id: 'MQTT-4.12.0-6',
    says: 'without an authentication method the server sends no AUTH and no method',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      if (client.connack.properties.authenticationMethod !== undefined) throw new Error('authentication method');
      await client.expectNothing();
    },
  },
  {
    id: 'MQTT-4.12.0-7',
    says: 'without an authentication method the client sends no AUTH, or is closed with 0x82',
    binds: 'client',
    async test(t) {
      await t.refuses(0x82, bytes.packet('auth', 0));
      const properties = bytes.properties({ authenticationMethod: 'SCRAM-SHA-1' });
      await t.refuses(0x82, bytes.packet('auth', 0, bytes.u8(0x18), properties));
    },
  },
  {
    id: 'MQTT-4.12.1-1',
    says: 'a client authenticates again only by the method of its CONNECT, or is closed with 0x82',
    binds: 'client',
    async test(t) {
      const properties = bytes.properties({ authenticationMethod: 'SCRAM-SHA-1' });
      await t.refuses(0x82, bytes.packet('auth', 0, bytes.u8(0x19), properties));
    },
  },
  {
    id: 'MQTT-4.12.1-2',
    says: 'a failed re-authentication ends the connection',
    binds: 'both',
    coveredBy: 'MQTT-4.12.1-1',
  },
];
