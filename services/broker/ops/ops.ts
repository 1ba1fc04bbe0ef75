/** The door of operations: the process's log, its health and its metrics. */
export { EmfReporter } from './emf.js';
export { type Health, serveHealth } from './health.js';
export { Heap } from './heap.js';
export { makeLog } from './log.js';
export { processMetrics } from './process-metrics.js';
