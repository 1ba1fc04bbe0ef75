/** The door of fan-out: one message in, to local subscribers, retained state and other brokers. */
export type {
  Continuation,
  FanOutHost,
  GroupQueue,
  GroupQueues,
  RemoteRoutes,
  RetainedCount,
  RetainedRead,
  RetainedStore,
  Subscriber,
} from './ports.js';
export { readsAtOnceMax, RetainedReads, sharersMax } from './replay.js';
export type { RouteOptions } from './filter-routes.js';
export { Routing } from './routing.js';
export type { SharedGroup } from './shared-group.js';
