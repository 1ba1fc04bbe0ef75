/**
 * Reads the retained messages of one tenant from the table: the narrowest range that holds all matches, page by page,
 * and which of a page's messages are overwritten while a slow subscriber takes them.
 */
import type { Clock, TenantScope } from '../../kernel/kernel.js';
import { type Dynamo, type Item, mayPass } from '../../dynamo/dynamo.js';
import type { RetainedPage } from '../fanout/fanout.js';
import type { Message } from '../message/message.js';

const retryMs = 250;
/** A subscriber's read gives up after about a minute without DynamoDB. */
const triesMax = 8;
/** DynamoDB's bound of a sort key: nothing is stored under a longer topic. */
const topicBytesMax = 1024;

export class RetainedReader {
  readonly #dynamo: Dynamo;
  readonly #scope: TenantScope;
  readonly #clock: Clock;

  constructor(dynamo: Dynamo, scope: TenantScope, clock: Clock) {
    this.#dynamo = dynamo;
    this.#scope = scope;
    this.#clock = clock;
  }

  /** All that match are among the items; `onRead` is called before each page is asked for. */
  async *pages(filter: string, onRead: () => void): AsyncGenerator<Item[], void, void> {
    const wildcard = filter.search(/[+#]/);
    // "a/#" matches "a", too: its range begins before the slash.
    const isSubtree = filter.endsWith('/#') && wildcard === filter.length - 1;
    const prefix = wildcard < 0 ? filter : isSubtree ? filter.slice(0, -2) : filter.slice(0, wildcard);
    if (Buffer.byteLength(prefix) > topicBytesMax) return;
    if (wildcard < 0) {
      onRead();
      const key = { pk: this.#scope, sk: filter };
      const item = await this.#trying(() => this.#dynamo.get('retained', key, { consistent: true }));
      if (item) yield [item];
      return;
    }
    let from: Item | undefined;
    do {
      onRead();
      const range = { ...(prefix !== '' && { sk: { beginsWith: prefix } }), ...(from && { from }) };
      const page = await this.#trying(() =>
        this.#dynamo.query('retained', { pk: this.#scope, consistent: true, ...range }),
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
        if (!mayPass(error) || tries === triesMax) throw error;
        await new Promise<void>((resolve) => this.#clock.after(retryMs * 2 ** tries, resolve));
      }
  }
}

/**
 * One page of a read, from the moment it is asked for until the next one is. Remembers which of its topics have been
 * overwritten: all that are, while its content is not known yet, then only its own.
 */
export class PageUnderWay {
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
