/** DynamoDB's actions over tables in memory: request in, answer out, each at once and whole. */
import { randomUUID } from 'node:crypto';
import { compile, type Compiled, type Expressions } from './expressions.js';
import { type Row, type Schema, Table, type View } from './table.js';
import { type Attributes, equal, invalid, orderOf, Refusal, type Value } from './values.js';

interface Request extends Expressions {
  readonly TableName: string;
  readonly Key: Attributes;
  readonly Item: Attributes;
  readonly ReturnValues?: string;
  readonly ReturnValuesOnConditionCheckFailure?: string;
  readonly ReturnConsumedCapacity?: string;
  readonly ConsistentRead?: boolean;
  readonly IndexName?: string;
  readonly Limit?: number;
  readonly ScanIndexForward?: boolean;
  readonly ExclusiveStartKey?: Attributes;
}

interface BatchRequest<T> {
  readonly RequestItems: Readonly<Record<string, T>>;
  readonly ReturnConsumedCapacity?: string;
}

type Write = { readonly PutRequest?: { Item: Attributes }; readonly DeleteRequest?: { Key: Attributes } };
type Keys = Pick<Request, 'ProjectionExpression' | 'ExpressionAttributeNames'> & {
  readonly Keys: readonly Attributes[];
  readonly ConsistentRead?: boolean;
};

const pageBytesMax = 1 << 20;
const batchWritesMax = 25;
const batchKeysMax = 100;
const batchBytesMax = 16 << 20;
const noItem: Attributes = {};
const noValues = {};

export class Actions {
  readonly #tables = new Map<string, Table>();

  /** Throws Refusal. */
  run(action: string, request: unknown): object {
    const run = this.#actions[action];
    if (!run) throw new Refusal('UnknownOperationException', '');
    return run(request as never);
  }

