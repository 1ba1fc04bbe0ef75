/**
 * A PacketClient that answers by itself: everything it gets is noted and acknowledged at once, so that a scenario only
 * says what its clients do. Acknowledgements it waits for are matched by type and packet identifier.
 */
import { PacketClient } from './packet-client.js';
import type { Packet } from './packet-codec.js';
import type { PacketName } from './packet-tables.js';
import { until } from './until.js';

export type ConnectFields = Parameters<PacketClient['connect']>[0];
export type PublishFields = Parameters<PacketClient['sendPublish']>[0];
export type SubscriptionFields = Parameters<PacketClient['subscribe']>[0];

export interface Received {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
}

interface Waiting {
  resolve(packet: Packet): void;
  reject(error: Error): void;
}

/** Longer than any test: what does not come is found by the wait that needs it. */
const boundMs = 1_000_000;

export class LiveClient {
  readonly packets: PacketClient;
  readonly received: Received[] = [];
  /** Called instead of noting the message, when set: for floods that should not pile up here. */
  onMessage: ((packet: Packet) => void) | undefined;
  connack: Packet | undefined;
  /** The broker's last word, if it had one. */
  farewell: Packet | undefined;
  ended = false;
  /** QoS 2 messages whose PUBREL has not come. */
  readonly #unreleased = new Set<number>();
  readonly #waiting = new Map<string, Waiting[]>();

  private constructor(packets: PacketClient) {
    this.packets = packets;
    packets.boundMs = boundMs;
    void this.#receive();
  }

  static async open(port: number): Promise<LiveClient> {
    return new LiveClient(await PacketClient.open(port));
  }

  /** Requires that the broker lets it in. */
  async connect(fields: ConnectFields): Promise<Packet> {
    const connack = await this.tryConnect(fields);
    if (connack.reasonCode !== 0) throw new Error(`CONNECT was refused with 0x${connack.reasonCode?.toString(16)}`);
    return connack;
  }

  tryConnect(fields: ConnectFields): Promise<Packet> {
    const connack = this.#answer('connack', 0);
    this.packets.sendConnect(fields);
    return connack;
  }

  async #receive(): Promise<void> {
    try {
      for (;;) this.#take(await this.packets.next());
    } catch (error) {
      this.ended = true;
      for (const waiting of [...this.#waiting.values()].flat()) waiting.reject(error as Error);
      this.#waiting.clear();
    }
  }

  #take(packet: Packet): void {
    const { cmd, packetId = 0 } = packet;
    if (cmd === 'publish') this.#takeMessage(packet);
    else if (cmd === 'pubrel') {
      this.#unreleased.delete(packetId);
      this.packets.sendAck('pubcomp', packetId);
    } else {
      if (cmd === 'connack') this.connack = packet;
      if (cmd === 'disconnect') this.farewell = packet;
      this.#waiting.get(`${cmd} ${packetId}`)?.shift()?.resolve(packet);
    }
  }

  #takeMessage(packet: Packet): void {
    const { topic = '', payload, qos = 0, retain = false, dup = false, packetId = 0 } = packet;
    // Known and not released: the same message again. [MQTT-4.3.3-10]
    const isRepeated = qos === 2 && this.#unreleased.has(packetId);
    if (qos === 2) this.#unreleased.add(packetId);
    if (!isRepeated)
      if (this.onMessage) this.onMessage(packet);
      else this.received.push({ topic, payload: String(payload), qos, retain, dup });
    if (qos === 1) this.packets.sendAck('puback', packetId);
    if (qos === 2) this.packets.sendAck('pubrec', packetId);
  }

  #answer(cmd: PacketName, packetId: number): Promise<Packet> {
    if (this.ended) return Promise.reject(new Error(`the connection ended before ${cmd}`));
    return new Promise((resolve, reject) => {
      const key = `${cmd} ${packetId}`;
      const queue = this.#waiting.get(key) ?? [];
      queue.push({ resolve, reject });
      this.#waiting.set(key, queue);
    });
  }

  /** Publishes and completes the exchange; resolves with its deciding packet, undefined for QoS 0. */
  async publish(fields: PublishFields): Promise<Packet | undefined> {
    const packetId = this.packets.sendPublish(fields);
    if (packetId === 0) return undefined;
    if (fields.qos === 1) return this.#answer('puback', packetId);
    const received = await this.#answer('pubrec', packetId);
    if ((received.reasonCode ?? 0) >= 0x80) return received;
    const complete = this.#answer('pubcomp', packetId);
    this.packets.sendAck('pubrel', packetId);
    return complete;
  }

  /** The codes of the SUBACK. QoS 2 unless told otherwise. */
  async subscribe(...subscriptions: SubscriptionFields[]): Promise<number[]> {
    const { reasonCodes } = await this.#answer('suback', this.packets.sendSubscribe(subscriptions));
    return reasonCodes ?? [];
  }

  async unsubscribe(...filters: string[]): Promise<number[]> {
    const { reasonCodes } = await this.#answer('unsuback', this.packets.sendUnsubscribe(...filters));
    return reasonCodes ?? [];
  }

  /** When this resolves, everything that the broker had sent to this client before has arrived. */
  async ping(): Promise<void> {
    const answer = this.#answer('pingresp', 0);
    this.packets.send('c000');
    await answer;
  }

  async receivedCount(count: number, boundMs?: number): Promise<void> {
    await until(() => this.received.length >= count, `message ${count} (there are ${this.received.length})`, boundMs);
  }

  /** Says goodbye, and waits until the broker has closed. */
  async disconnect(): Promise<void> {
    this.packets.sendDisconnect();
    await until(() => this.ended, 'the end of the connection');
    this.destroy();
  }

  /** Ends without DISCONNECT, as a client whose process dies, and waits until the broker has closed, too. */
  async drop(): Promise<void> {
    this.packets.hangUp();
    await until(() => this.ended, 'the end of the connection');
    this.destroy();
  }

  destroy(): void {
    this.packets.destroy();
  }
}
