/** The door of the inbox room: what a session that outlives its connection has not acknowledged, and how it is stored. */
export { Bookmark } from './bookmark.js';
export type {
  CommitLog,
  CommitSource,
  StoredMessage,
  StoredOrigin,
  StoredPage,
  StoredRoute,
  StoredSummary,
  Write,
} from './commit.js';
export { contentHash } from './content.js';
export { type Delivery, newDelivery, type StoredItem } from './delivery.js';
export { moveOn } from './moving.js';
export { type Backlog, Inbox, type InboxOwner } from './session-inbox.js';
export { Received, type ReceivedState } from './received.js';
export { type QueueHost, type SharedMembers, SharedQueue } from './shared-queue.js';
export { StoredRoutes } from './stored-routes.js';
