/**
 * The members of one shared subscription (`$share/group/filter`) and the choice among them: round robin over those that
 * can send at once, then over the connected ones. While none is connected, a queue of the group keeps QoS 1 and 2
 * messages, if there are *keepers*: members with QoS 1 or 2 whose sessions outlive their connections.
 */
import type { ClientId } from '../../kernel/kernel.js';
import type { DeliveryTerms, Leaver, Message, SharedOrigin } from '../message/message.js';
import type { GroupQueue, GroupQueues, Subscriber } from './ports.js';
import type { RouteOptions } from './filter-routes.js';

interface Member {
  readonly subscriber: Subscriber;
  readonly terms: DeliveryTerms;
}

const isKeeper = ({ subscriber, terms }: Member): boolean => subscriber.isDurable && terms.qos > 0;

export class SharedGroup implements SharedOrigin {
  readonly #members: Member[] = [];
  readonly name: string;
  readonly #queues: GroupQueues | undefined;
  #queue: GroupQueue | undefined;
  #next = 0;

  constructor(name: string, queues: GroupQueues | undefined) {
    this.name = name;
    this.#queues = queues;
  }

  get size(): number {
    return this.#members.length;
  }

  set(subscriber: Subscriber, options: RouteOptions): void {
    const terms: DeliveryTerms = {
      qos: options.qos,
      retainAsPublished: options.retainAsPublished,
      subscriptionIds: options.id > 0 ? [options.id] : [],
      group: this,
    };
    const at = this.#members.findIndex((member) => member.subscriber === subscriber);
    if (at >= 0) this.#members[at] = { subscriber, terms };
    else this.#members.push({ subscriber, terms });
    this.#openOrClose();
    this.wake();
  }

  delete(subscriber: Subscriber): void {
    const at = this.#members.findIndex((member) => member.subscriber === subscriber);
    if (at < 0) return;
    this.#members.splice(at, 1);
    if (at < this.#next) this.#next--;
    this.#openOrClose();
  }

  #openOrClose(): void {
    const hasKeepers = this.#members.some(isKeeper);
    if (hasKeepers === (this.#queue !== undefined)) return;
    const queue = this.#queue;
    if (queue === undefined) this.#queue = this.#queues?.open(this);
    else {
      this.#queue = undefined;
      this.#queues!.close(this, queue);
    }
  }

  /** A member has connected. */
  wake(): void {
    if (this.#queue?.isWaiting) this.#queue.wake();
  }

  /** To one member. [MQTT-4.8.2-3] [MQTT-4.8.2-4] With nobody there and nobody who keeps it, it goes nowhere. */
  deliver(message: Message, nowMs: number): void {
    const queue = this.#queue;
    if (queue !== undefined && message.qos > 0) {
      if (message.origin?.again && this.#hasStored(message, queue)) return; // [MQTT-4.3.3-10] Over a crash, too.
      if (queue.isWaiting && this.isKeeperThere) return queue.accept(message, nowMs);
    }
    if (!this.giveToAnyone(message, nowMs) && message.qos > 0) queue?.accept(message, nowMs);
  }

  handOn(message: Message, { clientId, isDurable, sessionEnds }: Leaver, nowMs: number): boolean {
    const queue = this.#queue;
    if (message.origin && queue && this.#hasStored(message, queue, clientId)) return true; // A crash has interrupted a try.
    const isReady = ({ subscriber }: Member): boolean => subscriber.readiness === 'now';
    const isKept = this.#members.filter(isKeeper).some(({ subscriber }) => subscriber.clientId !== clientId);
    const isForKeepers = isDurable && (isKept || !sessionEnds);
    const keeper = this.#find((one) => isReady(one) && isKeeper(one));
    const ready = keeper ?? (isForKeepers ? undefined : this.#find(isReady));
    if (ready) return this.#giveTo(ready, message, nowMs);
    if (!sessionEnds) return false;
    if (!isKept) return this.giveToAnyone(message, nowMs);
    queue!.accept(message, nowMs);
    return true;
  }

  #hasStored(message: Message, queue: GroupQueue, from?: ClientId): boolean {
    return queue.hasStored(message) || this.isWithMember(message, from);
  }

  /** Whether a member (another one than `from`) has this QoS 2 message from an earlier broker. */
  isWithMember(message: Message, from?: ClientId): boolean {
    return this.#members.some(
      ({ subscriber }) => subscriber.clientId !== from && subscriber.hasStored(message, this.name),
    );
  }

  get isKeeperThere(): boolean {
    return this.#members.some((one) => isKeeper(one) && one.subscriber.readiness !== 'disconnected');
  }

  giveToKeeper(message: Message, nowMs: number): boolean {
    return this.#giveTo(
      this.#find((one) => isKeeper(one) && one.subscriber.readiness === 'now'),
      message,
      nowMs,
    );
  }

  giveToAnyone(message: Message, nowMs: number): boolean {
    return this.#giveTo(this.#choose(), message, nowMs);
  }

  #giveTo(member: Member | undefined, message: Message, nowMs: number): boolean {
    member?.subscriber.deliver(message, member.terms, nowMs);
    return member !== undefined;
  }

  whenKeeperReady(listener: () => void): void {
    for (const one of this.#members)
      if (isKeeper(one) && one.subscriber.readiness !== 'disconnected') one.subscriber.whenReady(listener);
  }

  #choose(): Member | undefined {
    const ready = this.#find(({ subscriber }) => subscriber.readiness === 'now');
    return ready ?? this.#find(({ subscriber }) => subscriber.readiness === 'queue');
  }

  /** The next in turn that fits. */
  #find(fits: (member: Member) => boolean): Member | undefined {
    const count = this.#members.length;
    for (let i = 0; i < count; i++) {
      const at = (this.#next + i) % count;
      const member = this.#members[at]!;
      if (!fits(member)) continue;
      this.#next = (at + 1) % count;
      return member;
    }
    return undefined;
  }
}
