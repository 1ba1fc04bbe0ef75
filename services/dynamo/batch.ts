/**
 * BatchWriteItem and BatchGetItem: DynamoDB may do a part of a batch and leave the rest. `Dynamo` calls these; they
 * never state conditions, because batches have none.
 */
import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb';
import { atOnce } from '../kernel/kernel.js';
import { type Attributes, fromAttributes, toAttributes, toKey } from './attributes.js';
import { backOff, type CallOptions, type Calls } from './calls.js';
import { DynamoUnavailable } from './errors.js';
import type { Item, TableKey, TableName } from './tables.js';

interface WriteRequest {
  readonly PutRequest?: { readonly Item: Attributes };
  readonly DeleteRequest?: { readonly Key: Attributes };
}

interface WriteAnswer {
  readonly UnprocessedItems?: Readonly<Record<string, WriteRequest[]>>;
  readonly ConsumedCapacity?: ConsumedCapacity[];
}

interface KeysAndAttributes {
  readonly Keys: readonly Attributes[];
  readonly ConsistentRead?: boolean;
  readonly ProjectionExpression?: string;
}

interface GetAnswer {
  readonly Responses?: Readonly<Record<string, readonly Attributes[]>>;
  readonly UnprocessedKeys?: Readonly<Record<string, KeysAndAttributes>>;
  readonly ConsumedCapacity?: ConsumedCapacity[];
}

/** One write of a batch that may span tables. */
export type TableWrite =
  | { readonly table: TableName; readonly put: Item & TableKey }
  | { readonly table: TableName; readonly delete: TableKey };

/** The most that BatchWriteItem takes. 25 items of 400 KB in base64 stay below its other bound, 16 MB. */
export const batchItemsMax = 25;
/** The most that BatchGetItem takes. */
export const batchKeysMax = 100;
/** Batches of one `batchWrite` in flight: enough to hide the way there and back, too few to starve others. */
const batchesInFlightMax = 4;
/** Rounds for items that DynamoDB did not get to; with the waits between them about 5 s. */
const batchRoundsMax = 10;

/** One attempt at up to 25 writes of distinct keys. Returns those that DynamoDB left undone: the same objects. */
export async function writeOnce(
  calls: Calls,
  writes: readonly TableWrite[],
  options: Pick<CallOptions, 'deadlineMs'>,
): Promise<readonly TableWrite[]> {
  if (writes.length === 0) return [];
  if (writes.length > batchItemsMax)
    throw new RangeError(`a batch of ${writes.length} writes; at most ${batchItemsMax}`);
  const requests: Record<string, WriteRequest[]> = {};
  for (const write of writes) (requests[calls.tableName(write.table)] ??= []).push(toRequest(write));
  const input = { RequestItems: requests, ReturnConsumedCapacity: 'TOTAL' };
  const tables = [...new Set(writes.map(({ table }) => table))];
  const { UnprocessedItems = {}, ConsumedCapacity = [] } = await calls.call<WriteAnswer>(
    tables,
    'BatchWriteItem',
    input,
    {
      ...options,
      maxAttempts: 1,
    },
  );
  const left = new Set<string>();
  for (const [name, leftOfTable] of Object.entries(UnprocessedItems))
    for (const request of leftOfTable) left.add(identityOf(name, keyOf(request)));
  const isLeft = (write: TableWrite): boolean =>
    left.size > 0 && left.has(identityOf(calls.tableName(write.table), 'put' in write ? write.put : write.delete));
  for (const table of tables) {
    const consumed = ConsumedCapacity.find(({ TableName }) => TableName === calls.tableName(table))?.CapacityUnits ?? 0;
    calls.charges.batch(
      writes.filter((write) => write.table === table && !isLeft(write)),
      consumed,
    );
  }
  return writes.filter(isLeft);
}

/** Any number of writes; what is left is sent again. Throws DynamoUnavailable when that does not end. */
export async function writeAll(calls: Calls, writes: readonly TableWrite[]): Promise<void> {
  const chunks = Array.from({ length: Math.ceil(writes.length / batchItemsMax) }, (_, i) =>
    writes.slice(i * batchItemsMax, (i + 1) * batchItemsMax),
  );
  await atOnce(chunks, batchesInFlightMax, (chunk) => writeChunk(calls, chunk));
}

