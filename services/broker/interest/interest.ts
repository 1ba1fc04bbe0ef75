/** The door of what brokers know of each other's subscriptions. */
export type { InterestFrame, InterestLane, ToldFilter } from './frames.js';
export { endedMs, pingMs, validMs } from './validity.js';
export { type Forwardable, type Forwarding, Watches } from './watches.js';
export { type OwnFilters, Watchers } from './watchers.js';
