import type { ClientId } from '../../kernel/kernel.js';
import type { Message, QoS } from './application-message.js';

/** The terms on which one subscriber gets a message: what its matching subscriptions come to. */
export interface DeliveryTerms {
  /** The highest QoS of the matching subscriptions. [MQTT-3.3.4-2] */
  readonly qos: QoS;
  readonly retainAsPublished: boolean;
  /** Identifiers of all matching subscriptions that have one. [MQTT-3.3.4-3] [MQTT-3.3.4-4] */
  readonly subscriptionIds: readonly number[];
  /** The shared subscription that chose this subscriber; takes back what it cannot acknowledge. */
  readonly group?: SharedOrigin | undefined;
}

export interface SharedOrigin {
  /** `$share/group/filter`. */
  readonly name: string;
  /**
   * Gives a message of one member to another that can send it at once. If the session of the first ends, it is otherwise
   * stored for those whose sessions outlive their connections, or queued for one that is connected. False when nobody
   * takes it.
   */
  handOn(message: Message, leaver: Leaver, nowMs: number): boolean;
}

/** A member of a shared subscription that leaves messages to the others. */
export interface Leaver {
  readonly clientId: ClientId;
  /** Its messages are stored, or will be: they do not go to sessions that have them in memory only. */
  readonly isDurable: boolean;
  readonly sessionEnds: boolean;
}

/** What one tenant has done since the broker started, counted where it happens. Plain fields: the hot path adds to them. */
export interface Meters {
  /** CONNECTs of clients that were let in. */
  connects: number;
  /** Of every type, and their bytes within TLS and WebSocket; of clients that were let in. */
  packetsReceived: number;
  packetsSent: number;
  packetBytesReceived: number;
  packetBytesSent: number;
  /** Sessions that have ended because their clients did not come back in time. */
  expiredSessions: number;
  /** PUBLISH packets, and the bytes of their payloads. */
  messagesReceived: number;
  messagesSent: number;
  bytesReceived: number;
  bytesSent: number;
  /** QoS 0 messages not delivered because the subscriber reads too slowly. */
  droppedSlowSubscriber: number;
  /** Messages not delivered because the subscriber's queue or the tenant's delivery rate was full. */
  droppedOverQuota: number;
  /** QoS 1 and 2 messages whose publishers were slowed because a subscriber was slower. */
  heldBack: number;
  /** Messages refused because the publisher's access rules do not allow the topic. */
  refusedPublishes: number;
  refusedSubscriptions: number;
  /** Sessions and subscriptions refused because the tenant's memory was used up. */
  refusedOverMemory: number;
  /** QoS 0 messages for sessions whose client is not connected. */
  droppedOffline: number;
  /** Messages whose expiry passed before they could be delivered. */
  expiredMessages: number;
}

export const newMeters = (): Meters => ({
  connects: 0,
  packetsReceived: 0,
  packetsSent: 0,
  packetBytesReceived: 0,
  packetBytesSent: 0,
  expiredSessions: 0,
  messagesReceived: 0,
  messagesSent: 0,
  bytesReceived: 0,
  bytesSent: 0,
  droppedSlowSubscriber: 0,
  droppedOverQuota: 0,
  heldBack: 0,
  refusedPublishes: 0,
  refusedSubscriptions: 0,
  refusedOverMemory: 0,
  droppedOffline: 0,
  expiredMessages: 0,
});
