/**
 * Many pairs with little traffic each, QoS 1, at a fixed rate in all: pairs take turns, so that nearly every message is
 * a read and a write of its own in the broker. Measures the time from send to receipt as well.
 */
import type { Sparse } from '../scenarios.js';
import type { Traffic } from './traffic.js';
import { AcknowledgingSubscriber, onPubackInOrder } from './acknowledge.js';
import type { Connection, Target } from './connection.js';
import { openPairs, type Pair } from './pairs.js';
import { PublishRing } from './packets.js';

/** A second's worth of messages of one pair; a broker that is further behind is sent less than asked. */
const window = 20;
const tickMs = 1;

export async function sparse(scenario: Sparse, target: Target, fail: (why: string) => void): Promise<Traffic> {
  const pairs = await openPairs(scenario.pairs, target, fail);
  const payload = Buffer.alloc(scenario.payloadBytes, 'x');
  return new SparseTraffic(
    pairs.map((pair) => new SparsePair(pair, new PublishRing(pair.topic, payload, target.version, window))),
    scenario.messagesPerSecond,
  );
}

class SparseTraffic implements Traffic {
  readonly #pairs: readonly SparsePair[];
  readonly #messagesPerSecond: number;
  #timer: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(pairs: readonly SparsePair[], messagesPerSecond: number) {
    this.#pairs = pairs;
    this.#messagesPerSecond = messagesPerSecond;
  }

  get expected(): number {
    return this.#pairs.reduce((sum, pair) => sum + pair.published, 0);
  }

  get received(): number {
    return this.#pairs.reduce((sum, pair) => sum + pair.received, 0);
  }

  takeLatencies(): number[] {
    return this.#pairs.flatMap((pair) => pair.takeLatencies());
  }

  start(): void {
    const startedMs = performance.now();
    let offered = 0;
    this.#timer = setInterval(() => {
      const due = ((performance.now() - startedMs) * this.#messagesPerSecond) / 1000;
      for (; offered < due; offered++) this.#pairs[this.#turn++ % this.#pairs.length]!.publish();
    }, tickMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  close(): void {
    for (const pair of this.#pairs) pair.close();
  }
}

class SparsePair {
  published = 0;
  readonly #publisher: Connection;
  readonly #subscriber: AcknowledgingSubscriber;
  readonly #ring: PublishRing;
  /** When the message of each slot was sent; a slot is free again only when the publisher has its PUBACK. */
  readonly #sentMs = new Float64Array(window);
  #latenciesUs: number[] = [];
  #acked = 0;

  constructor(pair: Pair, ring: PublishRing) {
    this.#publisher = pair.publisher;
    this.#ring = ring;
    onPubackInOrder(pair.publisher, window, () => this.#acked++);
    this.#subscriber = new AcknowledgingSubscriber(pair.subscriber);
    this.#subscriber.onMessage = () => {
      const slot = (this.#subscriber.received - 1) % window;
      this.#latenciesUs.push((performance.now() - this.#sentMs[slot]!) * 1000);
    };
  }

  get received(): number {
    return this.#subscriber.received;
  }

  publish(): void {
    if (this.published - Math.min(this.#acked, this.received) >= window) return;
    const slot = this.published++ % window;
    this.#sentMs[slot] = performance.now();
    this.#publisher.socket.write(this.#ring.slice(slot, 1));
  }

  takeLatencies(): number[] {
    const taken = this.#latenciesUs;
    this.#latenciesUs = [];
    return taken;
  }

  close(): void {
    this.#publisher.close();
    this.#subscriber.connection.close();
  }
}
