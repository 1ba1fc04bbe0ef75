/**
 * What brokers that have died have left to this one, tenant by tenant, where brokers serve together: which of its buckets are to be
 * read, and above which epoch this broker has to write then. Called by `session-store.ts`; whose a slot is, `succession.ts` says.
 *
 *      notes of each marked broker, read once -> has it had this tenant? -> buckets in slots that are due -> read, inherited -> `entered`
 *
 * The epoch is above the notes of all marked brokers, not only of those of whom something is due: on the way of a slot there may
 * be one that has inherited, stored messages, and written no record.
 */
import type { BrokerId, ClientId, TenantScope } from '../../kernel/kernel.js';
import { sessionBuckets, sessionKey, slotOf } from '../../tenancy/tenancy.js';
import type { Due, Succession } from './succession.js';
import type { TenantNotes } from './tenant-notes.js';

/** Of one tenant, as of when it was asked for. */
interface Share {
  readonly buckets: readonly string[];
  readonly parts: readonly { readonly owner: BrokerId; readonly slots: readonly number[] }[];
}

/** What is known of a marked broker. */
interface Left {
  readonly notes: Promise<ReadonlyMap<TenantScope, number>>;
  /** Slots that are here, by tenant. */
  readonly here: Map<TenantScope, Set<number>>;
}

export class Inheritance {
  readonly succession: Succession;
  readonly #notes: TenantNotes;
  readonly #left = new Map<BrokerId, Left>();
  /** Being read. */
  readonly #shares = new Map<TenantScope, Share>();
  /** What was adopted of an owner, until that is said. */
  readonly #adopting = new Map<BrokerId, Due>();

  constructor(succession: Succession, notes: TenantNotes) {
    this.succession = succession;
    this.#notes = notes;
  }

  /** Writes the note of the tenant. Returns whether something is to be read. `clientId`: its bucket, whoever has left it. */
  async enter(scope: TenantScope, clientId?: ClientId): Promise<boolean> {
    const { due, marked } = this.succession;
    if (due.size === 0 && clientId === undefined) {
      await this.#notes.enterAbove(scope, undefined);
      return false;
    }
    const epochs: number[] = [];
    const parts: { owner: BrokerId; slots: number[] }[] = [];
    const buckets = new Set<string>(clientId === undefined ? [] : [sessionKey(scope, clientId).pk]);
    for (const owner of new Set([...marked, ...due.keys()])) {
      const left = this.#leftBy(owner);
      const epoch = (await left.notes).get(scope);
      if (epoch === undefined) continue;
      epochs.push(epoch);
      const slots = this.#slots(due.get(owner), left, scope);
      if (slots.length > 0) parts.push({ owner, slots });
      for (const pk of sessionBuckets(scope)) if (slots.includes(slotOf(pk))) buckets.add(pk);
    }
    await this.#notes.enterAbove(scope, buckets.size > 0 ? Math.max(0, ...epochs) : undefined);
    this.#shares.set(scope, { buckets: [...buckets], parts });
    return buckets.size > 0;
  }

  /** Those of the tenant's buckets that are due and not here. */
  #slots(due: Due | undefined, { here }: Left, scope: TenantScope): number[] {
    if (!due) return [];
    const ofTenant = new Set(sessionBuckets(scope).map(slotOf));
    return [...ofTenant].filter((slot) => due.slots.has(slot) && !here.get(scope)?.has(slot));
  }

  bucketsOf(scope: TenantScope): readonly string[] {
    return this.#shares.get(scope)?.buckets ?? [];
  }

  /** What `enter` has said is here. */
  entered(scope: TenantScope): void {
    for (const { owner, slots } of this.#shares.get(scope)?.parts ?? []) {
      const here = this.#left.get(owner)?.here;
      here?.set(scope, new Set([...(here.get(scope) ?? []), ...slots]));
    }
    this.#shares.delete(scope);
  }

  /** Tenants of which something is to be read. */
  async scopesOf(owner: BrokerId): Promise<readonly TenantScope[]> {
    const due = this.succession.due.get(owner);
    if (!due) return [];
    this.#adopting.set(owner, due);
    const left = this.#leftBy(owner);
    return [...(await left.notes).keys()].filter((scope) => this.#slots(due, left, scope).length > 0);
  }

  /** All of `scopesOf` are here. */
  async adopted(owner: BrokerId): Promise<void> {
    const due = this.#adopting.get(owner);
    if (!due || !(await this.succession.adopted(due))) return;
    await this.#notes.remove(owner);
    await this.succession.clear(owner);
  }

  #leftBy(owner: BrokerId): Left {
    let left = this.#left.get(owner);
    if (left) return left;
    const marked = new Set(this.succession.marked);
    for (const known of this.#left.keys()) if (!marked.has(known)) this.#left.delete(known);
    const notes = this.#notes.leftBy(owner);
    left = { notes, here: new Map() };
    this.#left.set(owner, left);
    notes.catch(() => this.#left.delete(owner));
    return left;
  }
}
