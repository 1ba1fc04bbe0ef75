/**
 * Which brokers have a subscription, as a number: most filters are on one broker, the others on a few different sets of
 * them, so the sets are kept once. A broker that has gone is taken out of the sets, not out of the millions of entries
 * that say their numbers; an entry whose set has become empty is dropped when its table is next copied.
 */
interface BrokerSet {
  members: readonly number[];
  uses: number;
}

const nobody: readonly number[] = [];

export class BrokerSets {
  /** By number; the first stands for the empty set. */
  readonly #sets: (BrokerSet | undefined)[] = [{ members: nobody, uses: 0 }];
  readonly #numbers = new Map<string, number>();
  readonly #free: number[] = [];

  get size(): number {
    return this.#sets.length - 1 - this.#free.length;
  }

  /** Their slots, in ascending order. */
  members(number: number): readonly number[] {
    return this.#sets[number]!.members;
  }

  has(number: number, slot: number): boolean {
    return this.members(number).includes(slot);
  }

  /** The number for an entry that has had `number` until now, and which the broker at `slot` has, or has not, from now on. */
  change(number: number, slot: number, isThere: boolean): number {
    const others = this.members(number).filter((member) => member !== slot);
    const members = isThere ? [...others, slot].sort((a, b) => a - b) : others;
    const next = this.#use(members);
    this.release(number);
    return next;
  }

  /** An entry with this number has gone. */
  release(number: number): void {
    const set = this.#sets[number]!;
    if (number === 0 || --set.uses > 0) return;
    const key = keyOf(set.members);
    if (this.#numbers.get(key) === number) this.#numbers.delete(key);
    this.#sets[number] = undefined;
    this.#free.push(number);
  }

  /** The broker at this slot has gone: so many microseconds as there are different sets. */
  drop(slot: number): void {
    for (const [number, set] of this.#sets.entries()) {
      if (!set?.members.includes(slot)) continue;
      const key = keyOf(set.members);
      if (this.#numbers.get(key) === number) this.#numbers.delete(key);
      set.members = set.members.filter((member) => member !== slot);
      const left = keyOf(set.members);
      // Another set may be the same now: then new entries use that one, and this one ends with its last entry.
      if (set.members.length > 0 && !this.#numbers.has(left)) this.#numbers.set(left, number);
    }
  }

  #use(members: readonly number[]): number {
    if (members.length === 0) return 0;
    const key = keyOf(members);
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#sets.length;
      this.#sets[number] = { members, uses: 0 };
      this.#numbers.set(key, number);
    }
    this.#sets[number]!.uses++;
    return number;
  }
}

const keyOf = (members: readonly number[]): string => members.join();
