/**
 * Fan-outs that are too long for one turn of the event loop: to some hundreds of subscribers it is a slice of the thread, to
 * 10 000 it would be everybody's wait. They are done slice by slice, in one line a tenant:
 *
 *      publish -> nobody is in line, and one slice is enough -> delivered at once (this file costs it nothing)
 *              -> otherwise in line -> its turn: plan and retained message -> slice -> ... -> slice, groups -> receipt
 *
 * Everything of the tenant that is published meanwhile waits behind it, so each subscriber gets what any client has published
 * in its order [MQTT-4.6.0-5] [MQTT-4.6.0-6]. The receipt settles when the last slice is over and each of those who keep the message has it
 * safe. What waits is counted (`FanOutHost.lineUp`), and publishers are slowed by it.
 *
 * Interleavings and crash points; each is a row of `test/unit/fanout/fan-out-line.test.ts`:
 *
 *  | between two slices                              | then                                                             |
 *  | ----------------------------------------------- | ---------------------------------------------------------------- |
 *  | the turn ends, its read buffer is used again    | the message is one that may be held since it lined up            |
 *  | another message is published                    | it lines up, whatever its QoS and topic                          |
 *  | a delivery publishes (a will, a closed session) | the same: the line is not empty                                  |
 *  | somebody subscribes                             | gets it as a retained message, if it is one: that has been put   |
 *  | a subscription is replaced                      | has it on the terms of its turn                                  |
 *  | somebody unsubscribes, or a session ends        | gets nothing any more [MQTT-3.10.4-2]                            |
 *  | ... and another of its subscriptions matches    | gets it by those that are left                                   |
 *  | a group loses all its members                   | nobody is there: nobody gets it, as without slices               |
 *  | the first have made it safe, others are to come | the receipt does not settle: the line itself owes the message    |
 *  | too much is on its way to safety                | nothing is handed over until it is less                          |
 *  | a delivery throws                               | the others get it; the publisher is told 0x80                    |
 *  | the process dies                                | there was no receipt: the publisher sends it again               |
 */
import { BoundedFifo, caught } from '../../kernel/kernel.js';
import {
  bothReceipts,
  handedOn,
  type Message,
  noSubscribers,
  PendingReceipt,
  type Receipt,
} from '../message/message.js';
import { combined, type RouteOptions, type Target } from './filter-routes.js';
import { nobody, type Plan } from './plans.js';
import type { Continuation, FanOutHost, Subscriber } from './ports.js';
import type { SharedGroup } from './shared-group.js';

/** Deliveries in one go: 0.1 to 0.4 ms of the thread. A fan-out of so many is not cut. */
export const sliceMax = 500;
/** Of those that go on in later turns: the thread looks at the time in between. */
const stepMax = 100;

interface Waiting {
  /** It may be held. */
  readonly message: Message;
  readonly receipt: PendingReceipt;
  /** Another broker retains it, if it asks for that. */
  readonly isFromElsewhere: boolean;
}

interface Begun extends Waiting {
  plan: Plan;
  /** As they were at its turn. */
  targets: readonly Target[];
  groups: readonly SharedGroup[];
  retained: Receipt | undefined;
  /** How many of both have had their turn. */
  at: number;
  /** Who has lost a subscription since. */
  left: Set<Subscriber> | undefined;
  worstCode: number;
}

/** What the line needs of the routing whose messages it delivers. */
export interface Lined {
  planOf(topic: string): Plan;
  /** Stores it, if it asks for that. */
  retain(message: Message, nowMs: number): Receipt | undefined;
  /** The subscriptions of one that match the topic now. */
  optionsOf(topic: string, subscriber: Subscriber): RouteOptions[];
}

export class FanOutLine implements Continuation {
  readonly #routing: Lined;
  readonly #host: FanOutHost;
  #current: Begun | undefined;
  readonly #waiting = new BoundedFifo<Waiting>({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
  /** The host has a step of ours, or will call back when it is safer. */
  #goesOn = false;
  readonly #again = (): void => this.#host.later(this);
  #added = 0;
  #ended = 0;
  /** Who waits for the messages up to that one to have had all their turns. */
  #whenPassed: { readonly number: number; readonly then: () => void }[] | undefined;

  constructor(routing: Lined, host: FanOutHost) {
    this.#routing = routing;
    this.#host = host;
  }

  get isEmpty(): boolean {
    return this.#current === undefined && this.#waiting.length === 0;
  }