async function writeChunk(calls: Calls, chunk: readonly TableWrite[]): Promise<void> {
  const table = chunk[0]!.table;
  const name = calls.tableName(table);
  let left = chunk.map(toRequest);
  const asker = { table, pk: keyOf(left[0]!).pk };
  for (let round = 1; ; round++) {
    const input = { RequestItems: { [name]: left }, ReturnConsumedCapacity: 'TOTAL' };
    const { UnprocessedItems } = await calls.call<WriteAnswer>([table], 'BatchWriteItem', input, {}, asker);
    left = UnprocessedItems?.[name] ?? [];
    if (left.length === 0) return;
    await beforeNextRound(round, 'BatchWriteItem', name, left.length);
  }
}

/** The items of these distinct keys that exist, in no order. */
export async function getAll(
  calls: Calls,
  table: TableName,
  keys: readonly TableKey[],
  consistent: boolean,
): Promise<Item[]> {
  const items: Item[] = [];
  for (let start = 0; start < keys.length; start += batchKeysMax)
    await getChunk(calls, table, keys.slice(start, start + batchKeysMax), consistent, items);
  return items;
}

/** What one attempt has come to. */
export interface Looked {
  /** Those that exist, in no order, with the attributes that were asked for. */
  readonly items: readonly Item[];
  /** DynamoDB has not got to all of the keys. */
  readonly isPart: boolean;
}

/** One attempt at up to 100 distinct keys. */
export async function getOnce(
  calls: Calls,
  table: TableName,
  keys: readonly TableKey[],
  attributes: readonly string[],
  options: Pick<CallOptions, 'deadlineMs'>,
): Promise<Looked> {
  const name = calls.tableName(table);
  const wanted = { Keys: keys.map(toKey), ConsistentRead: true, ProjectionExpression: attributes.join(', ') };
  const input = { RequestItems: { [name]: wanted }, ReturnConsumedCapacity: 'TOTAL' };
  const asker = { table, pk: keys[0]!.pk };
  const answer = await calls.call<GetAnswer>([table], 'BatchGetItem', input, { ...options, maxAttempts: 1 }, asker);
  const items = (answer.Responses?.[name] ?? []).map(fromAttributes);
  return { items, isPart: (answer.UnprocessedKeys?.[name]?.Keys.length ?? 0) > 0 };
}

async function getChunk(
  calls: Calls,
  table: TableName,
  keys: readonly TableKey[],
  consistent: boolean,
  items: Item[],
): Promise<void> {
  const name = calls.tableName(table);
  const asker = { table, pk: keys[0]!.pk };
  let left: KeysAndAttributes | undefined = { Keys: keys.map(toKey), ConsistentRead: consistent };
  for (let round = 1; ; round++) {
    const input = { RequestItems: { [name]: left }, ReturnConsumedCapacity: 'TOTAL' };
    const answer: GetAnswer = await calls.call<GetAnswer>([table], 'BatchGetItem', input, {}, asker);
    for (const item of answer.Responses?.[name] ?? []) items.push(fromAttributes(item));
    left = answer.UnprocessedKeys?.[name];
    if (!left?.Keys?.length) return;
    await beforeNextRound(round, 'BatchGetItem', name, left.Keys.length);
  }
}

async function beforeNextRound(round: number, action: string, name: string, left: number): Promise<void> {
  if (round === batchRoundsMax)
    throw new DynamoUnavailable(`DynamoDB ${action} on table ${name} left ${left} items`, { throttled: true });
  await backOff(round);
}

function toRequest(write: TableWrite): WriteRequest {
  return 'put' in write
    ? { PutRequest: { Item: toAttributes(write.put) } }
    : { DeleteRequest: { Key: toKey(write.delete) } };
}

function keyOf(request: WriteRequest): TableKey {
  const attributes = request.PutRequest?.Item ?? request.DeleteRequest?.Key ?? {};
  return { pk: String(attributes['pk']?.['S']), sk: String(attributes['sk']?.['S']) };
}

/** JSON keeps apart what a separator could not: keys hold any character. */
function identityOf(tableName: string, { pk, sk }: TableKey): string {
  return JSON.stringify([tableName, pk, sk]);
}
