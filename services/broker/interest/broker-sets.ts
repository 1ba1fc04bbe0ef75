/**
 * Which brokers have a subscription, as a number: most filters are on one broker, the others on a few different sets of
 * them, so the sets are kept once. A broker that has gone is taken out of the sets, not out of the millions of entries
 * that say their numbers; an entry whose set has become empty is dropped when its table is next copied.
 *
 * A member is a broker's slot and whether stored sessions are behind the subscription (then a message needs a receipt).
 */

/** 0: this broker has none. */
export type Kind = 0 | 1 | 2;
export const none = 0;
/** Connected sessions only. */
export const connected = 1;
/** Stored ones, too. */
export const durable = 2;

export interface Member {
  readonly slot: number;
  readonly kind: Kind;
}

interface BrokerSet {
  members: readonly Member[];
  uses: number;
}

const nobody: readonly Member[] = [];

export class BrokerSets {
  /** By number; the first stands for the empty set. */
  readonly #sets: (BrokerSet | undefined)[] = [{ members: nobody, uses: 0 }];
  readonly #numbers = new Map<string, number>();
  readonly #free: number[] = [];

  get size(): number {
    return this.#sets.length - 1 - this.#free.length;
  }

  /** In ascending order of slots. */
  members(number: number): readonly Member[] {
    return this.#sets[number]!.members;
  }

  kindOf(number: number, slot: number): Kind {
    for (const member of this.members(number)) if (member.slot === slot) return member.kind;
    return none;
  }

  /** The number for an entry that has had `number` until now, and of whose brokers the one at `slot` has become of that kind. */
  change(number: number, slot: number, kind: Kind): number {
    const others = this.members(number).filter((member) => member.slot !== slot);
    const members = kind === none ? others : [...others, { slot, kind }].sort((a, b) => a.slot - b.slot);
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
      if (!set?.members.some((member) => member.slot === slot)) continue;
      const key = keyOf(set.members);
      if (this.#numbers.get(key) === number) this.#numbers.delete(key);
      set.members = set.members.filter((member) => member.slot !== slot);
      const left = keyOf(set.members);
      // Another set may be the same now: then new entries use that one, and this one ends with its last entry.
      if (set.members.length > 0 && !this.#numbers.has(left)) this.#numbers.set(left, number);
    }
  }

  #use(members: readonly Member[]): number {
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

const keyOf = (members: readonly Member[]): string => members.map(({ slot, kind }) => slot * 2 + kind - 1).join();
