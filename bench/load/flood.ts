/** One publisher, QoS 0, as fast as the broker reads or, with `aheadMax`, as fast as every subscriber receives. */
import type { Flood } from '../scenarios.js';
import type { Traffic } from './traffic.js';
import { openAll, type Connection, type Target } from './connection.js';
import { publishPacket } from './packets.js';

/** Large enough that the write system call costs little per message, small enough to leave the loop to the readers. */
const batchBytes = 1 << 16;
const batchesPerTurn = 4;

export async function flood(scenario: Flood, target: Target, fail: (why: string) => void): Promise<Traffic> {
  const topic = 'bench/0';
  const [publisher, ...subscribers] = await openAll(target, [
    'pub-0',
    ...Array.from({ length: scenario.subscribers }, (_, index) => `sub-${index}`),
  ]);
  for (const subscriber of subscribers) await subscriber.subscribe(topic, 0);
  const packet = publishPacket(topic, Buffer.alloc(scenario.payloadBytes, 'x'), target.version);
  return new FloodTraffic(publisher!, subscribers, packet, scenario.aheadMax ?? Infinity, fail);
}

class FloodTraffic implements Traffic {
  readonly #publisher: Connection;
  readonly #subscribers: readonly Connection[];
  readonly #packetBytes: number;
  readonly #batch: Buffer;
  readonly #batchMessages: number;
  readonly #aheadMax: number;
  #published = 0;
  #stopped = true;
  /** Full until the slowest subscriber has received more; only with `aheadMax`. */
  #waiting = false;

  constructor(
    publisher: Connection,
    subscribers: readonly Connection[],
    packet: Buffer,
    aheadMax: number,
    fail: (why: string) => void,
  ) {
    this.#publisher = publisher;
    this.#subscribers = subscribers;
    this.#packetBytes = packet.length;
    this.#batchMessages = Math.floor(batchBytes / packet.length);
    this.#batch = Buffer.concat(Array.from({ length: this.#batchMessages }, () => packet));
    this.#aheadMax = aheadMax;
    for (const connection of [publisher, ...subscribers]) connection.onLost = fail;
    publisher.socket.on('drain', () => setImmediate(() => this.#pump()));
    if (aheadMax === Infinity) return;
    for (const subscriber of subscribers) {
      subscriber.onRead = () => {
        if (this.#waiting) this.#pump();
      };
    }
  }

  get expected(): number {
    return this.#published * this.#subscribers.length;
  }

  get received(): number {
    let sum = 0;
    for (const subscriber of this.#subscribers) sum += subscriber.frames.qos0Messages;
    return sum;
  }

  start(): void {
    this.#stopped = false;
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
  }

  close(): void {
    for (const connection of [this.#publisher, ...this.#subscribers]) connection.close();
  }

  #pump(): void {
    this.#waiting = false;
    for (let turn = 0; turn < batchesPerTurn && !this.#stopped; turn++) {
      const messages = Math.min(this.#room(), this.#batchMessages);
      if (messages === 0) {
        this.#waiting = true;
        return;
      }
      this.#published += messages;
      // The write buffer holds at most one batch: 'drain' continues, and the broker's reading sets the pace.
      if (!this.#publisher.socket.write(this.#batch.subarray(0, messages * this.#packetBytes))) return;
    }
    if (!this.#stopped) setImmediate(() => this.#pump());
  }

  #room(): number {
    if (this.#aheadMax === Infinity) return Infinity;
    let slowest = Infinity;
    for (const subscriber of this.#subscribers) slowest = Math.min(slowest, subscriber.frames.qos0Messages);
    return this.#aheadMax - (this.#published - slowest);
  }
}
