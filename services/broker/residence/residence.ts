/**
 * The door of the residence room: the life of a session. Its client comes (`arrival.ts`), leaves (`departure.ts`) or is found
 * after a crash (`restoration.ts`, `unread.ts`). It comes from another broker and goes to one (`incoming.ts`, `handing-over.ts`). Who the client is has been found out before; what a tenant is, is the room `tenant`.
 */
export { Arrival, type ArrivalOptions, type Visit } from './arrival.js';
export { checkedWill, chooseClientId } from './connect-request.js';
export { Departure } from './departure.js';
export { HandingOver } from './handing-over.js';
export { Incoming } from './incoming.js';
export { Kicked } from './kicked.js';
export type {
  Claim,
  Claimed,
  Credentials,
  Elsewhere,
  Ending,
  GivenSession,
  Inherited,
  Interest,
  Owner,
  SessionStore,
  StoredSession,
  Takeover,
  TakeoverAnswer,
  TakeoverHost,
  TakeoverWish,
} from './ports.js';
export { QueueNotes, sweepQueuesEveryMs } from './queue-notes.js';
export { Restoration } from './restoration.js';
export { clockMarginMs, wasDeleted } from './revoked-wills.js';
export { Unread } from './unread.js';
export { Unreadable } from './unreadable.js';
