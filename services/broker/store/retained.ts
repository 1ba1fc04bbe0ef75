/**
 * The retained messages of one tenant, in DynamoDB and nowhere else. Writes of one topic are coalesced: while one is
 * under way the latest of those that came since waits, and the others settle with it. Reads see what is still waiting.
 *
 *      put -> waiting by topic -> at most `writesInFlightMax` under way -> settled
 *
 * Interleavings looked after: a message that is replaced while a subscriber's read is under way is left out of the
 * read (the subscriber has got the new one live); a write that failed for want of DynamoDB is repeated, with the
 * latest message, until it succeeds; a write that another broker's newer one has overtaken does nothing, and neither
 * does one that was given up for lost and is carried out late: a removal is written as well, and kept for a while.
 */
import { type Clock, guarded, type Log, type TenantScope, unattended } from '../../kernel/kernel.js';
import { ConditionFailed, type Dynamo, type Item, mayPass, type TableKey } from '../../dynamo/dynamo.js';
import { filterMatches } from '../../topic/topic.js';
import type { RetainedCount, RetainedRead, RetainedStore } from '../fanout/fanout.js';
import { emptyBytes, handedOn, type Message, PendingReceipt, type Receipt } from '../message/message.js';
import { removalToItem, retainedBytes, retainedFromItem, retainedToItem } from './retained-item.js';
import { biteBytesMax, RetainedReader } from './retained-read.js';
import { RetainedRemovals } from './retained-removals.js';
import { RetainedTotals } from './retained-totals.js';

/** One topic takes one write at a time; this many topics of a tenant do so at once. */
const writesInFlightMax = 16;
/** What may wait while DynamoDB is slow; above it messages are delivered and not retained. */
const waitingBytesMax = 16 << 20;
const retryMs = 250;
/** The tenant is looked at again that soon. */
const heldBackMsMax = 1000;
const quotaExceeded = 0x97;
const implementationSpecificError = 0x83;

