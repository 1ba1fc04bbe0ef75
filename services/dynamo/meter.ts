/**
 * Counts what DynamoDB is asked for and what it bills: calls (each attempt is one), request units, errors by kind.
 * A call over several tables counts once for each. What a failed call consumed is not told by DynamoDB and not in the
 * units; a condition that did not hold is part of the plan and no error.
 */
import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb';
import { type Counter, Metrics } from '../kernel/kernel.js';
import { ConditionFailed, DynamoMisconfigured, DynamoUnavailable } from './errors.js';
import type { TableName } from './tables.js';

const readActions = new Set(['GetItem', 'BatchGetItem', 'Query']);

export class Meter {
  readonly #metrics: Metrics;
  readonly #tablePrefix: string;
  /** Held by table and label, for this runs with every call. */
  readonly #counters = new Map<string, Counter>();

  constructor(tablePrefix: string, metrics = new Metrics()) {
    this.#tablePrefix = tablePrefix;
    this.#metrics = metrics;
  }

  call(tables: readonly TableName[], action: string): void {
    for (const table of tables)
      this.#counter('shoal_dynamodb_calls_total', 'Calls of DynamoDB, each attempt counted', { table, action }).add();
  }

  consumed(action: string, capacity: ConsumedCapacity | readonly ConsumedCapacity[] | undefined): void {
    if (capacity === undefined) return;
    const kind = readActions.has(action) ? 'read' : 'write';
    for (const { TableName = '', CapacityUnits = 0 } of Array.isArray(capacity) ? capacity : [capacity]) {
      const labels = { table: TableName.slice(this.#tablePrefix.length), kind };
      this.#counter('shoal_dynamodb_units_total', 'Request units that DynamoDB reported', labels).add(CapacityUnits);
    }
  }

  failed(tables: readonly TableName[], action: string, error: Error): void {
    if (error instanceof ConditionFailed) return;
    const kind = kindOf(error);
    for (const table of tables)
      this.#counter('shoal_dynamodb_errors_total', 'Calls of DynamoDB that failed', { table, action, kind }).add();
  }

  #counter(name: string, help: string, labels: Readonly<Record<string, string>>): Counter {
    const id = `${name} ${Object.values(labels).join(' ')}`;
    let counter = this.#counters.get(id);
    if (!counter) this.#counters.set(id, (counter = this.#metrics.counter(name, help, labels)));
    return counter;
  }
}

function kindOf(error: Error): 'throttled' | 'unavailable' | 'misconfigured' | 'rejected' {
  if (error instanceof DynamoUnavailable) return error.throttled ? 'throttled' : 'unavailable';
  return error instanceof DynamoMisconfigured ? 'misconfigured' : 'rejected';
}
