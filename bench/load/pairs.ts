/** Connections in pairs: publisher i and subscriber i share the topic `bench/<i>`. */
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
