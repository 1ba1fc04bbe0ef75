/**
 * The members of one shared subscription (`$share/group/filter`) and the choice among them: round robin over the
 * members that can send at once, then over the connected ones, then over sessions that are away and would keep it.
 */
import type { DeliveryTerms, Message, QoS, SharedOrigin } from '../message/message.js';
import type { Subscriber } from './ports.js';
import type { RouteOptions } from './routing.js';

interface Member {
  readonly subscriber: Subscriber;
  readonly terms: DeliveryTerms;
}

export class SharedGroup implements SharedOrigin {
  readonly #members: Member[] = [];
  readonly name: string;
  #next = 0;

  constructor(name: string) {
    this.name = name;
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
  }

  delete(subscriber: Subscriber): void {
    const at = this.#members.findIndex((member) => member.subscriber === subscriber);
    if (at < 0) return;
    this.#members.splice(at, 1);
    if (at < this.#next) this.#next--;
  }

  /** To one member. [MQTT-4.8.2-3] [MQTT-4.8.2-4] With nobody there who could keep it, it goes nowhere. */
  deliver(message: Message, nowMs: number): void {
    const member = this.#choose(message.qos, true);
    member?.subscriber.deliver(message, member.terms, nowMs);
  }

  handOn(message: Message, anyone: boolean, nowMs: number): boolean {
    const member = this.#choose(message.qos, anyone);
    member?.subscriber.deliver(message, member.terms, nowMs);
    return member !== undefined;
  }

  #choose(qos: QoS, anyone: boolean): Member | undefined {
    const count = this.#members.length;
    let connected = -1;
    let away = -1;
    for (let i = 0; i < count; i++) {
      const at = (this.#next + i) % count;
      const member = this.#members[at]!;
      const { readiness } = member.subscriber;
      if (readiness === 'now') return this.#take(at);
      if (readiness === 'queue') {
        if (connected < 0) connected = at;
      } else if (away < 0 && qos > 0 && member.terms.qos > 0) away = at;
    }
    if (connected >= 0) return this.#take(connected);
    return anyone && away >= 0 ? this.#take(away) : undefined;
  }

  #take(at: number): Member {
    this.#next = (at + 1) % this.#members.length;
    return this.#members[at]!;
  }
}
