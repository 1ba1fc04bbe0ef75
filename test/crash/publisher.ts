/**
 * Publishes numbered messages as fast as its window lets it. What is not acknowledged when a connection ends it sends
 * again on the next one: PUBLISH with DUP and PUBREL with their old packet identifiers, in their old order.
 */
import type { PacketClient } from '../support/packet-client.js';
import type { Packet } from '../support/packet-codec.js';
import { Device, type DeviceOptions, type World } from './device.js';
import { type Key, keyOf } from './history.js';

export interface PublisherOptions extends DeviceOptions {
  readonly qos: 1 | 2;
  readonly topics: readonly string[];
  /** Messages that may be unacknowledged at the same time. */
  readonly window: number;
  /** Wanted rate; less when acknowledgements do not come. */
  readonly messagesPerSecond: number;
  readonly retain?: boolean;
}

interface Outgoing {
  readonly key: Key;
  readonly topic: string;
  readonly n: number;
  /** PUBREC has come, PUBCOMP has not. */
  released: boolean;
}

const tickMs = 10;

export class Publisher extends Device {
  readonly #options: PublisherOptions;
  /** By packet identifier, in the order of their first sending. */
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #numbers = new Map<string, number>();
  #turn = 0;
  #lastPacketId = 0;
  #window: number;
  #timer: NodeJS.Timeout | undefined;
  /** Messages that the rate allows now. */
  #allowance = 0;

  constructor(world: World, options: PublisherOptions) {
    super(world, options);
    this.#options = options;
    this.#window = options.window;
  }

  /** Begins to publish; may be called before it is connected. */
  produce(): void {
    this.#timer ??= setInterval(() => {
      this.#allowance = Math.min(this.#allowance + (this.#options.messagesPerSecond * tickMs) / 1000, 50);
      this.#fill();
    }, tickMs);
  }

  stopProducing(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** What has not been acknowledged in full. */
  get unacknowledged(): readonly Key[] {
    return [...this.#outgoing.values()].map(({ key }) => key);
  }

  override async stop(): Promise<void> {
    this.stopProducing();
    await super.stop();
  }

  protected onConnected(packets: PacketClient, connack: Packet): void {
    this.#window = Math.min(this.#options.window, connack.properties.receiveMaximum ?? 65_535);
    // [MQTT-4.4.0-1] [MQTT-4.6.0-1]
    for (const [packetId, outgoing] of this.#outgoing)
      if (outgoing.released) packets.sendAck('pubrel', packetId);
      else this.#send(packets, packetId, outgoing, true);
    this.#fill();
  }

  protected onPacket(packets: PacketClient, { cmd, packetId = 0, reasonCode = 0 }: Packet): void {
    const outgoing = this.#outgoing.get(packetId);
    const { history } = this.world;
    const client = this.clientId;
    if (cmd !== 'puback' && cmd !== 'pubrec' && cmd !== 'pubcomp') return;
    if (!outgoing) return history.add({ type: 'fault', client, what: `${cmd} for packet identifier ${packetId}` });
    const { key } = outgoing;
    // A PUBCOMP that does not know the identifier: the broker had completed it, and its answer was lost.
    if (reasonCode >= 0x80 && cmd !== 'pubcomp') {
      history.add({ type: 'refused', client, key, code: reasonCode });
      this.#outgoing.delete(packetId);
      return;
    }
    if (cmd !== 'pubcomp' && !outgoing.released) history.add({ type: 'acknowledged', client, key, by: this.by });
    if (cmd === 'pubrec') {
      outgoing.released = true;
      packets.sendAck('pubrel', packetId);
    } else {
      this.#outgoing.delete(packetId);
      this.#fill();
    }
  }

  #fill(): void {
    if (this.#timer === undefined) return;
    while (this.packets && this.#allowance >= 1 && this.#outgoing.size < this.#window) {
      this.#allowance--;
      const topic = this.#options.topics[this.#turn++ % this.#options.topics.length]!;
      const n = (this.#numbers.get(topic) ?? 0) + 1;
      this.#numbers.set(topic, n);
      const outgoing: Outgoing = { key: keyOf(this.clientId, topic, n), topic, n, released: false };
      const packetId = this.#freePacketId();
      this.#outgoing.set(packetId, outgoing);
      this.#send(this.packets, packetId, outgoing, false);
    }
  }

  #send(packets: PacketClient, packetId: number, { key, topic, n }: Outgoing, again: boolean): void {
    const { qos, retain = false } = this.#options;
    const client = this.clientId;
    this.world.history.add({ type: 'sent', client, key, topic, n, qos, ...(again && { again }) });
    packets.sendPublish({ topic, payload: key, qos, packetId, retain, dup: again });
  }

  #freePacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    while (this.#outgoing.has(this.#lastPacketId));
    return this.#lastPacketId;
  }
}
