/** Distinct texts in order, of which there may be a million: in runs short enough to insert into. */

const runMax = 512;

export class SortedKeys {
  /** None is empty but a single one. */
  readonly #runs: string[][] = [[]];

  add(key: string): void {
    const runs = this.#runs;
    const at = this.#runOf(key);
    const run = runs[at]!;
    if (run.length === 0 || key > run[run.length - 1]!) run.push(key);
    else run.splice(firstNotBelow(run, key), 0, key);
    // A full run at the end was filled in order: what follows begins a new one.
    if (run.length > runMax) runs.splice(at + 1, 0, run.splice(at === runs.length - 1 ? runMax : runMax >> 1));
  }

  remove(key: string): void {
    const at = this.#runOf(key);
    const run = this.#runs[at]!;
    const place = firstNotBelow(run, key);
    if (run[place] !== key) return;
    run.splice(place, 1);
    if (run.length === 0 && this.#runs.length > 1) this.#runs.splice(at, 1);
  }

  /** From the first that is not below `from`. Nothing may be added or removed meanwhile. */
  *upFrom(from: string): Generator<string, void, void> {
    let at = this.#runOf(from);
    let place = firstNotBelow(this.#runs[at]!, from);
    for (; at < this.#runs.length; at++, place = 0) {
      const run = this.#runs[at]!;
      for (; place < run.length; place++) yield run[place]!;
    }
  }

  /** Downwards from the last that is below `below`; from the very last without it. */
  *downFrom(below: string | undefined): Generator<string, void, void> {
    let at = below === undefined ? this.#runs.length - 1 : this.#runOf(below);
    let place = below === undefined ? this.#runs[at]!.length : firstNotBelow(this.#runs[at]!, below);
    for (; at >= 0; at--, place = this.#runs[at]?.length ?? 0) {
      const run = this.#runs[at]!;
      while (place > 0) yield run[--place]!;
    }
  }

  /** The last run that begins at or below the key, or the first. */
  #runOf(key: string): number {
    const runs = this.#runs;
    let low = 0;
    for (let high = runs.length - 1; low < high;) {
      const middle = (low + high + 1) >> 1;
      if (runs[middle]![0]! <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function firstNotBelow(run: readonly string[], key: string): number {
  let low = 0;
  for (let high = run.length; low < high;) {
    const middle = (low + high) >> 1;
    if (run[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
