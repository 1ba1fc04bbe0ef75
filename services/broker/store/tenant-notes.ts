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
 * A note also says from which epoch on its broker writes what it inherits (`session-records.ts`): above the epochs of all notes
 * that are there, of all records it has read, and of its own notes of before. So two brokers never write under the same one, though
 * neither has written a single record. It is raised, by writing it again, before anything is used that asks for a greater one.
 *
 * With brokers that serve together the notes of living ones say nothing, and only those of brokers with a mark are read, once for
 * each (`inheritance.ts`).
 *
 * Reads are consistent. A tenant of which no other broker has a note has nothing stored that this one would have to look for: a
 * tenant that is new here costs one write, and no read of its sessions. Notes of living brokers are read, too, and do no harm.
 */
import { atOnce, type BrokerId, type Clock, type TenantScope } from '../../kernel/kernel.js';
import type { Dynamo, Item } from '../../dynamo/dynamo.js';
import { epochAt, tenantNoteKey, tenantNotePrefix, tenantNoteShards } from '../../tenancy/tenancy.js';

const shardsAtOnce = 4;
const scopesMax = 100_000;
/** A broker that has been followed may still have claims of a client under way: each raises the epoch of its record by one. */
const lateClaimsMax = 16;

export class TenantNotes {
  readonly #dynamo: Dynamo;
  readonly #owner: BrokerId;
  readonly #clock: Clock;
  /** Tenants that others have left, as far as this broker has not opened them, with the greatest epoch; read once. */
  #left: Promise<Map<TenantScope, number>> | undefined;
  /** Epochs of notes that this broker has written, or is writing. To forget one costs a write more. */
  readonly #epochs = new Map<TenantScope, number>();
  /** Of those that are forgotten none was greater. */
  #forgotten = 0;

  constructor(dynamo: Dynamo, owner: BrokerId, clock: Clock) {
    this.#dynamo = dynamo;
    this.#owner = owner;
    this.#clock = clock;
  }

  /** The epoch from which on this broker writes what it inherits of the tenant; never less than it was before. */
  epochOf(scope: TenantScope): number {
    return this.#epochs.get(scope) ?? this.#forgotten;
  }

  /**
   * Writes the note, if it is not there. Returns whether other brokers may have left something of the tenant: then the epoch
   * is a new one, because an attempt that has failed may have stored something under the last.
   */
  async enter(scope: TenantScope): Promise<boolean> {
    this.#left ??= this.#readLeft().catch((error: unknown) => {
      this.#left = undefined;
      throw error;
    });
    const left = (await this.#left).get(scope);
    await this.enterAbove(scope, left);
    return left !== undefined;
  }

  /** Writes the note, above this epoch; without one, if it is not there. */
  async enterAbove(scope: TenantScope, left: number | undefined): Promise<void> {
    const nowEpoch = epochAt(this.#clock.nowMs());
    if (left !== undefined) await this.#write(scope, Math.max(left, nowEpoch) + lateClaimsMax + 1);
    else if (!this.#epochs.has(scope)) await this.#write(scope, nowEpoch);
  }

  /** Before anything is used of a record that somebody has written under `epoch`. */
  async raiseAbove(scope: TenantScope, epoch: number): Promise<void> {
    if (epoch + lateClaimsMax >= this.epochOf(scope)) await this.#write(scope, epoch + lateClaimsMax + 1);
  }

  async #write(scope: TenantScope, atLeast: number): Promise<void> {
    const epoch = Math.max(atLeast, this.epochOf(scope) + 1);
    if (this.#epochs.size >= scopesMax) for (const known of [...this.#epochs.keys()]) this.#forget(known);
    this.#epochs.set(scope, epoch);
    try {
      await this.#dynamo.put('cluster', { ...tenantNoteKey(this.#owner, scope), tenant: scope, epoch });
    } catch (error) {
      this.#forget(scope); // It may not be there.
      throw error;
    }
  }

  #forget(scope: TenantScope): void {
    this.#forgotten = Math.max(this.#forgotten, this.epochOf(scope));
    this.#epochs.delete(scope);
  }

  /** All that others have left of the tenant is here. */
  entered(scope: TenantScope): void {
    void this.#left?.then((left) => left.delete(scope));
  }

  async scopesOf(owner: BrokerId): Promise<readonly TenantScope[]> {
    return [...(await this.leftBy(owner)).keys()];
  }

  /** With the epochs. */
  async leftBy(owner: BrokerId): Promise<ReadonlyMap<TenantScope, number>> {
    const scopes = new Map<TenantScope, number>();
    await this.#eachPage(tenantNotePrefix(owner), (items) => {
      for (const item of items) scopes.set(scopeIn(item), epochIn(item));
    });
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

  async #readLeft(): Promise<Map<TenantScope, number>> {
    const left = new Map<TenantScope, number>();
    const mine = tenantNotePrefix(this.#owner);
    await this.#eachPage(undefined, (items) => {
      for (const item of items) {
        if ((item['sk'] as string).startsWith(mine)) continue;
        const scope = scopeIn(item);
        left.set(scope, Math.max(left.get(scope) ?? 0, epochIn(item)));
      }
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
/** Notes of a release before have none; their records have. */
const epochIn = (item: Item): number => (item['epoch'] as number | undefined) ?? 0;
