/** One table in memory, with its global secondary indexes: items by partition, in the order of their sort keys. */
import { SortedKeys } from './sorted-keys.js';
import { type Attributes, bytesOf, invalid, orderOf, type Value } from './values.js';

/** As `CreateTable` is asked and `DescribeTable` answers. */
export interface Schema {
  readonly TableName: string;
  readonly AttributeDefinitions: readonly { readonly AttributeName: string; readonly AttributeType: string }[];
  readonly KeySchema: KeySchema;
  readonly GlobalSecondaryIndexes?: readonly {
    readonly IndexName: string;
    readonly KeySchema: KeySchema;
    readonly Projection: { readonly ProjectionType: string; readonly NonKeyAttributes?: readonly string[] };
  }[];
}

type KeySchema = readonly { readonly AttributeName: string; readonly KeyType: 'HASH' | 'RANGE' }[];

export interface Row {
  readonly item: Attributes;
  readonly bytes: number;
}

interface KeyAttribute {
  readonly name: string;
  readonly type: string;
  readonly bytesMax: number;
}

const partitionKeyBytesMax = 2048;
const sortKeyBytesMax = 1024;
const itemBytesMax = 409_600;
/** Between parts of an order: below everything, so that a shorter part comes first. */
const separator = '\0';

interface Partition {
  readonly rows: Map<string, Row>;
  readonly order: SortedKeys;
}

/** Rows by partition; the table itself, or one of its indexes. */
class Partitions {
  readonly #byKey = new Map<string, Partition>();
  /** For scans. */
  readonly #order = new SortedKeys();

  get(partition: string): Partition | undefined {
    return this.#byKey.get(partition);
  }

  set(partition: string, place: string, row: Row): void {
    let found = this.#byKey.get(partition);
    if (!found) {
      this.#byKey.set(partition, (found = { rows: new Map(), order: new SortedKeys() }));
      this.#order.add(partition);
    }
    if (!found.rows.has(place)) found.order.add(place);
    found.rows.set(place, row);
  }

  remove(partition: string, place: string): void {
    const found = this.#byKey.get(partition);
    if (!found?.rows.delete(place)) return;
    if (found.rows.size > 0) return found.order.remove(place);
    this.#byKey.delete(partition);
    this.#order.remove(partition);
  }

  /** Behind one row, or from the beginning. */
  *scan(after: { readonly partition: string; readonly place: string } | undefined): Generator<Row, void, void> {
    for (const key of this.#order.upFrom(after?.partition ?? '')) {
      const { rows, order } = this.#byKey.get(key)!;
      for (const place of order.upFrom(key === after?.partition ? after.place : ''))
        if (key !== after?.partition || place !== after.place) yield rows.get(place)!;
    }
  }
}

/** What can be queried. */
export interface View {
  readonly partitionKey: string;
  readonly sortKey: string | undefined;
  /** All that tells one row from every other. */
  readonly keys: readonly string[];
  readonly isIndex: boolean;
  partition(key: Value): Partition | undefined;
  /** Where a row stands within its partition. */
  placeOf(item: Attributes): string;
  project(row: Row): Row;
}

class Index implements View {
  readonly isIndex = true;
  readonly partitionKey: string;
  readonly sortKey: string | undefined;
  readonly keys: readonly string[];
  readonly #attributes: readonly KeyAttribute[];
  readonly #projected: readonly string[] | undefined;
  readonly #table: Table;
  readonly #rows = new Partitions();

  constructor(table: Table, attributes: readonly KeyAttribute[], projected: readonly string[] | undefined) {
    this.#table = table;
    this.#attributes = attributes;
    this.partitionKey = attributes[0]!.name;
    this.sortKey = attributes[1]?.name;
    this.keys = [...new Set([...attributes.map(({ name }) => name), ...table.keys])];
    this.#projected = projected && [...new Set([...this.keys, ...projected])];
  }

  partition(key: Value): Partition | undefined {
    return this.#rows.get(orderOf(key));
  }

