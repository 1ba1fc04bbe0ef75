/** What fan-out needs of the world; other rooms implement these. */
import type { ClientId } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, Receipt } from '../message/message.js';
import type { SharedGroup } from './shared-group.js';

/** Where a message can go on this broker: a session. */
export interface Subscriber {
  readonly clientId: ClientId;
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void;
  /** 'now': would send a QoS 1 message at once. 'queue': connected, and it would wait. */
  readonly readiness: 'now' | 'queue' | 'disconnected';
  /** Calls back when a client that is connected becomes ready 'now'; the same listener twice is one. */
  whenReady(listener: () => void): void;
  /** Whether it keeps QoS 1 and 2 messages while nobody is connected. */
  readonly isDurable: boolean;
  /**
   * Whether an earlier broker has stored this QoS 2 message for it, as one of the shared subscription `shared`: its
   * publisher, or another session, has it again.
   */
  hasStored(message: Message, shared: string): boolean;
}

/** One bite of the retained messages that a subscription is owed. */
export interface RetainedRead {
  /** It begins behind this topic; '' begins with the first. */
  readonly after: string;
  readonly messagesMax: number;
  /** Asked before each page that is read. */
  isWanted(): boolean;
  /** Awaited before what has been read is looked at. */
  turn?(): Promise<void>;
  /**
   * Called at most once, at the moment at which each of the messages is the latest of its topic; they are in the order of
   * the bytes of their topics. `next`: behind which topic it goes on; undefined when that was all.
   */
  take(messages: readonly Message[], next: string | undefined): void;
}

/** Bytes of topics, payloads and properties. */
export interface RetainedCount {
  readonly messages: number;
  readonly bytes: number;
}

/** The retained messages of one tenant. */
export interface RetainedStore {
  /**
   * Stores the message as the retained one of its topic, or removes that when the payload is empty. The receipt
   * settles when it is durable, with 0x97 when a quota does not let it be kept, with 0x83 when the store does not take
   * it (it is larger than an item may be); what was there before stays then. A later call for the same topic wins, and
   * of calls on several brokers the one with the greatest `nowMs`.
   */
  put(message: Message, nowMs: number): Receipt;
  /** The topic has got another message, on another broker, which stores it: a read that is under way leaves out what it finds. */
  overwritten(topic: string): void;
  /**
   * Some of the retained messages whose topic matches and that have not expired. One that gets another retained message
   * while it is read is left out: whoever subscribed before the call has been sent that one already.
   */
  read(filter: string, read: RetainedRead): Promise<void>;
  /** Whether any may match: false is certain. One short look, which may fail. */
  mayMatch(filter: string): Promise<boolean>;
  /**
   * How much there is, kept up to date with each write from the first call on: from then it costs nothing. What has expired
   * counts until everything is read and counted anew, at most once an hour when this is called. May fail.
   */
  counted(): Promise<RetainedCount>;
  /**
   * The tenant is not used for a while, or the broker stops: resolves when nothing waits to be written, and what makes
   * the next use cheap is stored.
   */
  rest(): Promise<void>;
  /** The tenant has been deleted: nothing more is written. What has not been settles as if it were. */
  close(): void;
}

/** Messages of a shared subscription while none of its members is connected. */
export interface GroupQueue {
  /** Keeps one of QoS 1 or 2; its publisher is answered when it is safe. */
  accept(message: Message, nowMs: number): void;
  /** Whether messages wait here, behind which others have to line up. */
  readonly isWaiting: boolean;
  /** As `Subscriber.hasStored`. */
  hasStored(message: Message): boolean;
  /** A member has come. */
  wake(): void;
}

/** Where these are kept. */
export interface GroupQueues<Queue extends GroupQueue = GroupQueue> {
  open(group: SharedGroup): Queue;
  /** The last member that keeps anything has gone. */
  close(group: SharedGroup, queue: Queue): void;
}

/** What is done step by step; see `TimeAccount.add`. */
export interface Continuation {
  /** Whether there is more to do. */
  step(): boolean;
}

/** Subscribers on other brokers. */
export interface RemoteRoutes {
  /** Sends the message to each broker with subscribers, which owes it then. Whether there are, or may be, any. */
  publish(message: Message): boolean;
  /** The first subscription to the filter has come, or the last one has gone. */
  changed(filter: string, isThere: boolean): void;
  /** Calls `then` once every other broker matches all subscriptions that are here: at once, mostly. */
  whenMatched(then: () => void): void;
  /** The tenant is not on this broker any more. */
  leave(): void;
}

/** The tenant, as far as a fan-out takes more than one turn of the event loop (`fan-out-line.ts`). */
export interface FanOutHost {
  /** Calls `step` in turns to come, as long as it returns true: the tenant's share of the thread says how often. */
  later(continuation: Continuation): void;
  nowMs(): number;
  /** Counts the message as one that waits, until `leaveLine`. */
  lineUp(message: Message): void;
  leaveLine(message: Message): void;
  /** More is on its way to safety than may be. */
  readonly isBehind: boolean;
  /** Calls back once when that is over; the same listener twice is one. */
  whenSafer(listener: () => void): void;
  /** As one more who has to make the message safe, so that its receipt waits for the last slice. */
  owe(message: Message): void;
  pay(message: Message, reasonCode: number): void;
}
