/**
 * The only way to DynamoDB: plain items in, plain items out, typed errors. One instance serves a whole process; it
 * keeps connections open, gives every attempt a deadline and retries what may succeed later.
 *
 * A write whose answer is lost is retried: a condition such as "must not exist yet" may then fail on our own first
 * attempt. Who needs to know compares the stored item with what it wrote.
 */
import type { ConsumedCapacity, DynamoDBClient, ReturnValue } from '@aws-sdk/client-dynamodb';
import {
  type Attributes,
  attributesText,
  attributeText,
  fromAttributes,
  keyText,
  toAttributes,
  toKey,
} from './attributes.js';
import { getAll, getOnce, type Looked, type TableWrite, writeAll, writeOnce } from './batch.js';
import { type CallOptions, Calls, type DynamoOptions } from './calls.js';
import { type Access, checkTables } from './check.js';
import { type Item, tableDefinition, type TableKey, type TableName } from './tables.js';

export interface WriteCondition {
  readonly condition?: string;
  /** `#name` to attribute name. */
  readonly names?: Record<string, string>;
  /** `:name` to plain value. */
  readonly values?: Record<string, unknown>;
}

export interface UpdateOptions extends WriteCondition, CallOptions {
  /** The update expression: `SET #a = :a ADD …`. */
  readonly update: string;
  /** Which item to return, if any. Default none. */
  readonly returns?: 'old' | 'new';
}

interface StatementOptions {
  /** The update expression; without one the item is deleted. */
  readonly update?: string;
  readonly condition: string;
  readonly names: Readonly<Record<string, string>>;
  /** The `:name`s of the values, in the order in which a call has them: one at least. */
  readonly places: readonly string[];
  /** Attributes whose numbers are wanted of the item as it is afterwards. */
  readonly numbers?: readonly string[];
}

/** The words of a write that is made again and again, put together once: a call only adds its values. */
export class Statement {
  readonly action: 'UpdateItem' | 'DeleteItem';
  /** Members of the input. */
  readonly words: string;
  /** What comes before each value. */
  readonly beforeValues: readonly string[];
  readonly numbers: readonly RegExp[];

  constructor({ update, condition, names, places, numbers = [] }: StatementOptions) {
    this.action = update === undefined ? 'DeleteItem' : 'UpdateItem';
    const words = {
      ...(update !== undefined && toUpdate(update, numbers.length > 0 ? 'new' : undefined)),
      ...toCondition({ condition, names }),
    };
    this.words = JSON.stringify(words).slice(1, -1);
    this.beforeValues = places.map((place, i) => `${i === 0 ? '{' : ','}${JSON.stringify(place)}:`);
    this.numbers = numbers.map(numberOf);
  }
}

export type SortKeyRange =
  | { readonly beginsWith: string }
  | { readonly after: string }
  | { readonly before: string }
  /** Both ends included. */
  | { readonly between: readonly [string, string] };

export interface QueryOptions extends CallOptions {
  /** The value of the partition key. */
  readonly pk: string;
  readonly sk?: SortKeyRange;
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

interface Answer {
  readonly Item?: Attributes;
  readonly Attributes?: Attributes;
  readonly ConsumedCapacity?: ConsumedCapacity;
}

interface NumbersAnswer {
  readonly numbers: readonly number[];
  readonly ConsumedCapacity?: ConsumedCapacity | undefined;
}

interface QueryAnswer {
  readonly Items?: readonly Attributes[];
  readonly LastEvaluatedKey?: Attributes;
  readonly ConsumedCapacity?: ConsumedCapacity;
}

/** Tells what a call consumed, for the meter. */
const metered = { ReturnConsumedCapacity: 'TOTAL' } as const;

export class Dynamo {
  readonly #calls: Calls;
  readonly #metered = new Map<TableName, string>();

  constructor(options: DynamoOptions | Calls) {
    this.#calls = options instanceof Calls ? options : new Calls(options);
  }

