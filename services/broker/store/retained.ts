/**
 * The retained messages of one tenant, in DynamoDB and nowhere else. Writes of one topic are coalesced: while one is
 * under way the latest of those that came since waits, and the others settle with it. Reads see what is still waiting.
 *
 *      put -> waiting by topic -> at most `writesInFlightMax` under way -> settled
 *
 * Interleavings looked after: a message that is replaced while a subscriber's read is under way is left out of the
 * read (the subscriber has got the new one live); a write that failed for want of DynamoDB is repeated, with the
 * latest message, until it succeeds; a write that another broker's newer one has overtaken does nothing.
 */
import type { Clock, Log, TenantId } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, DynamoUnavailable, type Item } from '../../dynamo/dynamo.js';
import { filterMatches } from '../../topic/topic.js';
import type { RetainedPage, RetainedStore } from '../fanout/fanout.js';
import { handedOn, type Message, PendingReceipt, type Receipt } from '../message/message.js';
import { retainedBytes, retainedFromItem, retainedToItem } from './retained-item.js';
import { RetainedTotals } from './retained-totals.js';

/** One topic takes one write at a time; this many topics of a tenant do so at once. */
const writesInFlightMax = 16;
/** What may wait while DynamoDB is slow; above it messages are delivered and not retained. */
const waitingBytesMax = 16 << 20;
const retryMs = 250;
/** A subscriber's read gives up after about half a minute without DynamoDB. */
const readTriesMax = 8;
const quotaExceeded = 0x97;
const implementationSpecificError = 0x83;

/** The quotas it keeps; read at each use. */
export interface RetainedLimits {
  readonly retainedMessages: number;
  readonly retainedBytes: number;
}

interface Waiting {
  message: Message;
  publishedAtMs: number;
  /** Its own, and of what it has replaced while DynamoDB was away. */
  receipts: PendingReceipt[];
}

export class DynamoRetained implements RetainedStore {
  readonly #dynamo: Dynamo;
  readonly #tenant: TenantId;
  readonly #limits: RetainedLimits;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #totals: RetainedTotals;
  /** What is to be written next, in the order of the first message of each topic. */
  readonly #waiting = new Map<string, Waiting>();
  /** What is being written. */
  readonly #writing = new Map<string, Waiting>();
  #waitingBytes = 0;
  readonly #reads = new Set<PageUnderWay>();
  readonly #settledListeners: (() => void)[] = [];
  #lastPublishedAtMs = 0;
  #closed = false;

  constructor(dynamo: Dynamo, tenant: TenantId, limits: RetainedLimits, clock: Clock, log: Log) {
    this.#dynamo = dynamo;
    this.#tenant = tenant;
    this.#limits = limits;
    this.#clock = clock;
    this.#log = log;
    this.#totals = new RetainedTotals(dynamo, tenant, clock);
  }

