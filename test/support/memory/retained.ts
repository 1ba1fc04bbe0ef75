/**
 * `RetainedStore` in memory, durable at once. Stores that share a table are the brokers of one tenant. What was removed
 * stays as a message without payload, so that the last writer by time wins as in the real one.
 */
import type { RetainedPage, RetainedStore } from '../../../services/broker/fanout/fanout.js';
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
const messagesPerPage = 100;

export class MemoryRetained implements RetainedStore {
  /** Every call of `put`, as `topic payload`. */
  readonly puts: string[] = [];
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #table: Map<string, Stored>;
  readonly #limits: { readonly retainedMessages: number; readonly retainedBytes: number };
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

  async *read(filter: string): AsyncGenerator<RetainedPage, void, void> {
    const topics = this.#unexpired().map(({ topic }) => topic.text);
    const wanted = topics.filter((topic) => filterMatches(filter, topic)).sort();
    for (let at = 0; at < wanted.length; at += messagesPerPage) {
      await Promise.resolve();
      const page = new Set(wanted.slice(at, at + messagesPerPage));
      yield {
        messages: this.#unexpired().filter(({ topic }) => page.has(topic.text)),
        isStale: (message) => this.#table.get(message.topic.text)?.message !== message,
      };
    }
  }

  settled(): Promise<void> {
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
