/** The door of what brokers know of each other's subscriptions. */
export { connected, durable, type Kind, none } from './broker-sets.js';
export type { InterestFrame, InterestLane } from './frames.js';
export { endedMs, pingMs, validMs } from './validity.js';
export { type Forwardable, type Forwarding, heldVolatileMax, Watches } from './watches.js';
export { type OwnFilters, Watchers } from './watchers.js';
