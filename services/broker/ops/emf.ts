/**
 * One line a minute in CloudWatch's embedded metric format, from which CloudWatch Logs makes the metrics of
 * `task-metrics.ts`: no sidecar, no call, no permission. Used by the broker's `compose.ts` when it is switched on.
 *
 * The form is "Specification: Embedded metric format" of the CloudWatch user guide: metadata in `_aws`, and beside it a
 * member for each dimension and each metric that the metadata names.
 */
import { type BrokerId, type Cancel, type Clock, guarded, type Metrics } from '../../kernel/kernel.js';
import { minuteMetrics } from './process-metrics.js';
import { type TaskMetric, taskMetrics } from './task-metrics.js';

export interface EmfOptions {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly brokerId: BrokerId;
  /** The dimension that tells deployments apart. */
  readonly stage: string;
  /** Gets whole lines. */
  readonly write: (line: string) => void;
}

const everyMs = 60_000;

export class EmfReporter {
  readonly #options: EmfOptions;
  /** What is about the time since the last line: `/metrics`, read at other times, must not begin it anew. */
  readonly #minute = minuteMetrics();
  /** Totals at the last line, by name. */
  readonly #before = new Map<string, number>();
  #cancel: Cancel;

  constructor(options: EmfOptions) {
    this.#options = options;
    this.#cancel = options.clock.after(everyMs, () => this.#tick());
  }

  #tick(): void {
    this.#cancel = this.#options.clock.after(everyMs, () => this.#tick());
    guarded('report', () => this.#print(taskMetrics));
  }

  /** What has been counted since the last line. Of values as they stand this minute has had its line. */
  stop(): void {
    this.#cancel();
    this.#print(taskMetrics.filter(({ read }) => read === 'change'));
  }

  #print(wanted: readonly TaskMetric[]): void {
    const { clock, brokerId, stage, write } = this.#options;
    const totals = this.#totals(wanted);
    const values: Record<string, number> = {};
    for (const { name, read } of wanted) {
      const value = totals.get(name) ?? 0;
      values[name] = read === 'now' ? value : value - (this.#before.get(name) ?? 0);
      if (read === 'change') this.#before.set(name, value);
    }
    const directive = {
      Namespace: 'Shoal',
      Dimensions: [['Stage', 'Service']],
      Metrics: wanted.map(({ name, unit }) => ({ Name: name, Unit: unit })),
    };
    const line = {
      _aws: { Timestamp: Math.floor(clock.nowMs()), CloudWatchMetrics: [directive] },
      Stage: stage,
      Service: 'broker',
      Broker: brokerId,
      ...values,
    };
    write(`${JSON.stringify(line)}\n`);
  }

  #totals(wanted: readonly TaskMetric[]): Map<string, number> {
    const families = new Set(wanted.map(({ from }) => from));
    const totals = new Map<string, number>();
    for (const registry of [this.#options.metrics, this.#minute])
      for (const sample of registry.samples(families))
        for (const { name, from, where } of wanted)
          if (from === sample.name && (where?.(sample.labels) ?? true))
            totals.set(name, (totals.get(name) ?? 0) + sample.value);
    return totals;
  }
}
