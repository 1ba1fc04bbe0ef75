/** What is stored for shared subscriptions while none of their members is connected: partitions of the table `inbox`. */
import type { TenantId } from '../../kernel/kernel.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { sharedPartition } from '../../tenancy/tenancy.js';
import type { SharedStore, StoredShared } from '../admission/admission.js';
import { purgeMessages, readSummary, removeMessages } from './stored-messages.js';

export class DynamoSharedStore implements SharedStore {
  readonly #dynamo: Dynamo;

  constructor(dynamo: Dynamo) {
    this.#dynamo = dynamo;
  }

  async loadShared(tenant: TenantId, name: string): Promise<StoredShared> {
    const { count, origins, lastEpoch } = await readSummary(this.#dynamo, sharedPartition(tenant, name), 0);
    return { messages: count, origins, lastEpoch };
  }

  async removeShared(tenant: TenantId, name: string, keys: readonly string[]): Promise<void> {
    await removeMessages(this.#dynamo, sharedPartition(tenant, name), keys);
  }

  async purgeShared(tenant: TenantId, name: string, epochBelow: number): Promise<void> {
    await purgeMessages(this.#dynamo, sharedPartition(tenant, name), epochBelow);
  }
}
