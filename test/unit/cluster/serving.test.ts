/** What clients of two brokers are promised, by real brokers over real links: G2, and what an acknowledgement means. */
import { describe, expect, it } from 'vitest';
import type { TenantScope } from '../../../services/kernel/kernel.js';
import { keptBytesMax } from '../../../services/broker/cluster/cluster.js';
import { until } from '../../support/until.js';
import { type TestedBroker, serving } from './brokers.js';
import { Relay } from './relay.js';

async function apart(options: { isPrompt?: boolean } = {}) {
  let relay!: Relay;
  const via = async (address: string): Promise<string> => (relay = await Relay.to(address)).address;
  const [a, b] = (await serving(['a', 'b'], { ...options, via })) as [TestedBroker, TestedBroker];
  return { a, b, relay };
}

describe('a message that is published on one broker the moment a subscriber on another has its SUBACK', () => {
  const filters = (i: number): [filter: string, topic: string] =>
    (
      [
        [`r/${i}`, `r/${i}`],
        [`r/${i}/+`, `r/${i}/x`],
        [`r/${i}/#`, `r/${i}`],
        [`+/${i}/#`, `r/${i}/x/y`],
      ] as [string, string][]
    )[i % 4]!;

  it('is not missed', async () => {
    const { a, b } = await apart();
    const [publisher, subscriber] = [await a.client(), await b.client()];
    const expected: string[] = [];
    const published: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) {
      const [filter, topic] = filters(i);
      await subscriber.subscribe(filter, 2);
      published.push(publisher.publish(topic, String(i), (i % 3) as 0 | 1 | 2));
      expected.push(`${topic} ${i}`);
    }
    await Promise.all(published);
    await until(() => subscriber.got.length >= expected.length, 'all messages');
    expect(subscriber.got.sort()).toEqual(expected.sort());
  });

  it('nor if the way takes time', async () => {
    const { a, b, relay } = await apart();
    relay.delayMs = 15;
    const [publisher, subscriber] = [await a.client(), await b.client()];
    for (let i = 0; i < 25; i++) {
      const [filter, topic] = filters(i);
      await subscriber.subscribe(filter, 2);
      await publisher.publish(topic, String(i), (i % 3) as 0 | 1 | 2);
    }
    await until(() => subscriber.got.length >= 25, 'all messages');
    expect(new Set(subscriber.got).size).toBe(25);
  });

  it('nor if the link is cut before, between or after', async () => {
    const { a, b, relay } = await apart();
    const [publisher, subscriber] = [await a.client(), await b.client()];
    const published: Promise<unknown>[] = [];
    for (let i = 0; i < 24; i++) {
      const [filter, topic] = filters(i);
      if (i % 4 === 1) relay.cut();
      const subscribed = subscriber.subscribe(filter, 2);
      if (i % 4 === 2) relay.cut();
      await subscribed;
      published.push(publisher.publish(topic, String(i), (i % 3) as 0 | 1 | 2));
      if (i % 4 === 3) relay.cut();
    }
    await Promise.all(published);
    await until(() => subscriber.got.length >= 24, 'all messages');
    expect([new Set(subscriber.got).size, subscriber.got.length]).toEqual([24, 24]);
  });
});

it('goes to whoever has subscribers, each once, and is not sent on', async () => {
  const [a, b, c] = (await serving(['a', 'b', 'c'])) as [TestedBroker, TestedBroker, TestedBroker];
  const [onA, onB, onC] = [await a.client(), await b.client(), await c.client()];
  await Promise.all([onA.subscribe('x/#', 1), onB.subscribe('x/+', 1), onB.subscribe('x/1', 1)]);
  await onC.publish('x/1', 'from c', 1);
  await onB.publish('x/1', 'from b', 1);
  await onC.publish('y', 'nobody', 1);
  await until(() => onA.got.length === 2 && onB.got.length === 2);
  expect([onA.got, onB.got]).toEqual([
    ['x/1 from c', 'x/1 from b'],
    ['x/1 from c', 'x/1 from b'],
  ]);
  await onB.mqtt.unsubscribeAsync(['x/+', 'x/1']);
  await until(async () => {
    await onC.publish('x/1', 'later', 1);
    const before = c.metric('shoal_forwards_total', 'out');
    await onC.publish('x/1', 'later', 1);
    return c.metric('shoal_forwards_total', 'out') === before + 1; // To a alone.
  }, 'b to be left out');
});

