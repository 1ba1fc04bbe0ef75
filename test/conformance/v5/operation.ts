/** MQTT 5.0, sections 4.1 to 4.6: sessions, transport, the QoS protocols, order. */
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as sessions from '../scenarios/sessions.js';

export const sessionRows: Row[] = [
  {
    id: 'MQTT-4.1.0-1',
    says: 'session state is kept while the connection is open',
    binds: 'both',
    test: sessions.keptWhileConnected,
  },
  {
    id: 'MQTT-4.1.0-2',
    says: 'session state is discarded when the session has expired',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      for (const sessionExpiryInterval of [0, 1]) {
        const client = await t.connect({ clientId: t.id('x'), clean: false, properties: { sessionExpiryInterval } });
        await client.subscribe(topic);
        await client.drop();
        if (sessionExpiryInterval > 0) await forwarding.pass(t, 1_300);
        const again = await t.connect({ clientId: t.id('x'), clean: false });
        if (again.connack.sessionPresent) throw new Error('the session is still there');
        await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
        await again.expectNothing();
        await again.disconnect();
      }
    },
  },
  {
    id: 'MQTT-4.2.0-1',
    says: 'an ordered, lossless byte stream carries the protocol',
    binds: 'both',
    async test(t) {
      // Every byte on its own: what arrives together is the business of the transport, not of MQTT.
      const s = await t.subscriber(t.topic());
      const p = await t.connect();
      p.sendBytewise({ topic: t.topic(), payload: 'byte by byte', qos: 1 });
      await p.expect('puback');
      await s.receive({ payload: 'byte by byte' });
    },
  },
];

