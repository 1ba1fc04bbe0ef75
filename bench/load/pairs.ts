/** Connections in pairs: publisher i has the topic `bench/<i>`, and a subscriber of its own or one with all others. */
import type { Durable } from './packets.js';
import { openAll, type Connection, type Target } from './connection.js';

export interface Pair {
  readonly topic: string;
  readonly publisher: Connection;
  readonly subscriber: Connection;
}

/** An hour is longer than any run; the brokers end with the run. */
export const newDurable: Durable = { sessionExpirySeconds: 3600, resumes: false };

export async function openPairs(
  count: number,
  target: Target,
  fail: (why: string) => void,
  durable = false,
): Promise<Pair[]> {
  const indexes = Array.from({ length: count }, (_, index) => index);
  const publishers = await openAll(
    target,
    indexes.map((index) => `pub-${index}`),
  );
  const subscribers = await openAll(
    target,
    indexes.map((index) => `sub-${index}`),
    durable ? newDurable : undefined,
  );
  await Promise.all(subscribers.map((subscriber, index) => subscriber.subscribe(`bench/${index}`, 1)));
  return indexes.map((index) => {
    const pair = { topic: `bench/${index}`, publisher: publishers[index]!, subscriber: subscribers[index]! };
    pair.publisher.onLost = fail;
    pair.subscriber.onLost = fail;
    return pair;
  });
}

/** All publishers with one subscriber, each with a topic of its own. */
export async function openFanIn(
  count: number,
  target: Target,
  fail: (why: string) => void,
  qos: 0 | 1 = 1,
): Promise<Pair[]> {
  const [subscriber, ...publishers] = await openAll(target, [
    'sub-0',
    ...Array.from({ length: count }, (_, index) => `pub-${index}`),
  ]);
  await subscriber!.subscribe('bench/#', qos);
  for (const connection of [subscriber!, ...publishers]) connection.onLost = fail;
  return publishers.map((publisher, index) => ({ topic: `bench/${index}`, publisher, subscriber: subscriber! }));
}

/** All subscribers with one publisher, of the same topic. */
export async function openFanOut(count: number, target: Target, fail: (why: string) => void): Promise<Pair[]> {
  const topic = 'bench/0';
  const [publisher, ...subscribers] = await openAll(target, [
    'pub-0',
    ...Array.from({ length: count }, (_, index) => `sub-${index}`),
  ]);
  await Promise.all(subscribers.map((subscriber) => subscriber.subscribe(topic, 1)));
  for (const connection of [publisher!, ...subscribers]) connection.onLost = fail;
  return subscribers.map((subscriber) => ({ topic, publisher: publisher!, subscriber }));
}
