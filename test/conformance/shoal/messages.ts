/** Rows beyond the numbered statements: messages, subscriptions, sharing, access. */
import { bytes } from '../../support/packet-codec.js';
import type { Row } from '../row.js';
import type { Trial } from '../trial.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as sharing from '../scenarios/sharing.js';

/** Every type of packet a server sends, so that the strict decoder of the client sees each. */
async function everyPacketType(t: Trial): Promise<void> {
  const client = await t.connect(t.v5 ? { properties: { topicAliasMaximum: 5 } } : {});
  await client.subscribe({ filter: t.topic('#'), qos: 2 }, { filter: 'a/#/b', qos: 0 });
  await client.publish({ topic: t.topic(), qos: 0, payload: '0' });
  await client.receive({ payload: '0' });
  for (const qos of [1, 2] as const) {
    client.sendPublish({ topic: t.topic(), qos, packetId: qos, payload: 'x' });
    if (qos === 2) {
      // PUBREC and the message come in either order.
      const both = [await client.next(), await client.next()];
      if (
        both
          .map((p) => p.cmd)
          .sort()
          .join() !== 'publish,pubrec'
      )
        throw new Error(both.map((p) => p.cmd).join());
      client.sendAck('pubrel', 2);
      client.sendAck('pubrec', both.find((p) => p.cmd === 'publish')!.packetId!);
      const more = [await client.next(), await client.next()].map((p) => p.cmd);
      if (more.sort().join() !== 'pubcomp,pubrel') throw new Error(more.join());
    } else {
      const both = [await client.next(), await client.next()];
      client.sendAck('puback', both.find((p) => p.cmd === 'publish')!.packetId!);
    }
  }
  await client.unsubscribe(t.topic('#'), t.topic('never'));
  await client.expectNothing();
  client.send('f100');
  await client.expectClosed(t.v5 ? 0x81 : undefined);
}

export const strictRows: Row[] = [
  {
    id: 'SHOAL-STRICT-1',
    says: 'in every row, every packet from the server is checked: flags, lengths, UTF-8, properties, reason codes',
    binds: 'server',
    test: everyPacketType,
  },
];

export const strictRowsV3: Row[] = [
  {
    id: 'SHOAL-STRICT-2',
    says: 'in every 3.x row, every packet from the server is checked: flags, lengths, UTF-8, return codes',
    binds: 'server',
    test: everyPacketType,
  },
];

