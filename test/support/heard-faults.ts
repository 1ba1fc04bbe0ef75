/** What is caught in rooms while a test runs. Without this a fault that is caught fails the test. */
import {
  type Clock,
  type FaultPlace,
  Metrics,
  reportFaults,
  silentLog,
  systemClock,
} from '../../services/kernel/kernel.js';

export interface HeardFaults {
  /** How many, of those places that had any. */
  readonly counts: Partial<Record<FaultPlace, number>>;
  readonly lines: Record<string, unknown>[];
  stop(): void;
}

export function heardFaults(clock: Clock = systemClock): HeardFaults {
  const metrics = new Metrics();
  const lines: Record<string, unknown>[] = [];
  const log = { ...silentLog, error: (fields: object) => void lines.push({ ...fields }) };
  const stop = reportFaults({ log, metrics, clock });
  return {
    get counts() {
      const some = [...metrics.samples()].filter(({ value }) => value > 0);
      return Object.fromEntries(some.map(({ labels, value }) => [labels['where'], value]));
    },
    lines,
    stop,
  };
}
