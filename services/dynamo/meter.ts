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
  /** Held by what they count, and by table and label, for this runs with every call. */
  readonly #calls = new Held('shoal_dynamodb_calls_total', 'Calls to DynamoDB, counting each attempt', 'action');
  readonly #units = new Held('shoal_dynamodb_units_total', 'Request units that DynamoDB reported', 'kind');

  constructor(tablePrefix: string, metrics = new Metrics()) {
    this.#tablePrefix = tablePrefix;
    this.#metrics = metrics;
  }

  call(tables: readonly TableName[], action: string): void {
    for (const table of tables) this.#calls.counter(this.#metrics, table, action).add();
  }

  consumed(action: string, capacity: ConsumedCapacity | readonly ConsumedCapacity[] | undefined): void {
    if (capacity === undefined) return;
    const kind = readActions.has(action) ? 'read' : 'write';
    for (const { TableName = '', CapacityUnits = 0 } of Array.isArray(capacity) ? capacity : [capacity]) {
      const table = TableName.slice(this.#tablePrefix.length);
      this.#units.counter(this.#metrics, table, kind).add(CapacityUnits);
    }
  }

  failed(tables: readonly TableName[], action: string, error: Error): void {
    if (error instanceof ConditionFailed) return;
    const kind = kindOf(error);
    for (const table of tables)
      this.#metrics
        .counter('shoal_dynamodb_errors_total', 'Calls to DynamoDB that failed', { table, action, kind })
        .add();
  }
}

/** The counters of one family that has two labels: to look one up makes no text. */
class Held {
  readonly #name: string;
  readonly #help: string;
  readonly #label: string;
  readonly #byTable = new Map<string, Map<string, Counter>>();

  constructor(name: string, help: string, label: string) {
    this.#name = name;
    this.#help = help;
    this.#label = label;
  }

  counter(metrics: Metrics, table: string, value: string): Counter {
    let counters = this.#byTable.get(table);
    if (!counters) this.#byTable.set(table, (counters = new Map()));
    let counter = counters.get(value);
    if (!counter) {
      counter = metrics.counter(this.#name, this.#help, { table, [this.#label]: value });
      counters.set(value, counter);
    }
    return counter;
  }
}

function kindOf(error: Error): 'throttled' | 'unavailable' | 'misconfigured' | 'rejected' {
  if (error instanceof DynamoUnavailable) return error.throttled ? 'throttled' : 'unavailable';
  return error instanceof DynamoMisconfigured ? 'misconfigured' : 'rejected';
}
