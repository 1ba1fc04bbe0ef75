/** The messages of one partition of the table `inbox`: what they come to, and how those of earlier epochs are removed. */
import type { Dynamo, Item } from '../../dynamo/dynamo.js';
import { RecordUnreadable } from '../../tenancy/tenancy.js';
import type { StoredOrigin } from '../inbox/inbox.js';
import { receivedKey } from './inbox-item.js';
import { willKeys, willKeysFrom } from './will-item.js';

/** Above all keys of messages, which begin with `m`. */
const messagesEnd = 'n';
/** Newest stored QoS 2 messages of a partition that are recognized when they come again. */
const originsMax = 10_000;
const epochDigits = 10;
const receivedAttributes = ['v', 'epoch', 'packetIds', 'settled', 'older', 'again'];

export interface StoredMessages {
  readonly count: number;
  /** Of QoS 2 messages, in order. */
  readonly origins: readonly { readonly key: string; readonly origin: StoredOrigin }[];
  /** Of the last item; 0 without. */
  readonly lastEpoch: number;
  /** The item of the packet identifiers received, which stands before them. */
  readonly received: Item | undefined;
}

/**
 * Those of the epoch `from` and later, up to `below`, and what stands before them: one query, unless it is much. Throws
 * `RecordUnreadable`.
 */
export async function readSummary(dynamo: Dynamo, pk: string, from: number, below?: number): Promise<StoredMessages> {
  let count = 0;
  let lastKey: string | undefined;
  let received: Item | undefined;
  const origins: { key: string; origin: StoredOrigin }[] = [];
  const sk = { between: [receivedKey, below === undefined ? messagesEnd : epochKey(below)] } as const;
  const first = epochKey(from);
  const attributes = ['sk', 'n', 'from', ...receivedAttributes];
  for await (const page of dynamo.queryAll('inbox', { pk, sk, consistent: true, attributes }))
    for (const item of page) {
      if (item['sk'] === receivedKey) received = item;
      if ((item['sk'] as string) < first) continue; // Of an earlier session, or no message.
      if (typeof item['n'] !== 'number') throw new RecordUnreadable('stored messages: how many is not told');
      count += item['n'];
      lastKey = item['sk'] as string;
      if (item['from']) origins.push({ key: lastKey, origin: item['from'] as StoredOrigin });
    }
  const lastEpoch = lastKey === undefined ? 0 : parseInt(lastKey.slice(1, 1 + epochDigits), 16);
  return { count, origins: origins.slice(-originsMax), lastEpoch, received };
}

/** With wills that have items of their own, in the same query: they are at the other end of the partition, and few. */
export async function purgeMessages(dynamo: Dynamo, pk: string, epochBelow: number): Promise<void> {
  const sk = { between: [willKeys, epochKey(epochBelow)] } as const;
  const willsEnd = willKeysFrom(epochBelow);
  for await (const page of dynamo.queryAll('inbox', { pk, sk, consistent: true, attributes: ['pk', 'sk'] })) {
    const keys = page.map((item) => item['sk'] as string);
    await removeMessages(
      dynamo,
      pk,
      keys.filter((key) => key >= 'm' || key < willsEnd),
    );
  }
}

export async function removeMessages(dynamo: Dynamo, pk: string, keys: readonly string[]): Promise<void> {
  await dynamo.batchWrite(
    'inbox',
    [],
    keys.map((sk) => ({ pk, sk })),
  );
}

/** Below all keys of messages of that epoch, above those of older ones. */
const epochKey = (epoch: number): string => `m${epoch.toString(16).padStart(epochDigits, '0')}`;