  /** Calls back when everything that is in line now has been delivered. */
  whenPassed(then: () => void): void {
    if (this.isEmpty) then();
    else (this.#whenPassed ??= []).push({ number: this.#added, then });
  }

  /** The first slice is delivered at once if nobody is in line. */
  add(message: Message, nowMs: number, isFromElsewhere = false): Receipt {
    this.#added++;
    const waiting = { message: message.keep(), receipt: new PendingReceipt(), isFromElsewhere };
    this.#host.lineUp(waiting.message);
    if (this.isEmpty) {
      this.#begin(waiting, nowMs);
      this.#slice(this.#current!, sliceMax, nowMs);
    } else this.#waiting.push(waiting);
    if (!this.#goesOn && !this.isEmpty) {
      this.#goesOn = true;
      this.#host.later(this);
    }
    return waiting.receipt;
  }

  /** The subscriber has lost a subscription. */
  left(subscriber: Subscriber): void {
    if (this.#current) (this.#current.left ??= new Set()).add(subscriber);
  }

  /** Called by the host: some deliveries, of as many messages as it takes. */
  step(): boolean {
    for (let room = stepMax; room > 0 && !this.isEmpty; room--) {
      if (this.#host.isBehind) {
        this.#host.whenSafer(this.#again);
        return false;
      }
      const nowMs = this.#host.nowMs();
      if (!this.#current) this.#begin(this.#waiting.shift()!, nowMs);
      room -= this.#slice(this.#current!, room, nowMs);
    }
    return (this.#goesOn = !this.isEmpty);
  }

  #begin({ message, receipt, isFromElsewhere }: Waiting, nowMs: number): void {
    const begun: Begun = {
      ...{ message, receipt, isFromElsewhere, plan: nobody, targets: nobody.targets, groups: nobody.groups, at: 0 },
      ...{ retained: undefined, left: undefined, worstCode: 0 },
    };
    this.#current = begun;
    this.#guarded(begun, () => {
      begun.plan = this.#routing.planOf(message.topic.text);
    });
    const { plan } = begun;
    begun.targets = plan.targets;
    begun.groups = plan.groups;
    plan.readers++;
    message.subscribers = plan.targets.length + plan.groups.length;
    if (message.qos > 0) this.#host.owe(message);
    if (!isFromElsewhere) this.#guarded(begun, () => (begun.retained = this.#routing.retain(message, nowMs)));
  }

  /** At most so many deliveries; returns how many there were. */
  #slice(begun: Begun, room: number, nowMs: number): number {
    const { message, targets, groups, at: from } = begun;
    const count = targets.length + groups.length;
    const end = Math.min(from + room, count);
    while (begun.at < end)
      this.#guarded(begun, () => {
        while (begun.at < end) {
          const at = begun.at++; // Before it is delivered: one that throws has had its turn.
          if (at < targets.length) this.#deliver(begun, targets[at]!, nowMs);
          else groups[at - targets.length]!.deliver(message, nowMs);
        }
      });
    if (end === count) this.#end(begun);
    return end - from;
  }

  #deliver({ message, left }: Begun, target: Target, nowMs: number): void {
    const now = left?.has(target.subscriber) ? this.#targetNow(message, target.subscriber) : target;
    if (!now) return;
    const terms = now.subscriber.clientId === message.publisher ? now.ownTerms : now.terms; // [MQTT-3.8.3-3]
    if (terms) now.subscriber.deliver(message, terms, nowMs);
  }

  #targetNow({ topic }: Message, subscriber: Subscriber): Target | undefined {
    const options = this.#routing.optionsOf(topic.text, subscriber);
    return options.length > 0 ? combined(subscriber, options) : undefined;
  }

  #end({ message, receipt, plan, targets, groups, retained, worstCode }: Begun): void {
    this.#current = undefined;
    if (plan.targets === targets) plan.readers--;
    this.#host.leaveLine(message);
    const handed = retained ?? (targets.length + groups.length > 0 ? handedOn : noSubscribers);
    const outcome = bothReceipts(handed, message.pending);
    outcome.whenSettled(() => receipt.settle(Math.max(outcome.reasonCode!, worstCode)));
    if (message.qos > 0) this.#host.pay(message, 0);
    this.#ended++;
    while (this.#whenPassed?.[0] && this.#whenPassed[0].number <= this.#ended) this.#whenPassed.shift()!.then();
  }

  #guarded(begun: Begun, step: () => void): void {
    try {
      step();
    } catch (error) {
      begun.worstCode = 0x80; // Unspecified error
      caught('fan-out', error);
    }
  }
}