  put(message: Message, nowMs: number): Receipt {
    if (this.#closed) return handedOn;
    const kept = message.keep();
    const topic = kept.topic.text;
    for (const page of this.#reads) page.overwrite(topic);
    // A wall clock that was set back must not make the newer message lose.
    this.#lastPublishedAtMs = Math.max(this.#lastPublishedAtMs, nowMs);
    const waiting = this.#waiting.get(topic);
    const grows = kept.heldBytes - (waiting?.message.heldBytes ?? 0);
    if (this.#waitingBytes + grows > waitingBytesMax) return refused();
    this.#waitingBytes += grows;
    if (waiting) {
      waiting.message = kept;
      waiting.publishedAtMs = this.#lastPublishedAtMs;
      return waiting.receipts[0]!; // Shared by all of one write: a flood during an outage adds nothing (G7).
    }
    const receipt = new PendingReceipt();
    this.#waiting.set(topic, { message: kept, publishedAtMs: this.#lastPublishedAtMs, receipts: [receipt] });
    this.#writeSome();
    return receipt;
  }

  /** The tenant has been deleted: nothing more is written. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    this.#waitingBytes = 0;
  }

  #writeSome(): void {
    for (const [topic, waiting] of this.#waiting) {
      if (this.#writing.size >= writesInFlightMax) return;
      if (this.#writing.has(topic)) continue;
      this.#waiting.delete(topic);
      this.#waitingBytes -= waiting.message.heldBytes;
      this.#writing.set(topic, waiting);
      void this.#write(topic, waiting);
    }
  }

  async #write(topic: string, write: Waiting): Promise<void> {
    let reasonCode: number | undefined;
    while (reasonCode === undefined && !this.#closed)
      try {
        reasonCode = await this.#writeOnce(write);
      } catch (error) {
        if (error instanceof DynamoUnavailable) {
          await new Promise<void>((resolve) => this.#clock.after(retryMs, resolve));
          this.#takeNewer(topic, write);
        } else {
          this.#log.error({ tenant: this.#tenant, error }, 'a retained message could not be stored');
          reasonCode = implementationSpecificError;
        }
      }
    this.#writing.delete(topic);
    for (const receipt of write.receipts) receipt.settle(reasonCode ?? 0);
    this.#writeSome();
    if (this.#writing.size > 0) return;
    for (const listener of this.#settledListeners.splice(0)) listener();
  }

  settled(): Promise<void> {
    if (this.#writing.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#settledListeners.push(resolve));
  }

  /** What came while DynamoDB was away replaces what could not be written. */
  #takeNewer(topic: string, write: Waiting): void {
    const newer = this.#waiting.get(topic);
    if (!newer) return;
    this.#waiting.delete(topic);
    this.#waitingBytes -= newer.message.heldBytes;
    write.message = newer.message;
    write.publishedAtMs = newer.publishedAtMs;
    write.receipts.push(...newer.receipts);
  }

  /** The reason code of the outcome. The last writer by time wins, on whichever broker. */
  async #writeOnce({ message, publishedAtMs }: Waiting): Promise<number> {
    const isLatest = 'attribute_not_exists(pk) OR publishedAtMs <= :at';
    const values = { ':at': publishedAtMs };
    const key = { pk: this.#tenant, sk: message.topic.text };
    if (message.payloadBytes === 0) {
      // [MQTT-3.3.1-6] [MQTT-3.3.1-7] A message without payload removes and is not kept itself.
      const old = await this.#conditionally(() =>
        this.#dynamo.delete('retained', key, { condition: isLatest, values, returnOld: true }),
      );
      if (old !== 'refused') this.#totals.replaced(old, 0);
      return 0;
    }
    const bytes = retainedBytes(message);
    const isFull = await this.#totals.isFull(bytes, this.#limits);
    // A full store still takes what replaces something at least as large.
    const condition = isFull ? `publishedAtMs <= :at AND #bytes >= :bytes` : isLatest;
    const item = retainedToItem(this.#tenant, message, publishedAtMs);
    const options = isFull
      ? { condition, values: { ...values, ':bytes': bytes }, names: { '#bytes': 'bytes' } }
      : { condition, values };
    const old = await this.#conditionally(() => this.#dynamo.put('retained', item, { ...options, returnOld: true }));
    if (old === 'refused') return isFull ? quotaExceeded : 0;
    this.#totals.replaced(old, bytes);
    return 0;
  }

  async #conditionally(write: () => Promise<Item | undefined>): Promise<Item | undefined | 'refused'> {
    try {
      return await write();
    } catch (error) {
      if (error instanceof ConditionFailed) return 'refused';
      throw error;
    }
  }

  async *read(filter: string): AsyncGenerator<RetainedPage, void, void> {
    let page = new PageUnderWay(new Set());
    const nextPage = (): void => {
      this.#reads.delete(page);
      page = new PageUnderWay(this.#unwritten());
      this.#reads.add(page);
    };
    this.#reads.add(page);
    try {
      const fresh = page.of(this.#waitingFor(filter));
      const yielded = new Set(fresh.messages.map(({ topic }) => topic.text));
      yield fresh;
      for await (const items of this.#stored(filter, nextPage)) {
        const wanted = items.filter(({ sk }) => !yielded.has(sk as string) && filterMatches(filter, sk as string));
        yield page.of(wanted.map(retainedFromItem));
      }
    } finally {
      this.#reads.delete(page);
    }
  }

  #unwritten(): Set<string> {
    return new Set([...this.#writing.keys(), ...this.#waiting.keys()]);
  }

  /** The latest of what is not in the table yet. */
  #waitingFor(filter: string): Message[] {
    return [...new Map([...this.#writing, ...this.#waiting])]
      .filter(([topic, { message }]) => message.payloadBytes > 0 && filterMatches(filter, topic))
      .map(([, { message }]) => message);
  }

  /** The narrowest read that holds all matches: one item, or the range of topics before the first wildcard. */
  async *#stored(filter: string, onRead: () => void): AsyncGenerator<Item[], void, void> {
    const wildcard = filter.search(/[+#]/);
    if (wildcard < 0) {
      onRead();
      const item = await this.#trying(() =>
        this.#dynamo.get('retained', { pk: this.#tenant, sk: filter }, { consistent: true }),
      );
      if (item) yield [item];
      return;
    }
    // "a/#" matches "a", too: its range begins before the slash.
    const prefix =
      filter.endsWith('/#') && wildcard === filter.length - 1 ? filter.slice(0, -2) : filter.slice(0, wildcard);
    let from: Item | undefined;
    do {
      onRead();
      const page = await this.#trying(() =>
        this.#dynamo.query('retained', {
          pk: this.#tenant,
          consistent: true,
          ...(prefix !== '' && { sk: { beginsWith: prefix } }),
          ...(from && { from }),
        }),
      );
      yield page.items;
      from = page.next;
    } while (from);
  }

  async #trying<T>(read: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++)
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof DynamoUnavailable) || tries === readTriesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(retryMs * 2 ** tries, resolve));
      }
  }
}

function refused(): Receipt {
  const receipt = new PendingReceipt();
  receipt.settle(quotaExceeded);
  return receipt;
}

/**
 * One page of a read, from the moment it is asked for until the next one is. Remembers which of its topics have been
 * overwritten: all that are, while its content is not known yet, then only its own.
 */
class PageUnderWay {
  readonly #overwritten: Set<string>;
  #topics: Set<string> | undefined;

  /** `unwritten`: topics whose item in the table is about to be replaced. */
  constructor(unwritten: Set<string>) {
    this.#overwritten = unwritten;
  }

  overwrite(topic: string): void {
    if (!this.#topics || this.#topics.has(topic)) this.#overwritten.add(topic);
  }

  of(messages: readonly Message[]): RetainedPage {
    this.#topics = new Set(messages.map(({ topic }) => topic.text));
    return { messages, isStale: ({ topic }) => this.#overwritten.has(topic.text) };
  }
}
