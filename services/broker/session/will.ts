import type { QoS } from '../message/message.js';

/** A will as it waits in the session. */
export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Encoded, as `Message.properties`. */
  readonly properties: Buffer;
  readonly delaySeconds: number;
  /** Counts from when it is published; undefined without. */
  readonly expirySeconds: number | undefined;
  /** Payload and properties are stored, have not been read, and are empty here. */
  readonly isUnread: boolean;
}

/** Of memory, as it is counted. */
export const bytesOf = (will: Will | undefined): number =>
  will ? will.payload.length + will.properties.length + 2 * will.topic.length + 300 : 0;
