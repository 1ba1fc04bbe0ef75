import type { DeliveryTerms, Message, PendingReceipt } from '../message/message.js';

/** One message on its way to one session that outlives its connection. Mutable: it is the record of how far it has come. */
export interface Delivery {
  readonly message: Message;
  readonly terms: DeliveryTerms;
  readonly qos: 1 | 2;
  /** When it came, or got a place in the queue that it had to wait for: it is stored some time after that. */
  arrivedAtMs: number;
  /** PUBREC has come: PUBREL is repeated, not PUBLISH. */
  released: boolean;
  /** An earlier owner has sent it, or may have. */
  dup: boolean;
  /** 0 until one is chosen for it. */
  packetId: number;
  /** Its place in the order of sending. */
  sequence: number;
  stage: 'fresh' | 'writing' | 'stored' | 'done';
  /** It takes part of an item as soon as it is being written. */
  item: StoredItem | undefined;
  index: number;
  /** QoS 2: what the item says about it; ahead of it nothing may be sent. */
  storedPacketId: number;
  storedReleased: boolean;
  /** Nobody but the inbox holds it: forgotten when it has been stored, and read again later. */
  spilled: boolean;
  /** Another inbox has it now, under the same origin: its item is not needed any more, and this settles when it is gone. */
  movedOn: PendingReceipt | undefined;
}

/** An item of the table that holds messages somebody in memory knows. */
export interface StoredItem {
  readonly key: string;
  readonly size: number;
  readonly done: Set<number>;
  /** Those that are in memory: not to be read again. */
  readonly held: Set<number>;
}

export const newStoredItem = (key: string, size: number): StoredItem => ({
  key,
  size,
  done: new Set(),
  held: new Set(),
});

export function newDelivery(message: Message, terms: DeliveryTerms, qos: 1 | 2, arrivedAtMs: number): Delivery {
  return {
    message,
    terms,
    qos,
    arrivedAtMs,
    released: false,
    dup: false,
    packetId: 0,
    sequence: 0,
    stage: 'fresh',
    item: undefined,
    index: 0,
    storedPacketId: 0,
    storedReleased: false,
    spilled: false,
    movedOn: undefined,
  };
}
