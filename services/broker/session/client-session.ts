/**
 * The MQTT state machine of one client. A session outlives its connections; the part
 * that does not is its `Channel`. Who owns it: `admission`, which attaches a channel for each connection and ends the
 * session when it has expired. Who drives it: `transport` with what the client sends, `fanout` with what it is to get.
 * It never touches a socket, a clock or a store; time is an argument, the world are its ports.
 *
 *      transport --receive--> Inbound --host.publish--> fanout
 *      fanout --deliver--> Outbound --Channel--> Outbox
 *
 * Of a stored session whose client is away there are a million: it is this object and little else (`awake.ts`).
 */
import { caught, type ClientId } from '../../kernel/kernel.js';
import { parseShared } from '../../topic/topic.js';
import type { Received, StoredOrigin } from '../inbox/inbox.js';
import { type DeliveryTerms, handedOn, type Message, type Receipt, settled } from '../message/message.js';
import {
  type AckType,
  type InboundPublish,
  packetType,
  type SubscribePacket,
  type UnsubscribePacket,
} from '../wire/wire.js';
import { Awake } from './awake.js';
import type { Channel } from './channel.js';
import type { Access, Contents, Keeping, Restored, SessionHost, Subscription } from './ports.js';
import { deliver0 } from './qos0.js';
import { receiveSubscribe, receiveUnsubscribe } from './subscribing.js';
import { StoredState } from './stored-state.js';
import { subscriptionOf, Subscriptions } from './subscriptions.js';
import { bytesOf, type Will } from './will.js';

/** What `fanout` asks before it chooses a member of a shared subscription. */
export type Readiness = 'now' | 'queue' | 'disconnected';

export class Session {
  readonly clientId: ClientId;
  readonly subscriptions = new Subscriptions();
  /** Present while a client is connected. */
  channel: Channel | undefined;
  #will: Will | undefined;
  /** How long the session lives on without a connection; Infinity for ever. */
  expirySeconds = 0;
  readonly #host: SessionHost;
  /** Present when the session is stored. */
  readonly #stored: StoredState | undefined;
  #awake: Awake | undefined;
  /** Not of one that sleeps: what it is made of may be much. Who comes brings it. */
  #access: Access | undefined;
  /** What the access is made of that the will and all subscriptions have been compared with. */
  #checkedBy: object | undefined;
  #hasEnded = false;

  /** `keeping`: for a session that outlives its connections. */
  constructor(clientId: ClientId, host: SessionHost, access: Access, keeping?: Keeping) {
    this.clientId = clientId;
    this.#host = host;
    this.#access = access;
    if (keeping) this.#stored = new StoredState(keeping);
    else this.#awake = new Awake(this, host);
  }

  /** With all of its machinery. What was stored by an earlier owner need not be known: only its client asks for it. */
  #wake(): Awake {
    return (this.#awake ??= new Awake(this, this.#host, this.#stored));
  }

  /** Its client is away and all is stored: see `awake.ts`. */
  get isAsleep(): boolean {
    return this.#awake === undefined;
  }

