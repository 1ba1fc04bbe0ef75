/** What the cluster needs of the world; other rooms are what it says. */
import type { TenantScope } from '../../kernel/kernel.js';
import type { PeerListener } from '../mesh/mesh.js';
import type { Message, Receipt, TopicName } from '../message/message.js';

/** Links to the other brokers. */
export interface Links {
  /** False: there is no link, or no room; `onRoom` tells when to try again. */
  send(brokerId: string, type: number, body: Buffer): boolean;
  /** The body is not written over later. What the handler throws ends the link. */
  handle(type: number, handler: (from: string, body: Buffer) => void): void;
  onRoom(listener: (brokerId: string) => void): void;
  onPeers(listener: PeerListener): void;
}

export interface Topics {
  /** Throws for what is not a topic name. */
  lookup(bytes: Buffer, start: number, end: number): TopicName;
}

/** A tenant on this broker. */
export interface Home {
  readonly scope: TenantScope;
  /** Those with subscribers here; while they come and go, as `OwnFilters.each` says. */
  filters(): Iterable<string>;
  /** Messages come that another broker has accepted, some at once: `arrived` follows. */
  arriving(): void;
  /** One of them: to the subscribers here. It is volatile. */
  arrive(message: Message): Receipt;
  arrived(): void;
  /** Calls back when all that have come have been delivered. */
  whenArrived(then: () => void): void;
  /** One more broker has to make the message safe. Only for one that may be held. */
  owe(message: Message): void;
  pay(message: Message, reasonCode: number): void;
  /** Its publishers are to wait, until `unhinder`; counted. */
  hinder(): void;
  unhinder(): void;
  /** A message of QoS 0 is not forwarded: too much waits for that broker. */
  notForwarded(message: Message): void;
  /** Calls `step` in turns to come, as long as it returns true. */
  later(job: { step(): boolean }): void;
}
