/** How much memory of this process is in use and cannot be collected, and how much there may be. */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

const inUse = (): number => {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
};

export class Heap {
  readonly limitBytes = getHeapStatistics().heap_size_limit;
  /** After the last collection of all of it: what is in use otherwise may be garbage. */
  liveBytes = inUse();
  /** Of these collections. */
  collections = 0;
  readonly #observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as (PerformanceEntry & { detail?: { kind?: number } })[])
      if (entry.detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR) {
        this.liveBytes = inUse();
        this.collections++;
      }
  });

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  /** With garbage: never less than what is live. */
  get usedBytes(): number {
    return inUse();
  }
}
