/** QoS 1 to a subscriber each, all to one, or one to all: every publisher keeps its window full, a message for each acknowledgement. */
import type { Window } from '../scenarios.js';
import type { Traffic } from './traffic.js';
import { AcknowledgingSubscriber, onPubackInOrder } from './acknowledge.js';
import type { Connection, Target } from './connection.js';
import { openFanIn, openFanOut, openPairs } from './pairs.js';
import { PublishRing } from './packets.js';

export async function windowed(scenario: Window, target: Target, fail: (why: string) => void): Promise<Traffic> {
  const { pairs: count, durable, shape } = scenario;
  const pairs =
    shape === 'fan-in'
      ? await openFanIn(count, target, fail)
      : shape === 'fan-out'
        ? await openFanOut(count, target, fail)
        : await openPairs(count, target, fail, durable);
  const deliveries = shape === 'fan-out' ? count : 1;
  const sources = shape === 'fan-out' ? pairs.slice(0, 1) : pairs;
  const payload = Buffer.alloc(scenario.payloadBytes, 'x');
  const publishers = sources.map(
    ({ topic, publisher }) =>
      new WindowPublisher(publisher, new PublishRing(topic, payload, target.version, scenario.window), scenario.window),
  );
  const subscribers = [...new Set(pairs.map(({ subscriber }) => subscriber))].map(
    (subscriber) => new AcknowledgingSubscriber(subscriber),
  );
  return {
    get expected() {
      return deliveries * publishers.reduce((sum, publisher) => sum + publisher.published, 0);
    },
    get received() {
      return subscribers.reduce((sum, subscriber) => sum + subscriber.received, 0);
    },
    start: () => publishers.forEach((publisher) => publisher.start()),
    stop: () => publishers.forEach((publisher) => publisher.stop()),
    close: () => pairs.forEach(({ publisher, subscriber }) => (publisher.close(), subscriber.close())),
  };
}

export class WindowPublisher {
  published = 0;
  acked = 0;
  readonly #connection: Connection;
  readonly #ring: PublishRing;
  readonly #window: number;
  readonly #total: number;
  #stopped = true;

  constructor(connection: Connection, ring: PublishRing, window: number, total = Infinity) {
    this.#total = total;
    this.#connection = connection;
    this.#ring = ring;
    this.#window = window;
    onPubackInOrder(connection, window, () => this.acked++);
    connection.onRead = () => this.#fill();
  }

  start(): void {
    this.#stopped = false;
    this.#fill();
  }

  stop(): void {
    this.#stopped = true;
  }

  #fill(): void {
    if (this.#stopped) return;
    let count = Math.min(this.#window - (this.published - this.acked), this.#total - this.published);
    while (count > 0) {
      const slot = this.published % this.#window;
      const run = Math.min(count, this.#window - slot);
      this.#connection.socket.write(this.#ring.slice(slot, run));
      this.published += run;
      count -= run;
    }
  }
}