  readonly #actions: Readonly<Record<string, (request: never) => object>> = {
    CreateTable: (schema: Schema) => {
      if (this.#tables.has(schema.TableName)) throw new Refusal('ResourceInUseException', 'the table exists');
      const table = new Table(schema);
      this.#tables.set(schema.TableName, table);
      return { TableDescription: description(table) };
    },
    DeleteTable: ({ TableName }: Request) => {
      const table = this.#table(TableName);
      this.#tables.delete(TableName);
      return { TableDescription: description(table) };
    },
    DescribeTable: ({ TableName }: Request) => ({ Table: description(this.#table(TableName)) }),
    ListTables: () => ({ TableNames: [...this.#tables.keys()] }),

    GetItem: (request: Request) => {
      const table = this.#table(request.TableName);
      table.checkKey(request.Key);
      const row = table.get(request.Key);
      const { projection } = compile(request);
      const units = readUnits(row?.bytes ?? 0, request.ConsistentRead);
      return { ...(row && { Item: projected(row.item, projection) }), ...capacity(request, units) };
    },
    PutItem: (request: Request) => {
      const table = this.#table(request.TableName);
      const before = held(table, request, request.Item).before;
      const units = table.put(request.Item, before);
      return { ...old(request, before), ...capacity(request, units) };
    },
    UpdateItem: (request: Request) => {
      const table = this.#table(request.TableName);
      table.checkKey(request.Key);
      const { before, compiled } = held(table, request, request.Key);
      const item = compiled.update?.(before?.item ?? request.Key, request.ExpressionAttributeValues ?? noValues);
      const after = item ?? before?.item ?? request.Key;
      for (const key of table.keys)
        if (!after[key] || !equal(after[key], request.Key[key]!))
          throw invalid(`Cannot update attribute ${key}. This attribute is part of the key`);
      const units = table.put(after, before);
      const answered = request.ReturnValues === 'ALL_NEW' ? { Attributes: after } : old(request, before);
      return { ...answered, ...capacity(request, units) };
    },
    DeleteItem: (request: Request) => {
      const table = this.#table(request.TableName);
      table.checkKey(request.Key);
      const { before } = held(table, request, request.Key);
      const units = before ? table.remove(request.Key, before) : 1;
      return { ...old(request, before), ...capacity(request, units) };
    },
    BatchWriteItem: (request: BatchRequest<readonly Write[]>) => this.#batchWrite(request),
    BatchGetItem: (request: BatchRequest<Keys>) => this.#batchGet(request),
    Query: (request: Request) => query(this.#table(request.TableName).view(request.IndexName), request),
    Scan: (request: Request) => {
      const table = this.#table(request.TableName);
      return page(table, table.scan(request.ExclusiveStartKey), request, compile(request));
    },
  };

  #table(name: string): Table {
    const table = this.#tables.get(name);
    if (!table) throw new Refusal('ResourceNotFoundException', 'Requested resource not found');
    return table;
  }

  #batchWrite({ RequestItems, ...request }: BatchRequest<readonly Write[]>): object {
    const seen = new Set<string>();
    const writes = Object.entries(RequestItems).flatMap(([name, all]) =>
      all.map(({ PutRequest, DeleteRequest }) => {
        const table = this.#table(name);
        const key = DeleteRequest?.Key ?? PutRequest?.Item;
        if (!key) throw invalid('a write is neither a put nor a delete');
        if (DeleteRequest) table.checkKey(key);
        if (table.keys.some((attribute) => !key[attribute]))
          throw invalid('The provided key element does not match the schema');
        const id = `${name}\0${table.keys.map((attribute) => orderOf(key[attribute]!)).join('\0')}`;
        if (seen.has(id)) throw invalid('Provided list of item keys contains duplicates');
        seen.add(id);
        return { name, table, key, isPut: PutRequest !== undefined };
      }),
    );
    if (writes.length === 0 || writes.length > batchWritesMax)
      throw invalid(`a batch has 1 to ${batchWritesMax} writes, not ${writes.length}`);
    const units = new Map<string, number>();
    for (const { name, table, key, isPut } of writes) {
      const before = table.get(key);
      const taken = isPut ? table.put(key, before) : before ? table.remove(key, before) : 1;
      units.set(name, (units.get(name) ?? 0) + taken);
    }
    return { UnprocessedItems: {}, ...capacities(request, units) };
  }

  #batchGet({ RequestItems, ...request }: BatchRequest<Keys>): object {
    const Responses: Record<string, Attributes[]> = {};
    const UnprocessedKeys: Record<string, { ConsistentRead: boolean; Keys: Attributes[] }> = {};
    const units = new Map<string, number>();
    let count = 0;
    let bytes = 0;
    for (const [name, { Keys, ConsistentRead = false, ...expressions }] of Object.entries(RequestItems)) {
      const table = this.#table(name);
      const { projection } = compile(expressions);
      const items: Attributes[] = (Responses[name] = []);
      for (const key of Keys) {
        if (++count > batchKeysMax) throw invalid(`a batch has at most ${batchKeysMax} keys`);
        table.checkKey(key);
        const row = table.get(key);
        bytes += row?.bytes ?? 0;
        if (bytes > batchBytesMax) {
          (UnprocessedKeys[name] ??= { ConsistentRead, Keys: [] }).Keys.push(key);
          continue;
        }
        units.set(name, (units.get(name) ?? 0) + readUnits(row?.bytes ?? 0, ConsistentRead));
        if (row) items.push(projected(row.item, projection));
      }
    }
    return { Responses, UnprocessedKeys, ...capacities(request, units) };
  }
}

/** What is there, when the condition of a write holds; throws Refusal when it does not. */
function held(table: Table, request: Request, key: Attributes): { before: Row | undefined; compiled: Compiled } {
  const compiled = compile(request);
  const before = table.keys.every((attribute) => key[attribute]) ? table.get(key) : undefined;
  if (
    compiled.condition &&
    !compiled.condition(before?.item ?? noItem, request.ExpressionAttributeValues ?? noValues)
  ) {
    const isTold = request.ReturnValuesOnConditionCheckFailure === 'ALL_OLD';
    throw new Refusal(
      'ConditionalCheckFailedException',
      'The conditional request failed',
      isTold ? before?.item : undefined,
    );
  }
  return { before, compiled };
}

function query(view: View, request: Request): object {
  const compiled = compile(request);
  const { keys } = compiled;
  const values = request.ExpressionAttributeValues ?? noValues;
  const hash = keys?.[view.partitionKey];
  if (!keys || hash?.operator !== 'EQ')
    throw invalid(`Query condition missed key schema element: ${view.partitionKey}`);
  const other = Object.keys(keys).find((name) => name !== view.partitionKey && name !== view.sortKey);
  if (other !== undefined) throw invalid(`Query condition has ${other}, which is no key`);
  if (view.isIndex && request.ConsistentRead)
    throw invalid('Consistent reads are not supported on global secondary indexes');
  const range = view.sortKey === undefined ? undefined : keys[view.sortKey];
  const bounds = range
    ? boundsOf(
        view,
        range.operator,
        range.operands.map((name) => orderOf(values[name as never] as Value)),
      )
    : { from: '' };
  const partition = view.partition(values[hash.operands[0] as never]);
  if (!partition) return page(view, [], request, compiled);
  const start = request.ExclusiveStartKey && view.placeOf(request.ExclusiveStartKey);
  return page(view, rowsOf(partition, bounds, start, request.ScanIndexForward ?? true), request, compiled);
}

/** From `from` until before `below`, or to the end. */
interface Bounds {
  readonly from: string;
  readonly below?: string;
}

/** Behind a text; in an index, where other keys follow it, behind all of these. */
const behindOf =
  (view: View) =>
  (text: string): string =>
    text + (view.isIndex ? '\x01' : '\0');
/** Behind all that begin with the text: orders consist of characters up to U+00FF. */
const beyond = (text: string): string => `${text}\u0100`;

function boundsOf(view: View, operator: string, [first = '', second = '']: readonly string[]): Bounds {
  const behind = behindOf(view);
  switch (operator) {
    case 'EQ':
      return { from: first, below: behind(first) };
    case 'LT':
      return { from: '', below: first };
    case 'LE':
      return { from: '', below: behind(first) };
    case 'GT':
      return { from: behind(first) };
    case 'GE':
      return { from: first };
    case 'BEGINS_WITH':
      return { from: first, below: beyond(first) };
    case 'BETWEEN':
      return { from: first, below: behind(second) };
    default:
      throw invalid(`${operator} is no condition for a key`);
  }
}

function* rowsOf(
  { rows, order }: NonNullable<ReturnType<View['partition']>>,
  { from, below }: Bounds,
  start: string | undefined,
  isForward: boolean,
): Generator<Row, void, void> {
  if (isForward) {
    for (const place of order.upFrom(start === undefined || start < from ? from : start)) {
      if (below !== undefined && place >= below) return;
      if (place !== start) yield rows.get(place)!;
    }
    return;
  }
  for (const place of order.downFrom(start === undefined || (below !== undefined && below < start) ? below : start)) {
    if (place < from) return;
    yield rows.get(place)!;
  }
}

/** Up to `Limit` rows or 1 MB, whichever is less; then those that the filter leaves. */
function page(view: View, rows: Iterable<Row>, request: Request, { filter, projection }: Compiled): object {
  const values = request.ExpressionAttributeValues ?? noValues;
  const limit = request.Limit ?? Infinity;
  const Items: Attributes[] = [];
  let scanned = 0;
  let bytes = 0;
  let last: Attributes | undefined;
  let isCut = false;
  for (const whole of rows) {
    const row = view.project(whole);
    scanned++;
    bytes += row.bytes;
    last = whole.item;
    if (!filter || filter(row.item, values)) Items.push(projected(row.item, projection));
    isCut = scanned >= limit || bytes >= pageBytesMax;
    if (isCut) break;
  }
  return {
    Items,
    Count: Items.length,
    ScannedCount: scanned,
    ...(isCut && { LastEvaluatedKey: projected(last!, view.keys) }),
    ...capacity(request, readUnits(bytes, request.ConsistentRead)),
  };
}

function projected(item: Attributes, names: readonly string[] | undefined): Attributes {
  if (!names) return item;
  const some: Record<string, Value> = {};
  for (const name of names) if (item[name]) some[name] = item[name];
  return some;
}

const old = ({ ReturnValues }: Request, before: Row | undefined): object =>
  ReturnValues === 'ALL_OLD' && before ? { Attributes: before.item } : {};

const readUnits = (bytes: number, isConsistent = false): number =>
  Math.max(1, Math.ceil(bytes / 4096)) * (isConsistent ? 1 : 0.5);

const isMetered = ({ ReturnConsumedCapacity: kind }: { ReturnConsumedCapacity?: string }): boolean =>
  kind === 'TOTAL' || kind === 'INDEXES';

const capacity = (request: Request, CapacityUnits: number): object =>
  isMetered(request) ? { ConsumedCapacity: { TableName: request.TableName, CapacityUnits } } : {};

const capacities = (request: { ReturnConsumedCapacity?: string }, units: ReadonlyMap<string, number>): object =>
  isMetered(request)
    ? { ConsumedCapacity: [...units].map(([TableName, CapacityUnits]) => ({ TableName, CapacityUnits })) }
    : {};

function description({ schema, createdMs }: Table): object {
  return {
    ...schema,
    TableStatus: 'ACTIVE',
    CreationDateTime: createdMs / 1000,
    TableId: randomUUID(),
    ...(schema.GlobalSecondaryIndexes && {
      GlobalSecondaryIndexes: schema.GlobalSecondaryIndexes.map((index) => ({ ...index, IndexStatus: 'ACTIVE' })),
    }),
  };
}
