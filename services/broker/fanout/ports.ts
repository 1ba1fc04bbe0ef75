/** What fan-out needs of the world; other rooms implement these. */
import type { ClientId } from '../../kernel/kernel.js';
import type { DeliveryTerms, Message, Receipt } from '../message/message.js';

/** Where a message can go on this broker: a session. */
export interface Subscriber {
  readonly clientId: ClientId;
  deliver(message: Message, terms: DeliveryTerms, nowMs: number): void;
  /** 'now': would send a QoS 1 message at once. 'queue': connected, and it would wait. */
  readonly readiness: 'now' | 'queue' | 'disconnected';
  /** Whether a slow source should go on. */
  readonly hasRoom: boolean;
  /** Calls back once there is room, or when the client is gone. */
  whenRoom(listener: () => void): void;
}

export interface RetainedPage {
  readonly messages: readonly Message[];
  /** To be asked at the moment a message leaves: a slow client may hold a page for long. */
  isStale(message: Message): boolean;
}

/** The retained messages of one tenant. */
export interface RetainedStore {
  /**
   * Stores the message as the retained one of its topic, or removes that when the payload is empty. The receipt
   * settles when it is durable, with 0x97 when a quota does not let it be kept. A later call for the same topic wins.
   */
  put(message: Message, nowMs: number): Receipt;
  /**
   * The retained messages whose topic matches, page by page. A message is stale when its topic has got another
   * retained message since it was read: whoever subscribed before the call has been sent that one already.
   */
  read(filter: string): AsyncIterable<RetainedPage>;
  /** Resolves when nothing waits to be written. */
  settled(): Promise<void>;
  /** The tenant has been deleted: nothing more is written. */
  close(): void;
}