/** How long the tenant has to wait, because it has used more of the database than it may. */
export interface RetainedPace {
  waitMs(): number;
}

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
  readonly #scope: TenantScope;
  readonly #limits: RetainedLimits;
  readonly #pace: RetainedPace;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #totals: RetainedTotals;
  readonly #removals: RetainedRemovals;
  readonly #reader: RetainedReader;
  /** What is to be written next, in the order of the first message of each topic. */
  readonly #waiting = new Map<string, Waiting>();
  /** What is being written. */
  readonly #writing = new Map<string, Waiting>();
  #waitingBytes = 0;
  /** Of each read under way: the topics that have got another message since it began. */
  readonly #reads = new Set<Set<string>>();
  readonly #settledListeners: (() => void)[] = [];
  #lastPublishedAtMs = 0;
  #isHeldBack = false;
  #closed = false;

  constructor(dynamo: Dynamo, scope: TenantScope, limits: RetainedLimits, pace: RetainedPace, clock: Clock, log: Log) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#limits = limits;
    this.#pace = pace;
    this.#clock = clock;
    this.#log = log;
    this.#totals = new RetainedTotals(dynamo, scope, clock);
    this.#removals = new RetainedRemovals(dynamo, scope, clock);
    this.#reader = new RetainedReader(dynamo, scope, clock);
  }

  put(message: Message, nowMs: number): Receipt {
    if (this.#closed) return handedOn;
    const kept = message.keep();
    const topic = kept.topic.text;
    this.overwritten(topic);
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

  overwritten(topic: string): void {
    for (const overwritten of this.#reads) overwritten.add(topic);
  }

  counted(): Promise<RetainedCount> {
    return this.#totals.counted();
  }

  close(): void {
    this.#closed = true;
    this.#totals.close();
    this.#removals.close();
    const dropped = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#waitingBytes = 0;
    for (const { receipts } of dropped) for (const receipt of receipts) receipt.settle(0);
  }

  #writeSome(): void {
    if (this.#waiting.size > 0 && this.#mustWait()) return;
    for (const [topic, waiting] of this.#waiting) {
      if (this.#writing.size >= writesInFlightMax) return;
      if (this.#writing.has(topic)) continue;
      this.#waiting.delete(topic);
      this.#waitingBytes -= waiting.message.heldBytes;
      this.#writing.set(topic, waiting);
      unattended('retained', this.#write(topic, waiting));
    }
  }

  /** Not when the broker stops: then all that waits is written. */
  #mustWait(): boolean {
    const waitMs = this.#settledListeners.length > 0 ? 0 : this.#pace.waitMs();
    if (waitMs > 0 && !this.#isHeldBack) {
      this.#isHeldBack = true;
      this.#clock.after(Math.min(waitMs, heldBackMsMax), () => {
        this.#isHeldBack = false;
        guarded('retained', () => this.#writeSome());
      });
    }
    return waitMs > 0;
  }

  async #write(topic: string, write: Waiting): Promise<void> {
    let reasonCode: number | undefined;
    while (reasonCode === undefined && !this.#closed)
      try {
        reasonCode = await this.#writeOnce(write);
      } catch (error) {
        if (mayPass(error)) {
          this.#log.error({ tenant: this.#scope, error }, 'retained messages cannot be stored, trying again');
          await new Promise<void>((resolve) => this.#clock.after(retryMs, resolve));
          this.#takeNewer(topic, write);
        } else {
          this.#log.error({ tenant: this.#scope, error }, 'a retained message could not be stored');
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
    if (this.#writing.size + this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#settledListeners.push(resolve);
      this.#writeSome();
    });
  }

  async rest(): Promise<void> {
    await this.settled();
    if (this.#writing.size + this.#waiting.size > 0) return;
    await this.#totals.rest().catch((error: unknown) => {
      if (!mayPass(error)) throw error;
      this.#log.info({ tenant: this.#scope, error }, 'the totals of retained messages are counted when next needed');
    });
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
    if (message.payloadBytes === 0) {
      // [MQTT-3.3.1-6] [MQTT-3.3.1-7] A message without payload removes and is not kept itself.
      const topic = message.topic.text;
      await this.#totals.replaceable(0, this.#limits);
      const removal = removalToItem(this.#scope, topic, publishedAtMs);
      if (await this.#replace(removal, isLatest, values)) this.#removals.add(topic, publishedAtMs);
      return 0;
    }
    const item = retainedToItem(this.#scope, message, publishedAtMs);
    const replaceable = await this.#totals.replaceable(retainedBytes(message), this.#limits);
    if (!replaceable) {
      await this.#replace(item, isLatest, values);
      return 0;
    }
    const isReplaceable =
      'publishedAtMs <= :at AND #bytes >= :bytes AND (attribute_not_exists(expiresAtMs) OR expiresAtMs > :after)';
    const isReplaced = await this.#replace(
      item,
      isReplaceable,
      { ...values, ':bytes': replaceable.bytes, ':after': replaceable.expiringAfterMs },
      { '#bytes': 'bytes' },
    );
    return isReplaced ? 0 : quotaExceeded;
  }

  /** False when the condition does not hold. */
  async #replace(
    item: Item & TableKey,
    condition: string,
    values: Record<string, unknown>,
    names?: Record<string, string>,
  ): Promise<boolean> {
    try {
      const options = { condition, values, ...(names && { names }), returnOld: true };
      this.#totals.replaced(await this.#dynamo.put('retained', item, options), item);
      return true;
    } catch (error) {
      if (error instanceof ConditionFailed) return false;
      throw error;
    }
  }

  async read(filter: string, read: RetainedRead): Promise<void> {
    for (let ms = this.#pace.waitMs(); ms > 0 && read.isWanted() && !this.#closed; ms = this.#pace.waitMs())
      await new Promise<void>((resolve) => this.#clock.after(Math.min(ms, heldBackMsMax), resolve));
    const overwritten = new Set<string>();
    this.#reads.add(overwritten);
    try {
      const unwritten = this.#unwritten(filter, Buffer.from(read.after));
      const { items, next } = await this.#reader.some(filter, read);
      await read.turn?.();
      const end = next === undefined ? undefined : Buffer.from(next);
      const fromTable = items.filter(({ sk }) => !unwritten.has(sk as string)).flatMap((item) => this.#readable(item));
      const fromMemory = [...unwritten.values()]
        .filter(({ topic }) => !end || topic.bytes.compare(end) <= 0)
        .map((message) => message.withOrigin(undefined)); // Its own delivery: the publisher's exchange has nothing to do with it.
      const found = [...fromTable, ...fromMemory].sort((a, b) => a.topic.bytes.compare(b.topic.bytes));
      const bite = biteOf(found, read.messagesMax);
      const nowMs = this.#clock.nowMs();
      // The table's time to live is days late; removals are there as expired messages.
      const isDue = ({ topic, payloadBytes, expiresAtMs }: Message): boolean =>
        payloadBytes > 0 && expiresAtMs > nowMs && !overwritten.has(topic.text);
      read.take(bite.filter(isDue), bite.length < found.length ? bite.at(-1)!.topic.text : next);
    } finally {
      this.#reads.delete(overwritten);
    }
  }

  async mayMatch(filter: string): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    for (const { payloadBytes } of this.#unwritten(filter, emptyBytes).values()) if (payloadBytes > 0) return true;
    if (this.#pace.waitMs() > 0) return true;
    return await this.#reader.mayMatch(filter, (item) => ((item['expiresAtMs'] as number) ?? Infinity) > nowMs);
  }

  /** The latest of what is not in the table yet, removals included, behind a topic. */
  #unwritten(filter: string, after: Buffer): Map<string, Message> {
    const unwritten = new Map<string, Message>();
    for (const [topic, { message }] of [...this.#writing, ...this.#waiting])
      if (filterMatches(filter, topic) && message.topic.bytes.compare(after) > 0) unwritten.set(topic, message);
    return unwritten;
  }

  /** What cannot be read is left out, as if it were not there: it must not hold up the others. */
  #readable(item: Item): Message[] {
    try {
      return [retainedFromItem(item)];
    } catch (error) {
      this.#log.error({ tenant: this.#scope, topic: item['sk'], error }, 'a retained message cannot be read');
      return [];
    }
  }
}

/** As many as a subscriber takes at once; one, however large. */
function biteOf(messages: readonly Message[], max: number): readonly Message[] {
  let bytes = 0;
  const end = messages.findIndex((message, i) => {
    bytes += message.storedBytes;
    return i >= max || (i > 0 && bytes > biteBytesMax);
  });
  return end < 0 ? messages : messages.slice(0, end);
}

function refused(): Receipt {
  const receipt = new PendingReceipt();
  receipt.settle(quotaExceeded);
  return receipt;
}
