/** What sessions have stored, in memory: what brokers of one test share, and what is left when one of them has gone. */
import type {
  ReceivedState,
  StoredMessage,
  StoredOrigin,
  StoredRoute,
  Write,
} from '../../../services/broker/inbox/inbox.js';
import { Message, type Origin } from '../../../services/broker/message/message.js';
import type { BrokerId, TenantScope } from '../../../services/kernel/kernel.js';
import type { SessionRecord, WillContent } from '../../../services/tenancy/tenancy.js';

export class SessionTables {
  /** By `tenant#client`, as everything here. */
  readonly records = new Map<string, SessionRecord>();
  /** Tenants of which a broker may have sessions, and the epochs of its notes. */
  readonly notes = new Map<BrokerId, Map<TenantScope, number>>();
  /** Of those that are long, by partition and key. */
  readonly wills = new Map<string, Map<string, WillContent>>();
  readonly #routes = new Map<string, Map<string, { route: StoredRoute; epoch: number }>>();
  readonly #messages = new Map<string, Map<string, readonly StoredMessage[]>>();
  readonly #received = new Map<string, ReceivedState & { epoch: number }>();

  routes(partition: string): Map<string, { route: StoredRoute; epoch: number }> {
    return open(this.#routes, partition);
  }

  received(partition: string): (ReceivedState & { epoch: number }) | undefined {
    return this.#received.get(partition);
  }

  allPartitions(): IterableIterator<string> {
    return this.#messages.keys();
  }

  /** In the order of their keys. */
  items(partition: string): { key: string; messages: readonly StoredMessage[] }[] {
    return [...open(this.#messages, partition)]
      .map(([key, messages]) => ({ key, messages: messages.map(readBack) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Payloads in order; of a message whose PUBREC has come, `released`. */
  payloads(partition: string): string[] {
    return this.items(partition).flatMap(({ messages }) =>
      messages.map(({ message, released }) => (released ? 'released' : message.payload.toString())),
    );
  }

  write(partition: string, write: Write): void {
    switch (write.kind) {
      case 'messages':
        return void open(this.#messages, partition).set(write.key, write.messages);
      case 'delete':
        return void open(this.#messages, partition).delete(write.key);
      case 'route':
        return void this.routes(partition).set(write.route.filter, { route: write.route, epoch: write.epoch });
      case 'unroute':
        return void this.routes(partition).delete(write.filter);
      case 'received':
        return void this.#received.set(partition, {
          packetIds: [...write.packetIds],
          settled: write.settled,
          ...(write.older && { older: write.older }),
          ...(write.again && { again: write.again }),
          epoch: write.epoch,
        });
    }
  }

  forgetReceived(partition: string): void {
    this.#received.delete(partition);
  }
}

function open<V>(maps: Map<string, Map<string, V>>, partition: string): Map<string, V> {
  let found = maps.get(partition);
  if (!found) maps.set(partition, (found = new Map()));
  return found;
}

/** A copy, as from a real table: whoever reads it may change it. */
function readBack(stored: StoredMessage): StoredMessage {
  const { topic, payload, qos, retain, properties, expiresAtMs, publisher, origin } = stored.message;
  const { group: _, ...terms } = stored.terms;
  const message = Message.of({ topic, payload, qos, retain, properties, expiresAtMs, publisher });
  return { ...stored, message, terms, origin: origin && storedOrigin(publisher!, origin, stored.shared) };
}

function storedOrigin(
  publisher: string,
  { epoch, number, packetId, hash }: Origin,
  shared: string | undefined,
): StoredOrigin {
  return { publisher, epoch, number, packetId, hash, ...(shared !== undefined && { shared }) };
}
