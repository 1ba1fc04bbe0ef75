/**
 * The only way to DynamoDB: plain items in, plain items out, typed errors. One instance serves a whole process; it
 * keeps connections open, gives every attempt a deadline and retries what may succeed later.
 *
 * A write whose answer is lost is retried: a condition such as "must not exist yet" may then fail on our own first
 * attempt. Who needs to know compares the stored item with what it wrote.
 */
import {
  BatchWriteItemCommand,
  DeleteItemCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  type ReturnValue,
  UpdateItemCommand,
  type WriteRequest,
} from '@aws-sdk/client-dynamodb';
import { marshall, unmarshall } from '@aws-sdk/util-dynamodb';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { checkTables } from './check.js';
import { DynamoMisconfigured, DynamoUnavailable, typedError } from './errors.js';
import { type Item, tableDefinition, type TableKey, type TableName } from './tables.js';

export interface DynamoOptions {
  /** Of an embedded server; without it the region's. */
  readonly endpoint?: string;
  readonly region: string;
  /** Put before every table name, so that stages share an account: `shoal-`. */
  readonly tablePrefix: string;
  /** For one attempt, connecting included. Default 2000: DynamoDB answers in 10, a busy laptop in 500. */
  readonly requestTimeoutMs?: number;
  /** Default 3: about 100 ms of waiting in all; longer outages are the caller's to ride out. */
  readonly maxAttempts?: number;
}

export interface WriteCondition {
  readonly condition?: string;
  /** `#name` to attribute name. */
  readonly names?: Record<string, string>;
  /** `:name` to plain value. */
  readonly values?: Record<string, unknown>;
}

export interface UpdateOptions extends WriteCondition {
  /** The update expression: `SET #a = :a ADD …`. */
  readonly update: string;
  /** Which item to return, if any. Default none. */
  readonly returns?: 'old' | 'new';
}

export type SortKeyRange =
  | { readonly beginsWith: string }
  | { readonly after: string }
  | { readonly before: string }
  /** Both ends included. */
  | { readonly between: readonly [string, string] };

export interface QueryOptions {
  /** The value of the partition key of the table, or of the index. */
  readonly pk: string;
  readonly sk?: SortKeyRange;
  readonly index?: string;
  readonly filter?: string;
  readonly names?: Record<string, string>;
  readonly values?: Record<string, unknown>;
  /** Items read for one page (before `filter`). */
  readonly limit?: number;
  readonly descending?: boolean;
  readonly consistent?: boolean;
  /** Attributes to return. Default all. */
  readonly attributes?: readonly string[];
  /** Where the page before ended: its `next`. */
  readonly from?: Item;
}

export interface Page {
  readonly items: Item[];
  /** Where to go on; missing on the last page. */
  readonly next: Item | undefined;
}

/** Connections to DynamoDB. Each carries one request at a time; a broker has some 30 in flight at its peak. */
const socketsMax = 128;
/** The most that BatchWriteItem takes. 25 items of 400 KB in base64 stay below its other bound, 16 MB. */
const batchItemsMax = 25;
/** Batches of one `batchWrite` in flight: enough to hide the way there and back, too few to starve others. */
const batchesInFlightMax = 4;
/** Rounds for items that DynamoDB did not get to; with the waits between them about 5 s. */
const batchRoundsMax = 10;
const backoffBaseMs = 25;
const backoffMsMax = 1000;

export class Dynamo {
  readonly #client: DynamoDBClient;
  readonly #tablePrefix: string;
  readonly #maxAttempts: number;

