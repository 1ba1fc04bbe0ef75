/**
 * `RetainedStore` in memory, durable at once. Stores that share a table are the brokers of one tenant. What was removed
 * stays as a message without payload, so that the last writer by time wins as in the real one.
 */
import type { RetainedCount, RetainedRead, RetainedStore } from '../../../services/broker/fanout/fanout.js';
import type { Message } from '../../../services/broker/message/message.js';
import { handedOn, PendingReceipt, type Receipt } from '../../../services/broker/message/message.js';
import type { Clock } from '../../../services/kernel/kernel.js';
import { filterMatches } from '../../../services/topic/topic.js';

interface Stored {
  readonly message: Message;
  readonly publishedAtMs: number;
}

export interface MemoryRetainedOptions {
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly table?: Map<string, Stored>;
  readonly limits?: { readonly retainedMessages: number; readonly retainedBytes: number };
}

const itemBytesMax = 400 * 1024;

export class MemoryRetained implements RetainedStore {
  /** Every call of `put`, as `topic payload`. */
  readonly puts: string[] = [];
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #table: Map<string, Stored>;
  readonly #limits: { readonly retainedMessages: number; readonly retainedBytes: number };
  /** Of each read under way: topics with a newer message that another broker stores. */
  readonly #reads = new Set<Set<string>>();
  #lastPublishedAtMs = 0;
  #closed = false;

  constructor({ clock, table, limits }: MemoryRetainedOptions) {
    this.#clock = clock;
    this.#table = table ?? new Map<string, Stored>();
    this.#limits = limits ?? { retainedMessages: Infinity, retainedBytes: Infinity };
  }

  put(message: Message, nowMs: number): Receipt {
    const topic = message.topic.text;
    this.puts.push(`${topic} ${message.payload.toString()}`);
    if (this.#closed) return handedOn;
    this.#lastPublishedAtMs = Math.max(this.#lastPublishedAtMs, nowMs);
    const stored = this.#table.get(topic);
    if (stored && stored.publishedAtMs > this.#lastPublishedAtMs) return handedOn;
    if (message.payloadBytes > 0) {
      if (bytesOf(message) > itemBytesMax) return settledWith(0x83);
      const others = this.#unexpired().filter((other) => other.topic.text !== topic);
      const bytes = others.reduce((sum, other) => sum + bytesOf(other), bytesOf(message));
      const { retainedMessages, retainedBytes } = this.#limits;
      if (others.length >= retainedMessages || bytes > retainedBytes) return settledWith(0x97);
    }
    this.#table.set(topic, { message: message.keep(), publishedAtMs: this.#lastPublishedAtMs });
    return handedOn;
  }

  async read(filter: string, { after, messagesMax, isWanted, take }: RetainedRead): Promise<void> {
    const before = this.#matching(filter).filter(({ topic }) => topic.bytes.compare(Buffer.from(after)) > 0);
    const overwritten = new Set<string>();
    this.#reads.add(overwritten);
    await Promise.resolve();
    this.#reads.delete(overwritten);
    if (!isWanted()) return;
    const bite = before.slice(0, messagesMax);
    const isLatest = (message: Message): boolean =>
      !overwritten.has(message.topic.text) && this.#table.get(message.topic.text)?.message === message;
    const copies = bite.filter(isLatest).map((message) => message.withOrigin(undefined)); // As from a real table.
    take(copies, bite.length < before.length ? bite.at(-1)!.topic.text : undefined);
  }

  overwritten(topic: string): void {
    for (const overwritten of this.#reads) overwritten.add(topic);
  }

  mayMatch(filter: string): Promise<boolean> {
    return Promise.resolve(this.#matching(filter).length > 0);
  }

  #matching(filter: string): Message[] {
    return this.#unexpired()
      .filter(({ topic }) => filterMatches(filter, topic.text))
      .sort((one, other) => one.topic.bytes.compare(other.topic.bytes));
  }

  counted(): Promise<RetainedCount> {
    const all = this.#unexpired();
    return Promise.resolve({ messages: all.length, bytes: all.reduce((sum, message) => sum + bytesOf(message), 0) });
  }

  rest(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#closed = true;
  }

  #unexpired(): Message[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#table.values()]
      .map(({ message }) => message)
      .filter(({ payloadBytes, expiresAtMs }) => payloadBytes > 0 && expiresAtMs > nowMs);
  }
}

const bytesOf = ({ topic, payloadBytes, properties }: Message): number =>
  topic.bytes.length + payloadBytes + properties.length;

function settledWith(reasonCode: number): Receipt {
  const receipt = new PendingReceipt();
  receipt.settle(reasonCode);
  return receipt;
}
