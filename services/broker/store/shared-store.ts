/** What is stored for shared subscriptions while none of their members is connected: partitions of the table `inbox`. */
import type { TenantScope } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { sharedPartition } from '../../tenancy/tenancy.js';
import type { SharedStore, StoredShared } from '../tenant/tenant.js';
import { purgeMessages, readSummary, removeMessages } from './stored-messages.js';

export class DynamoSharedStore implements SharedStore {
  readonly #dynamo: Dynamo;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  async loadShared(scope: TenantScope, name: string): Promise<StoredShared> {
    const { count, origins, lastEpoch } = await readSummary(this.#dynamo, sharedPartition(scope, name), 0);
    return { messages: count, origins, lastEpoch };
  }

  async removeShared(scope: TenantScope, name: string, keys: readonly string[]): Promise<void> {
    await removeMessages(this.#dynamo, sharedPartition(scope, name), keys);
  }

  async purgeShared(scope: TenantScope, name: string, epochBelow: number): Promise<void> {
    await purgeMessages(this.#dynamo, sharedPartition(scope, name), epochBelow);
  }
}
