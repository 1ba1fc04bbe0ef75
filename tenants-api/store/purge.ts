/**
 * Removes everything of one tenant but its own row, page by page. A session's routes and inbox go before its record,
 * which is what leads to them; so a purge that is cut off can be started again and finds what is left.
 */
import type { Dynamo, SortKeyRange, TableKey, TableName } from '../../services/dynamo/dynamo.js';
import type { ClientId, TenantId } from '../../services/kernel/kernel.js';
import {
  apiKeyPrefix,
  clientPartition,
  credentialPrefix,
  sessionBuckets,
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
  tenant: TenantId,
  months: readonly string[],
  checkTime: () => void,
): Promise<void> {
  const purge = (table: TableName, pk: string, sk?: SortKeyRange): Promise<void> =>
    purgePartition(dynamo, table, pk, sk, checkTime);
  await purge('tenants', tenant, { beginsWith: credentialPrefix });
  for (const bucket of sessionBuckets(tenant))
    for await (const page of keyPages(dynamo, 'sessions', bucket, undefined, checkTime)) {
      for (let i = 0; i < page.length; i += clientsAtOnce) {
        const clients = page.slice(i, i + clientsAtOnce).map(({ sk }) => clientPartition(tenant, sk as ClientId));
        await Promise.all(clients.flatMap((client) => [purge('routes', client), purge('inbox', client)]));
      }
      await dynamo.batchWrite('sessions', [], page);
    }
  await purge('retained', tenant);
  for (const month of months) await purge('usage', usagePartition(tenant, month));
}

export async function purgeKeys(dynamo: Dynamo, tenant: TenantId, checkTime: () => void): Promise<void> {
  await purgePartition(dynamo, 'tenants', tenant, { beginsWith: apiKeyPrefix }, checkTime);
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
): AsyncGenerator<TableKey[], void, void> {
  const query = { pk, limit: pageKeys, consistent: true, attributes: ['pk', 'sk'], ...(sk && { sk }) };
  for await (const items of dynamo.queryAll(table, query)) {
    checkTime();
    yield items as unknown as TableKey[];
  }
}
