/**
 * A number for each of many fingerprints, in some 15 bytes each: pages of entries of three 32-bit numbers (high, low, number) in
 * ascending order, the pages in ascending order of what they begin with.
 *
 *     look for one   binary search over the pages, then in the page           add one   moves those behind it, in its page
 *     a page is full            those whose number is not worth keeping go; then it shares with the neighbour that has more
 *                               room; if both are full, the two become three
 *     a page is a quarter full  it is joined with a neighbour, if both fit into one that is not nearly full
 *
 * So pages are four fifths full on the average. All have the same size, so that what one gives back serves the next: arrays that grow by an eighth
 * each lost as much again between them. A table of less than a page has an array of its own that grows. Fingerprints that a
 * tenant has made to be alike are entries like any others.
 */
const words = 3;
/** 8 KiB: to add one moves 3 to 4 KiB on average, which takes as long as a cache miss or two. */
const pageEntries = 682;
const smallEntries = 8;
const smallGrowth = 1.5;
/** A neighbour with so many takes no more. */
const nearlyFull = Math.floor(pageEntries * 0.9);
const quarter = Math.floor(pageEntries / 4);

/** Two pages, while they are spread. One made for each time would be garbage between the pages. */
const spreading = new Uint32Array(2 * pageEntries * words);

/** Which numbers are worth keeping: asked when a page is full. */
export type IsKept = (value: number) => boolean;

interface Page {
  slots: Uint32Array;
  count: number;
}

const pageOf = (entries: number): Page => ({ slots: new Uint32Array(entries * words), count: 0 });

export class FingerprintTable {
  readonly #isKept: IsKept;
  readonly #pages: Page[] = [pageOf(smallEntries)];
  #size = 0;

  constructor(isKept: IsKept = () => true) {
    this.#isKept = isKept;
  }

  /** Entries, with those that are not worth keeping and have not been noticed. */
  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    let bytes = 0;
    for (const { slots } of this.#pages) bytes += slots.byteLength;
    return bytes;
  }

  /** 0: there is none. */
  get(high: number, low: number): number {
    const { slots, count } = this.#pages[this.#pageAt(high, low)]!;
    const at = find(slots, count, high, low);
    return at < count * words && slots[at] === high && slots[at + 1] === low ? slots[at + 2]! : 0;
  }

  /** `value` 0 removes. */
  set(high: number, low: number, value: number): void {
    let index = this.#pageAt(high, low);
    let page = this.#pages[index]!;
    let at = find(page.slots, page.count, high, low);
    const isThere = at < page.count * words && page.slots[at] === high && page.slots[at + 1] === low;
    if (isThere && value !== 0) {
      page.slots[at + 2] = value;
      return;
    }
    if (isThere) return this.#remove(index, at);
    if (value === 0) return;
    if (page.count * words === page.slots.length) {
      this.#makeRoom(index);
      index = this.#pageAt(high, low);
      page = this.#pages[index]!;
      at = find(page.slots, page.count, high, low);
    }
    const { slots } = page;
    slots.copyWithin(at + words, at, page.count * words);
    slots[at] = high;
    slots[at + 1] = low;
    slots[at + 2] = value;
    page.count++;
    this.#size++;
  }

  forEach(visit: (high: number, low: number, value: number) => void): void {
    for (const { slots, count } of this.#pages)
      for (let at = 0; at < count * words; at += words) visit(slots[at]!, slots[at + 1]!, slots[at + 2]!);
  }

  /** The last page that does not begin behind it. */
  #pageAt(high: number, low: number): number {
    const pages = this.#pages;
    let first = 0;
    let behind = pages.length;
    while (behind - first > 1) {
      const middle = (first + behind) >>> 1;
      const { slots } = pages[middle]!;
      if (slots[0]! < high || (slots[0] === high && slots[1]! <= low)) first = middle;
      else behind = middle;
    }
    return first;
  }

  #remove(index: number, at: number): void {
    const page = this.#pages[index]!;
    page.slots.copyWithin(at, at + words, page.count * words);
    page.count--;
    this.#size--;
    if (this.#pages.length === 1) {
      if (page.slots.length > smallEntries * words && page.count * 4 * words < page.slots.length)
        resize(page, page.count * 2);
    } else if (page.count < quarter) this.#join(index);
  }

  /** With the neighbour that has less. */
  #join(index: number): void {
    const pages = this.#pages;
    const left = pages[index - 1]?.count ?? Infinity;
    const right = pages[index + 1]?.count ?? Infinity;
    const first = left < right ? index - 1 : index;
    const [one, other] = [pages[first]!, pages[first + 1]!];
    if (one.count + other.count > nearlyFull) return;
    one.slots.set(other.slots.subarray(0, other.count * words), one.count * words);
    one.count += other.count;
    pages.splice(first + 1, 1);
  }

  #makeRoom(index: number): void {
    const pages = this.#pages;
    const page = pages[index]!;
    if (this.#drop(page)) return;
    if (page.count < pageEntries) return resize(page, Math.ceil(page.count * smallGrowth));
    const left = pages[index - 1]?.count ?? Infinity;
    const right = pages[index + 1]?.count ?? Infinity;
    const first = left < right ? index - 1 : index;
    const [one, other] = [pages[first]!, pages[first + 1]];
    if (!other) this.#spread([page], index, 2);
    else this.#spread([one, other], first, Math.min(left, right) < nearlyFull ? 2 : 3);
  }

  /** Evenly over `parts` pages, in place of theirs. */
  #spread(from: readonly Page[], index: number, parts: number): void {
    let end = 0;
    for (const { slots, count } of from) {
      spreading.set(slots.subarray(0, count * words), end);
      end += count * words;
    }
    const each = Math.ceil(end / words / parts);
    const to = Array.from({ length: parts }, (_, part) => {
      const page = from[part] ?? pageOf(pageEntries);
      const entries = spreading.subarray(part * each * words, Math.min(end, (part + 1) * each * words));
      page.slots.set(entries);
      page.count = entries.length / words;
      return page;
    });
    this.#pages.splice(index, from.length, ...to);
  }

  /** Those that are not worth keeping. Returns whether there were enough of them. */
  #drop(page: Page): boolean {
    const { slots, count } = page;
    let to = 0;
    for (let at = 0; at < count * words; at += words) {
      if (!this.#isKept(slots[at + 2]!)) continue;
      if (to < at) slots.copyWithin(to, at, at + words);
      to += words;
    }
    page.count = to / words;
    this.#size -= count - page.count;
    return page.count < count * 0.9;
  }
}

/** Where it is among the first `count`, or where it would be put. */
function find(slots: Uint32Array, count: number, high: number, low: number): number {
  let first = 0;
  let behind = count;
  while (first < behind) {
    const middle = (first + behind) >>> 1;
    const at = middle * words;
    if (slots[at]! < high || (slots[at] === high && slots[at + 1]! < low)) first = middle + 1;
    else behind = middle;
  }
  return first * words;
}

function resize(page: Page, entries: number): void {
  const slots = new Uint32Array(Math.min(pageEntries, Math.max(smallEntries, entries)) * words);
  slots.set(page.slots.subarray(0, page.count * words));
  page.slots = slots;
}
