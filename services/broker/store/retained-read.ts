/**
 * Reads the retained messages of one tenant from the table: of the narrowest range that holds all matches, a page small
 * enough that a subscriber can take all of it. Reads of the same page that begin in the same moment are one, and so are looks for
 * topics: a fleet that subscribes to a topic for each device costs a call for some hundred of them.
 */
import type { Clock, TenantScope } from '../../kernel/kernel.js';
import { batchKeysMax, type Dynamo, type Item, mayPass, type Page } from '../../dynamo/dynamo.js';
import { filterMatches, topicBytesMax } from '../../topic/topic.js';
import type { RetainedRead } from '../fanout/fanout.js';

const retryMs = 250;
/** A subscriber's read gives up after about a minute without DynamoDB, and begins again. */
const triesMax = 8;
/**
 * A subscriber takes that much at once, whether it goes into its outbox, its queue or its inbox. Its page is one step of the
 * thread, about a millisecond, as long as V8 does not have to put the answer among its large objects (above 128 KB).
 */
export const biteBytesMax = 96 << 10;
/** As `Message.storedBytes` reckons what is beside topic and payload. */
const besideBytes = 200;
/** Until a page has told how large messages are here. */
const itemBytesAtFirst = 4096;
/** Items of a page where few match. */
const scannedMax = 1000;
/** Enough to tell that nothing matches, where that is so. */
const lookItems = 8;
/** SUBACK waits for the look. */
const lookDeadlineMs = 1000;

/** Items whose topics match, in order; `next`: behind which topic the table has more. */
export interface RetainedItems {
  readonly items: readonly Item[];
  readonly next: string | undefined;
}

/** By topic. `isPart`: of those that are not there nothing is known. */
interface Looks {
  readonly found: ReadonlyMap<string, Item>;
  readonly isPart: boolean;
}

const nothing: RetainedItems = { items: [], next: undefined };

export class RetainedReader {
  readonly #dynamo: Dynamo;
  readonly #scope: TenantScope;
  readonly #clock: Clock;
  #itemBytes = itemBytesAtFirst;
  /** Pages that are asked for when the present moment is over. */
  readonly #asked = new Map<string, Promise<Page>>();
  /** Topics that are looked for at the end of this turn of the event loop. */
  #looking: { readonly topics: Set<string>; readonly looked: Promise<Looks> } | undefined;

  constructor(dynamo: Dynamo, scope: TenantScope, clock: Clock) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#clock = clock;
  }

  /** At least one that matches, or all there are. */
  async some(filter: string, { after, messagesMax, isWanted }: RetainedRead): Promise<RetainedItems> {
    const range = rangeOf(filter);
    if (!range) return nothing;
    if ('only' in range) {
      if (after !== '') return nothing;
      const item = await this.#trying(() => this.#get(range.only));
      return { items: item ? [item] : [], next: undefined };
    }
    let limit = powerOfTwo(Math.min(messagesMax, biteBytesMax / (this.#itemBytes + besideBytes)));
    for (let from = after; ;) {
      const page = await this.#trying(() => this.#shared(range.prefix, from, limit));
      const next = page.next?.['sk'] as string | undefined;
      const items = page.items.filter(({ sk }) => filterMatches(filter, sk as string));
      if (items.length > 0 || next === undefined || !isWanted()) return { items, next };
      from = next;
      limit = Math.min(limit * 4, scannedMax);
    }
  }

  /** Whether there may be any, from one short look. */
  async mayMatch(filter: string, isCounted: (item: Item) => boolean): Promise<boolean> {
    const range = rangeOf(filter);
    if (!range) return false;
    if ('only' in range) {
      const { found, isPart } = await this.#look(range.only);
      const item = found.get(range.only);
      return item ? isCounted(item) : isPart;
    }
    const { items, next } = await this.#query(range.prefix, '', lookItems, lookDeadlineMs);
    return next !== undefined || items.some((item) => filterMatches(filter, item['sk'] as string) && isCounted(item));
  }

  #get(topic: string) {
    return this.#dynamo.get('retained', { pk: this.#scope, sk: topic }, { consistent: true });
  }

  /** Together with those that are looked for in the same turn; not for those who come later, as with pages. */
  async #look(topic: string): Promise<Looks> {
    let looking = this.#looking;
    if (!looking || looking.topics.size === batchKeysMax) {
      const topics = new Set<string>();
      looking = this.#looking = {
        topics,
        looked: new Promise<void>((end) => setImmediate(end)).then(() => this.#lookFor(topics)),
      };
    }
    looking.topics.add(topic);
    return await looking.looked;
  }

  async #lookFor(topics: ReadonlySet<string>): Promise<Looks> {
    if (this.#looking?.topics === topics) this.#looking = undefined;
    const keys = [...topics].map((sk) => ({ pk: this.#scope, sk }));
    const options = { deadlineMs: lookDeadlineMs };
    const { items, isPart } = await this.#dynamo.look('retained', keys, ['sk', 'expiresAtMs'], options);
    return { found: new Map(items.map((item) => [item['sk'] as string, item])), isPart };
  }

  /**
   * A page for everybody who asks for it before it is sent for. Not for those who come later: what they may see was
   * perhaps written after it was read.
   */
  #shared(prefix: string, after: string, limit: number): Promise<Page> {
    const key = `${limit}\0${prefix}\0${after}`;
    const asked = this.#asked.get(key);
    if (asked) return asked;
    const page = Promise.resolve().then(() => {
      this.#asked.delete(key);
      return this.#query(prefix, after, limit);
    });
    this.#asked.set(key, page);
    return page;
  }

  async #query(prefix: string, after: string, limit: number, deadlineMs?: number): Promise<Page> {
    const page = await this.#dynamo.query('retained', {
      pk: this.#scope,
      consistent: true,
      limit,
      ...(prefix !== '' && { sk: { beginsWith: prefix } }),
      ...(after !== '' && { from: { pk: this.#scope, sk: after } }),
      ...(deadlineMs !== undefined && { deadlineMs }),
    });
    const bytes = page.items.reduce((sum, item) => sum + (item['bytes'] as number), 0);
    if (bytes > 0) this.#itemBytes = bytes / page.items.length;
    return page;
  }

  async #trying<T>(read: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++)
      try {
        return await read();
      } catch (error) {
        if (!mayPass(error) || tries === triesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(retryMs * 2 ** tries, resolve));
      }
  }
}

/** At least 1, at most `max`: so that those who have nearly the same room ask for the same. */
const powerOfTwo = (max: number): number => 2 ** Math.floor(Math.log2(Math.max(1, max)));

/** The one topic, or what all topics that match begin with; undefined when no topic can. */
function rangeOf(filter: string): { only: string } | { prefix: string } | undefined {
  const wildcard = filter.search(/[+#]/);
  // "a/#" matches "a", too: its range begins before the slash.
  const isSubtree = filter.endsWith('/#') && wildcard === filter.length - 1;
  const prefix = wildcard < 0 ? filter : isSubtree ? filter.slice(0, -2) : filter.slice(0, wildcard);
  if (Buffer.byteLength(prefix) > topicBytesMax) return undefined;
  return wildcard < 0 ? { only: filter } : { prefix };
}