  constructor(options: DynamoOptions) {
    if (options.endpoint !== undefined && !/^https?:\/\/./.test(options.endpoint))
      throw new DynamoMisconfigured(`DynamoDB endpoint ${options.endpoint} is not a URL; use http://host:port`);
    if (options.region === '') throw new DynamoMisconfigured('DynamoDB has no region; set AWS_REGION');
    this.#tablePrefix = options.tablePrefix;
    this.#maxAttempts = options.maxAttempts ?? 3;
    const requestTimeoutMs = options.requestTimeoutMs ?? 2000;
    const isEmbedded = options.endpoint !== undefined && process.env['AWS_ACCESS_KEY_ID'] === undefined;
    this.#client = new DynamoDBClient({
      region: options.region,
      ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
      // An embedded server checks the form of a signature, not who signed.
      ...(isEmbedded && { credentials: { accessKeyId: 'embedded', secretAccessKey: 'embedded' } }),
      maxAttempts: 1, // `#attempt` retries: one place decides what may be tried again.
      requestHandler: new NodeHttpHandler({
        connectionTimeout: requestTimeoutMs,
        requestTimeout: requestTimeoutMs,
        throwOnRequestTimeout: true,
        httpAgent: { keepAlive: true, maxSockets: socketsMax },
        httpsAgent: { keepAlive: true, maxSockets: socketsMax },
      }),
    });
  }

  async get(table: TableName, key: TableKey, options: { consistent?: boolean } = {}): Promise<Item | undefined> {
    const command = new GetItemCommand({
      TableName: this.tableName(table),
      Key: toKey(key),
      ConsistentRead: options.consistent ?? false,
    });
    const { Item } = await this.#attempt(table, 'GetItem', () => this.#client.send(command));
    return Item && unmarshall(Item);
  }

  /** Writes the whole item. Returns the item it replaced when `returnOld` is set and there was one. */
  async put(
    table: TableName,
    item: Item & TableKey,
    options: WriteCondition & { returnOld?: boolean } = {},
  ): Promise<Item | undefined> {
    const command = new PutItemCommand({
      TableName: this.tableName(table),
      Item: toAttributes(item),
      ...(options.returnOld && { ReturnValues: 'ALL_OLD' as const }),
      ...toCondition(options),
    });
    const { Attributes } = await this.#attempt(table, 'PutItem', () => this.#client.send(command));
    return Attributes && unmarshall(Attributes);
  }

  async update(table: TableName, key: TableKey, options: UpdateOptions): Promise<Item | undefined> {
    const returnValues: Record<'old' | 'new', ReturnValue> = { old: 'ALL_OLD', new: 'ALL_NEW' };
    const command = new UpdateItemCommand({
      TableName: this.tableName(table),
      Key: toKey(key),
      UpdateExpression: options.update,
      ...(options.returns && { ReturnValues: returnValues[options.returns] }),
      ...toCondition(options),
    });
    const { Attributes } = await this.#attempt(table, 'UpdateItem', () => this.#client.send(command));
    return Attributes && unmarshall(Attributes);
  }

  async delete(
    table: TableName,
    key: TableKey,
    options: WriteCondition & { returnOld?: boolean } = {},
  ): Promise<Item | undefined> {
    const command = new DeleteItemCommand({
      TableName: this.tableName(table),
      Key: toKey(key),
      ...(options.returnOld && { ReturnValues: 'ALL_OLD' as const }),
      ...toCondition(options),
    });
    const { Attributes } = await this.#attempt(table, 'DeleteItem', () => this.#client.send(command));
    return Attributes && unmarshall(Attributes);
  }

  /** One page, of at most 1 MB or `limit` items. A page may be empty and still have a `next`. */
  async query(table: TableName, options: QueryOptions): Promise<Page> {
    const command = new QueryCommand(this.#toQuery(table, options));
    const { Items, LastEvaluatedKey } = await this.#attempt(table, 'Query', () => this.#client.send(command));
    return {
      items: (Items ?? []).map((item) => unmarshall(item)),
      next: LastEvaluatedKey && unmarshall(LastEvaluatedKey),
    };
  }

  /** Every page, one after the other: `for await (const items of dynamo.queryAll(…))`. */
  async *queryAll(table: TableName, options: QueryOptions): AsyncGenerator<Item[], void, void> {
    let from = options.from;
    do {
      const page = await this.query(table, { ...options, ...(from && { from }) });
      yield page.items;
      from = page.next;
    } while (from !== undefined);
  }

  /**
   * Any number of puts and deletes of distinct keys, unconditionally and in no order. What DynamoDB leaves
   * unprocessed is sent again; when that does not end, throws DynamoUnavailable and some writes have happened.
   */
  async batchWrite(
    table: TableName,
    puts: readonly (Item & TableKey)[],
    deletes: readonly TableKey[] = [],
  ): Promise<void> {
    const writes: WriteRequest[] = [
      ...puts.map((item) => ({ PutRequest: { Item: toAttributes(item) } })),
      ...deletes.map((key) => ({ DeleteRequest: { Key: toKey(key) } })),
    ];
    let start = 0;
    const takeChunks = async (): Promise<void> => {
      while (start < writes.length) {
        const chunk = writes.slice(start, start + batchItemsMax);
        start += batchItemsMax;
        await this.#writeChunk(table, chunk);
      }
    };
    const takers = Math.min(batchesInFlightMax, Math.ceil(writes.length / batchItemsMax));
    await Promise.all(Array.from({ length: takers }, takeChunks));
  }

  /** Throws DynamoMisconfigured unless every table is there with the keys of its definition. */
  async check(): Promise<void> {
    await checkTables(this);
  }

  /** The full name in the account. */
  tableName(table: TableName): string {
    return this.#tablePrefix + table;
  }

  /** For `createTables` and `check` alone: the same typed errors and retries around other commands. */
  async run<T>(table: TableName, action: string, send: (client: DynamoDBClient) => Promise<T>): Promise<T> {
    return await this.#attempt(table, action, () => send(this.#client));
  }

  close(): void {
    this.#client.destroy();
  }

  async #writeChunk(table: TableName, chunk: WriteRequest[]): Promise<void> {
    const name = this.tableName(table);
    let left = chunk;
    for (let round = 1; ; round++) {
      const command = new BatchWriteItemCommand({ RequestItems: { [name]: left } });
      const { UnprocessedItems } = await this.#attempt(table, 'BatchWriteItem', () => this.#client.send(command));
      left = UnprocessedItems?.[name] ?? [];
      if (left.length === 0) return;
      if (round === batchRoundsMax)
        throw new DynamoUnavailable(`DynamoDB BatchWriteItem on table ${name} left ${left.length} items`, {
          throttled: true,
        });
      await backOff(round);
    }
  }

  async #attempt<T>(table: TableName, action: string, send: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await send();
      } catch (cause) {
        const error = typedError(cause, this.tableName(table), action, (item) => unmarshall(item as never));
        if (!(error instanceof DynamoUnavailable) || attempt >= this.#maxAttempts) throw error;
        await backOff(attempt);
      }
    }
  }

  #toQuery(table: TableName, options: QueryOptions): ConstructorParameters<typeof QueryCommand>[0] {
    const definition = tableDefinition(table);
    const index = definition.indexes.find(({ name }) => name === options.index);
    const names: Record<string, string> = { '#pk': (index ?? definition).partitionKey.name, ...options.names };
    const values: Record<string, unknown> = { ':pk': options.pk, ...options.values };
    let condition = '#pk = :pk';
    if (options.sk !== undefined) {
      names['#sk'] = definition.sortKey.name;
      condition += ` AND ${toSortKeyCondition(options.sk, values)}`;
    }
    const attributes = options.attributes?.map((attribute, i) => {
      names[`#a${i}`] = attribute;
      return `#a${i}`;
    });
    return {
      TableName: this.tableName(table),
      KeyConditionExpression: condition,
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: toAttributes(values),
      ConsistentRead: options.consistent ?? false,
      ScanIndexForward: !(options.descending ?? false),
      ...(options.index !== undefined && { IndexName: options.index }),
      ...(options.filter !== undefined && { FilterExpression: options.filter }),
      ...(attributes && { ProjectionExpression: attributes.join(', ') }),
      ...(options.limit !== undefined && { Limit: options.limit }),
      ...(options.from && { ExclusiveStartKey: toAttributes(options.from) }),
    };
  }
}

