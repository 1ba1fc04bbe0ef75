/** What a session needs of the world. The rooms outside implement these; tests do, too. */
import type { ClientId } from '../../kernel/kernel.js';
import type { Backlog, CommitLog, ReceivedState, StoredOrigin, StoredRoute, StoredSummary } from '../inbox/inbox.js';
import type { Message, Meters, Receipt, SharedOrigin } from '../message/message.js';
import type { Reason, SubscriptionRequest } from '../wire/wire.js';
import type { Session } from './client-session.js';

/** Bytes on their way to one client. */
export interface Outbox {
  /**
   * A range that will never be changed; sent in order with everything else at the end of the tick. `isAck`: it says that
   * something was done, and is not sent once this broker may not say so any more.
   */
  push(source: Buffer, start: number, end: number, isAck?: boolean): void;
  /** Bytes pushed and not yet taken by the network. */
  readonly waitingBytes: number;
  /**
   * Gives the connection up: nothing that is pushed from now on is sent, and it ends when the present turn of the event loop
   * is over; the client is told why where its protocol can. It never calls back into the session, so whoever sends in a loop
   * finds everything as it was: to the session it is a connection whose bytes got lost, as they may in any network.
   */
  giveUp(reason: Reason, detail?: string): void;
}

/** Where the sessions of a tenant that outlive their connections are kept. */
export interface Keeping {
  /** `tenant#client`. */
  partitionOf(clientId: ClientId): string;
  readonly log: CommitLog;
}

/** What is known of a session that an earlier owner has stored. */
export interface Restored {
  readonly epoch: number;
  readonly born: number;
  readonly routes: readonly StoredRoute[];
  /** As its record says. */
  readonly queuedMessages: number;
  readonly droppedMessages: number;
  /** Of most it is not known before their clients come. */
  readonly contents?: Contents | undefined;
  /**
   * The last owner lives, and has something to store still. What comes until `earlierAreStored` is held, neither stored nor
   * acknowledged (`early-arrivals.ts`).
   */
  readonly waitsForEarlier?: boolean;
}

/** What is stored of a session, apart from its record and its subscriptions. */
export interface Contents {
  readonly received: ReceivedState;
  readonly stored: StoredSummary;
  /** The last owner lives, and what it has stored may have been sent here, too. */
  readonly isOfLiving?: boolean;
}

/** May this client publish to the topic, may it subscribe to the filter (without `$share/group/`)? */
export interface Access {
  mayPublish(topic: string): boolean;
  maySubscribe(filter: string): boolean;
  /** Two that are made of the same let a client do the same. */
  readonly madeOf?: object;
}

/** The tenant's quotas as far as a session keeps them. Read at each use, so a change counts at once. */
export interface SessionLimits {
  readonly subscriptionsPerSession: number;
  /** Of all sessions together. */
  readonly subscriptions: number;
  readonly queuedMessagesPerSession: number;
}

export interface Subscription extends SubscriptionRequest {
  /** The filter without `$share/group/`. */
  readonly topicFilter: string;
  /** The name of the share, if it is a shared subscription. */
  readonly group: string | undefined;
  /** MQTT 5.0 Subscription Identifier; 0 without. */
  readonly id: number;
}

/** One bite of the retained messages that a subscription is owed. */
export interface RetainedRead {
  /** It begins behind this topic; '' begins with the first. */
  readonly after: string;
  readonly messagesMax: number;
  /** Asked before anything is read. */
  isWanted(): boolean;
  /** Called at most once. `next`: behind which topic it goes on; undefined when that was all. */
  take(messages: readonly Message[], next: string | undefined): void;
}

/** What the tenant's sessions hold in memory; they count what they change, in bytes. */
export interface SessionMemory {
  willBytes: number;
  /** No more is to be kept in memory; what is stored need not be. */
  readonly isFull: boolean;
  /** Why no new subscription can be made now; undefined when it can. Counted, so it is asked for each once. */
  refusal(): string | undefined;
}

/** The tenant, as its sessions see it. */
export interface SessionHost {
  readonly limits: SessionLimits;
  /** Of a topic filter. */
  readonly topicLevelsMax: number;
  /** How many all its sessions have. */
  readonly subscriptions: number;
  readonly meters: Meters;
  readonly backlog: Backlog;
  readonly memory: SessionMemory;
  publish(message: Message, nowMs: number): Receipt;
  /** What speaks against a subscription to this filter (without `$share/group/`); undefined: nothing. */
  filterError(topicFilter: string): string | undefined;
  /** Adds the route of one subscription, or replaces it when it is not new. */
  subscribe(session: Session, subscription: Subscription, isNew: boolean): void;
  unsubscribe(session: Session, subscription: Subscription): void;
  /** Calls `then` once every broker matches all subscriptions that have been made so far (G2): at once, mostly. */
  whenMatched(then: () => void): void;
  /**
   * Reads the next retained messages that match, in the order of their topics, when it is this session's turn. One that
   * is replaced while it is read is left out: who is connected has been sent that one already.
   */
  readRetained(filter: string, read: RetainedRead): Promise<void>;
  /** Answers which of the filters retained messages may match; of the others it is certain that none does. */
  whichMayBeRetained(filters: readonly string[], answer: (matched: ReadonlySet<string>) => void): void;
  /** Counts a message as held by one more session; false when the tenant holds as much as it may. */
  hold(message: Message): boolean;
  letGo(message: Message): void;
  /** One more session that outlives its connection has to make the message safe. */
  owe(message: Message): void;
  /** It has; or, with 0x80 and above, never will. */
  pay(message: Message, reasonCode: number): void;
  /** For what happens when the store answers. */
  nowMs(): number;
  /** The shared subscription `$share/group/filter`, as long as it has members. */
  sharedGroup(name: string): SharedOrigin | undefined;
  /** Settles when the stored state of the publisher of a QoS 2 message knows it, or is no more. */
  settlementOf(origin: StoredOrigin): Receipt;
  /** A member of the shared subscription has connected. */
  wakeShared(subscription: Subscription): void;
  /** Stored messages could not be read: `pump` is to be called a little later. */
  readFailed(reader: { pump(nowMs: number): void }, error: unknown): void;
  /** Takes one message of `bytes` from the tenant's delivery rate; false when that is used up. */
  takeDelivery(bytes: number, nowMs: number): boolean;
  /** Counts one message of `bytes` that is to be stored for a client that is away or behind. Never refused. */
  spendStored(bytes: number, nowMs: number): void;
  /** How long a message that one subscriber gets may be held back; 0: not at all. */
  readonly holdBackMs: number;
  /** Calls `session.lookAtHeld` every now and then, as long as that is true. */
  holdsBack(session: Session): void;
  /** Calls `session.pump` when the delivery rate allows more. */
  pumpLater(session: Session): void;
}