  /** The same tables over so many sockets of its own, of which no other call takes one. Closed with this one. */
  apart(socketsMax: number): Dynamo {
    return new Dynamo(this.#calls.apart(socketsMax));
  }

  async get(
    table: TableName,
    key: TableKey,
    options: CallOptions & { consistent?: boolean } = {},
  ): Promise<Item | undefined> {
    const input = {
      ...metered,
      TableName: this.tableName(table),
      Key: toKey(key),
      ConsistentRead: options.consistent ?? false,
    };
    const { Item } = await this.#calls.call<Answer>([table], 'GetItem', input, options, { table, pk: key.pk });
    return Item && fromAttributes(Item);
  }

  /** Writes the whole item. Returns the item it replaced when `returnOld` is set and there was one. */
  async put(
    table: TableName,
    item: Item & TableKey,
    options: WriteCondition & CallOptions & { returnOld?: boolean } = {},
  ): Promise<Item | undefined> {
    const others = { ...(options.returnOld && { ReturnValues: 'ALL_OLD' as const }), ...toCondition(options) };
    const rest = JSON.stringify(others).slice(1);
    const input = `{${this.#meteredOf(table)},"Item":${attributesText(item)}${rest === '}' ? rest : `,${rest}`}`;
    const { Attributes } = await this.#calls.call<Answer>([table], 'PutItem', input, options, { table, pk: item.pk });
    return Attributes && fromAttributes(Attributes);
  }

  async update(table: TableName, key: TableKey, options: UpdateOptions): Promise<Item | undefined> {
    const input = {
      ...metered,
      TableName: this.tableName(table),
      Key: toKey(key),
      ...toUpdate(options.update, options.returns),
      ...toCondition(options),
    };
    const { Attributes } = await this.#calls.call<Answer>([table], 'UpdateItem', input, options, { table, pk: key.pk });
    return Attributes && fromAttributes(Attributes);
  }

  /** A write by words that have been made before. Resolves with the numbers that its statement asks for. */
  async carryOut(
    table: TableName,
    key: TableKey,
    { action, words, beforeValues, numbers }: Statement,
    values: readonly unknown[],
    options: CallOptions = {},
  ): Promise<readonly number[]> {
    let input = `{${this.#meteredOf(table)},"Key":${keyText(key)},${words},"ExpressionAttributeValues":`;
    for (let i = 0; i < beforeValues.length; i++) input += beforeValues[i]! + attributeText(values[i]);
    const read = (text: string): NumbersAnswer => numbersIn(text, numbers);
    const asker = { table, pk: key.pk };
    return (await this.#calls.call<NumbersAnswer>([table], action, `${input}}}`, options, asker, read)).numbers;
  }

  /** Members of every input: what is told of the units, and the table. */
  #meteredOf(table: TableName): string {
    const known = this.#metered.get(table);
    if (known !== undefined) return known;
    const text = JSON.stringify({ ...metered, TableName: this.tableName(table) }).slice(1, -1);
    this.#metered.set(table, text);
    return text;
  }

  async delete(
    table: TableName,
    key: TableKey,
    options: WriteCondition & CallOptions & { returnOld?: boolean } = {},
  ): Promise<Item | undefined> {
    const input = {
      ...metered,
      TableName: this.tableName(table),
      Key: toKey(key),
      ...(options.returnOld && { ReturnValues: 'ALL_OLD' as const }),
      ...toCondition(options),
    };
    const { Attributes } = await this.#calls.call<Answer>([table], 'DeleteItem', input, options, { table, pk: key.pk });
    return Attributes && fromAttributes(Attributes);
  }

  /** One page, of at most 1 MB or `limit` items. A page may be empty and still have a `next`. */
  async query(table: TableName, options: QueryOptions): Promise<Page> {
    const { Items, LastEvaluatedKey } = await this.#calls.call<QueryAnswer>(
      [table],
      'Query',
      this.#toQuery(table, options),
      options,
      { table, pk: options.pk },
    );
    return {
      items: (Items ?? []).map(fromAttributes),
      next: LastEvaluatedKey && fromAttributes(LastEvaluatedKey),
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
    await writeAll(this.#calls, [
      ...puts.map((put) => ({ table, put })),
      ...deletes.map((key) => ({ table, delete: key })),
    ]);
  }