export const messageRows: Row[] = [
  {
    id: 'SHOAL-ALIAS-1',
    says: 'the server uses topic aliases towards a client that allows them',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic(), 0, { properties: { topicAliasMaximum: 10 } });
      const p = await t.connect();
      let last;
      for (let i = 0; i < 4; i++) {
        await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
        last = await s.expect('publish', { topic: t.topic(), payload: `${i}` });
      }
      if (last!.properties.topicAlias === undefined || last!.raw.includes(t.topic()))
        throw new Error(`the fourth message still spells its topic: ${last!.raw.toString('hex')}`);
    },
  },
  {
    id: 'SHOAL-ALIAS-2',
    says: 'an empty topic with an alias that was never set is a protocol error (0x82)',
    binds: 'server',
    async test(t) {
      const client = await t.connect();
      client.sendPublish({ topic: '', payload: 'x', properties: { topicAlias: 3 } });
      await client.expectClosed(0x82);
    },
  },
  {
    id: 'SHOAL-EXPIRY-1',
    says: 'a retained message expires',
    binds: 'server',
    async test(t) {
      const p = await t.connect();
      const properties = { messageExpiryInterval: 1 };
      await p.publish({ topic: t.topic(), payload: 'brief', qos: 1, retain: true, properties });
      await (await t.subscriber(t.topic())).receive({ payload: 'brief', retain: true });
      await forwarding.pass(t, 1_300);
      await (await t.subscriber(t.topic())).expectNothing();
    },
  },
  {
    id: 'SHOAL-SUBSCRIBE-1',
    says: 'SUBACK comes before the retained messages',
    binds: 'server',
    async test(t) {
      await (await t.connect()).publish({ topic: t.topic(), payload: 'kept', qos: 1, retain: true });
      const s = await t.connect();
      s.sendSubscribe([t.topic()]);
      await s.expect('suback');
      await s.expect('publish', { payload: 'kept' });
    },
  },
  {
    id: 'SHOAL-SUBSCRIBE-2',
    says: 'replacing a subscription replaces its identifier, or takes it away',
    binds: 'server',
    async test(t) {
      const s = await t.connect();
      const p = await t.connect();
      for (const id of [5, 6, undefined]) {
        const packetId = s.sendSubscribe([t.topic()], id === undefined ? {} : { subscriptionIdentifier: id });
        await s.expect('suback', { packetId });
        await p.publish({ topic: t.topic(), payload: 'x', qos: 1 });
        await s.receive({ properties: { subscriptionIdentifier: id === undefined ? undefined : [id] } });
      }
    },
  },
  {
    id: 'SHOAL-SUBSCRIBE-3',
    says: 'retained messages at subscribe carry the identifier of that subscription',
    binds: 'server',
    async test(t) {
      await (await t.connect()).publish({ topic: t.topic(), payload: 'kept', qos: 1, retain: true });
      const s = await t.connect();
      await s.expect('suback', { packetId: s.sendSubscribe([t.topic()], { subscriptionIdentifier: 3 }) });
      await s.receive({ payload: 'kept', retain: true, properties: { subscriptionIdentifier: [3] } });
    },
  },
  {
    id: 'SHOAL-SUBSCRIBE-4',
    says: 'overlapping subscriptions with different Retain As Published and No Local still give one copy',
    binds: 'server',
    async test(t) {
      const s = await t.connect();
      await s.subscribe({ filter: t.topic('#'), qos: 0, noLocal: true }, { filter: t.topic(), qos: 1 });
      await s.publish({ topic: t.topic(), payload: 'own', qos: 0 });
      await s.receive({ payload: 'own', qos: 0 });
      await (await t.connect()).publish({ topic: t.topic(), payload: 'foreign', qos: 1 });
      await s.receive({ payload: 'foreign', qos: 1 });
      await s.expectNothing();
    },
  },
  {
    id: 'SHOAL-MIXED-1',
    says: 'messages cross protocol versions; properties reach only 5.0',
    binds: 'server',
    async test(t) {
      const three = await t.connect({ version: 3 });
      const four = await t.connect({ version: 4 });
      const five = await t.connect();
      for (const s of [three, four, five]) await s.subscribe(t.topic());
      await five.publish({ topic: t.topic(), payload: 'new', qos: 0, properties: { contentType: 'text/plain' } });
      await five.receive({ payload: 'new', properties: { contentType: 'text/plain' } });
      for (const s of [three, four]) await s.receive({ payload: 'new' });
      await four.publish({ topic: t.topic(), payload: 'old', qos: 0 });
      for (const s of [three, four, five]) await s.receive({ payload: 'old' });
    },
  },
];

export const sharingRows: Row[] = [
  { id: 'SHOAL-SHARE-1', says: 'members get messages in turn', binds: 'server', test: sharing.roundRobin },
  {
    id: 'SHOAL-SHARE-2',
    says: 'groups and ordinary subscriptions are independent of each other',
    binds: 'server',
    test: sharing.groupsAreIndependent,
  },
  {
    id: 'SHOAL-SHARE-3',
    says: 'QoS 1 messages that a member left unacknowledged for good go to another',
    binds: 'server',
    test: sharing.handedOnWhenMemberLeaves,
  },
  {
    id: 'SHOAL-SHARE-4',
    says: 'members that are away or have a full window are skipped',
    binds: 'server',
    test: sharing.skipsAwayAndFull,
  },
  {
    id: 'SHOAL-SHARE-5',
    says: 'with all members away messages wait',
    binds: 'server',
    test: sharing.waitsForMembers,
  },
  {
    id: 'SHOAL-SHARE-6',
    says: 'a shared subscription gets no retained messages at subscribe',
    binds: 'server',
    test: sharing.noRetainedMessages,
  },
  {
    id: 'SHOAL-SHARE-7',
    says: 'UNSUBSCRIBE leaves the group',
    binds: 'server',
    test: sharing.unsubscribeLeavesGroup,
  },
  {
    id: 'SHOAL-SHARE-8',
    says: 'a shared delivery carries the subscription identifier of its member',
    binds: 'server',
    async test(t) {
      const s = await t.connect();
      await s.expect('suback', { packetId: s.sendSubscribe([sharing.shared(t)], { subscriptionIdentifier: 77 }) });
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
      await s.receive({ payload: 'x', properties: { subscriptionIdentifier: [77] } });
    },
  },
];

