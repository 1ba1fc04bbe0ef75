/**
 * The MQTT state machine of one client. A session outlives its connections; the part
 * that does not is its `Channel`. Who owns it: `admission`, which attaches a channel for each connection and ends the
 * session when it has expired. Who drives it: `transport` with what the client sends, `fanout` with what it is to get.
 * It never touches a socket, a clock or a store; time is an argument, the world are its ports.
 *
 *      transport --receive--> Inbound --host.publish--> fanout
 *      fanout --deliver--> Outbound --Channel--> Outbox
 */
import type { ClientId } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, QoS } from '../message/message.js';
import {
  type AckType,
  type InboundPublish,
  packetType,
  type SubscribePacket,
  type UnsubscribePacket,
} from '../wire/wire.js';
import type { Channel } from './channel.js';
import { Inbound } from './inbound.js';
import { Outbound } from './outbound.js';
import type { Access, SessionHost, Subscription } from './ports.js';
import { receiveSubscribe, receiveUnsubscribe } from './subscribing.js';

/** A will as it waits in the session. */
export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Encoded, as `Message.properties`. */
  readonly properties: Buffer;
  readonly delaySeconds: number;
  /** Counts from when it is published; undefined without. */
  readonly expirySeconds: number | undefined;
}

/** What `fanout` asks before it chooses a member of a shared subscription. */
export type Readiness = 'now' | 'queue' | 'disconnected';

export class Session {
  readonly clientId: ClientId;
  readonly subscriptions = new Map<string, Subscription>();
  /** Present while a client is connected. */
  channel: Channel | undefined;
  will: Will | undefined;
  /** How long the session lives on without a connection; Infinity for ever. */
  expirySeconds = 0;
  readonly #host: SessionHost;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound;
  #access: Access;

  constructor(clientId: ClientId, host: SessionHost, access: Access) {
    this.clientId = clientId;
    this.#host = host;
    this.#access = access;
    this.#inbound = new Inbound(clientId, host, access);
    this.#outbound = new Outbound(this, host);
  }

  /** A client has connected. Call it when CONNACK is in the outbox; sends what waits. */
  attach(channel: Channel, nowMs: number): void {
    this.channel = channel;
    this.#inbound.attach(channel);
    this.#outbound.startResending();
    this.#outbound.pump(nowMs);
  }

  /** The connection is gone; the session goes on. */
  detach(nowMs: number): void {
    this.channel = undefined;
    this.#inbound.attach(undefined);
    this.#outbound.onDetached();
    this.#outbound.handOnShared(false, nowMs);
  }

  /** The session ends for good. Its routes must be gone already. */
  end(nowMs: number): void {
    this.#outbound.handOnShared(true, nowMs);
  }

  /** New access rules: subscriptions and a will that they do not allow any more end. */
  setAccess(access: Access): void {
    this.#access = access;
    this.#inbound.setAccess(access);
    if (this.will && !access.mayPublish(this.will.topic)) this.will = undefined;
    for (const [filter, subscription] of this.subscriptions)
      if (!access.maySubscribe(subscription.topicFilter)) {
        this.subscriptions.delete(filter);
        this.#host.unsubscribe(this, subscription);
      }
  }

  receivePublish(publish: InboundPublish, channel: Channel, nowMs: number): void {
    this.#inbound.onPublish(publish, channel, nowMs);
  }

  receiveAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    switch (type) {
      case packetType.puback:
        return this.#outbound.onPuback(packetId, nowMs);
      case packetType.pubrec:
        return this.#outbound.onPubrec(packetId, reasonCode, nowMs);
      case packetType.pubcomp:
        return this.#outbound.onPubcomp(packetId, nowMs);
      case packetType.pubrel:
        return this.#inbound.onPubrel(packetId);
    }
  }

  receiveSubscribe(packet: SubscribePacket, channel: Channel): void {
    receiveSubscribe(this, this.#host, this.#access, channel, packet);
  }

  receiveUnsubscribe(packet: UnsubscribePacket, channel: Channel): void {
    receiveUnsubscribe(this, this.#host, channel, packet);
  }

  /** One message for this client; see `Outbound` for what happens to it. */
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    this.#outbound.deliver(message, terms, nowMs);
  }

  /** Sends what now can be sent: the outbox has drained, or the tenant's rate allows more. */
  pump(nowMs: number): void {
    this.#outbound.pump(nowMs);
  }

  get readiness(): Readiness {
    if (this.channel === undefined) return 'disconnected';
    return this.#outbound.windowOpen ? 'now' : 'queue';
  }

  get queuedMessages(): number {
    return this.#outbound.queuedMessages + this.#outbound.inFlightMessages;
  }

  /** Messages of this client whose acknowledgement waits; bounds what MQTT 3.x clients may have under way. */
  get unacknowledgedPublishes(): number {
    return this.#inbound.unfinished;
  }

  get hasRoom(): boolean {
    return this.#outbound.hasRoom;
  }

  /** For slow sources: calls back once there is room, or when the client is gone. */
  whenRoom(listener: () => void): void {
    this.#outbound.whenRoom(listener);
  }
}
