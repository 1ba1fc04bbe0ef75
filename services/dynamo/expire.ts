/**
 * What DynamoDB does by itself: removes items whose time to live is over. An embedded server has the attribute and no
 * broom; `services/local` calls this where there is one. Readers never rely on it: they look at the time themselves.
 */
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import type { Dynamo } from './client.js';
import { ConditionFailed } from './errors.js';
import { type TableDefinition, tableDefinitions, type TableKey } from './tables.js';

/** Items looked at for one page: some milliseconds of an embedded server, which serves brokers meanwhile. */
const pageItems = 200;

export interface ExpiryOptions {
  readonly nowSeconds: number;
  /** Waits between two pages; false: to be given up. */
  pause(): Promise<boolean>;
}

/** Every table once. Resolves with the number of items removed. */
export async function removeExpired(dynamo: Dynamo, options: ExpiryOptions): Promise<number> {
  let removed = 0;
  for (const definition of tableDefinitions)
    for await (const keys of expiredKeys(dynamo, definition, options.nowSeconds)) {
      for (const key of keys) if (await remove(dynamo, definition, key, options.nowSeconds)) removed++;
      if (!(await options.pause())) return removed;
    }
  return removed;
}

async function* expiredKeys(
  dynamo: Dynamo,
  { name, ttlAttribute }: TableDefinition,
  nowSeconds: number,
): AsyncGenerator<readonly TableKey[], void, void> {
  let from: ScanCommand['input']['ExclusiveStartKey'];
  do {
    const command = new ScanCommand({
      TableName: dynamo.tableName(name),
      Limit: pageItems,
      FilterExpression: '#ttl < :now',
      ProjectionExpression: 'pk, sk',
      ExpressionAttributeNames: { '#ttl': ttlAttribute },
      ExpressionAttributeValues: { ':now': { N: String(nowSeconds) } },
      ...(from && { ExclusiveStartKey: from }),
    });
    const { Items = [], LastEvaluatedKey } = await dynamo.run(name, 'Scan', (client) => client.send(command));
    yield Items.map(({ pk, sk }) => ({ pk: pk!.S!, sk: sk!.S! }));
    from = LastEvaluatedKey;
  } while (from !== undefined);
}

/** On condition that it has still expired: it may have been written anew since it was read. */
async function remove(
  dynamo: Dynamo,
  { name, ttlAttribute }: TableDefinition,
  { pk, sk }: TableKey,
  nowSeconds: number,
): Promise<boolean> {
  try {
    await dynamo.delete(
      name,
      { pk, sk },
      {
        condition: '#ttl < :now',
        names: { '#ttl': ttlAttribute },
        values: { ':now': nowSeconds },
      },
    );
    return true;
  } catch (error) {
    if (error instanceof ConditionFailed) return false;
    throw error;
  }
}
