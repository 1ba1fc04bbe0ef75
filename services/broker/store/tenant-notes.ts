/**
 * Which tenants a broker has sessions of, and which those before it have left: notes, one for each broker and tenant, in 16
 * shards of the table `cluster`. A note is written before anything else of the tenant, and removed when everything that its
 * broker has left is another's, whose own note says so by then. So whatever is stored of a session, a note leads to it:
 *
 *  | crash point                                            | notes that lead to the tenant                           |
 *  | ------------------------------------------------------ | ------------------------------------------------------- |
 *  | B has read A's notes, not written one of its own        | A's, whose lease is still there to be adopted           |
 *  | B has its note, and some of the sessions are B's        | A's and B's                                             |
 *  | all are B's, A's notes are removed in part              | B's; A's that are left are adopted once more, in vain   |
 *  | A's notes are removed, its lease is not                 | B's; there is nothing to adopt for A                    |
 *
 * Reads are consistent. A tenant of which no other broker has a note has nothing stored that this one would have to look for: a
 * tenant that is new here costs one write, and no read of its sessions. Notes of living brokers are read, too, and do no harm.
 */
import { atOnce, type BrokerId, type TenantScope } from '../../kernel/kernel.js';
import type { Dynamo, Item } from '../../dynamo/dynamo.js';
import { tenantNoteKey, tenantNotePrefix, tenantNoteShards } from '../../tenancy/tenancy.js';

const shardsAtOnce = 4;
const scopesMax = 100_000;

export class TenantNotes {
  readonly #dynamo: Dynamo;
  readonly #owner: BrokerId;
  /** Tenants that others have left, as far as this broker has not opened them; read once. */
  #left: Promise<Set<TenantScope>> | undefined;
  /** Tenants of which this broker has a note. To forget one costs a write more. */
  readonly #written = new Set<TenantScope>();

  constructor(dynamo: Dynamo, owner: BrokerId) {
    this.#dynamo = dynamo;
    this.#owner = owner;
  }

  /** Writes the note, if it is not there. Returns whether other brokers may have left something of the tenant. */
  async enter(scope: TenantScope): Promise<boolean> {
    this.#left ??= this.#readLeft().catch((error: unknown) => {
      this.#left = undefined;
      throw error;
    });
    const [left] = await Promise.all([this.#left, this.#write(scope)]);
    return left.has(scope);
  }

  /** All that others have left of the tenant is here. */
  entered(scope: TenantScope): void {
    void this.#left?.then((left) => left.delete(scope));
  }

  async #write(scope: TenantScope): Promise<void> {
    if (this.#written.has(scope)) return;
    await this.#dynamo.put('cluster', { ...tenantNoteKey(this.#owner, scope), tenant: scope });
    if (this.#written.size >= scopesMax) this.#written.clear();
    this.#written.add(scope);
  }

  async of(owner: BrokerId): Promise<readonly TenantScope[]> {
    const scopes: TenantScope[] = [];
    await this.#eachPage(tenantNotePrefix(owner), (items) => scopes.push(...items.map(scopeIn)));
    return scopes;
  }

  /** After all of them have been adopted. */
  async remove(owner: BrokerId): Promise<void> {
    await this.#eachPage(tenantNotePrefix(owner), async (items) => {
      await this.#dynamo.batchWrite(
        'cluster',
        [],
        items.map(({ pk, sk }) => ({ pk: pk as string, sk: sk as string })),
      );
    });
  }

  async #readLeft(): Promise<Set<TenantScope>> {
    const left = new Set<TenantScope>();
    const mine = tenantNotePrefix(this.#owner);
    await this.#eachPage(undefined, (items) => {
      for (const item of items) if (!(item['sk'] as string).startsWith(mine)) left.add(scopeIn(item));
    });
    return left;
  }

  async #eachPage(prefix: string | undefined, use: (items: readonly Item[]) => unknown): Promise<void> {
    await atOnce(tenantNoteShards, shardsAtOnce, async (pk) => {
      const sk = prefix === undefined ? {} : { sk: { beginsWith: prefix } };
      for await (const items of this.#dynamo.queryAll('cluster', { pk, ...sk, consistent: true })) await use(items);
    });
  }
}

const scopeIn = (item: Item): TenantScope => item['tenant'] as TenantScope;
