/**
 * The version of what is stored: which keys records have, and in which items they are. It is one item of the table
 * `cluster`, written by the program that comes first, so that a release never misreads what another layout has written.
 */
import type { Dynamo } from './client.js';
import { ConditionFailed, DynamoMisconfigured } from './errors.js';
import type { TableKey } from './tables.js';

/** 2: subscriptions are in the partitions of their sessions' records. 3: long wills have items of their own. Tables without the item are of 1, or new. */
export const layoutVersion = 3;
const layoutKey: TableKey = { pk: 'layout', sk: 'version' };

/** The `code` of DynamoMisconfigured when the tables hold what this release does not read. */
export const layoutUnreadable = 'LayoutUnreadable';

/**
 * Throws DynamoMisconfigured (`layoutUnreadable`) when the tables hold what this release does not read. `mark`: a partition of the table
 * `cluster` in which something is found wherever a broker has run, and which nobody writes before this check. Without it
 * the tables are new, and get the item.
 */
export async function checkLayout(dynamo: Dynamo, mark: string): Promise<void> {
  const versionNow = async (): Promise<unknown> =>
    (await dynamo.get('cluster', layoutKey, { consistent: true }))?.['version'];
  for (;;) {
    let version = await versionNow();
    // Asked once more: a broker that starts beside this one has made the item before the mark.
    if (version === undefined && (await isThere(dynamo, mark))) version = (await versionNow()) ?? 1;
    if (version === layoutVersion) return;
    if (version !== undefined)
      throw new DynamoMisconfigured(
        `the tables hold data of layout ${JSON.stringify(version)}, and this release reads layout ${layoutVersion}: ` +
          'start with new tables (another SHOAL_TABLE_PREFIX, an empty data folder), or run the release that wrote them',
        { code: layoutUnreadable },
      );
    const isNew = { condition: 'attribute_not_exists(pk)' };
    await dynamo.put('cluster', { ...layoutKey, version: layoutVersion }, isNew).catch((error: unknown) => {
      if (!(error instanceof ConditionFailed)) throw error; // Another program was faster: what it says counts.
    });
  }
}

async function isThere(dynamo: Dynamo, pk: string): Promise<boolean> {
  return (await dynamo.query('cluster', { pk, limit: 1, consistent: true })).items.length > 0;
}
