/** What tenants have used, by day: the table `usage`. */
import type { TenantScope } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { usagePartition } from '../../tenancy/tenancy.js';
import type { UsageStore } from '../tenant/tenant.js';

export class DynamoUsage implements UsageStore {
  readonly #dynamo: Dynamo;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  async read(scope: TenantScope, month: string): Promise<number> {
    let units = 0;
    for await (const days of this.#dynamo.queryAll('usage', { pk: usagePartition(scope, month), consistent: true }))
      for (const { databaseUnits } of days) if (typeof databaseUnits === 'number') units += databaseUnits;
    return units;
  }

  async add(scope: TenantScope, day: string, units: number): Promise<void> {
    await this.#dynamo.update(
      'usage',
      { pk: usagePartition(scope, day.slice(0, 7)), sk: day },
      // Once: an attempt without an answer may have added it.
      { update: 'ADD databaseUnits :units', values: { ':units': units }, maxAttempts: 1 },
    );
  }
}