export const accessRows: Row[] = [
  {
    id: 'SHOAL-ACCESS-1',
    says: 'a PUBLISH that is not allowed: 0x87 in PUBACK and PUBREC, QoS 0 dropped, delivered to nobody',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ grants: [{ effect: 'allow', action: 'publish', topic: t.topic('yes') }] });
      const s = await t.subscriber(t.topic('#'));
      const p = await t.connect({ as });
      p.sendPublish({ topic: t.topic('no'), payload: 'no' });
      await p.expect('puback', { packetId: p.sendPublish({ topic: t.topic('no'), qos: 1 }), reasonCode: 0x87 });
      await p.expect('pubrec', { packetId: p.sendPublish({ topic: t.topic('no'), qos: 2 }), reasonCode: 0x87 });
      await s.expectNothing();
      await p.publish({ topic: t.topic('yes'), payload: 'yes', qos: 1 });
      await s.receive({ payload: 'yes' });
    },
  },
  {
    id: 'SHOAL-ACCESS-2',
    says: 'a SUBSCRIBE that is not allowed: 0x87 for that filter, the others are granted',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({
        grants: [
          { effect: 'allow', action: 'subscribe', topic: t.topic('#') },
          { effect: 'deny', action: 'subscribe', topic: t.topic('secret/#') },
        ],
      });
      const s = await t.connect({ as });
      const ack = await s.subscribe({ filter: t.topic('secret/a'), qos: 1 }, { filter: t.topic('open'), qos: 1 });
      if (ack.reasonCodes?.join() !== `${0x87},1`) throw new Error(ack.reasonCodes?.join());
      const outside = await s.subscribe('elsewhere/#', `$share/g/elsewhere`);
      if (outside.reasonCodes?.join() !== `${0x87},${0x87}`) throw new Error(outside.reasonCodes?.join());
    },
  },
  {
    id: 'SHOAL-ACCESS-3',
    says: 'a wildcard does not reach what is denied',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({
        grants: [
          { effect: 'allow', action: 'all', topic: t.topic('#') },
          { effect: 'deny', action: 'subscribe', topic: t.topic('secret/#') },
        ],
      });
      const s = await t.connect({ as });
      const ack = await s.subscribe({ filter: t.topic('#'), qos: 1 });
      const p = await t.connect();
      await p.publish({ topic: t.topic('secret/a'), payload: 'secret', qos: 1 });
      if (ack.reasonCodes![0] !== 0x87) {
        await p.publish({ topic: t.topic('open'), payload: 'open', qos: 1 });
        await s.receive({ payload: 'open' });
      }
      await s.expectNothing();
    },
  },
  {
    id: 'SHOAL-ACCESS-4',
    says: 'grants know ${clientid} and ${username}',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({
        grants: [{ effect: 'allow', action: 'publish', topic: t.topic('${clientid}/#') }],
      });
      const p = await t.connect({ as });
      await t.subscriber(t.topic('#'));
      const own = t.topic(`${p.clientId}/a`);
      await p.expect('puback', { packetId: p.sendPublish({ topic: own, qos: 1 }), reasonCode: 0 });
      await p.expect('puback', { packetId: p.sendPublish({ topic: t.topic('b/a'), qos: 1 }), reasonCode: 0x87 });
    },
  },
  {
    id: 'SHOAL-QUOTA-1',
    says: 'a subscription above the quota is answered 0x97',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'subs', quotas: { subscriptionsPerSession: 2 } });
      const s = await t.connect({ as });
      const ack = await s.subscribe(...['a', 'b', 'c'].map((filter) => ({ filter, qos: 1 })));
      if (ack.reasonCodes?.join() !== `1,1,${0x97}`) throw new Error(ack.reasonCodes?.join());
      const again = await s.subscribe({ filter: 'a', qos: 0 });
      if (again.reasonCodes?.join() !== '0') throw new Error('replacing a subscription counted against the quota');
    },
  },
  {
    id: 'SHOAL-TENANT-1',
    says: 'tenants with the same client identifiers and topics do not meet',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'other' });
      const here = await t.connect({ clientId: t.id('x') });
      const there = await t.connect({ clientId: t.id('x'), as });
      for (const s of [here, there]) await s.subscribe(t.topic());
      await (await t.connect({ as })).publish({ topic: t.topic(), payload: 'there', qos: 1, retain: true });
      await there.receive({ payload: 'there' });
      await here.expectNothing();
      await (await t.subscriber(t.topic())).expectNothing();
    },
  },
  {
    id: 'SHOAL-SYS-1',
    says: '$SYS shows numbers of the tenant and nobody can publish there',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'numbers' });
      const s = await t.connect({ as });
      await s.subscribe({ filter: '$SYS/#', qos: 0 });
      await s.expect('publish', { qos: 0 });
      const p = await t.connect({ as });
      await p.expect('puback', { packetId: p.sendPublish({ topic: '$SYS/mine', qos: 1 }), reasonCode: 0x87 });
    },
  },
  {
    id: 'SHOAL-SYS-2',
    says: '$SYS counts only the clients of the own tenant',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'alone' });
      const s = await t.connect({ as });
      const connected = { filter: '$SYS/broker/clients/connected', qos: 0 };
      await s.subscribe(connected);
      await s.expect('publish', { payload: '1' });
      await t.connect({ as });
      await s.subscribe(connected);
      await s.expect('publish', { payload: '2' });
    },
  },
];