  placeOf(item: Attributes): string {
    const range = this.sortKey === undefined ? '' : orderOf(item[this.sortKey]!);
    return [range, ...this.#table.keys.map((name) => orderOf(item[name]!))].join(separator);
  }

  project(row: Row): Row {
    if (!this.#projected) return row;
    const item = Object.fromEntries(
      this.#projected.flatMap((name) => (row.item[name] ? [[name, row.item[name]]] : [])),
    );
    return { item, bytes: bytesOf(item) };
  }

  /** Throws Refusal for a key of the wrong type. */
  check(item: Attributes): void {
    for (const { name, type } of this.#attributes)
      if (item[name] && !(type in item[name]))
        throw invalid(`One or more parameter values were invalid: Type mismatch for Index Key ${name}`);
  }

  /** Returns the write units that this takes: DynamoDB writes what has changed in an index, and moves what has another key. */
  replace(before: Row | undefined, after: Row | undefined): number {
    const [from, to] = [this.#spot(before), this.#spot(after)];
    if (!from && !to) return 0;
    const isSame = from && to && from.partition === to.partition && from.place === to.place;
    let units = 0;
    if (from && !isSame) {
      units += writeUnits(this.project(before!).bytes);
      this.#rows.remove(from.partition, from.place);
    }
    if (to) {
      // With its keys alone an entry stays as it is.
      if (!isSame || !this.#projected || this.#projected.length > this.keys.length)
        units += writeUnits(this.project(after!).bytes);
      this.#rows.set(to.partition, to.place, after!);
    }
    return units;
  }

  #spot(row: Row | undefined): { readonly partition: string; readonly place: string } | undefined {
    if (!row || this.#attributes.some(({ name }) => !row.item[name])) return undefined;
    return { partition: orderOf(row.item[this.partitionKey]!), place: this.placeOf(row.item) };
  }
}

export const writeUnits = (bytes: number): number => Math.max(1, Math.ceil(bytes / 1024));

export class Table implements View {
  readonly schema: Schema;
  readonly isIndex = false;
  readonly partitionKey: string;
  readonly sortKey: string | undefined;
  readonly keys: readonly string[];
  readonly #attributes: readonly KeyAttribute[];
  readonly #rows = new Partitions();
  readonly #indexes: ReadonlyMap<string, Index>;
  readonly createdMs = Date.now();

  constructor(schema: Schema) {
    this.schema = schema;
    this.#attributes = this.#keysOf(schema.KeySchema);
    this.partitionKey = this.#attributes[0]!.name;
    this.sortKey = this.#attributes[1]?.name;
    this.keys = this.#attributes.map(({ name }) => name);
    this.#indexes = new Map(
      (schema.GlobalSecondaryIndexes ?? []).map(({ IndexName, KeySchema, Projection }) => {
        const projected = Projection.ProjectionType === 'ALL' ? undefined : (Projection.NonKeyAttributes ?? []);
        return [IndexName, new Index(this, this.#keysOf(KeySchema), projected)];
      }),
    );
  }

  #keysOf(schema: KeySchema): readonly KeyAttribute[] {
    return schema.map(({ AttributeName: name, KeyType }) => {
      const type = this.schema.AttributeDefinitions.find((defined) => defined.AttributeName === name)?.AttributeType;
      if (type === undefined) throw invalid(`no attribute definition of ${name}`);
      return { name, type, bytesMax: KeyType === 'HASH' ? partitionKeyBytesMax : sortKeyBytesMax };
    });
  }

  view(index: string | undefined): View {
    if (index === undefined) return this;
    const found = this.#indexes.get(index);
    if (!found) throw invalid(`The table does not have the specified index: ${index}`);
    return found;
  }

  partition(key: Value): Partition | undefined {
    return this.#rows.get(orderOf(key));
  }

  placeOf(item: Attributes): string {
    return this.sortKey === undefined ? '' : orderOf(item[this.sortKey]!);
  }

  project(row: Row): Row {
    return row;
  }

  /** Throws Refusal unless it is a whole key of this table. */
  checkKey(key: Attributes): void {
    if (Object.keys(key).length !== this.#attributes.length)
      throw invalid('The provided key element does not match the schema');
    this.#checkKeys(key, 'The provided key element does not match the schema');
  }

  #checkKeys(item: Attributes, words: string): void {
    for (const { name, type, bytesMax } of this.#attributes) {
      const content = item[name]?.[type];
      if (typeof content !== 'string') throw invalid(words);
      if (content === '')
        throw invalid(
          `One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: ${name}`,
        );
      if (content.length * 3 > bytesMax && bytesOf({ [name]: item[name]! }) - name.length > bytesMax)
        throw invalid(`One or more parameter values were invalid: Size of ${name} has exceeded the maximum size limit`);
    }
  }

  get(key: Attributes): Row | undefined {
    return this.partition(key[this.partitionKey]!)?.rows.get(this.placeOf(key));
  }

  /** Puts an item in the place of `before`, which is what is there. Returns the write units that it takes. */
  put(item: Attributes, before: Row | undefined): number {
    this.#checkKeys(item, 'One or more parameter values were invalid: Missing the key or type mismatch for key');
    for (const index of this.#indexes.values()) index.check(item);
    const row: Row = { item, bytes: bytesOf(item) };
    if (row.bytes > itemBytesMax) throw invalid('Item size has exceeded the maximum allowed size');
    this.#rows.set(orderOf(item[this.partitionKey]!), this.placeOf(item), row);
    return writeUnits(Math.max(row.bytes, before?.bytes ?? 0)) + this.#reindex(before, row);
  }

  remove(key: Attributes, before: Row | undefined): number {
    this.#rows.remove(orderOf(key[this.partitionKey]!), this.placeOf(key));
    return writeUnits(before?.bytes ?? 0) + this.#reindex(before, undefined);
  }

  #reindex(before: Row | undefined, after: Row | undefined): number {
    let units = 0;
    for (const index of this.#indexes.values()) units += index.replace(before, after);
    return units;
  }

  scan(after: Attributes | undefined): Generator<Row, void, void> {
    return this.#rows.scan(after && { partition: orderOf(after[this.partitionKey]!), place: this.placeOf(after) });
  }
}
