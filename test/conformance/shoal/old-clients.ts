/**
 * Clients of MQTT 3.1, which has other rules for flags and fields than its successors: what its specification calls not used
 * is not looked at. The rows of 3.1.1 and 5.0 show that there it is refused.
 */
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';
import type { Trial } from '../trial.js';

/** A CONNECT of MQTT 3.1 up to its user name. */
const connect31 = (t: Trial, flags: number, ...fields: Buffer[]): Buffer =>
  bytes.packet(
    'connect',
    0,
    ...[bytes.utf8('MQIsdp'), bytes.u8(3), bytes.u8(flags), bytes.u16(0), bytes.utf8(t.fresh())],
    ...fields,
  );

export const oldClientRows: Row[] = [
  {
    id: 'SHOAL-V31-1',
    says: 'MQTT 3.1: flags of the fixed header count for PUBLISH alone',
    binds: 'server',
    async test(t) {
      for (const flags of [0x00, 0x02, 0x08, 0x0a, 0x0f]) {
        const client = await t.raw(3);
        const connect = connectBytes(t.fields({ version: 3 }));
        connect[0]! |= flags;
        client.send(connect);
        await client.expect('connack', { reasonCode: 0 });
        const topic = t.topic(`${flags}`);
        client.send(bytes.packet('subscribe', flags, bytes.u16(1), bytes.utf8(topic), bytes.u8(1)));
        await client.expect('suback', { packetId: 1, reasonCodes: [1] });
        client.sendPublish({ topic: `${topic}/none`, qos: 2, packetId: 2 });
        await client.expect('pubrec', { packetId: 2 });
        client.send(
          bytes.packet('puback', flags, bytes.u16(9)), // Of nothing under way: ignored.
          bytes.packet('pubrel', flags, bytes.u16(2)),
          bytes.packet('unsubscribe', flags, bytes.u16(3), bytes.utf8(topic)),
          bytes.packet('pingreq', flags),
        );
        await client.expect('pubcomp', { packetId: 2 });
        await client.expect('unsuback', { packetId: 3 });
        await client.expect('pingresp');
        client.send(bytes.packet('disconnect', flags));
        await client.expectClosed();
      }
    },
  },
  {
    id: 'SHOAL-V31-2',
    says: 'MQTT 3.1: a user name or password that is announced and missing is one that was not given (4), not malformed',
    binds: 'server',
    async test(t) {
      const { username } = t.broker.account;
      for (const connect of [connect31(t, 0x82), connect31(t, 0xc2), connect31(t, 0xc2, bytes.utf8(username))]) {
        const client = await t.raw(3);
        client.send(connect);
        await client.expectClosed(4);
      }
    },
  },
  {
    id: 'SHOAL-V31-3',
    says: 'MQTT 3.1: the reserved connect flag, and will flags without a will, are not looked at',
    binds: 'server',
    async test(t) {
      const { username, password } = t.broker.account;
      for (const flags of [0xc3, 0xe2, 0xca, 0xea]) {
        const client = await t.raw(3);
        client.send(connect31(t, flags, bytes.utf8(username), bytes.utf8(password)));
        await client.expect('connack', { reasonCode: 0 });
      }
    },
  },
  {
    id: 'SHOAL-V31-4',
    says: 'MQTT 3.1: DUP with QoS 0 is delivered, without DUP',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic());
      const p = await t.connect({ version: 3 });
      p.send(bytes.packet('publish', 8, bytes.utf8(t.topic()), Buffer.from('again')));
      await s.receive({ payload: 'again', qos: 0, dup: false });
    },
  },
  {
    id: 'SHOAL-V31-5',
    says: 'MQTT 3.1: what has no meaning is refused as in 3.1.1: trailing bytes, QoS 3, packet identifier 0',
    binds: 'server',
    async test(t) {
      const { username, password } = t.broker.account;
      const trailing = await t.raw(3);
      trailing.send(connect31(t, 0xc2, bytes.utf8(username), bytes.utf8(password), Buffer.from('abc')));
      await trailing.expectClosed();
      for (const packet of [
        bytes.packet('subscribe', 2, bytes.u16(1), bytes.utf8(t.topic()), bytes.u8(3)),
        bytes.packet('subscribe', 2, bytes.u16(0), bytes.utf8(t.topic()), bytes.u8(0)),
      ]) {
        const client = await t.connect({ version: 3 });
        client.send(packet);
        await client.expectClosed();
      }
    },
  },
  {
    id: 'SHOAL-V3-11',
    says: 'a will topic that is longer than topics may be is refused with code 5, which no client tries again',
    binds: 'server',
    async test(t) {
      for (const version of [3, 4] as const) {
        const client = await t.raw(version);
        client.sendConnect(t.fields({ version, will: { topic: 'w'.repeat(1025), payload: 'x' } }));
        await client.expectClosed(5);
      }
      await t.connect({ will: { topic: 'w'.repeat(1024), payload: 'x' } });
    },
  },
];
