/** How much memory of this process is in use and cannot be collected, and how much there may be. */
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

const inUse = (): number => {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics();
  return heap + external;
};

/** Semi-spaces of the young generation, at their largest. V8 counts them to its limit, and nothing that stays is in them. */
const youngBytesMax = 3 * (64 << 20);

/** What V8 ends the process at: the limit of the old generation. V8 does not tell it, and its setting is the first choice. */
export function oldGenerationLimit(execArgv: readonly string[], nodeOptions: string, heapSizeLimit: number): number {
  const set = [...nodeOptions.split(/\s+/), ...execArgv]
    .map((argument) => /^--max[-_]old[-_]space[-_]size=([1-9]\d*)$/.exec(argument)?.[1])
    .findLast((megabytes) => megabytes !== undefined);
  if (set !== undefined) return Math.min(Number(set) * 2 ** 20, heapSizeLimit);
  return Math.max(heapSizeLimit - youngBytesMax, heapSizeLimit / 2);
}

export class Heap {
  readonly limitBytes = oldGenerationLimit(
    process.execArgv,
    process.env['NODE_OPTIONS'] ?? '',
    getHeapStatistics().heap_size_limit,
  );
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
