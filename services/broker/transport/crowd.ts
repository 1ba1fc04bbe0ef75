/**
 * Members in groups, and at once: which group has the most, and who in it came first. Called by `doorstep.ts`, whose
 * members are sockets and whose groups are addresses. Each step costs the same, however many there are.
 */
export interface Member {
  /** Must not change while it is in. */
  readonly group: string;
}

export class Crowd<T extends Member> {
  readonly #all = new Set<T>();
  readonly #groups = new Map<string, Set<T>>();
  /** Groups by the number of their members: `#bySize[3]` has those of three. */
  readonly #bySize: Set<Set<T>>[] = [];
  #largest = 0;

  get size(): number {
    return this.#all.size;
  }

  /** Members of the largest group. */
  get largest(): number {
    return this.#largest;
  }

  sizeOf(group: string): number {
    return this.#groups.get(group)?.size ?? 0;
  }

  add(member: T): void {
    let group = this.#groups.get(member.group);
    if (!group) this.#groups.set(member.group, (group = new Set()));
    this.#all.add(member);
    this.#change(group, () => group.add(member));
    this.#largest = Math.max(this.#largest, group.size);
  }

  remove(member: T): void {
    if (!this.#all.delete(member)) return;
    const group = this.#groups.get(member.group)!;
    this.#change(group, () => group.delete(member));
    if (group.size === 0) this.#groups.delete(member.group);
    // One step at most: the group that was the largest has one less than before.
    if ((this.#bySize[this.#largest]?.size ?? 0) === 0) this.#largest--;
  }

  get oldest(): T | undefined {
    return first(this.#all);
  }

  oldestOf(group: string): T | undefined {
    return first(this.#groups.get(group));
  }

  get oldestOfLargest(): T | undefined {
    return first(first(this.#bySize[this.#largest]));
  }

  #change(group: Set<T>, step: () => void): void {
    this.#bySize[group.size]?.delete(group);
    step();
    if (group.size > 0) (this.#bySize[group.size] ??= new Set()).add(group);
  }
}

function first<T>(set: Set<T> | undefined): T | undefined {
  return set?.values().next().value;
}
