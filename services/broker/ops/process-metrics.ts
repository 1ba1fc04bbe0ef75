import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Metrics } from '../../kernel/kernel.js';

/** What every Prometheus dashboard of a Node process asks for, under the usual names. Times in seconds. */
export function processMetrics(metrics: Metrics): void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const startedAtSeconds = Date.now() / 1000 - process.uptime();
  const cpuSeconds = (): number => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  };
  metrics.gauge('process_start_time_seconds', 'Start of the process, seconds since the epoch', () => startedAtSeconds);
  metrics.total('process_cpu_seconds_total', 'CPU time, user and system', cpuSeconds);
  metrics.gauge('process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss());
  metrics.gauge('nodejs_heap_size_used_bytes', 'Heap in use', () => process.memoryUsage().heapUsed);
  metrics.gauge('nodejs_external_memory_bytes', 'Buffers outside the heap', () => process.memoryUsage().external);
  metrics.gauge('nodejs_eventloop_lag_p99_seconds', 'How late timers ran, 99th percentile since the last look', () => {
    const seconds = delay.percentile(99) / 1e9;
    delay.reset();
    return seconds;
  });
}