  /**
   * One attempt at up to 25 writes of distinct keys in any tables. Returns those that DynamoDB left undone, the same
   * objects; the others are durable. When it throws, any of them may have been written.
   */
  async batchWriteOnce(
    writes: readonly TableWrite[],
    options: { readonly deadlineMs?: number } = {},
  ): Promise<readonly TableWrite[]> {
    return await writeOnce(this.#calls, writes, options);
  }

  /** The items of any number of distinct keys, in no order; keys without an item are missing from the result. */
  async batchGet(
    table: TableName,
    keys: readonly TableKey[],
    options: { readonly consistent?: boolean } = {},
  ): Promise<Item[]> {
    return await getAll(this.#calls, table, keys, options.consistent ?? false);
  }

  /**
   * One attempt to read these attributes, whose names are no reserved words, of the items of up to 100 distinct keys, consistently. It is
   * paid as if all of each item was read.
   */
  async look(
    table: TableName,
    keys: readonly TableKey[],
    attributes: readonly string[],
    options: Pick<CallOptions, 'deadlineMs'> = {},
  ): Promise<Looked> {
    return await getOnce(this.#calls, table, keys, attributes, options);
  }

  /**
   * Throws DynamoMisconfigured unless every table is there with the keys of its definition and takes the actions of
   * `access`, and DynamoUnavailable without an answer; after some seconds at the latest.
   */
  async check(access?: Access): Promise<void> {
    await checkTables(this, access);
  }

  /** The full name in the account. */
  tableName(table: TableName): string {
    return this.#calls.tableName(table);
  }

  /** Where DynamoDB is looked for, in words. */
  get place(): string {
    return this.#calls.place;
  }

  /** For `createTables` and `check` alone: the same typed errors and retries around other commands. */
  async run<T extends object>(
    table: TableName,
    action: string,
    send: (client: DynamoDBClient, options: { abortSignal: AbortSignal }) => Promise<T>,
    options?: CallOptions,
  ): Promise<T> {
    return await this.#calls.run<T>([table], action, send, options);
  }

  close(): void {
    this.#calls.close();
  }

  #toQuery(table: TableName, options: QueryOptions): object {
    const definition = tableDefinition(table);
    const names: Record<string, string> = { '#pk': definition.partitionKey.name, ...options.names };
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
      ...metered,
      TableName: this.tableName(table),
      KeyConditionExpression: condition,
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: toAttributes(values),
      ConsistentRead: options.consistent ?? false,
      ScanIndexForward: !(options.descending ?? false),
      ...(options.filter !== undefined && { FilterExpression: options.filter }),
      ...(attributes && { ProjectionExpression: attributes.join(', ') }),
      ...(options.limit !== undefined && { Limit: options.limit }),
      ...(options.from && { ExclusiveStartKey: toAttributes(options.from) }),
    };
  }
}

/** Finds the number of an attribute in the text of an answer. */
const numberOf = (name: string): RegExp => new RegExp(`"${name}"\\s*:\\s*\\{\\s*"N"\\s*:\\s*"([^"]*)"`);
const capacity = /"ConsumedCapacity"\s*:\s*(\{[^{}]*\})/;

/**
 * Without a tree of all that the answer says. A quotation mark within text has a backslash before it, so what is found is no part
 * of a value, as long as no map within the item has such a name.
 */
function numbersIn(text: string, wanted: readonly RegExp[]): NumbersAnswer {
  const numbers = wanted.map((number) => Number(number.exec(text)?.[1]));
  if (numbers.some(Number.isNaN)) throw new SyntaxError('an answer without the numbers that were asked for');
  const consumed = capacity.exec(text)?.[1];
  return { numbers, ConsumedCapacity: consumed === undefined ? undefined : (JSON.parse(consumed) as ConsumedCapacity) };
}

const returnValues: Readonly<Record<'old' | 'new', ReturnValue>> = { old: 'ALL_OLD', new: 'ALL_NEW' };

function toUpdate(update: string, returns: 'old' | 'new' | undefined) {
  return { UpdateExpression: update, ...(returns && { ReturnValues: returnValues[returns] }) };
}

function toCondition(options: { readonly [name in keyof WriteCondition]: WriteCondition[name] | undefined }) {
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
