import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { Metrics } from '../../kernel/kernel.js';

const resolutionMs = 20;

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** What every Prometheus dashboard of a Node process asks for, under the usual names. Times in seconds. */
export function processMetrics(metrics: Metrics): void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  const startedAtSeconds = Date.now() / 1000 - process.uptime();
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

/** What is about a time: since the last look, or since this was called. For one reader only, who looks every minute. */
export function minuteMetrics(): Metrics {
  const metrics = new Metrics();
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  metrics.gauge('shoal_minute_event_loop_delay_ms', 'How late timers ran, 99th percentile', () => {
    const delayMs = Math.max(0, delay.percentile(99) / 1e6 - resolutionMs); // A sample is the time between two timers.
    delay.reset();
    return delayMs;
  });
  let loop = performance.eventLoopUtilization();
  metrics.gauge('shoal_minute_event_loop_used_percent', 'Time in which the event loop was at work', () => {
    const before = loop;
    loop = performance.eventLoopUtilization();
    return 100 * performance.eventLoopUtilization(loop, before).utilization;
  });
  let seen = { cpuSeconds: cpuSeconds(), atMs: performance.now() };
  metrics.gauge('shoal_minute_cpu_percent', 'CPU time, of one CPU', () => {
    const before = seen;
    seen = { cpuSeconds: cpuSeconds(), atMs: performance.now() };
    return (100_000 * (seen.cpuSeconds - before.cpuSeconds)) / Math.max(seen.atMs - before.atMs, 1);
  });
  return metrics;
}
