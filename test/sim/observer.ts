/**
 * Who stands outside the brokers, sees what clients see, and says what they were promised:
 *
 *     G2  a message sent after a SUBACK was read, and accepted by any broker, reaches that subscription
 *     G3  messages of one connection, topic and QoS reach a subscriber in order
 *         nobody gets one twice, as long as the brokers between them live
 *         SUBACK comes in time whatever happens to other brokers, and every acknowledgement in the end
 */
import type { TenantScope } from '../../services/kernel/kernel.js';
import { filterMatches } from '../../services/topic/topic.js';
import type { SimBroker, SimMessage } from './broker.js';

export interface Subscription {
  readonly client: number;
  readonly tenant: TenantScope;
  readonly filter: string;
  readonly isDurable: boolean;
  readonly broker: SimBroker;
  readonly sentMs: number;
  ackedMs: number | undefined;
  endedMs: number | undefined;
}

export interface Publication {
  readonly message: SimMessage;
  readonly publisher: number;
  readonly broker: SimBroker;
  readonly sentMs: number;
  ackedMs: number | undefined;
  isDropped: boolean;
  /** Its publisher has been told that it may not be everywhere: a broker that it went to has died. */
  isRefused: boolean;
}

export class Observer {
  readonly subscriptions: Subscription[] = [];
  /** By the id of the message, which counts up. */
  readonly publications: Publication[] = [];
  readonly #delivered = new Map<Subscription, number[]>();

  delivered(subscription: Subscription, id: number): void {
    const ids = this.#delivered.get(subscription);
    if (ids) ids.push(id);
    else this.#delivered.set(subscription, [id]);
  }

  dropped(id: number): void {
    this.publications[id]!.isDropped = true;
  }

  /** What has been broken, in words; to be asked when all is quiet again. */
  *complaints(): Generator<string> {
    for (const { message, broker, ackedMs, sentMs, isRefused } of this.publications)
      if (message.qos > 0 && ackedMs === undefined && !isRefused && broker.isAlive)
        yield `message ${message.id}, sent at ${sentMs.toFixed(1)} to ${broker.id}, was never acknowledged`;
    for (const subscription of this.subscriptions) {
      yield* this.#missed(subscription);
      yield* this.#disorder(subscription);
    }
  }

  *#missed(subscription: Subscription): Generator<string> {
    const { tenant, filter, broker, ackedMs, endedMs } = subscription;
    if (!broker.isAlive) return;
    if (ackedMs === undefined) {
      if (endedMs === undefined) yield `${name(subscription)} was never acknowledged`;
      return;
    }
    const seen = new Set(this.#delivered.get(subscription));
    for (const { message, sentMs, broker: accepting, ackedMs: safeMs, isDropped } of this.publications) {
      if (
        message.tenant !== tenant ||
        sentMs < ackedMs ||
        !filterMatches(filter, message.topic) ||
        seen.has(message.id)
      )
        continue;
      // Of QoS 0 a broker that dies may lose what it has accepted; nor has anybody a right to one after leaving.
      const isPromised = message.qos > 0 ? safeMs !== undefined : accepting.isAlive && !isDropped;
      if (isPromised && endedMs === undefined)
        yield `${name(subscription)} missed message ${message.id} on ${message.topic}, sent at ${sentMs.toFixed(1)} to ${accepting.id}`;
    }
  }

  *#disorder(subscription: Subscription): Generator<string> {
    const last = new Map<string, number>();
    const seen = new Set<number>();
    for (const id of this.#delivered.get(subscription) ?? []) {
      if (seen.has(id)) yield `${name(subscription)} had message ${id} twice`;
      seen.add(id);
      const { message, publisher, broker } = this.publications[id]!;
      const key = `${broker.id} ${publisher} ${message.qos} ${message.topic}`;
      const before = last.get(key) ?? -1;
      if (before > id) yield `${name(subscription)} had message ${id} after ${before}`;
      last.set(key, id);
    }
  }
}

const name = ({ client, tenant, filter, broker, ackedMs }: Subscription): string =>
  `client ${client} of ${tenant} on ${broker.id}, subscribed to ${filter} since ${ackedMs?.toFixed(1)},`;
