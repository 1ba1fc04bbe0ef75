/**
 * A first-in first-out queue with a bound in items and in bytes. `push` refuses what does not fit:
 * the caller states and counts what happens then (G7). Backed by one array with a moving head, so that
 * push and shift are O(1) and a drained queue holds no memory.
 */
export class BoundedFifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  readonly #sizeOf: (item: T) => number;
  itemsMax: number;
  bytesMax: number;

  constructor(limits: { itemsMax: number; bytesMax: number }, sizeOf: (item: T) => number) {
    this.itemsMax = limits.itemsMax;
    this.bytesMax = limits.bytesMax;
    this.#sizeOf = sizeOf;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  fits(bytes: number): boolean {
    return this.length < this.itemsMax && this.#bytes + bytes <= this.bytesMax;
  }

  /** False, and nothing changed, when the queue is full. */
  push(item: T): boolean {
    const bytes = this.#sizeOf(item);
    if (!this.fits(bytes)) return false;
    this.#items.push(item);
    this.#bytes += bytes;
    return true;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head] as T;
    this.#items[this.#head++] = undefined;
    this.#bytes -= this.#sizeOf(item);
    if (this.#head === this.#items.length) this.#reset();
    else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes out, in order, every item that `takes` says. */
  extract(takes: (item: T) => boolean): T[] {
    const taken: T[] = [];
    const kept: T[] = [];
    for (const item of this) (takes(item) ? taken : kept).push(item);
    if (taken.length > 0) {
      this.#reset();
      this.#items = kept;
      for (const item of kept) this.#bytes += this.#sizeOf(item);
    }
    return taken;
  }

  clear(): void {
    this.#reset();
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as T;
  }

  #reset(): void {
    this.#items = [];
    this.#head = 0;
    this.#bytes = 0;
  }
}