function toAttributes(item: object): Record<string, never> {
  return marshall(item, { removeUndefinedValues: true }) as Record<string, never>;
}

/** The key alone, so that an item serves as its own key. */
function toKey({ pk, sk }: TableKey): Record<string, never> {
  return toAttributes({ pk, sk });
}

function toCondition(options: WriteCondition) {
  return {
    ...(options.condition !== undefined && {
      ConditionExpression: options.condition,
      ReturnValuesOnConditionCheckFailure: 'ALL_OLD' as const,
    }),
    ...(options.names && { ExpressionAttributeNames: options.names }),
    ...(options.values && { ExpressionAttributeValues: toAttributes(options.values) }),
  };
}

/** The condition on `#sk`; puts its values into `values`. */
function toSortKeyCondition(range: SortKeyRange, values: Record<string, unknown>): string {
  if ('beginsWith' in range) {
    values[':sk'] = range.beginsWith;
    return 'begins_with(#sk, :sk)';
  }
  if ('after' in range) {
    values[':sk'] = range.after;
    return '#sk > :sk';
  }
  if ('before' in range) {
    values[':sk'] = range.before;
    return '#sk < :sk';
  }
  [values[':sk'], values[':skEnd']] = range.between;
  return '#sk BETWEEN :sk AND :skEnd';
}

/** Full jitter: clients that failed together do not come back together. */
async function backOff(attempt: number): Promise<void> {
  const delayMsMax = Math.min(backoffMsMax, backoffBaseMs * 2 ** attempt);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * delayMsMax));
}
