/** MQTT 5.0, sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP. */
import type { Row } from '../row.js';
import type { Trial } from '../trial.js';
import * as delivering from '../scenarios/delivering.js';

/** A client of this Maximum Packet Size gets every acknowledgement that there is, with a reason, none of them larger. */
async function smallAcknowledgements(t: Trial): Promise<void> {
  const client = await t.connect({ properties: { maximumPacketSize: 30 } });
  await client.publish({ topic: t.topic('nobody'), qos: 1 });
  await client.publish({ topic: t.topic('nobody'), qos: 2 });
  client.sendAck('pubrel', 4711);
  await client.expect('pubcomp', { packetId: 4711, reasonCode: 0x92 });
  client.sendAck('pubrec', 4712);
  await client.expect('pubrel', { packetId: 4712, reasonCode: 0x92 });
}

const sizeRow = (id: string, what: string, packet: string): Row => ({
  id,
  says: `no ${what} that would make ${packet} larger than the receiver allows`,
  binds: 'both',
  coveredBy: 'MQTT-3.4.2-2',
});

export const acknowledgementRows: Row[] = [
  {
    id: 'MQTT-3.4.2-1',
    says: 'PUBACK reason codes come from the table; 0x10 when nobody is subscribed',
    binds: 'both',
    async test(t) {
      const p = await t.connect();
      await p.expect('puback', { packetId: p.sendPublish({ topic: t.topic(), qos: 1 }), reasonCode: 0x10 });
      await t.subscriber(t.topic());
      await p.expect('puback', { packetId: p.sendPublish({ topic: t.topic(), qos: 1 }), reasonCode: 0 });
    },
  },
  {
    id: 'MQTT-3.4.2-2',
    says: 'no reason string that would make PUBACK larger than the receiver allows',
    binds: 'both',
    test: smallAcknowledgements,
  },
  sizeRow('MQTT-3.4.2-3', 'user properties', 'PUBACK'),
  {
    id: 'MQTT-3.5.2-1',
    says: 'PUBREC reason codes come from the table; 0x10 when nobody is subscribed',
    binds: 'both',
    async test(t) {
      const p = await t.connect();
      const packetId = p.sendPublish({ topic: t.topic(), qos: 2 });
      await p.expect('pubrec', { packetId, reasonCode: 0x10 });
      p.sendAck('pubrel', packetId);
      await p.expect('pubcomp', { packetId, reasonCode: 0 });
      await t.subscriber(t.topic());
      await p.expect('pubrec', { packetId: p.sendPublish({ topic: t.topic(), qos: 2 }), reasonCode: 0 });
    },
  },
  sizeRow('MQTT-3.5.2-2', 'reason string', 'PUBREC'),
  sizeRow('MQTT-3.5.2-3', 'user properties', 'PUBREC'),
  {
    id: 'MQTT-3.6.1-1',
    says: 'PUBREL with other flags than 0010 is malformed',
    binds: 'both',
    test: delivering.releaseFlags,
  },
  {
    id: 'MQTT-3.6.2-1',
    says: 'PUBREL reason codes come from the table; 0x92 for an identifier that is not known',
    binds: 'both',
    async test(t) {
      const client = await t.connect();
      client.sendAck('pubrec', 4711);
      await client.expect('pubrel', { packetId: 4711, reasonCode: 0x92 });
      await client.expectNothing();
    },
  },
  sizeRow('MQTT-3.6.2-2', 'reason string', 'PUBREL'),
  sizeRow('MQTT-3.6.2-3', 'user properties', 'PUBREL'),
  {
    id: 'MQTT-3.7.2-1',
    says: 'PUBCOMP reason codes come from the table; 0x92 for an identifier that is not known',
    binds: 'both',
    async test(t) {
      const client = await t.connect();
      client.sendAck('pubrel', 4711);
      await client.expect('pubcomp', { packetId: 4711, reasonCode: 0x92 });
      await client.expectNothing();
    },
  },
  sizeRow('MQTT-3.7.2-2', 'reason string', 'PUBCOMP'),
  sizeRow('MQTT-3.7.2-3', 'user properties', 'PUBCOMP'),
];
