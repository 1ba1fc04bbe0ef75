/** Rows beyond the numbered statements: messages, subscriptions, sharing, access. */
import type { Row } from '../row.js';
import type { Trial } from '../trial.js';
import * as forwarding from '../scenarios/forwarding.js';
import { retainedOn } from '../scenarios/retaining.js';
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
      const got = [];
      for (let i = 0; i < 4; i++) {
        await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
        got.push(await s.expect('publish', { topic: t.topic(), payload: `${i}` }));
      }
      const { properties, raw } = got[3]!;
      if (properties.topicAlias === undefined || raw.includes(t.topic()))
        throw new Error(`the fourth message still spells its topic: ${raw.toString('hex')}`);
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
      const kept = await retainedOn(t, await t.connect());
      if (kept.length > 0) throw new Error(`retained: ${kept.join()}`);
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
