/** Rows beyond the numbered statements: access rules, quotas, tenants, $SYS; and what concerns MQTT 3.x only. */
import { bytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import * as acknowledging from '../scenarios/acknowledging.js';
import { retainedOn } from '../scenarios/retaining.js';
import * as sharing from '../scenarios/sharing.js';
import * as subscribing from '../scenarios/subscribing.js';

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
      const kept = await retainedOn(t, await t.connect());
      if (kept.length > 0) throw new Error(`retained: ${kept.join()}`);
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
    id: 'SHOAL-V3-9',
    says: 'an acknowledgement of the wrong kind closes the connection, and the message is still there',
    binds: 'server',
    async test(t) {
      await acknowledging.wrongKind(t, false);
      await acknowledging.wrongKind(t, true);
    },
  },
  {
    id: 'SHOAL-V3-10',
    says: '$share/group is refused with 0x80: MQTT 3.x knows no shared subscriptions, and calls it a filter',
    binds: 'server',
    test: (t) => subscribing.badFilters(t, '$share/group', '$share/group/'),
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
