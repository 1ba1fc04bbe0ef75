/** Stored messages of one inbox as pages, of which what cannot be read is left out. */
import type { Counter, Log, Metrics } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import type { StoredPage } from '../inbox/inbox.js';
import { messagesFromItem } from './inbox-item.js';

/** At most 1 MB in any case: DynamoDB's own limit for a page. */
const readItemsMax = 16;

export class StoredPages {
  readonly #dynamo: Dynamo;
  readonly #log: Log;
  readonly #unreadable: Counter;

  constructor(dynamo: Dynamo, log: Log, metrics: Metrics) {
    this.#dynamo = dynamo;
    this.#log = log;
    this.#unreadable = metrics.counter(
      'shoal_records_unreadable_total',
      'Stored records that cannot be read, each counted once',
      { record: 'messages' },
    );
  }

  /** See `CommitLog.read`. */
  async read(partition: string, after: string, upTo: string): Promise<StoredPage> {
    // Both ends of BETWEEN belong to it; no key is `after` plus this.
    const page = await this.#dynamo.query('inbox', {
      pk: partition,
      sk: { between: [`${after}!`, upTo] },
      consistent: true,
      limit: readItemsMax,
    });
    let unreadable = 0;
    const items = page.items.map((item) => {
      const key = item['sk'] as string;
      try {
        return { key, messages: messagesFromItem(item) };
      } catch (error) {
        unreadable += typeof item['n'] === 'number' ? item['n'] : 0;
        this.#unreadable.add();
        this.#log.error({ partition, key, error }, 'a stored item cannot be read and is left out');
        return { key, messages: [] };
      }
    });
    return { items, more: page.next !== undefined, unreadable };
  }
}
