/**
 * Retained messages to one new subscription, at the pace of the client: however many there are, no more than one page
 * is in memory, and none is cut off by the limit of the client's queue.
 */
import type { DeliveryTerms } from '../message/message.js';
import type { RetainedStore, Subscriber } from './ports.js';

export interface Replay {
  readonly filter: string;
  readonly terms: DeliveryTerms;
  readonly noLocal: boolean;
  /** False as soon as the subscription or the connection it was made on has gone. */
  readonly wanted: () => boolean;
}

export async function replayRetained(
  store: RetainedStore,
  subscriber: Subscriber,
  replay: Replay,
  nowMs: () => number,
): Promise<void> {
  for await (const page of store.read(replay.filter))
    for (const message of page.messages) {
      if (!subscriber.hasRoom) await new Promise<void>((resolve) => subscriber.whenRoom(resolve));
      if (!replay.wanted()) return;
      if (page.isStale(message)) continue;
      if (replay.noLocal && message.publisher === subscriber.clientId) continue;
      if (message.expiresAtMs > nowMs()) subscriber.deliver(message, replay.terms, nowMs());
    }
}
