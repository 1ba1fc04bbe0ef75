/** What is committed together: writes of one partition of the tables `inbox` and `routes`, as the store is asked for them. */
import type { DeliveryTerms, Message, Settlement } from '../message/message.js';

/** One message as it is stored: what the subscriber is owed, on the terms of the moment at which it matched. */
export interface StoredMessage {
  readonly message: Message;
  readonly terms: DeliveryTerms;
  readonly qos: 1 | 2;
  /** QoS 2: the packet identifier under which it is sent; 0 while it is not. */
  readonly packetId: number;
  /** QoS 1: it had been sent when it was written. */
  readonly sent?: boolean | undefined;
  /** QoS 2: PUBREC has come, only PUBREL may follow. The payload is not stored any more. */
  readonly released: boolean;
  /** `$share/group/filter` when it came through a shared subscription. */
  readonly shared: string | undefined;
  /** When it is read; to be written it is with the message. */
  readonly origin?: StoredOrigin | undefined;
}

/**
 * Which QoS 2 messages of a publisher its stored state knows. A publisher has one series of numbers for each broker
 * process that owned its session (a life); a message that it sends again after a crash gets a number of the new life.
 */
export interface SettledState {
  /** Of the present life: everything up to here. */
  readonly settled: Settlement;
  /** Of lives before it, the newest first. */
  readonly older?: readonly Settlement[];
  /** Sent again and settled in a later life, by packet identifier. */
  readonly again?: readonly (Settlement & { readonly packetId: number })[];
}

/** Whose message it is that an item holds: `publisher` with what `Origin` says. */
export interface StoredOrigin extends Settlement {
  readonly publisher: string;
  readonly packetId: number;
  readonly hash?: number | undefined;
  /** `$share/group/filter`, if it came to a session that way; another copy may have come directly. */
  readonly shared?: string | undefined;
}

/** What a session's items come to. */
export interface StoredSummary {
  readonly messages: number;
  /** Of QoS 2 messages, in order. */
  readonly origins: readonly StoredOrigin[];
}

export interface StoredRoute {
  /** As the client wrote it, `$share/group/` included. */
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
  readonly id: number;
  /** The session is owed the retained messages behind this topic; '' for all of them. */
  readonly owedAfter?: string | undefined;
}

export type Write =
  | { readonly kind: 'messages'; readonly key: string; readonly messages: readonly StoredMessage[] }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'route'; readonly route: StoredRoute; readonly epoch: number }
  | { readonly kind: 'unroute'; readonly filter: string }
  /** Packet identifiers of QoS 2 messages received from the client and not released. */
  | ({
      readonly kind: 'received';
      readonly packetIds: readonly number[];
      readonly epoch: number;
    } & SettledState);

/**
 * Has something to write. Not more than one commit of a lane is under way at a time, so its writes stay in order: those
 * of one source, and those of a session that has ended before those of the client's next one.
 */
export interface CommitSource {
  /** `tenant#client` of the tables. */
  readonly partition: string;
  /** What takes turns: sources of one partition that may write the same keys. */
  readonly lane: string;
  /** The next writes, of distinct keys: at most `max`, and no more of them once they have come to `bytesMax`; none when nothing is due. */
  take(max: number, nowMs: number, bytesMax: number): readonly Write[];
  /** All writes of the last `take` are durable, but those in `refused`, which the store will never take as they are. */
  committed(refused: readonly Write[]): void;
}

export interface StoredPage {
  readonly items: readonly { readonly key: string; readonly messages: readonly StoredMessage[] }[];
  readonly more: boolean;
  /** How many messages are in items that cannot be read: here without messages, and left where they are. */
  readonly unreadable: number;
}

/** The store, as inboxes see it. */
export interface CommitLog {
  /** How long an online subscriber may take to acknowledge before its messages are stored. */
  readonly persistDelayMs: number;
  /** `source` has something to write; `take` follows within milliseconds. Asking twice is asking once. */
  request(source: CommitSource): void;
  /** As `request`, when `persistDelayMs` are over. */
  requestLater(source: CommitSource): void;
  /** Stored messages with a key above `after` and up to `upTo`, in order; some of them. */
  read(partition: string, after: string, upTo: string): Promise<StoredPage>;
}
