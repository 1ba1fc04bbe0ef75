/**
 * The MQTT state machine of one client. A session outlives its connections; the part
 * that does not is its `Channel`. Who owns it: `admission`, which attaches a channel for each connection and ends the
 * session when it has expired. Who drives it: `transport` with what the client sends, `fanout` with what it is to get.
 * It never touches a socket, a clock or a store; time is an argument, the world are its ports.
 *
 *      transport --receive--> Inbound --host.publish--> fanout
 *      fanout --deliver--> Outbound --Channel--> Outbox
 */
import { caught, type ClientId } from '../../kernel/kernel.js';
import { parseShared } from '../../topic/topic.js';
import { Received, type StoredOrigin, StoredRoutes } from '../inbox/inbox.js';
import { type DeliveryTerms, handedOn, type Message, type QoS, type Receipt } from '../message/message.js';
import {
  type AckType,
  type InboundPublish,
  packetType,
  type SubscribePacket,
  type UnsubscribePacket,
} from '../wire/wire.js';
import type { Channel } from './channel.js';
import { Inbound } from './inbound.js';
import { DurableOutbound } from './durable-outbound.js';
import { Outbound } from './outbound.js';
import { OwedRetained } from './owed-retained.js';
import type { Access, Keeping, Restored, SessionHost, Subscription } from './ports.js';
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

const bytesOf = (will: Will | undefined): number =>
  will ? will.payload.length + will.properties.length + 2 * will.topic.length + 300 : 0;

/** What `fanout` asks before it chooses a member of a shared subscription. */
export type Readiness = 'now' | 'queue' | 'disconnected';

export class Session {
  readonly clientId: ClientId;
  readonly subscriptions = new Map<string, Subscription>();
  /** Present while a client is connected. */
  channel: Channel | undefined;
  #will: Will | undefined;
  /** How long the session lives on without a connection; Infinity for ever. */
  expirySeconds = 0;
  readonly #host: SessionHost;
  readonly #inbound: Inbound;
  readonly #outbound: Outbound | DurableOutbound;
  /** Present when the session is stored. */
  readonly #durable:
    { readonly outbound: DurableOutbound; readonly routes: StoredRoutes; readonly received: Received } | undefined;
  readonly #owed: OwedRetained;
  #access: Access;
  /** What the access is made of that the will and all subscriptions have been compared with. */
  #checkedBy: object | undefined;

