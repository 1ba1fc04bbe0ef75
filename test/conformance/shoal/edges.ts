/** Rows beyond the numbered statements: where two rules meet, which is where brokers go wrong. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as acknowledging from '../scenarios/acknowledging.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as retaining from '../scenarios/retaining.js';
import * as sharing from '../scenarios/sharing.js';

export const reconnectRows: Row[] = [
  {
    id: 'SHOAL-EDGE-1',
    says: 'a session resumed with a smaller Receive Maximum is resent within it, in order',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('s');
      await first.subscribe(t.topic());
      const p = await t.connect();
      for (let i = 0; i < 5; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
      for (let i = 0; i < 5; i++) await first.expect('publish', { payload: `${i}` });
      await first.drop();
      const again = await t.persistent('s', { properties: { receiveMaximum: 2 } });
      const one = await again.expect('publish', { payload: '0', dup: true });
      await again.expect('publish', { payload: '1', dup: true });
      await again.expectNothing();
      again.sendAck('puback', one.packetId!);
      await again.expect('publish', { payload: '2', dup: true });
      await again.expectNothing();
    },
  },
  {
    id: 'SHOAL-EDGE-2',
    says: 'topic aliases are set anew when messages are sent again on a new connection',
    binds: 'server',
    async test(t) {
      const properties = { topicAliasMaximum: 5 };
      const first = await t.persistent('s', { properties });
      await first.subscribe({ filter: t.topic(), qos: 1 });
      const p = await t.connect();
      for (let i = 0; i < 4; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
      for (let i = 0; i < 4; i++) await first.expect('publish', { topic: t.topic() });
      await first.drop();
      // The client itself fails on an alias that it was never told on this connection.
      const again = await t.persistent('s', { properties });
      for (let i = 0; i < 4; i++) await again.receive({ topic: t.topic(), payload: `${i}`, dup: true });
    },
  },
  {
    id: 'SHOAL-EDGE-3',
    says: 'what waits for a resumed session obeys the Maximum Packet Size of the new connection',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('s');
      await first.subscribe({ filter: t.topic(), qos: 1 });
      const p = await t.connect();
      await p.publish({ topic: t.topic(), payload: 'x'.repeat(200), qos: 1 });
      await first.expect('publish');
      await first.drop();
      await p.publish({ topic: t.topic(), payload: 'y'.repeat(200), qos: 1 });
      await p.publish({ topic: t.topic(), payload: 'small', qos: 1 });
      const again = await t.persistent('s', { properties: { maximumPacketSize: 100, receiveMaximum: 1 } });
      await again.receive({ payload: 'small' });
      await again.expectNothing();
    },
  },
  {
    id: 'SHOAL-EDGE-4',
    says: 'Retain Handling 1 knows subscriptions of the resumed session',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('s');
      await first.subscribe({ filter: t.topic(), qos: 1 });
      await first.disconnect();
      const p = await t.connect();
      await p.publish({ topic: t.topic('b'), payload: 'new', qos: 1, retain: true });
      await p.publish({ topic: t.topic(), payload: 'kept', qos: 1, retain: true });
      const again = await t.persistent('s');
      await again.receive({ payload: 'kept', retain: false });
      const options = { qos: 1, retainHandling: 1 };
      await again.subscribe({ filter: t.topic(), ...options }, { filter: t.topic('b'), ...options });
      await again.receive({ payload: 'new', retain: true });
      await retaining.nothingRetainedComes(t, again);
    },
  },
  {
    id: 'SHOAL-EDGE-5',
    says: 'PUBREL and PUBLISH that were both unacknowledged are both sent again',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('s');
      await first.subscribe(t.topic());
      const p = await t.connect();
      for (const payload of ['a', 'b', 'c']) await p.publish({ topic: t.topic(), payload, qos: 2 });
      const ids = [];
      for (const payload of ['a', 'b', 'c']) ids.push((await first.expect('publish', { payload })).packetId!);
      first.sendAck('pubrec', ids[1]!);
      await first.expect('pubrel', { packetId: ids[1]! });
      await first.drop();
      const again = await t.persistent('s');
      const got = [await again.next(), await again.next(), await again.next()];
      const seen = got.map((m) => (m.cmd === 'publish' ? `${String(m.payload)}${m.dup}` : `${m.cmd}${m.packetId}`));
      if (seen.sort().join() !== ['atrue', 'ctrue', `pubrel${ids[1]}`].sort().join()) throw new Error(seen.join());
      await again.expectNothing();
    },
  },
];

export const edgeRows: Row[] = [
  {
    id: 'SHOAL-EDGE-6',
    says: 'a message that waits for the window expires there',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic(), 1, { properties: { receiveMaximum: 1 } });
      const p = await t.connect();
      await p.publish({ topic: t.topic(), payload: 'first', qos: 1 });
      await p.publish({ topic: t.topic(), payload: 'brief', qos: 1, properties: { messageExpiryInterval: 1 } });
      await p.publish({ topic: t.topic(), payload: 'last', qos: 1 });
      const { packetId } = await s.expect('publish', { payload: 'first' });
      await forwarding.pass(t, 1_200);
      s.sendAck('puback', packetId!);
      await s.receive({ payload: 'last' });
      await s.expectNothing();
    },
  },
  {
    id: 'SHOAL-EDGE-7',
    says: 'an alias that came with a PUBLISH that is not allowed is set all the same',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ grants: [{ effect: 'allow', action: 'publish', topic: t.topic('yes') }] });
      const p = await t.connect({ as });
      const properties = { topicAlias: 1 };
      for (const topic of [t.topic('no'), '']) {
        const packetId = p.sendPublish({ topic, qos: 1, properties });
        await p.expect('puback', { packetId, reasonCode: 0x87 });
      }
    },
  },
  {
    id: 'SHOAL-EDGE-8',
    says: 'No Local also keeps away the retained message that the client itself has published',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      await client.publish({ topic: t.topic(), payload: 'own', qos: 1, retain: true });
      const without = await retaining.retainedOn(t, client, { noLocal: true });
      const all = await retaining.retainedOn(t, await t.connect());
      if (without.length > 0 || all.join() !== 'own') throw new Error(`${without.join()} of ${all.join()}`);
    },
  },
  {
    id: 'SHOAL-EDGE-9',
    says: 'acknowledgements for identifiers that are not in flight do no harm',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic());
      s.sendAck('puback', 9);
      s.sendAck('pubcomp', 9);
      await s.expectNothing();
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 2 });
      s.sendAck('pubrec', 9, 0x80);
      const { packetId } = await s.expect('publish', { payload: 'x' });
      s.sendAck('pubrec', packetId!);
      await s.answer('pubrel', packetId!);
    },
  },
  {
    id: 'SHOAL-EDGE-16',
    says: 'an acknowledgement of the wrong kind ends the connection (0x82), and the message is still there',
    binds: 'server',
    async test(t) {
      await acknowledging.wrongKind(t, false);
      await acknowledging.wrongKind(t, true);
    },
  },
  {
    id: 'SHOAL-EDGE-17',
    says: 'packets that only a server sends end the connection',
    binds: 'server',
    test: acknowledging.packetsOfServers,
  },
  {
    id: 'SHOAL-EDGE-10',
    says: 'acknowledgements with a reason code that is not in the table end the connection',
    binds: 'server',
    async test(t) {
      for (const cmd of ['puback', 'pubrec', 'pubcomp'] as const)
        await t.refuses([0x81, 0x82], bytes.packet(cmd, 0, bytes.u16(1), bytes.u8(0x42)));
      await t.refuses([0x81, 0x82], bytes.packet('pubrel', 2, bytes.u16(1), bytes.u8(0x42)));
    },
  },
  {
    id: 'SHOAL-EDGE-11',
    says: 'a client that shares a filter and also subscribes to it gets both copies',
    binds: 'server',
    async test(t) {
      const s = await t.connect();
      await s.subscribe({ filter: sharing.shared(t), qos: 1 }, { filter: t.topic(), qos: 1 });
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
      await s.receive({ payload: 'x' });
      await s.receive({ payload: 'x' });
      await s.expectNothing();
    },
  },
  {
    id: 'SHOAL-EDGE-12',
    says: 'code points that only look suspicious are characters: U+FFFF, U+10FFFF, U+0001, combining marks',
    binds: 'server',
    async test(t) {
      const topic = t.topic('\uffff\u{10ffff}\u0001e\u0301');
      const s = await t.subscriber(topic);
      await (await t.connect({ clientId: `${t.id('\u{1f680}')}` })).publish({ topic, payload: 'x', qos: 1 });
      await s.receive({ topic, payload: 'x' });
    },
  },
  {
    id: 'SHOAL-EDGE-13',
    says: 'a will topic with a wildcard, or a response topic with one in a will, is refused',
    binds: 'server',
    async test(t) {
      for (const will of [
        { topic: t.topic('#'), payload: 'x' },
        { topic: '', payload: 'x' },
        { topic: t.topic(), payload: 'x', properties: { responseTopic: 'a/+' } },
      ]) {
        const client = await t.raw();
        client.sendConnect(t.fields({ will }));
        await client.expectClosed([0x81, 0x82, 0x90]);
      }
    },
  },
  {
    id: 'SHOAL-EDGE-14',
    says: 'the expiry interval of a retained message is counted down',
    binds: 'server',
    async test(t) {
      const properties = { messageExpiryInterval: 100 };
      await (await t.connect()).publish({ topic: t.topic(), payload: 'kept', qos: 1, retain: true, properties });
      await forwarding.pass(t, 1_100);
      const got = await (await t.subscriber(t.topic())).receive({ payload: 'kept', retain: true });
      const left = got.properties.messageExpiryInterval ?? -1;
      if (left > 99 || left < 90) throw new Error(`expiry interval ${left}`);
    },
  },
  {
    id: 'SHOAL-EDGE-15',
    says: 'a shared QoS 2 message of a session that Clean Start has ended goes to no other member',
    binds: 'server',
    async test(t) {
      const filter = sharing.shared(t);
      const a = await t.persistent('a');
      await a.subscribe(filter);
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 2 });
      await a.expect('publish', { payload: 'x', qos: 2 });
      await a.drop();
      const b = await t.connect();
      await b.subscribe(filter);
      await t.connect({ clientId: t.id('a'), clean: true });
      await b.expectNothing();
    },
  },
];

export const quotaRows: Row[] = [
  {
    id: 'SHOAL-QUOTA-2',
    says: 'the message size of the tenant is its Maximum Packet Size; more is refused with 0x95',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'small-messages', quotas: { messageBytesMax: 2048 } });
      const client = await t.connect({ as });
      if (client.connack.properties.maximumPacketSize !== 2048) throw new Error(client.connack.raw.toString('hex'));
      await client.publish({ topic: 'a', payload: 'x'.repeat(2_000), qos: 1 });
      client.sendPublish({ topic: 'a', payload: 'x'.repeat(2_100), qos: 1 });
      await client.expectClosed(0x95);
    },
  },
  {
    id: 'SHOAL-QUOTA-3',
    says: 'a connection above the quota is refused with 0x97; a client that takes over its own is not',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'two-connections', quotas: { connections: 2 } });
      const one = await t.connect({ as, clientId: 'one' });
      await t.connect({ as, clientId: 'two' });
      const third = await t.raw();
      third.sendConnect(t.fields({ as, clientId: 'three' }));
      await third.expectClosed(0x97);
      await t.connect({ as, clientId: 'one' });
      await one.expectClosed(0x8e);
    },
  },
  {
    id: 'SHOAL-QUOTA-4',
    says: 'no more messages wait for a client than its quota allows',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'short-queues', quotas: { queuedMessagesPerSession: 3 } });
      const fields = { as, clientId: 'away', clean: false, properties: { sessionExpiryInterval: 60 } };
      const away = await t.connect(fields);
      await away.subscribe({ filter: 'a', qos: 1 });
      await away.disconnect();
      const p = await t.connect({ as });
      for (let i = 0; i < 5; i++) await p.publish({ topic: 'a', payload: `${i}`, qos: 1 });
      const back = await t.connect(fields);
      for (let i = 0; i < 3; i++) await back.receive({ payload: `${i}` });
      await back.expectNothing();
    },
  },
  {
    id: 'SHOAL-QUOTA-5',
    says: 'filters, topics and will topics have at most 128 levels; more is refused with 0x8f or 0x90',
    binds: 'server',
    async test(t) {
      const deep = [t.topic(), ...Array<string>(127 - t.topic().split('/').length).fill('')].join('/');
      const client = await t.connect();
      await client.subscribe({ filter: `${deep}/+`, qos: 1 });
      await client.publish({ topic: `${deep}/x`, qos: 1 });
      await client.receive({ topic: `${deep}/x` });
      client.sendSubscribe([`${deep}/+/x`, `$share/g/${deep}/+/#`]);
      await client.expect('suback', { reasonCodes: [0x8f, 0x8f] });
      client.sendPublish({ topic: `${deep}/x/x`, qos: 1 });
      await client.expectClosed(0x90);
      const withWill = await t.raw();
      withWill.sendConnect(t.fields({ will: { topic: `${deep}/x/x`, payload: '' } }));
      await withWill.expectClosed(0x90);
    },
  },
  {
    id: 'SHOAL-QUOTA-6',
    says: 'a packet has at most 1000 properties, and 1000 topic filters; more ends the connection (0x97)',
    binds: 'server',
    async test(t) {
      const userProperties = (count: number): [string, string][] =>
        Array.from({ length: count }, (_, i) => [`${i}`, '']);
      const filters = (count: number): string[] => Array.from({ length: count }, (_, i) => t.topic(`${i % 10}`));
      const client = await t.connect();
      const { reasonCodes } = await client.subscribe(...filters(1000));
      if (reasonCodes?.length !== 1000) throw new Error(`${reasonCodes?.length} codes`);
      await client.unsubscribe(...filters(1000));
      await client.publish({ topic: t.topic(), qos: 1, properties: { userProperties: userProperties(1000) } });
      client.sendPublish({ topic: t.topic(), qos: 1, properties: { userProperties: userProperties(1001) } });
      await client.expectClosed(0x97);
      for (const send of [
        (one: typeof client) => one.sendSubscribe(filters(1001)),
        (one: typeof client) => one.sendUnsubscribe(...filters(1001)),
      ]) {
        const one = await t.connect();
        send(one);
        await one.expectClosed(0x97);
      }
    },
  },
];
