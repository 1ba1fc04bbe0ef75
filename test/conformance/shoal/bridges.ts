/** Other brokers that connect as clients of a tenant: what their protocol level asks for, and the topic of their state. */
import { connectBytes } from '../../support/packet-bytes.js';
import type { Row } from '../row.js';

export const bridgeRowsV3: Row[] = [
  {
    id: 'SHOAL-BRIDGE-1',
    says: 'level 0x83 and 0x84 is a bridge: nothing of its own comes back, and the others are retained as published',
    binds: 'server',
    async test(t) {
      for (const version of [3, 4] as const) {
        const topic = t.topic(`${version}`);
        const bridge = await t.connect({ version, bridge: true });
        await bridge.subscribe({ filter: `${topic}/#`, qos: 1 });
        await bridge.publish({ topic: `${topic}/own`, payload: 'own', qos: 1, retain: true });
        const p = await t.connect();
        await p.publish({ topic: `${topic}/kept`, payload: 'kept', qos: 1, retain: true });
        await bridge.receive({ payload: 'kept', retain: true });
        await p.publish({ topic: `${topic}/live`, payload: 'live', qos: 1 });
        await bridge.receive({ payload: 'live', retain: false });
        // What is retained comes again with a new subscription, but for its own.
        await bridge.subscribe({ filter: `${topic}/#`, qos: 1 });
        await bridge.receive({ payload: 'kept', retain: true });
        await bridge.expectNothing();
      }
    },
  },
  {
    id: 'SHOAL-BRIDGE-2',
    says: 'a bridge that comes back to its session is one still, also for what it missed',
    binds: 'server',
    async test(t) {
      const bridge = await t.persistent('b', { bridge: true });
      await bridge.subscribe({ filter: t.topic('#'), qos: 1 });
      await bridge.drop();
      await (await t.connect()).publish({ topic: t.topic('missed'), payload: 'missed', qos: 1, retain: true });
      const again = await t.persistent('b', { bridge: true });
      await again.receive({ payload: 'missed', retain: true });
      await again.publish({ topic: t.topic('own'), payload: 'own', qos: 1 });
      await again.expectNothing();
    },
  },
  {
    id: 'SHOAL-BRIDGE-3',
    says: 'a shared subscription of a bridge has no No Local, which the specification forbids; retained as published it is',
    binds: 'server',
    async test(t) {
      const bridge = await t.connect({ bridge: true });
      const { reasonCodes } = await bridge.subscribe({ filter: `$share/g/${t.topic()}`, qos: 1 });
      if (reasonCodes?.join() !== '1') throw new Error(reasonCodes?.join());
      await bridge.publish({ topic: t.topic(), payload: 'own', qos: 1, retain: true });
      await bridge.receive({ payload: 'own', retain: true });
    },
  },
];

export const bridgeRows: Row[] = [
  {
    id: 'SHOAL-SYS-3',
    says: '$SYS/broker/connection/… is for the states of bridges: retained, a will, for subscribers that ask for $SYS, in one tenant',
    binds: 'server',
    async test(t) {
      const as = await t.broker.credential({ tenant: 'bridged' });
      const topic = `$SYS/broker/connection/${t.id('b')}/state`;
      const wide = await t.connect({ as });
      await wide.subscribe({ filter: '#', qos: 1 }, { filter: '+/broker/#', qos: 1 });
      const live = await t.connect({ as });
      await live.subscribe({ filter: topic, qos: 1 });
      const bridge = await t.connect({ as, will: { topic, payload: '0', qos: 1, retain: true } });
      await bridge.publish({ topic, payload: '1', qos: 1, retain: true });
      await live.receive({ topic, payload: '1', retain: false });
      for (const filter of [topic, '$SYS/broker/connection/#', '$SYS/broker/connection/+/state']) {
        const late = await t.connect({ as });
        await late.subscribe({ filter, qos: 1 });
        await late.receive({ topic, payload: '1', retain: true });
      }
      // With the numbers, one after the other.
      const all = await t.connect({ as });
      await all.subscribe({ filter: '$SYS/#', qos: 0 });
      const seen: string[] = [];
      while (!seen.includes(topic)) seen.push((await all.receive({ retain: true })).topic!);
      if (!seen.includes('$SYS/broker/clients/connected') || new Set(seen).size < seen.length)
        throw new Error(seen.join());
      await bridge.drop();
      await live.receive({ topic, payload: '0', retain: false });
      await wide.expectNothing();
      const other = await t.connect({ as: await t.broker.credential({ tenant: 'not-bridged' }) });
      await other.subscribe({ filter: '$SYS/broker/connection/#', qos: 1 });
      await other.expectNothing();
      await other.publish({ topic, payload: 'mine', qos: 1, retain: true });
      await other.receive({ topic, payload: 'mine', retain: false });
      await live.expectNothing();
    },
  },
  {
    id: 'SHOAL-SYS-4',
    says: 'a credential with access rules needs one that names $SYS/broker/connection/…',
    binds: 'server',
    async test(t) {
      const topic = `$SYS/broker/connection/${t.id('b')}/state`;
      const narrow = await t.broker.credential({ grants: [{ effect: 'allow', action: 'all', topic: '#' }] });
      const refused = await t.raw();
      refused.sendConnect(t.fields({ as: narrow, will: { topic, payload: '0', retain: true } }));
      await refused.expectClosed(0x87);
      const grants = ['#', '$SYS/broker/connection/#'].map(
        (filter) => ({ effect: 'allow', action: 'all', topic: filter }) as const,
      );
      const as = await t.broker.credential({ grants: [...grants] });
      const bridge = await t.connect({ as, will: { topic, payload: '0', retain: true } });
      await bridge.expect('puback', {
        packetId: bridge.sendPublish({ topic, payload: '1', qos: 1 }),
        reasonCode: 0x10,
      });
    },
  },
  {
    id: 'SHOAL-BRIDGE-4',
    says: 'MQTT 5.0 has options instead of the bridge bit: level 0x85 is refused (0x84)',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.send(connectBytes(t.fields({ bridge: true })));
      await client.expectClosed(0x84);
    },
  },
  {
    id: 'SHOAL-WILL-7',
    says: 'a will topic that is longer than topics may be is refused (0x90)',
    binds: 'server',
    async test(t) {
      const client = await t.raw();
      client.sendConnect(t.fields({ will: { topic: 'w'.repeat(1025), payload: 'x' } }));
      await client.expectClosed(0x90);
      await t.connect({ will: { topic: 'w'.repeat(1024), payload: 'x' } });
    },
  },
];
