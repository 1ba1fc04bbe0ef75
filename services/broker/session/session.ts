/** The door of the session room: one client's MQTT state machine, and the ports it needs. */
export { type Readiness, Session } from './client-session.js';
export type { Will } from './will.js';
export { Channel, receiveMaximum, topicAliasMax } from './channel.js';
export type {
  Access,
  Keeping,
  Outbox,
  Contents,
  Restored,
  RetainedRead,
  SessionHost,
  SessionLimits,
  SessionMemory,
  Subscription,
} from './ports.js';
