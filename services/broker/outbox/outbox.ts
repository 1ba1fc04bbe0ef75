/** The door of the outbox: bytes that wait for one stream, and the one write a turn of the event loop that takes them there. */
export { Flusher } from './flusher.js';
export type { AcknowledgementGate, OutboxStream, Payer } from './ports.js';
export { SendQueue } from './send-queue.js';