export const deliveryRows: Row[] = [
  { id: 'MQTT-4.3.1-1', says: 'QoS 0: sent with QoS 0 and DUP 0', binds: 'both', test: delivering.qosZero },
  {
    id: 'MQTT-4.3.2-1',
    says: 'QoS 1: each message gets a free packet identifier',
    binds: 'both',
    test: (t) => delivering.freshIdentifiers(t, 1),
  },
  { id: 'MQTT-4.3.2-2', says: 'QoS 1: first sent with DUP 0', binds: 'both', coveredBy: 'MQTT-4.3.2-1' },
  {
    id: 'MQTT-4.3.2-3',
    says: 'QoS 1: unacknowledged until PUBACK',
    binds: 'both',
    test: (t) => delivering.resent(t, 1),
  },
  {
    id: 'MQTT-4.3.2-4',
    says: 'QoS 1: answered with PUBACK of the same identifier',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-4.3.2-5',
    says: 'QoS 1: after PUBACK the same identifier is a new message, whatever DUP says',
    binds: 'both',
    test: delivering.identifierFreeAfterPuback,
  },
  {
    id: 'MQTT-4.3.3-1',
    says: 'QoS 2: each message gets a free packet identifier',
    binds: 'both',
    test: (t) => delivering.freshIdentifiers(t, 2),
  },
  { id: 'MQTT-4.3.3-2', says: 'QoS 2: first sent with DUP 0', binds: 'both', coveredBy: 'MQTT-4.3.3-1' },
  {
    id: 'MQTT-4.3.3-3',
    says: 'QoS 2: unacknowledged until PUBREC',
    binds: 'both',
    test: (t) => delivering.resent(t, 2),
  },
  {
    id: 'MQTT-4.3.3-4',
    says: 'QoS 2: PUBREC below 0x80 is answered with PUBREL of the same identifier',
    binds: 'both',
    test: delivering.releaseResent,
  },
  {
    id: 'MQTT-4.3.3-5',
    says: 'QoS 2: PUBREL is unacknowledged until PUBCOMP',
    binds: 'both',
    coveredBy: 'MQTT-4.3.3-4',
  },
  {
    id: 'MQTT-4.3.3-6',
    says: 'QoS 2: PUBLISH is not sent again after PUBREL',
    binds: 'both',
    coveredBy: 'MQTT-4.3.3-4',
  },
  {
    id: 'MQTT-4.3.3-7',
    says: 'QoS 2: a message that has been sent once does not expire any more',
    binds: 'both',
    async test(t) {
      const topic = t.topic();
      const s = await t.persistent('s');
      await s.subscribe(topic);
      const properties = { messageExpiryInterval: 1 };
      await (await t.connect()).publish({ topic, payload: 'x', qos: 2, properties });
      const { packetId } = await s.expect('publish', { payload: 'x' });
      await s.drop();
      await forwarding.pass(t, 1_200);
      await (await t.persistent('s')).receive({ payload: 'x', dup: true, packetId: packetId! });
    },
  },
  {
    id: 'MQTT-4.3.3-8',
    says: 'QoS 2: answered with PUBREC of the same identifier',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-4.3.3-9',
    says: 'QoS 2: after a PUBREC of 0x80 or above the same identifier is a new message',
    binds: 'both',
    async test(t) {
      const as = await t.broker.credential({
        grants: [{ effect: 'allow', action: 'publish', topic: t.topic('yes') }],
      });
      const s = await t.subscriber(t.topic('#'));
      const p = await t.connect({ as });
      p.sendPublish({ topic: t.topic('no'), payload: 'no', qos: 2, packetId: 5 });
      await p.expect('pubrec', { packetId: 5, reasonCode: 0x87 });
      await p.publish({ topic: t.topic('yes'), payload: 'yes', qos: 2, packetId: 5 });
      await s.receive({ payload: 'yes' });
      await s.expectNothing();
    },
  },
  {
    id: 'MQTT-4.3.3-10',
    says: 'QoS 2: until PUBREL the same identifier is answered again and delivered once',
    binds: 'both',
    async test(t) {
      await delivering.duplicateBeforeRelease(t);
    },
  },
  {
    id: 'MQTT-4.3.3-11',
    says: 'QoS 2: PUBREL is answered with PUBCOMP of the same identifier',
    binds: 'both',
    test: delivering.responses,
  },
  {
    id: 'MQTT-4.3.3-12',
    says: 'QoS 2: after PUBCOMP the same identifier is a new message',
    binds: 'both',
    test: delivering.identifierFreeAfterPubcomp,
  },
  {
    id: 'MQTT-4.3.3-13',
    says: 'QoS 2: the acknowledgement goes on even when the message has expired',
    binds: 'both',
    async test(t) {
      const topic = t.topic();
      const p = await t.persistent('p');
      p.sendPublish({ topic, qos: 2, packetId: 3, properties: { messageExpiryInterval: 1 } });
      await p.expect('pubrec', { packetId: 3 });
      await forwarding.pass(t, 1_200);
      p.sendAck('pubrel', 3);
      await p.expect('pubcomp', { packetId: 3, reasonCode: 0 });
    },
  },
  {
    id: 'MQTT-4.4.0-1',
    says: 'unacknowledged PUBLISH and PUBREL are sent again on reconnect with their identifiers, and at no other time',
    binds: 'both',
    async test(t) {
      await delivering.notResentWhileConnected(t);
      await delivering.resent(t, 2);
    },
  },
  {
    id: 'MQTT-4.4.0-2',
    says: 'a PUBACK or PUBREC of 0x80 or above acknowledges; nothing is sent again',
    binds: 'both',
    async test(t) {
      const topic = t.topic();
      const s = await t.persistent('s');
      await s.subscribe(topic);
      const p = await t.connect();
      for (const qos of [1, 2] as const) {
        await p.publish({ topic, payload: `${qos}`, qos });
        const { packetId } = await s.expect('publish', { payload: `${qos}` });
        s.sendAck(qos === 1 ? 'puback' : 'pubrec', packetId!, 0x83);
      }
      await s.expectNothing();
      await s.drop();
      await (await t.persistent('s')).expectNothing();
    },
  },
  {
    id: 'MQTT-4.5.0-1',
    says: 'an accepted message joins the session of every client with a matching subscription',
    binds: 'server',
    test: sessions.addedWhileAway,
  },
  {
    id: 'MQTT-4.5.0-2',
    says: 'a client acknowledges what it receives, wanted or not',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  ...['PUBLISH again', 'PUBACK', 'PUBREC', 'PUBREL'].map((what, i): Row => ({
    id: `MQTT-4.6.0-${i + 1}`,
    says: `a client sends ${what} in order`,
    binds: 'client',
    notTestable: 'binds the client only; order from the server is MQTT-4.6.0-5',
  })),
  {
    id: 'MQTT-4.6.0-5',
    says: 'messages of one client, topic and QoS reach consumers in order',
    binds: 'server',
    test: delivering.ordered,
  },
  {
    id: 'MQTT-4.6.0-6',
    says: 'every topic is ordered for subscriptions that are not shared',
    binds: 'server',
    coveredBy: 'MQTT-4.6.0-5',
  },
];
