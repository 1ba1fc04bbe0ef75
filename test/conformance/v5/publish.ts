/** MQTT 5.0, section 3.3: PUBLISH flags and properties. */
import type { Row } from '../row.js';
import * as delivering from '../scenarios/delivering.js';
import * as forwarding from '../scenarios/forwarding.js';
import * as retaining from '../scenarios/retaining.js';
import * as subscribing from '../scenarios/subscribing.js';

export const publishRows: Row[] = [
  {
    id: 'MQTT-3.3.1-1',
    says: 'DUP is set on a PUBLISH that is sent again',
    binds: 'both',
    test: (t) => delivering.resent(t, 1),
  },
  { id: 'MQTT-3.3.1-2', says: 'DUP is clear at QoS 0', binds: 'both', test: delivering.dupClearOnQosZero },
  {
    id: 'MQTT-3.3.1-3',
    says: 'DUP towards the subscriber does not depend on DUP of the publisher',
    binds: 'both',
    test: delivering.dupNotPropagated,
  },
  { id: 'MQTT-3.3.1-4', says: 'QoS 3 is malformed', binds: 'both', test: delivering.qosThree },
  {
    id: 'MQTT-3.3.1-5',
    says: 'a retained message replaces the one before it',
    binds: 'server',
    test: retaining.replaced,
  },
  {
    id: 'MQTT-3.3.1-6',
    says: 'an empty retained message removes the retained one and is itself delivered',
    binds: 'server',
    test: retaining.removedByEmpty,
  },
  {
    id: 'MQTT-3.3.1-7',
    says: 'an empty message is never retained',
    binds: 'server',
    test: retaining.emptyNotStored,
  },
  {
    id: 'MQTT-3.3.1-8',
    says: 'without RETAIN nothing is stored, replaced or removed',
    binds: 'server',
    test: retaining.untouchedWithoutFlag,
  },
  {
    id: 'MQTT-3.3.1-9',
    says: 'Retain Handling 0: retained messages come with every subscribe',
    binds: 'server',
    test: retaining.sentAgainOnResubscribe,
  },
  {
    id: 'MQTT-3.3.1-10',
    says: 'Retain Handling 1: retained messages come only with a subscription that is new',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      await (await t.connect()).publish({ topic, payload: 'kept', qos: 1, retain: true });
      const s = await t.connect();
      const subscription = { filter: topic, qos: 1, retainHandling: 1 };
      await s.subscribe(subscription);
      await s.receive({ payload: 'kept', retain: true });
      await s.subscribe(subscription);
      await retaining.nothingRetainedComes(t, s);
      await s.unsubscribe(topic);
      await s.subscribe(subscription);
      await s.receive({ payload: 'kept', retain: true });
    },
  },
  {
    id: 'MQTT-3.3.1-11',
    says: 'Retain Handling 2: no retained messages with a subscribe',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      const p = await t.connect();
      await p.publish({ topic, payload: 'kept', qos: 1, retain: true });
      const s = await t.connect();
      await s.subscribe({ filter: topic, retainHandling: 2 });
      await retaining.nothingRetainedComes(t, s);
      await p.publish({ topic, payload: 'live', qos: 1 });
      await s.receive({ payload: 'live' });
    },
  },
  {
    id: 'MQTT-3.3.1-12',
    says: 'without Retain As Published a forwarded message has RETAIN 0',
    binds: 'server',
    test: retaining.flagClearWhenForwarded,
  },
  {
    id: 'MQTT-3.3.1-13',
    says: 'with Retain As Published a forwarded message has RETAIN as it was published',
    binds: 'server',
    async test(t) {
      const s = await t.connect();
      await s.subscribe({ filter: t.topic('#'), qos: 1, retainAsPublished: true });
      const p = await t.connect();
      for (const retain of [true, false]) {
        await p.publish({ topic: t.topic('x'), payload: `${retain}`, qos: 1, retain });
        await s.receive({ payload: `${retain}`, retain });
      }
    },
  },
  { id: 'MQTT-3.3.2-1', says: 'the topic name comes first and is UTF-8', binds: 'both', test: subscribing.topicUtf8 },
  {
    id: 'MQTT-3.3.2-2',
    says: 'a topic name has no wildcards',
    binds: 'both',
    test: subscribing.wildcardInTopicName,
  },
  {
    id: 'MQTT-3.3.2-3',
    says: 'what a subscriber gets matches its filter',
    binds: 'server',
    test: subscribing.multiLevel,
  },
  {
    id: 'MQTT-3.3.2-4',
    says: 'the payload format indicator arrives unaltered',
    binds: 'server',
    test: (t) => forwarding.unaltered(t, { payloadFormatIndicator: 1 }, { payloadFormatIndicator: 0 }),
  },
  {
    id: 'MQTT-3.3.2-5',
    says: 'a message whose expiry has passed before delivery began is deleted',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      const away = await t.persistent('away');
      await away.subscribe(topic);
      await away.disconnect();
      const p = await t.connect();
      await p.publish({ topic, payload: 'short', qos: 1, properties: { messageExpiryInterval: 1 } });
      await p.publish({ topic, payload: 'long', qos: 1, properties: { messageExpiryInterval: 600 } });
      await forwarding.pass(t, 1_200);
      const back = await t.persistent('away');
      await back.receive({ payload: 'long' });
      await back.expectNothing();
    },
  },
  {
    id: 'MQTT-3.3.2-6',
    says: 'the expiry interval is counted down by the time spent in the server',
    binds: 'server',
    async test(t) {
      const topic = t.topic();
      const away = await t.persistent('away');
      await away.subscribe(topic);
      await away.disconnect();
      const online = await t.subscriber(topic);
      const p = await t.connect();
      await p.publish({ topic, payload: 'x', qos: 1, properties: { messageExpiryInterval: 600 } });
      await online.receive({ payload: 'x', properties: { messageExpiryInterval: 600 } });
      await forwarding.pass(t, 1_100);
      const back = await t.persistent('away');
      const { properties } = await back.receive({ payload: 'x' });
      const left = properties.messageExpiryInterval ?? -1;
      if (left > 599 || left < 590) throw new Error(`expiry interval ${left}`);
    },
  },
  {
    id: 'MQTT-3.3.2-7',
    says: 'topic aliases end with the connection',
    binds: 'both',
    async test(t) {
      const first = await t.persistent('p');
      await first.publish({ topic: t.topic(), qos: 1, properties: { topicAlias: 1 } });
      await first.disconnect();
      const again = await t.persistent('p');
      again.sendPublish({ topic: '', payload: 'x', qos: 1, properties: { topicAlias: 1 } });
      await again.expectClosed(0x82);
    },
  },
  {
    id: 'MQTT-3.3.2-8',
    says: 'topic alias 0 is refused with 0x94',
    binds: 'both',
    async test(t) {
      const client = await t.connect();
      client.sendPublish({ topic: t.topic(), properties: { topicAlias: 0 } });
      await client.expectClosed(0x94);
    },
  },
  {
    id: 'MQTT-3.3.2-9',
    says: 'a topic alias above the maximum of the server is refused with 0x94',
    binds: 'client',
    coveredBy: 'MQTT-3.2.2-17',
  },
  {
    id: 'MQTT-3.3.2-10',
    says: 'a client accepts every alias up to its maximum',
    binds: 'client',
    notTestable: 'binds the client only',
  },
  {
    id: 'MQTT-3.3.2-11',
    says: 'the server uses no alias above the maximum of the client',
    binds: 'server',
    coveredBy: 'MQTT-3.1.2-26',
  },
  {
    id: 'MQTT-3.3.2-12',
    says: 'the server accepts every alias up to its maximum',
    binds: 'server',
    async test(t) {
      const s = await t.subscriber(t.topic('#'), 0);
      const p = await t.connect();
      const maximum = p.connack.properties.topicAliasMaximum ?? 0;
      if (maximum < 1) throw new Error('no aliases offered');
      for (let alias = 1; alias <= maximum; alias++)
        await p.publish({ topic: t.topic(`${alias}`), qos: 1, properties: { topicAlias: alias } });
      for (let alias = maximum; alias >= 1; alias--)
        await p.publish({ topic: '', payload: 'again', qos: 1, properties: { topicAlias: alias } });
      for (let alias = 1; alias <= maximum; alias++) await s.expect('publish', { topic: t.topic(`${alias}`) });
      for (let alias = maximum; alias >= 1; alias--)
        await s.expect('publish', { topic: t.topic(`${alias}`), payload: 'again' });
      // An alias can be given another topic.
      await p.publish({ topic: t.topic('moved'), payload: 'new', qos: 1, properties: { topicAlias: 1 } });
      await p.publish({ topic: '', payload: 'moved', qos: 1, properties: { topicAlias: 1 } });
      await s.expect('publish', { topic: t.topic('moved'), payload: 'new' });
      await s.expect('publish', { topic: t.topic('moved'), payload: 'moved' });
    },
  },
  {
    id: 'MQTT-3.3.2-13',
    says: 'the response topic is a UTF-8 string',
    binds: 'both',
    test: (t) => forwarding.brokenStringProperty(t, 0x08),
  },
  {
    id: 'MQTT-3.3.2-14',
    says: 'the response topic has no wildcards',
    binds: 'both',
    async test(t) {
      for (const responseTopic of ['a/#', '+', 'a+']) {
        const client = await t.connect();
        client.sendPublish({ topic: t.topic(), properties: { responseTopic } });
        await client.expectClosed([0x82, 0x90]);
      }
    },
  },
  {
    id: 'MQTT-3.3.2-15',
    says: 'the response topic arrives unaltered',
    binds: 'server',
    test: (t) => forwarding.unaltered(t, { responseTopic: 'some/where\u00e9' }),
  },
  {
    id: 'MQTT-3.3.2-16',
    says: 'the correlation data arrive unaltered',
    binds: 'server',
    test: (t) => forwarding.unaltered(t, { correlationData: Buffer.from('00ff0a80', 'hex') }),
  },
  {
    id: 'MQTT-3.3.2-17',
    says: 'user properties arrive unaltered',
    binds: 'server',
    test: (t) =>
      forwarding.unaltered(t, {
        userProperties: [
          ['na\u00efve', ''],
          ['', 'x'.repeat(300)],
        ],
      }),
  },
  {
    id: 'MQTT-3.3.2-18',
    says: 'user properties keep their order, repeated names included',
    binds: 'server',
    test: (t) =>
      forwarding.unaltered(t, {
        userProperties: [
          ['b', '1'],
          ['a', '2'],
          ['b', '3'],
          ['a', '2'],
          ['1', 'x'],
          ['0', 'y'],
        ],
      }),
  },
  {
    id: 'MQTT-3.3.2-19',
    says: 'the content type is a UTF-8 string',
    binds: 'both',
    test: (t) => forwarding.brokenStringProperty(t, 0x03),
  },
  {
    id: 'MQTT-3.3.2-20',
    says: 'the content type arrives unaltered',
    binds: 'server',
    test: (t) => forwarding.unaltered(t, { contentType: 'application/x-caf\u00e9; v=1' }),
  },
];