it('goes to the subscribers of its tenant', async () => {
  const { a, b } = await apart();
  const [publisher, subscriber, stranger] = [await a.client(), await b.client(), await b.client({ tenant: 'other' })];
  await Promise.all([subscriber.subscribe('#', 1), stranger.subscribe('#', 1)]);
  await publisher.publish('x', 'mine', 1);
  await until(() => subscriber.got.length === 1);
  await (await a.client({ tenant: 'other' })).publish('x', 'theirs', 1);
  await until(() => stranger.got.length === 1);
  expect([subscriber.got, stranger.got]).toEqual([['x mine'], ['x theirs']]);
});

it('carries what MQTT 5.0 gives it, and is retained once', async () => {
  const { a, b } = await apart();
  const [publisher, subscriber] = [await a.client(), await b.client()];
  let packet: { properties?: unknown; retain?: boolean; qos?: number } | undefined;
  subscriber.mqtt.on('message', (_topic, _payload, got) => void (packet = got));
  await subscriber.mqtt.subscribeAsync('x', { qos: 2, rap: true });
  const properties = {
    messageExpiryInterval: 100,
    contentType: 'text/plain',
    correlationData: Buffer.from('c'),
    userProperties: { k: 'v' },
  };
  await publisher.mqtt.publishAsync('x', 'kept', { qos: 2, retain: true, properties });
  await until(() => packet);
  expect(packet).toMatchObject({ retain: true, qos: 2, properties: { ...properties, userProperties: { k: 'v' } } });
  expect([a.retained.puts, b.retained.puts]).toEqual([['x kept'], []]);
  const late = await b.client();
  await late.subscribe('x', 1);
  await until(() => late.got.length === 1);
});

describe('a message of QoS 1 or 2', () => {
  it('is acknowledged when the broker of the subscriber has stored it', async () => {
    const { a, b } = await apart({ isPrompt: false });
    const away = { clientId: 'away', clean: false, properties: { sessionExpiryInterval: 1000 } } as const;
    const commit = setInterval(() => b.commits.commit(), 5);
    const subscriber = await b.client(away);
    await subscriber.subscribe('x', 2);
    await subscriber.mqtt.endAsync();
    clearInterval(commit);
    const publisher = await a.client();
    const acknowledged: number[] = [];
    const published = ([1, 2] as const).map((qos) =>
      publisher.publish('x', `${qos}`, qos).then(() => acknowledged.push(qos)),
    );
    await until(() => b.metric('shoal_forwards_total', 'in') === 2);
    await publisher.publish('other', 'passes', 0);
    expect([acknowledged, a.metric('shoal_forwards_unsettled')]).toEqual([[], 2]);
    const go = setInterval(() => b.commits.commit(), 5);
    await Promise.all(published);
    expect(acknowledged.sort()).toEqual([1, 2]);
    const back = await b.client(away);
    await until(() => back.got.length === 2);
    clearInterval(go);
  });

  it('is not acknowledged when that broker dies: its publisher sends it again', async () => {
    const { a, b, relay } = await apart();
    const subscriber = await b.client();
    await subscriber.subscribe('x', 2);
    const publisher = await a.client({ reconnectPeriod: 20, clientId: 'publisher', clean: false });
    let closed = 0;
    publisher.mqtt.on('close', () => closed++);
    await publisher.publish('x', 'arrives', 1);
    relay.freeze();
    const acknowledged: number[] = [];
    const published = ([1, 2] as const).map((qos) =>
      publisher.publish('x', 'is lost', qos).then(() => acknowledged.push(closed)),
    );
    await until(() => a.metric('shoal_forwards_unsettled') === 2);
    expect([acknowledged, closed]).toEqual([[], 0]);
    a.hear(a.member(), b.member(true));
    await Promise.all(published);
    // Not in the connection in which it was sent.
    expect(Math.min(...acknowledged)).toBeGreaterThan(0);
    expect([a.metric('shoal_forwards_unsettled'), a.metric('shoal_forwards_kept_bytes')]).toEqual([0, 0]);
  });
});

