/**
 * Whose the request units are that calls report, in write units: five read units cost what one write unit does.
 *
 * A call for one partition is its tenant's. Of a batch DynamoDB tells only what it took by table. A put is charged with its own
 * size; what is left over is for deletes and for puts over something larger, whose sizes are not told: by what the puts of each
 * tenant have weighed on average, for what it deletes it has put before. So who stores 300 KB and deletes them pays for that, and
 * not the others of the call.
 *
 * A condition that did not hold is billed and not told: one unit, the least it can be. Neither is an attempt without an answer.
 */
import type { ConsumedCapacity } from '@aws-sdk/client-dynamodb';
import type { TableWrite } from './batch.js';
import { itemBytes } from './item-size.js';
import type { TableName } from './tables.js';

export interface ChargeOptions {
  /** Whose a partition is; undefined: nobody's. Calls that wait take turns by it. Default: all are nobody's. */
  readonly tenantOf?: ((table: TableName, pk: string) => string | undefined) | undefined;
  /** Is told of every tenant's write units. */
  readonly charge?: ((tenant: string, units: number) => void) | undefined;
}

const readsOfWrite = 5;
const readActions = new Set(['GetItem', 'BatchGetItem', 'Query']);
/** Of how many tenants the average is known; the others' is 1. */
const averagesMax = 10_000;
/** How much one put changes the average. */
const newWeight = 1 / 64;

export class Charges {
  readonly #options: ChargeOptions;
  readonly #averages = new Map<string, number>();

  constructor(options: ChargeOptions) {
    this.#options = options;
  }

  tenantOf(table: TableName, pk: string): string | undefined {
    return this.#options.tenantOf?.(table, pk);
  }

  call(
    tenant: string | undefined,
    action: string,
    capacity: ConsumedCapacity | readonly ConsumedCapacity[] | undefined,
  ) {
    if (tenant === undefined || !this.#options.charge) return;
    this.#options.charge(tenant, sum(capacity) / (readActions.has(action) ? readsOfWrite : 1));
  }

  conditionFailed(tenant: string | undefined): void {
    if (tenant !== undefined) this.#options.charge?.(tenant, 1);
  }

  /** `made`: the writes of one table that are done. */
  batch(made: readonly TableWrite[], consumed: number): void {
    const { charge } = this.#options;
    if (!charge) return;
    let over = consumed;
    let weights = 0;
    const shares = new Map<string, { own: number; weight: number }>();
    for (const write of made) {
      const tenant = this.tenantOf(write.table, 'put' in write ? write.put.pk : write.delete.pk) ?? '';
      let share = shares.get(tenant);
      if (!share) shares.set(tenant, (share = { own: 0, weight: 0 }));
      const units = 'put' in write ? Math.max(1, Math.ceil(itemBytes(write.put) / 1024)) : 0;
      const average = this.#averages.get(tenant) ?? 1;
      if (units > 0) this.#note(tenant, average + (units - average) * newWeight);
      share.own += units;
      share.weight += average;
      over -= units;
      weights += average;
    }
    // Sizes are reckoned to within a few bytes.
    const scale = over < 0 ? consumed / (consumed - over) : 1;
    for (const [tenant, { own, weight }] of shares)
      if (tenant !== '') charge(tenant, own * scale + (Math.max(0, over) * weight) / weights);
  }

  #note(tenant: string, average: number): void {
    if (!this.#averages.has(tenant) && this.#averages.size >= averagesMax)
      this.#averages.delete(this.#averages.keys().next().value!);
    this.#averages.set(tenant, average);
  }
}

function sum(capacity: ConsumedCapacity | readonly ConsumedCapacity[] | undefined): number {
  const all = Array.isArray(capacity) ? (capacity as readonly ConsumedCapacity[]) : [capacity as ConsumedCapacity];
  return all.reduce((units, one) => units + (one?.CapacityUnits ?? 0), 0);
}
