/**
 * The clients of a run: publishers and subscribers of every kind that the promises speak of. Begins the load, and at the
 * end brings everybody online and waits until nothing is left that could still arrive.
 */
import { until } from '../support/until.js';
import { LiveClient } from '../support/live-client.js';
import { missing, totals } from './checks.js';
import { Publisher } from './publisher.js';
import type { Site } from './site.js';
import { Subscriber } from './subscriber.js';
import { WillDevice } from './will-device.js';

/** A drain that makes no progress for so long has come to its end. */
const stalledMs = 8_000;
/** After the last expected message: time for one that comes twice. */
const settleMs = 700;
const drainWithinMs = 90_000;
const retainedWithinMs = 5_000;

export class Fleet {
  readonly publishers: readonly Publisher[];
  readonly subscribers: readonly Subscriber[];
  readonly wills: readonly WillDevice[];
  readonly #site: Site;

  constructor(site: Site) {
    this.#site = site;
    this.publishers = makePublishers(site);
    this.subscribers = makeSubscribers(site);
    this.wills = [
      new WillDevice(site, { clientId: 'will-persistent', delaySeconds: 0 }),
      new WillDevice(site, { clientId: 'will-clean', delaySeconds: 0, expirySeconds: 0 }),
      new WillDevice(site, { clientId: 'will-exact', delaySeconds: 0, qos: 2 }),
      new WillDevice(site, { clientId: 'will-exact-clean', delaySeconds: 0, expirySeconds: 0, qos: 2 }),
      new WillDevice(site, { clientId: 'will-delayed', delaySeconds: 3600 }),
      new WillDevice(site, { clientId: 'will-long', delaySeconds: 0, isLong: true }),
      new WillDevice(site, { clientId: 'will-long-exact', delaySeconds: 0, isLong: true, qos: 2 }),
      new WillDevice(site, { clientId: 'will-long-delayed', delaySeconds: 3600, isLong: true }),
    ];
  }

  /** Everybody is connected, all subscriptions are acknowledged, and publishing begins. */
  async start(): Promise<void> {
    for (const subscriber of this.subscribers) subscriber.start();
    await until(() => this.subscribers.every(({ isSubscribed }) => isSubscribed), 'all subscriptions', 20_000);
    for (const device of [...this.publishers, ...this.wills]) device.start();
    await until(() => this.wills.every(({ isConnected }) => isConnected), 'the clients with wills', 20_000);
    for (const publisher of this.publishers) publisher.produce();
  }