describe('a broker that does not read', () => {
  const payload = Buffer.alloc(60_000, 'x');

  it('costs bounded memory: of QoS 0 what is too much is dropped, and other tenants notice nothing', async () => {
    const { a, b, relay } = await apart();
    const [publisher, subscriber] = [await a.client(), await b.client()];
    const others = [await a.client({ tenant: 'other' }), await b.client({ tenant: 'other' })] as const;
    await subscriber.subscribe('x', 0);
    await others[1].subscribe('y', 1);
    await publisher.publish('x', 'first', 1);
    relay.freeze();
    let keptMax = 0;
    for (let sent = 0; a.metric('shoal_forwards_dropped_total') < 50; sent++) {
      await publisher.publish('x', payload);
      if (sent % 50 === 0) await publisher.publish('none', '', 1); // Not faster than it is taken.
      keptMax = Math.max(keptMax, a.metric('shoal_forwards_kept_bytes'));
    }
    expect(keptMax).toBeGreaterThan(keptBytesMax / 4);
    expect(keptMax).toBeLessThanOrEqual(keptBytesMax);
    const urgent = others[0].publish('y', 'urgent', 1);
    await until(() => a.metric('shoal_forwards_unsettled') === 1, 'the message of the other tenant');
    relay.thaw();
    await urgent;
    await until(() => others[1].got.length === 1 && a.metric('shoal_forwards_kept_bytes') === 0, 'all of it');
  });

  it('of QoS 1 and 2 nothing is lost: publishers of the tenant wait, and others do not', async () => {
    const { a, b, relay } = await apart();
    const [publisher, subscriber] = [await a.client(), await b.client()];
    const others = [await a.client({ tenant: 'other' }), await a.client({ tenant: 'other' })] as const;
    await subscriber.subscribe('x', 1);
    await others[1].subscribe('y', 1);
    await publisher.publish('x', 'first', 1);
    relay.freeze();
    const messages = 600;
    const published = Array.from({ length: messages }, () => publisher.publish('x', payload, 1));
    await until(() => a.metric('shoal_forwards_kept_bytes') > keptBytesMax / 2, 'the half');
    for (let i = 0; i < 20; i++) await others[0].publish('y', String(i), 0);
    await until(() => others[1].got.length === 20, 'the other tenant');
    expect(a.metric('shoal_forwards_kept_bytes')).toBeLessThanOrEqual(keptBytesMax * 0.75);
    relay.thaw();
    await Promise.all(published);
    await until(() => subscriber.got.length === messages + 1);
  }, 40_000);
});

describe('what is under way to a broker when it asks', () => {
  const forwards = (broker: TestedBroker, direction: string): number =>
    broker.metric('shoal_forwards_total', direction);

  it('has come when it is told so', async () => {
    const { a, b, relay } = await apart();
    const [publisher, subscriber] = [await a.client(), await b.client()];
    await subscriber.subscribe('under/way');
    await publisher.publish('under/way', 'first', 1);
    relay.delayMs = 100;
    for (let i = 0; i < 20; i++) void publisher.publish('under/way', String(i));
    await until(() => forwards(a, 'out') === 21);
    const before = forwards(b, 'in');
    await new Promise<void>((resolve) => b.cluster.whenArrived('acme' as TenantScope, resolve));
    expect([before < 21, forwards(b, 'in')]).toEqual([true, 21]);
    await until(() => subscriber.got.length === 21);
  });

  it('is not waited for when whoever has sent it has died, or nobody else serves', async () => {
    const { a, b, relay } = await apart();
    relay.isClosed = true;
    relay.cut();
    let isTold = false;
    b.cluster.whenArrived('acme' as TenantScope, () => (isTold = true));
    expect(isTold).toBe(false);
    b.hear(b.member(), a.member(true));
    expect(isTold).toBe(true);
    let isAlone = false;
    b.cluster.whenArrived('acme' as TenantScope, () => (isAlone = true));
    expect(isAlone).toBe(true);
  });
});
