/** Publishers whose subscribers are away: the acknowledgement of the broker is all they get, so that is what is counted. */
import type { Offline } from '../scenarios.js';
import type { Traffic } from './traffic.js';
import type { Target } from './connection.js';
import { openPairs } from './pairs.js';
import { PublishRing } from './packets.js';
import { WindowPublisher } from './window.js';

export async function offline(scenario: Offline, target: Target, fail: (why: string) => void): Promise<Traffic> {
  const pairs = await openPairs(scenario.pairs, target, fail, true);
  for (const { subscriber } of pairs) subscriber.close();
  const payload = Buffer.alloc(scenario.payloadBytes, 'x');
  const publishers = pairs.map(
    ({ topic, publisher }) =>
      new WindowPublisher(publisher, new PublishRing(topic, payload, target.version, scenario.window), scenario.window),
  );
  return {
    get expected() {
      return publishers.reduce((sum, publisher) => sum + publisher.published, 0);
    },
    get received() {
      return publishers.reduce((sum, publisher) => sum + publisher.acked, 0);
    },
    start: () => publishers.forEach((publisher) => publisher.start()),
    stop: () => publishers.forEach((publisher) => publisher.stop()),
    close: () => pairs.forEach(({ publisher }) => publisher.close()),
  };
}
