/** Connections in pairs: publisher i and subscriber i share the topic `bench/<i>`. */
import { openAll, type Connection, type Target } from './connection.js';

export interface Pair {
  readonly topic: string;
  readonly publisher: Connection;
  readonly subscriber: Connection;
}

export async function openPairs(count: number, target: Target, fail: (why: string) => void): Promise<Pair[]> {
  const indexes = Array.from({ length: count }, (_, index) => index);
  const publishers = await openAll(
    target,
    indexes.map((index) => `pub-${index}`),
  );
  const subscribers = await openAll(
    target,
    indexes.map((index) => `sub-${index}`),
  );
  await Promise.all(subscribers.map((subscriber, index) => subscriber.subscribe(`bench/${index}`, 1)));
  return indexes.map((index) => {
    const pair = { topic: `bench/${index}`, publisher: publishers[index]!, subscriber: subscribers[index]! };
    pair.publisher.onLost = fail;
    pair.subscriber.onLost = fail;
    return pair;
  });
}
