/**
 * Which tenants something has happened to. Whoever looks at tenants again and again (for the numbers of a scrape, for load
 * averages, for those that are empty) looks at these only, so that a tenant that is quiet costs nothing, however many there are.
 *
 *      something happens -> `touch` -> the list, once -> `recent` of each look: what has come since its last one
 *
 * Everything that can change a number of a tenant touches it: time is used for it (`thread.ts`), its messages move
 * (`safety-ledger.ts`), something of its memory is counted, a connection, session or subscription comes or goes.
 */
export interface Touchable {
  /** It is on the list, or not to be put on it any more; of whoever keeps the list, and of nobody else. */
  isTouched: boolean;
}

export class Activity<T extends Touchable> {
  #touched: T[] = [];
  readonly #looks: Set<T>[] = [];

  touch(one: T): void {
    if (one.isTouched) return;
    one.isTouched = true;
    this.#touched.push(one);
  }

  /** For one that looks now and then. Each call returns those that were touched since the last call, once each. */
  look(): () => ReadonlySet<T> {
    const at = this.#looks.push(new Set()) - 1;
    return () => {
      this.#handOut();
      const recent = this.#looks[at]!;
      this.#looks[at] = new Set();
      return recent;
    };
  }

  /** It is not here any more: no look finds it again, whatever of it is still under way. */
  forget(one: T): void {
    this.#handOut();
    one.isTouched = true;
    for (const recent of this.#looks) recent.delete(one);
  }

  #handOut(): void {
    const touched = this.#touched;
    this.#touched = [];
    for (const one of touched) {
      one.isTouched = false;
      for (const recent of this.#looks) recent.add(one);
    }
  }
}
