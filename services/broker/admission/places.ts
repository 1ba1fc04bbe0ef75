/**
 * Places of CONNECTs that are under way. Each holds a packet with its password and will, so there are only so many; and so
 * that nobody can take them all, a group never gets more than its part of those that are free: one that has a part of a
 * quarter gets 614 of 4096, the next one fewer. A quarter of all is kept for groups that have few, so that it takes
 * more than a hundred groups at once to shut the door.
 *
 * Until its password has been checked, a CONNECT counts for the address that it comes from and for the tenant that it
 * names; then for the tenant that it is of.
 */
import type { TenantScope } from '../../kernel/kernel.js';

export interface Share {
  readonly group: string;
  /** Of the free places it may have one in `part`. */
  readonly part: number;
}

/** A group has few with less than this. */
const fewMax = 8;
const addressPart = 8;
const tenantPart = 4;

/** Before the password has been checked: whoever comes from one address cannot have all of the tenant that it names. */
export const ofStranger = (addressGroup: string, tenant: string): readonly Share[] => [
  { group: `address ${addressGroup}`, part: addressPart },
  { group: `name ${tenant}`, part: tenantPart },
];

export const ofTenant = (scope: TenantScope): Share => ({ group: `tenant ${scope}`, part: tenantPart });

export class Places {
  readonly #max: number;
  readonly #byGroup = new Map<string, number>();
  #taken = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Undefined when one of the groups has its share. */
  take(shares: readonly Share[]): Place | undefined {
    if (this.#taken >= this.#max) return undefined;
    const forMany = (this.#max * 3) / 4 - this.#taken;
    for (const { group, part } of shares)
      if ((this.#byGroup.get(group) ?? 0) >= Math.max(fewMax, forMany / part)) return undefined;
    this.#taken++;
    for (const { group } of shares) this.#count(group, 1);
    return new Place(this, shares);
  }

  free(shares: readonly Share[]): void {
    this.#taken--;
    for (const { group } of shares) this.#count(group, -1);
  }

  #count(group: string, change: 1 | -1): void {
    const count = (this.#byGroup.get(group) ?? 0) + change;
    if (count > 0) this.#byGroup.set(group, count);
    else this.#byGroup.delete(group);
  }
}

export class Place {
  readonly #places: Places;
  /** Undefined when it has been left. */
  #shares: readonly Share[] | undefined;

  constructor(places: Places, shares: readonly Share[]) {
    this.#places = places;
    this.#shares = shares;
  }

  /** From now on it counts for another; false, and it is left, when that has its share. */
  becomes(share: Share): boolean {
    this.leave();
    if (this.#places.take([share])) this.#shares = [share];
    return this.#shares !== undefined;
  }

  leave(): void {
    if (this.#shares) this.#places.free(this.#shares);
    this.#shares = undefined;
  }
}
