/** Many publishers with little traffic each, QoS 0, to one subscriber of all, at a fixed rate in all: they take turns. */
import type { Trickle } from '../scenarios.js';
import type { Target } from './connection.js';
import { openFanIn } from './pairs.js';
import { publishPacket } from './packets.js';
import type { Traffic } from './traffic.js';

const tickMs = 1;

export async function trickle(scenario: Trickle, target: Target, fail: (why: string) => void): Promise<Traffic> {
  const pairs = await openFanIn(scenario.publishers, target, fail, 0);
  const payload = Buffer.alloc(scenario.payloadBytes, 'x');
  const senders = pairs.map(({ topic, publisher: { socket } }) => {
    const packet = publishPacket(topic, payload, target.version);
    return () => socket.write(packet);
  });
  const { frames } = pairs[0]!.subscriber;
  const received = frames.qos0Messages;
  let published = 0;
  let timer: NodeJS.Timeout | undefined;
  return {
    get expected() {
      return published;
    },
    get received() {
      return frames.qos0Messages - received;
    },
    start: () => {
      const startedMs = performance.now();
      timer = setInterval(() => {
        const due = ((performance.now() - startedMs) * scenario.messagesPerSecond) / 1000;
        for (; published < due; published++) senders[published % senders.length]!();
      }, tickMs);
    },
    stop: () => clearInterval(timer),
    close: () => pairs.forEach(({ publisher, subscriber }) => (publisher.close(), subscriber.close())),
  };
}