  /** Sleeps, if it can: see `awake.ts`. */
  rest(): void {
    if (this.channel !== undefined || this.#hasEnded || !this.#awake?.letGo()) return;
    this.#awake = undefined;
    this.#forgetAccess();
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
    return this.#stored !== undefined;
  }

  /** See `Exchanges`. */
  received(isNeeded = false): Received | undefined {
    return this.#stored?.received(this.clientId, isNeeded);
  }

  /** A claim has given the session a new epoch: what is stored from now on carries it. */
  renew(epoch: number): void {
    this.#stored?.renew(epoch);
  }

  /** What an earlier owner has stored. The subscriptions get their routes. */
  restore(restored: Restored): void {
    const { queuedMessages, routes, contents } = restored;
    this.#checkedBy = undefined;
    this.#stored!.restoreFrom(restored);
    this.#host.backlog.messages += queuedMessages;
    if (restored.waitsForEarlier) this.#wake().durable!.waitForEarlier();
    if (contents) this.read(contents);
    for (const route of routes) {
      const shared = parseShared(route.filter);
      if (typeof shared === 'string') continue;
      const topicFilter = shared?.filter ?? route.filter;
      const subscription = subscriptionOf(route, topicFilter, shared?.group, route.id);
      if (route.owedAfter !== undefined) this.#wake().owed.restore(route.filter, route.owedAfter);
      this.subscriptions.set(route.filter, subscription);
      this.#host.subscribe(this, subscription, true);
    }
  }

  /** What an earlier owner has stored beside its subscriptions is not known. To be read before the client comes in. */
  get isUnread(): boolean {
    return this.#stored?.believed !== undefined;
  }

  /** What is unread has epochs below this one. */
  get unreadBelow(): number {
    return this.#stored!.unreadBelow;
  }

  /** What it was restored to wait for has been read. */
  earlierAreStored(nowMs: number): void {
    this.#awake?.durable?.earlierAreStored(nowMs);
    this.rest();
  }

  /** Resolves when the table has its subscriptions as they are. The client is away: there will be no others. */
  async subscriptionsStored(): Promise<void> {
    for (let left = this.#awake?.unstoredRoutes; left; left = this.#awake?.unstoredRoutes) await left;
  }

  /**
   * Resolves when the table has all of it: messages, subscriptions, and what its client has sent. The client is away, and nothing comes
   * any more.
   */
  async stored(): Promise<void> {
    for (let left = this.#unstored; left; left = this.#unstored) await left;
  }

  get #unstored(): Promise<void> | undefined {
    const received = this.#stored?.receivedUnstored;
    return received ? settled(received) : this.#awake?.unstored;
  }

  /** Another broker has it now, with all that is stored. Its routes must be gone already. */
  leave(): void {
    this.#hasEnded = true;
    this.#stored!.end();
    this.will = undefined;
    this.#awake?.owed.end();
    if (this.#awake) this.#awake.durable!.leave();
    else this.#host.backlog.messages -= this.#stored!.unfinished;
  }

  /** What was stored before `restore`; what has come since is behind it. */
  read(contents: Contents): void {
    const { received } = contents;
    this.#host.backlog.messages += this.#stored!.read(contents);
    if (received.packetIds.length > 0) this.#wake().inbound.restore(received.packetIds);
  }

  /** After a restart: a subscriber has this message of the client. */
  leftOpen(stored: StoredOrigin): void {
    this.received()?.leftOpen(stored);
  }

  /** Settles when the stored state knows this QoS 2 message of the client. */
  settlementOf(origin: StoredOrigin): Receipt {
    return this.received()?.settlementOf(origin) ?? handedOn;
  }

  /** Messages that a full queue has refused; of a session that is stored. */
  get droppedMessages(): number {
    return this.#stored?.dropped ?? 0;
  }

  /** A client has connected. Call it when CONNACK is in the outbox; sends what waits. */
  attach(channel: Channel, nowMs: number): void {
    const { inbound, outbound, owed } = this.#wake();
    this.channel = channel;
    inbound.attach(channel, this.#access!);
    outbound.startResending();
    outbound.pump(nowMs);
    for (const subscription of this.subscriptions.values())
      if (subscription.group !== undefined) this.#host.wakeShared(subscription);
    owed.resume();
  }

  /** The connection is gone; the session goes on. */
  detach(nowMs: number): void {
    const { inbound, outbound, owed } = this.#awake!;
    this.channel = undefined;
    inbound.detach();
    outbound.onDetached();
    owed.onDetached();
    outbound.handOnShared(nowMs);
    this.rest();
  }

  /**
   * The session ends for good. Its routes must be gone already. Resolves when messages of shared subscriptions are safe
   * with other members; `isShared`: it had such subscriptions, and has to look into the table.
   */
  end(nowMs: number, isShared: boolean): Promise<void> {
    this.#hasEnded = true;
    this.#stored?.end();
    if (!this.#awake && !isShared) {
      this.#host.backlog.messages -= this.#stored!.unfinished;
      return Promise.resolve();
    }
    const { outbound, owed, routes } = this.#wake();
    owed.end();
    routes?.end();
    return outbound.end(nowMs, isShared);
  }

  /** Whether it has shared subscriptions. */
  get isShared(): boolean {
    return [...this.subscriptions.values()].some(({ group }) => group !== undefined);
  }

  /** New access rules: subscriptions and a will that they do not allow any more end. */
  setAccess(access: Access): void {
    const work = this.changeAccess(access);
    while (work?.step());
    this.#access = access;
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
    if (this.channel) this.#awake!.inbound.setAccess(access);
    if (this.will && !access.mayPublish(this.will.topic)) this.will = undefined;
    const left = this.subscriptions.values();
    return {
      step: () => {
        if (this.#access !== access) return false;
        const { value: subscription, done } = left.next();
        if (done === true) this.#isChecked(access);
        else if (!access.maySubscribe(subscription.topicFilter)) this.#forbid(subscription);
        return done !== true;
      },
    };
  }

  #isChecked({ madeOf }: Access): void {
    this.#checkedBy = madeOf;
    if (this.isAsleep) this.#forgetAccess();
  }

  /** Unless it is still being compared with. */
  #forgetAccess(): void {
    if (this.#checkedBy !== undefined) this.#access = undefined;
  }

  #forbid(subscription: Subscription): void {
    const { filter } = subscription;
    this.subscriptions.delete(filter);
    this.#awake?.owed.forget(filter);
    this.#host.unsubscribe(this, subscription);
    this.#wake().routes?.remove(filter);
  }

  receivePublish(publish: InboundPublish, channel: Channel, nowMs: number): void {
    this.#awake!.inbound.onPublish(publish, channel, nowMs);
  }

  receiveAck(type: AckType, packetId: number, reasonCode: number, nowMs: number): void {
    const { inbound, outbound } = this.#awake!;
    if (type === packetType.pubrel) inbound.onPubrel(packetId);
    else outbound.onAck(type, packetId, reasonCode, nowMs);
  }

  receiveSubscribe(packet: SubscribePacket, channel: Channel): void {
    const { owed, routes } = this.#awake!;
    receiveSubscribe(this, this.#host, this.#access!, channel, packet, owed, routes);
  }

  receiveUnsubscribe(packet: UnsubscribePacket, channel: Channel): void {
    const { owed, routes } = this.#awake!;
    receiveUnsubscribe(this, this.#host, channel, packet, owed, routes);
  }

  /** One message for this client; see `Outbound` for what happens to it. */
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void {
    // Most of all: it is not to take more than it must.
    if (this.channel !== undefined && (message.qos === 0 || terms.qos === 0))
      deliver0(this.#host, this.channel, message, terms, nowMs);
    else if (this.#awake !== undefined) this.#awake.outbound.deliver(message, terms, nowMs);
    else if (!this.#hasEnded && !this.#stored!.passes(message, terms, this.#host))
      this.#wake().outbound.deliver(message, terms, nowMs);
  }

  /** See `Subscriber.hasStored`. */
  hasStored(message: Message, shared: string): boolean {
    return this.#stored?.hasStored(message, shared) ?? false;
  }

  /** See `Subscriber.whenReady`; only of sessions that are stored. */
  whenReady(listener: () => void): void {
    this.#awake?.durable?.whenReady(listener);
  }

  /** Sends what now can be sent: the outbox has drained, or the tenant's rate allows more. */
  pump(nowMs: number): void {
    this.#awake?.outbound.pump(nowMs);
  }

  /** A fault of ours in something that happened for this session among others; its connection, if there is one, ends. */
  failed(error: unknown): void {
    if (this.channel) this.channel.failed(error);
    else caught('session', error, { clientId: this.clientId });
  }

  /** Lets go of what has been held back for too long; whether something is held back still. */
  lookAtHeld(nowMs: number): boolean {
    return this.#awake?.outbound.lookAtHeld(nowMs) ?? false;
  }

  get readiness(): Readiness {
    if (this.channel === undefined) return 'disconnected';
    return this.#awake!.outbound.windowOpen ? 'now' : 'queue';
  }

  get queuedMessages(): number {
    const outbound = this.#awake?.outbound;
    return outbound ? outbound.queuedMessages + outbound.inFlightMessages : this.#stored!.unfinished;
  }

  /** PUBACKs and PUBRECs that the client waits for; bounds what MQTT 3.x clients may have under way. */
  get owedAcks(): number {
    return this.#awake?.inbound.owedAcks ?? 0;
  }

  /** What the client has sent and not been answered yet. */
  get owedAnswers(): number {
    return this.owedAcks + (this.channel?.owedAnswers ?? 0);
  }

  /** How many messages a slow source may hand over at once: none while enough wait already. */
  get roomMessages(): number {
    const outbound = this.#awake?.outbound;
    return outbound?.hasRoom ? outbound.freeMessages : 0;
  }

  /** How many more find a place. */
  get freeMessages(): number {
    return this.#awake?.outbound.freeMessages ?? 0;
  }

  /** For slow sources: calls back once there is room, or when the client is gone. */
  whenRoom(listener: () => void): void {
    if (this.#awake) this.#awake.outbound.whenRoom(listener);
    else listener();
  }
}
