/**
 * Removes everything of one tenant but its own row, page by page. A session's inbox goes before its record,
 * which is what leads to it, and the queue of a shared subscription before the route that names it; so a purge that is
 * cut off can be started again and finds what is left. What it removes is under the tenant's scope: however late it comes,
 * it touches nothing of the name's next owner.
 */
import type { Dynamo, Item, SortKeyRange, TableKey, TableName } from '../../services/dynamo/dynamo.js';
import type { ClientId, TenantScope } from '../../services/kernel/kernel.js';
import {
  apiKeyPrefix,
  clientPartition,
  credentialPrefix,
  retainedTotalsKey,
  filterInRouteKey,
  sessionBuckets,
  sharedPartition,
  usagePartition,
} from '../../services/tenancy/tenancy.js';

/** Of one purge in flight: clients whose routes and inbox are looked up at the same time. */
const clientsAtOnce = 8;
const pageKeys = 100;

export class OutOfTime extends Error {
  override readonly name = 'OutOfTime';
}

/** `checkTime` is called between pages and may throw OutOfTime. */
export async function purgeTenantData(
  dynamo: Dynamo,
  scope: TenantScope,
  months: readonly string[],
  checkTime: () => void,
): Promise<void> {
  const purge = (table: TableName, pk: string, sk?: SortKeyRange): Promise<void> =>
    purgePartition(dynamo, table, pk, sk, checkTime);
  await purge('tenants', scope, { beginsWith: credentialPrefix });
  for (const bucket of sessionBuckets(scope)) {
    await purgeRoutes(dynamo, scope, bucket, checkTime);
    for await (const page of keyPages(dynamo, 'sessions', bucket, undefined, checkTime)) {
      for (let i = 0; i < page.length; i += clientsAtOnce) {
        const clients = page.slice(i, i + clientsAtOnce).map(({ sk }) => clientPartition(scope, sk as ClientId));
        await Promise.all(clients.map((client) => purge('inbox', client)));
      }
      await dynamo.batchWrite('sessions', [], page);
    }
  }
  await purge('retained', scope);
  await purge('retained', retainedTotalsKey(scope).pk);
  for (const month of months) await purge('usage', usagePartition(scope, month));
}

/** With the queues of the shared subscriptions among them: nothing but a member's route leads to those. */
async function purgeRoutes(dynamo: Dynamo, scope: TenantScope, bucket: string, checkTime: () => void): Promise<void> {
  for await (const page of keyPages(dynamo, 'routes', bucket, undefined, checkTime, ['filter'])) {
    const filters = page.map(({ sk, filter }) => filterInRouteKey(sk) ?? (filter as string));
    for (const name of new Set(filters.filter((filter) => filter.startsWith('$share/'))))
      await purgePartition(dynamo, 'inbox', sharedPartition(scope, name), undefined, checkTime);
    await dynamo.batchWrite(
      'routes',
      [],
      page.map(({ pk, sk }) => ({ pk, sk })),
    );
  }
}

/** API keys that an earlier release has made: later ones are attributes of the tenant's row and go with it. */
export async function purgeKeys(dynamo: Dynamo, scope: TenantScope, checkTime: () => void): Promise<void> {
  await purgePartition(dynamo, 'tenants', scope, { beginsWith: apiKeyPrefix }, checkTime);
}

async function purgePartition(
  dynamo: Dynamo,
  table: TableName,
  pk: string,
  sk: SortKeyRange | undefined,
  checkTime: () => void,
): Promise<void> {
  for await (const page of keyPages(dynamo, table, pk, sk, checkTime)) await dynamo.batchWrite(table, [], page);
}

async function* keyPages(
  dynamo: Dynamo,
  table: TableName,
  pk: string,
  sk: SortKeyRange | undefined,
  checkTime: () => void,
  more: readonly string[] = [],
): AsyncGenerator<(TableKey & Item)[], void, void> {
  const query = { pk, limit: pageKeys, consistent: true, attributes: ['pk', 'sk', ...more], ...(sk && { sk }) };
  for await (const items of dynamo.queryAll(table, query)) {
    checkTime();
    yield items as (TableKey & Item)[];
  }
}
