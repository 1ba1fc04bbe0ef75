/** The door of the kernel: ids, clock, bounded queue, log and metric ports. Imports nothing. */
export { addressGroup } from './address-group.js';
export { atOnce } from './at-once.js';
export type { BrokerId, ClientId, TenantId, TenantScope } from './ids.js';
export { type Cancel, type Clock, systemClock } from './clock.js';
export { Deadlines, type Placed } from './deadlines.js';
export { caught, eachGuarded, type FaultPlace, guarded, reportFaults, unattended } from './faults.js';
export { BoundedFifo } from './fifo.js';
export { forgiving, type Log, logBytesMax, silentLog } from './log.js';
export { Counter, Metrics, type MetricSample } from './metrics.js';
export { nearestName } from './nearest.js';
export { ownBytes } from './own-bytes.js';
export { Paces } from './paces.js';
export { SparseMap, SparseSet } from './sparse.js';
export { StacklessError } from './stackless-error.js';
export { TokenBucket } from './token-bucket.js';
