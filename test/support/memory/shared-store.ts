/** `SharedStore` in memory, over the tables that `MemoryCommitLog` writes. */
import type { SharedStore, StoredShared } from '../../../services/broker/tenant/tenant.js';
import type { TenantScope } from '../../../services/kernel/kernel.js';
import { sharedPartition } from '../../../services/tenancy/tenancy.js';
import type { SessionTables } from './session-tables.js';

const epochOf = (key: string): number => parseInt(key.slice(1, 11), 16);

export class MemorySharedStore implements SharedStore {
  readonly #tables: SessionTables;

  constructor(tables: SessionTables) {
    this.#tables = tables;
  }

  async loadShared(tenant: TenantScope, name: string): Promise<StoredShared> {
    await Promise.resolve();
    const items = this.#tables.items(sharedPartition(tenant, name));
    return {
      messages: items.reduce((sum, { messages }) => sum + messages.length, 0),
      origins: items.flatMap(({ key, messages }) =>
        messages.flatMap(({ origin }) => (origin ? [{ key, origin }] : [])),
      ),
      lastEpoch: items.length > 0 ? epochOf(items.at(-1)!.key) : 0,
    };
  }

  async removeShared(tenant: TenantScope, name: string, keys: readonly string[]): Promise<void> {
    await Promise.resolve();
    for (const key of keys) this.#tables.write(sharedPartition(tenant, name), { kind: 'delete', key });
  }

  async purgeShared(tenant: TenantScope, name: string, epochBelow: number): Promise<void> {
    const keys = this.#tables.items(sharedPartition(tenant, name)).map(({ key }) => key);
    await this.removeShared(
      tenant,
      name,
      keys.filter((key) => epochOf(key) < epochBelow),
    );
  }
}
