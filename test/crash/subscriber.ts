/**
 * Takes messages and acknowledges them at its own pace: at once, late, or only now and then when it is online at all.
 * Its QoS 2 state survives its connections, so that it hands each message to the application once, by either of the
 * two methods of the specification (figure 4.3).
 */
import type { PacketClient } from '../support/packet-client.js';
import type { Packet } from '../support/packet-codec.js';
import { Device, type DeviceOptions, type World } from './device.js';

export interface SubscriberOptions extends DeviceOptions {
  readonly subscriptions: readonly { readonly filter: string; readonly qos: 1 | 2 }[];
  /** Each acknowledgement of a PUBLISH leaves after up to this. Default 0: at once. */
  readonly ackMsMax?: number;
  /** When a QoS 2 message counts as arrived: with its PUBLISH (default) or with its PUBREL. */
  readonly arrivesWith?: 'publish' | 'pubrel';
  /** Leaves after so many messages and stays away for so long, by turns with DISCONNECT and without. */
  readonly visits?: { readonly messagesMax: number; readonly awayMsMax: number };
}

export class Subscriber extends Device {
  readonly #options: SubscriberOptions;
  /** QoS 2 messages that were received and not released: what they are, when they have not been handed on yet. */
  readonly #unreleased = new Map<number, Packet | undefined>();
  #subscribed = false;
  #staysOnline: boolean;
  #ackMsMax: number;
  /** When the last acknowledgement is due; they leave in the order of their messages [MQTT-4.6.0-2]. */
  #dueMs = 0;
  /** Messages until this visit ends. */
  #left = Infinity;
  #visits = 0;

  constructor(world: World, options: SubscriberOptions) {
    super(world, options);
    this.#options = options;
    this.#ackMsMax = options.ackMsMax ?? 0;
    this.#staysOnline = options.visits === undefined;
  }

  get isSubscribed(): boolean {
    return this.#subscribed;
  }

  /** From now on online and fast, to take all that waits for it. */
  stayOnline(): void {
    this.#staysOnline = true;
    this.#left = Infinity;
    this.#ackMsMax = 0;
  }

  protected override awayMs(): number {
    const { visits } = this.#options;
    const { chance } = this.world;
    // In short steps when it is to stay: `stayOnline` must not wait for the end of a long absence.
    return this.#staysOnline || !visits || !this.#subscribed ? super.awayMs() : chance.between(0, visits.awayMsMax);
  }

  protected onConnected(packets: PacketClient): void {
    this.#dueMs = 0;
    const { visits, subscriptions } = this.#options;
    this.#left = this.#staysOnline || !visits ? Infinity : this.world.chance.between(1, visits.messagesMax);
    if (!this.#subscribed || this.#options.startsClean)
      packets.sendSubscribe(subscriptions.map(({ filter, qos }) => ({ filter, qos })));
  }

  protected onPacket(packets: PacketClient, packet: Packet): void {
    const { packetId = 0 } = packet;
    if (packet.cmd === 'publish') this.#onPublish(packets, packet);
    else if (packet.cmd === 'pubrel') {
      const held = this.#unreleased.get(packetId);
      this.#unreleased.delete(packetId);
      if (held) this.#arrived(held);
      packets.sendAck('pubcomp', packetId);
    } else if (packet.cmd === 'suback') this.#onSuback(packet);
  }

  #onSuback({ reasonCodes = [] }: Packet): void {
    const client = this.clientId;
    this.#subscribed = true;
    for (const [i, { filter, qos }] of this.#options.subscriptions.entries()) {
      if (reasonCodes[i] !== qos)
        this.world.history.add({ type: 'fault', client, what: `SUBACK ${reasonCodes[i]} for ${filter}` });
      const [, group, shared] = /^\$share\/([^/]+)\/(.*)$/.exec(filter) ?? [];
      this.world.history.add({
        type: 'subscribed',
        client,
        filter: shared ?? filter,
        qos,
        ...(group !== undefined && { group }),
      });
    }
  }

  #onPublish(packets: PacketClient, packet: Packet): void {
    const { qos = 0, packetId = 0 } = packet;
    if (qos === 2) {
      if (!this.#unreleased.has(packetId)) {
        const holds = this.#options.arrivesWith === 'pubrel';
        this.#unreleased.set(packetId, holds ? packet : undefined);
        if (!holds) this.#arrived(packet);
      }
      this.#soon(packets, () => packets.sendAck('pubrec', packetId));
    } else {
      this.#arrived(packet);
      if (qos === 1) this.#soon(packets, () => packets.sendAck('puback', packetId));
    }
    if (--this.#left <= 0) this.#leave(packets);
  }

  #arrived({ payload, qos = 0, dup = false }: Packet): void {
    this.world.history.add({ type: 'arrived', client: this.clientId, key: String(payload), qos, dup });
  }

  #soon(packets: PacketClient, send: () => void): void {
    const nowMs = performance.now();
    if (this.#ackMsMax === 0 && this.#dueMs <= nowMs) return send();
    this.#dueMs = Math.max(this.#dueMs, nowMs + this.world.chance.next() * this.#ackMsMax);
    setTimeout(() => {
      if (this.packets === packets) send();
    }, this.#dueMs - nowMs);
  }

  /** The last acknowledgements may or may not be on their way. */
  #leave(packets: PacketClient): void {
    if (++this.#visits % 2 === 0) this.drop();
    else {
      // One that starts clean ends its session by turns when it goes, and when it comes back.
      packets.sendDisconnect(0, this.#options.startsClean ? { sessionExpiryInterval: 0 } : undefined);
      packets.hangUp();
    }
  }
}