  /** `keeping`: for a session that outlives its connections. */
  constructor(clientId: ClientId, host: SessionHost, access: Access, keeping?: Keeping) {
    this.clientId = clientId;
    this.#host = host;
    this.#access = access;
    this.#durable = keeping && {
      outbound: new DurableOutbound(this, host, keeping.partition, keeping.log),
      routes: new StoredRoutes(keeping.partition, keeping.log),
      received: new Received(keeping.partition, keeping.log),
    };
    this.#inbound = new Inbound(clientId, host, access, this.#durable?.received);
    this.#outbound = this.#durable?.outbound ?? new Outbound(this, host);
    this.#owed = new OwedRetained(this, host, this.#durable?.routes);
  }

  get will(): Will | undefined {
    return this.#will;
  }

  set will(will: Will | undefined) {
    this.#host.memory.willBytes += bytesOf(will) - bytesOf(this.#will);
    this.#will = will;
  }

  /** Whether it is stored. */
  get isDurable(): boolean {
    return this.#durable !== undefined;
  }

  /** A claim has given the session a new epoch: what is stored from now on carries it. */
  renew(epoch: number): void {
    this.#durable?.outbound.inbox.renew(epoch);
    this.#durable?.routes.renew(epoch);
    this.#durable?.received.renew(epoch);
  }

  /** What an earlier owner has stored. The subscriptions get their routes. */
  restore(restored: Restored): void {
    this.renew(restored.epoch);
    this.#checkedBy = undefined;
    this.#durable!.outbound.restoreInbox(restored.born, restored.stored, restored.droppedMessages);
    this.#durable!.received.restore(restored.received);
    this.#inbound.restore(restored.received.packetIds);
    for (const { owedAfter, ...route } of restored.routes) {
      const shared = parseShared(route.filter);
      if (typeof shared === 'string') continue;
      const topicFilter = shared?.filter ?? route.filter;
      const subscription = { ...route, topicFilter, group: shared?.group };
      if (owedAfter !== undefined) this.#owed.restore(route.filter, owedAfter);
      this.subscriptions.set(route.filter, subscription);
      this.#host.subscribe(this, subscription, true);
    }
  }

  /** After a restart: a subscriber has this message of the client. */
  leftOpen(stored: StoredOrigin): void {
    this.#durable?.received.leftOpen(stored);
  }

  /** Settles when the stored state knows this QoS 2 message of the client. */
  settlementOf(origin: StoredOrigin): Receipt {
    return this.#durable?.received.settlementOf(origin) ?? handedOn;
  }

  /** Messages that a full queue has refused; of a session that is stored. */
  get droppedMessages(): number {
    return this.#durable?.outbound.dropped ?? 0;
  }

  /** A client has connected. Call it when CONNACK is in the outbox; sends what waits. */
  attach(channel: Channel, nowMs: number): void {
    this.channel = channel;
    this.#inbound.attach(channel);
    this.#outbound.startResending();
    this.#outbound.pump(nowMs);
    for (const subscription of this.subscriptions.values())
      if (subscription.group !== undefined) this.#host.wakeShared(subscription);
    this.#owed.resume();
  }

  /** The connection is gone; the session goes on. */
  detach(nowMs: number): void {
    this.channel = undefined;
    this.#inbound.attach(undefined);
    this.#outbound.onDetached();
    this.#owed.onDetached();
    this.#outbound.handOnShared(nowMs);
  }

  /**
   * The session ends for good. Its routes must be gone already. Resolves when messages of shared subscriptions are safe
   * with other members; `isShared`: it had such subscriptions, and has to look into the table.
   */
  end(nowMs: number, isShared: boolean): Promise<void> {
    this.#owed.end();
    this.#durable?.routes.end();
    this.#durable?.received.end();
    return this.#outbound.end(nowMs, isShared);
  }

  /** Whether it has shared subscriptions. */
  get isShared(): boolean {
    return [...this.subscriptions.values()].some(({ group }) => group !== undefined);
  }

  /** New access rules: subscriptions and a will that they do not allow any more end. */
  setAccess(access: Access): void {
    const work = this.changeAccess(access);
    while (work?.step());
  }

  /**
   * The same for who has time: what is asked from now on is asked of the new rules, and the subscriptions that there are
   * end with the steps of what is returned, one each. Newer rules end these steps.
   */
  changeAccess(access: Access): { step(): boolean } | undefined {
    // At most connects nothing has changed, and there may be thousands of subscriptions.
    if (access.madeOf !== undefined && access.madeOf === this.#checkedBy) return undefined;
    this.#checkedBy = undefined;
    this.#access = access;
    this.#inbound.setAccess(access);
    if (this.will && !access.mayPublish(this.will.topic)) this.will = undefined;
    const left = this.subscriptions.values();
    return {
      step: () => {
        if (this.#access !== access) return false;
        const { value: subscription, done } = left.next();
        if (done === true) this.#checkedBy = access.madeOf;
        else if (!access.maySubscribe(subscription.topicFilter)) this.#forbid(subscription);
        return done !== true;
      },
    };
  }

  #forbid(subscription: Subscription): void {
    const { filter } = subscription;
    this.subscriptions.delete(filter);
    this.#owed.forget(filter);
    this.#host.unsubscribe(this, subscription);
    this.#durable?.routes.remove(filter);
  }

  receivePublish(publish: InboundPublish, channel: Channel, nowMs: number): void {
    this.#inbound.onPublish(publish, channel, nowMs);
  }

  receiveAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    if (type === packetType.pubrel) this.#inbound.onPubrel(packetId);
    else this.#outbound.onAck(type, packetId, reasonCode, nowMs);
  }

  receiveSubscribe(packet: SubscribePacket, channel: Channel): void {
    receiveSubscribe(this, this.#host, this.#access, channel, packet, this.#owed, this.#durable?.routes);
  }

  receiveUnsubscribe(packet: UnsubscribePacket, channel: Channel): void {
    receiveUnsubscribe(this, this.#host, channel, packet, this.#owed, this.#durable?.routes);
  }

  /** One message for this client; see `Outbound` for what happens to it. */
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    this.#outbound.deliver(message, terms, nowMs);
  }

  hasStored(message: Message, shared: string): boolean {
    return this.#durable?.outbound.hasStored(message, shared) ?? false;
  }

  /** See `Subscriber.whenReady`; only of sessions that are stored. */
  whenReady(listener: () => void): void {
    this.#durable?.outbound.whenReady(listener);
  }

  /** Sends what now can be sent: the outbox has drained, or the tenant's rate allows more. */
  pump(nowMs: number): void {
    this.#outbound.pump(nowMs);
  }

  /** A fault of ours in something that happened for this session among others; its connection, if there is one, ends. */
  failed(error: unknown): void {
    if (this.channel) this.channel.failed(error);
    else caught('session', error, { clientId: this.clientId });
  }

  /** Lets go of what has been held back for too long; whether something is held back still. */
  lookAtHeld(nowMs: number): boolean {
    return this.#outbound.lookAtHeld(nowMs);
  }

  get readiness(): Readiness {
    if (this.channel === undefined) return 'disconnected';
    return this.#outbound.windowOpen ? 'now' : 'queue';
  }

  get queuedMessages(): number {
    return this.#outbound.queuedMessages + this.#outbound.inFlightMessages;
  }

  /** PUBACKs and PUBRECs that the client waits for; bounds what MQTT 3.x clients may have under way. */
  get owedAcks(): number {
    return this.#inbound.owedAcks;
  }

  /** What the client has sent and not been answered yet. */
  get owedAnswers(): number {
    return this.#inbound.owedAcks + (this.channel?.owedAnswers ?? 0);
  }

  /** How many messages a slow source may hand over at once: none while enough wait already. */
  get roomMessages(): number {
    return this.#outbound.hasRoom ? this.#outbound.freeMessages : 0;
  }

  /** How many more find a place. */
  get freeMessages(): number {
    return this.#outbound.freeMessages;
  }

  /** For slow sources: calls back once there is room, or when the client is gone. */
  whenRoom(listener: () => void): void {
    this.#outbound.whenRoom(listener);
  }
}
