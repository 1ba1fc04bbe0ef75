/** What happens when, in one order: by time, and of the same time as it was planned. */
interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly act: () => void;
}

export class Events {
  /** A binary heap: each before its two at 2i + 1 and 2i + 2. */
  readonly #heap: Event[] = [];
  #planned = 0;
  nowMs = 0;

  get size(): number {
    return this.#heap.length;
  }

  at(atMs: number, act: () => void): void {
    const heap = this.#heap;
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#planned++, act };
    let i = heap.push(event) - 1;
    for (let up = (i - 1) >> 1; i > 0 && isBefore(event, heap[up]!); up = (i - 1) >> 1) {
      heap[i] = heap[up]!;
      i = up;
    }
    heap[i] = event;
  }

  in(delayMs: number, act: () => void): void {
    this.at(this.nowMs + delayMs, act);
  }

  /** Until nothing is left that is due by then. */
  run(untilMs: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs) {
      const { atMs, act } = this.#next();
      this.nowMs = atMs;
      act();
    }
    this.nowMs = untilMs;
  }

  #next(): Event {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && isBefore(heap[down + 1]!, heap[down]!)) down++;
      if (!isBefore(heap[down]!, last)) break;
      heap[i] = heap[down]!;
      i = down;
    }
    heap[i] = last;
    return first;
  }
}

const isBefore = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