  /** A retained message that was acknowledged must be there, or a newer one that came meanwhile. */
  async checkRetained(): Promise<void> {
    const topics = ['state/a', 'state/b'];
    const { history, account } = this.#site;
    const acknowledged = topics.map((topic) => history.lastAcknowledged(topic));
    const client = await LiveClient.open(this.#site.broker()!.port);
    try {
      await client.connect({ ...account, clientId: 'retained-reader' });
      await client.subscribe({ filter: 'state/#', qos: 1 });
      const numberOf = (topic: string): number =>
        Number(client.received.find((message) => message.topic === topic)?.payload.split(' ')[2] ?? 0);
      const isThere = (): boolean => topics.every((topic, i) => numberOf(topic) >= acknowledged[i]!);
      // What is not there after that is written down as missing.
      await until(isThere, 'the retained messages', retainedWithinMs).catch(() => {});
      for (const [i, topic] of topics.entries()) {
        history.add({ type: 'retained', topic, n: numberOf(topic), acknowledged: acknowledged[i]! });
      }
    } finally {
      client.destroy();
    }
  }

  /** Ends the load and drains. What is missing afterwards is for the checks to find. */
  async finish(): Promise<void> {
    const { history } = this.#site;
    for (const publisher of this.publishers) publisher.stopProducing();
    for (const subscriber of this.subscribers) subscriber.stayOnline();
    this.#site.note('the load ends');
    const deadlineMs = performance.now() + drainWithinMs;
    const isStalled = (): boolean => history.quietMs() > stalledMs || performance.now() > deadlineMs;
    const open = (): string[] => this.publishers.flatMap(({ unacknowledged }) => unacknowledged);
    await until(() => open().length === 0 || isStalled(), 'the publishers', 2 * drainWithinMs);
    for (const key of open())
      history.add({ type: 'fault', client: key.split(' ')[0]!, what: `never acknowledged in full: ${key}` });
    const isSettled = (): boolean => history.quietMs() > settleMs && missing(history.entries).length === 0;
    await until(() => isSettled() || isStalled(), 'the subscribers', 2 * drainWithinMs);
    // Nothing is published any more: only what was kept can arrive now.
    await this.checkRetained();
    this.#site.note('drained');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.publishers, ...this.subscribers, ...this.wills].map((device) => device.stop()));
  }

  summary(): string {
    const { sent, acknowledged, arrived, repeated, connections } = totals(this.#site.history.entries);
    const starts = this.#site.startMs.map((ms) => (ms / 1000).toFixed(1)).join(' ');
    return (
      `${sent} messages sent, ${acknowledged} acknowledged, ${arrived} arrived (${repeated} of QoS 1 again), ` +
      `${connections} connections; seconds until each start took clients: ${starts}`
    );
  }
}

function makePublishers(site: Site): Publisher[] {
  const topics = (qos: number, name: string): string[] => ['a', 'b'].map((leaf) => `load/q${qos}/${name}/${leaf}`);
  const common = { window: 10, messagesPerSecond: 60 };
  return [
    new Publisher(site, { clientId: 'p1', qos: 1, topics: topics(1, 'p1'), ...common }),
    new Publisher(site, { clientId: 'p2', qos: 1, topics: topics(1, 'p2'), level: 4, ...common, window: 1 }),
    new Publisher(site, { clientId: 'p3', qos: 2, topics: topics(2, 'p3'), ...common }),
    new Publisher(site, { clientId: 'p4', qos: 2, topics: topics(2, 'p4'), level: 4, ...common, window: 3 }),
    new Publisher(site, {
      clientId: 'p5',
      qos: 1,
      topics: ['state/a', 'state/b'],
      retain: true,
      window: 4,
      messagesPerSecond: 20,
    }),
  ];
}

function makeSubscribers(site: Site): Subscriber[] {
  const all = [
    { filter: 'load/q1/#', qos: 1 },
    { filter: 'load/q2/#', qos: 2 },
  ] as const;
  const visits = { messagesMax: 60, awayMsMax: 700 };
  const rareVisits = { messagesMax: 150, awayMsMax: 2000 };
  return [
    new Subscriber(site, { clientId: 's-fast', subscriptions: all }),
    new Subscriber(site, { clientId: 's-fast-v3', level: 4, subscriptions: all, arrivesWith: 'pubrel' }),
    new Subscriber(site, { clientId: 's-slow', subscriptions: all, ackMsMax: 300 }),
    new Subscriber(site, { clientId: 's-small', subscriptions: all, ackMsMax: 60, receiveMaximum: 3 }),
    new Subscriber(site, { clientId: 's-offline', subscriptions: all, visits }),
    new Subscriber(site, {
      clientId: 's-offline-v3',
      level: 4,
      subscriptions: [{ filter: 'load/#', qos: 2 }],
      visits,
      arrivesWith: 'pubrel',
    }),
    new Subscriber(site, { clientId: 's-lower', subscriptions: [{ filter: 'load/q2/+/a', qos: 1 }], ackMsMax: 100 }),
    new Subscriber(site, { clientId: 's-will', subscriptions: [{ filter: 'will/#', qos: 1 }] }),
    new Subscriber(site, { clientId: 's-will-exact', subscriptions: [{ filter: 'will/#', qos: 2 }], ackMsMax: 100 }),
    // Mostly nobody of it is there.
    ...['w1', 'w2'].map(
      (clientId) =>
        new Subscriber(site, {
          clientId,
          subscriptions: [{ filter: '$share/pool/load/#', qos: 2 }],
          visits: rareVisits,
        }),
    ),
    new Subscriber(site, { clientId: 'c1', subscriptions: [{ filter: '$share/crew/load/#', qos: 1 }], visits }),
    new Subscriber(site, {
      clientId: 'c2',
      subscriptions: [{ filter: '$share/crew/load/#', qos: 1 }],
      ackMsMax: 50,
      visits,
      startsClean: true,
    }),
    ...['m1', 'm2', 'm3'].map(
      (clientId, i) =>
        new Subscriber(site, {
          clientId,
          subscriptions: [{ filter: '$share/group/load/#', qos: 1 }],
          ...(i === 1 && { ackMsMax: 200 }),
          ...(i === 2 && { visits }),
        }),
    ),
  ];
}