export const v3Rows: Row[] = [
  {
    id: 'SHOAL-V3-1',
    says: 'wrong password: return code 4 or 5; no account: 4 or 5',
    binds: 'server',
    async test(t) {
      for (const wrong of [
        { password: 'certainly not the password' },
        { username: 'nobody@nowhere' },
        { username: undefined, password: undefined },
        { password: undefined },
      ]) {
        const client = await t.raw();
        client.sendConnect(t.fields(wrong));
        await client.expectClosed([4, 5]);
      }
    },
  },
  {
    id: 'SHOAL-V3-2',
    says: 'MQTT 3.1 (MQIsdp) connects, subscribes, publishes at every QoS, leaves a will',
    binds: 'server',
    async test(t) {
      const will = { topic: t.topic('will'), payload: 'gone' };
      const s = await t.connect({ version: 3 });
      await s.subscribe({ filter: t.topic('#'), qos: 2 });
      const p = await t.connect({ version: 3, will });
      for (const qos of [0, 1, 2] as const) {
        await p.publish({ topic: t.topic(), payload: `${qos}`, qos });
        await s.receive({ payload: `${qos}`, qos });
      }
      await p.drop();
      await s.receive({ payload: 'gone' });
    },
  },
  {
    id: 'SHOAL-V3-3',
    says: 'MQTT 3.1 resumes its session',
    binds: 'server',
    async test(t) {
      const first = await t.persistent('x', { version: 3 });
      await first.subscribe(t.topic());
      await first.disconnect();
      await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
      await (await t.persistent('x', { version: 3 })).receive({ payload: 'x' });
    },
  },
  {
    id: 'SHOAL-V3-4',
    says: '$share works for 3.1.1 clients, in turn with each other',
    binds: 'server',
    test: sharing.roundRobin,
  },
  {
    id: 'SHOAL-V3-5',
    says: '$share with 3.1.1: unacknowledged messages of a member that left go to another',
    binds: 'server',
    test: sharing.handedOnWhenMemberLeaves,
  },
  {
    id: 'SHOAL-V3-6',
    says: 'a SUBSCRIBE that is not allowed or above the quota is answered 0x80',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ grants: [{ effect: 'allow', action: 'all', topic: t.topic('#') }] });
      const s = await t.connect({ as });
      const ack = await s.subscribe({ filter: 'elsewhere', qos: 1 }, { filter: t.topic(), qos: 1 });
      if (ack.reasonCodes?.join() !== `${0x80},1`) throw new Error(ack.reasonCodes?.join());
      const few = await t.broker.credential({ tenant: 'subs-v3', quotas: { subscriptionsPerSession: 1 } });
      const q = await (await t.connect({ as: few })).subscribe({ filter: 'a', qos: 0 }, { filter: 'b', qos: 0 });
      if (q.reasonCodes?.join() !== `0,${0x80}`) throw new Error(q.reasonCodes?.join());
    },
  },
  {
    id: 'SHOAL-V3-7',
    says: 'publishing to $SYS is acknowledged and dropped',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber('$SYS/mine', 1);
      const p = await t.connect();
      await p.publish({ topic: '$SYS/mine', payload: 'x', qos: 1 });
      await s.expectNothing();
    },
  },
  {
    id: 'SHOAL-V3-8',
    says: 'a protocol level above 5 is answered with a 5.0 CONNACK 0x84',
    binds: 'server',
    async test(t) {
      const client = await t.raw(5);
      client.send(
        bytes.packet('connect', 0, bytes.utf8('MQTT'), bytes.u8(6), bytes.u8(2), Buffer.from('0000000000', 'hex')),
      );
      await client.expectClosed(0x84);
    },
  },
];
