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

/** The retained messages of one tenant. */
export interface RetainedStore {
  /**
   * Stores the message as the retained one of its topic, or removes that when the payload is empty. The receipt
   * settles when it is durable, with 0x97 when a quota does not let it be kept. A later call for the same topic wins.
   */
  put(message: Message, nowMs: number): Receipt;
  /**
   * The retained messages whose topic matches, page by page, without those whose topic has got another retained
   * message since the call (whoever subscribed before it has been sent that one already).
   */
  read(filter: string): AsyncIterable<readonly Message[]>;
  /** The tenant has been deleted: nothing more is written. */
  close(): void;
}
