/** The subscriptions of one session, by filter as the client wrote it. Most have one, and a map of one takes 200 bytes. */
import type { SubscriptionRequest } from '../wire/wire.js';
import type { Subscription } from './ports.js';

/** There are as many as there are subscriptions: an object of one shape, with nothing beside it. */
export function subscriptionOf(
  { filter, qos, noLocal, retainAsPublished, retainHandling }: SubscriptionRequest,
  topicFilter: string,
  group: string | undefined,
  id: number,
): Subscription {
  return { filter, qos, noLocal, retainAsPublished, retainHandling, topicFilter, group, id };
}

export class Subscriptions {
  #only: Subscription | undefined;
  /** As soon as there has been a second one. */
  #all: Map<string, Subscription> | undefined;

  get size(): number {
    if (this.#all) return this.#all.size;
    return this.#only === undefined ? 0 : 1;
  }

  get(filter: string): Subscription | undefined {
    if (this.#all) return this.#all.get(filter);
    return this.#only?.filter === filter ? this.#only : undefined;
  }

  has(filter: string): boolean {
    return this.get(filter) !== undefined;
  }

  set(filter: string, subscription: Subscription): void {
    if (this.#all) this.#all.set(filter, subscription);
    else if (this.#only === undefined || this.#only.filter === filter) this.#only = subscription;
    else {
      this.#all = new Map([
        [this.#only.filter, this.#only],
        [filter, subscription],
      ]);
      this.#only = undefined;
    }
  }

  delete(filter: string): void {
    if (this.#all) this.#all.delete(filter);
    else if (this.#only?.filter === filter) this.#only = undefined;
  }

  clear(): void {
    this.#only = undefined;
    this.#all = undefined;
  }

  /** Those that there are; what is set or deleted meanwhile comes or not. */
  values(): IterableIterator<Subscription> {
    return (this.#all ?? (this.#only === undefined ? [] : [this.#only])).values();
  }

  keys(): IterableIterator<string> {
    return (this.#all ?? new Map(this.#only && [[this.#only.filter, this.#only]])).keys();
  }
}
