/** Rows beyond the numbered statements: CONNECT and CONNACK. */
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';

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
    id: 'SHOAL-KEEPALIVE-1',
    says: 'with a keep alive of 0 silence is no reason to close',
    binds: 'server',
    async test(t) {
      const silent = await t.connect({ keepalive: 0 });
      // The clock: a connection that is just as silent and has a keep alive.
      const clock = await t.connect({ keepalive: 1 });
      clock.boundMs = 10_000;
      await clock.expectClosed();
      await silent.expectNothing();
    },
  },
  {
    id: 'SHOAL-RESPONSE-1',
    says: 'asking for response information is accepted',
    binds: 'server',
    test: async (t) => (await t.connect({ properties: { requestResponseInformation: 1 } })).expectNothing(),
  },
];
