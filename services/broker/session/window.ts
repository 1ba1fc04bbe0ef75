/**
 * What may be under way to one client, and what a new connection has yet to send again. Both kinds of sessions have it:
 * those with an inbox and those without.
 *
 * The window is bounded by number (the client's Receive Maximum and `SHOAL_IN_FLIGHT_MAX`, `Channel.window`) and by the
 * memory it takes: thousands of small messages, so that a client that reads fast is not held up by round trips, and few
 * large ones (G7).
 */
import type { Channel } from './channel.js';
import type { InFlight, Numbered } from './in-flight.js';

/** Of memory: almost 3000 messages of 64 bytes, or 20 MB/s of large ones at a round trip of 100 ms. */
export const windowBytesMax = 1 << 21;

/** Whether one more message may be sent. One may exceed the bytes: the largest has to go, too. */
export function hasPlace(inFlight: InFlight<Numbered> | undefined, channel: Channel): boolean {
  if (inFlight === undefined) return true;
  return inFlight.size < channel.window && inFlight.bytes < windowBytesMax;
}

/** Shared by all that have nothing to send again; never written to. */
const nothing: never[] = [];

/**
 * [MQTT-4.4.0-1] After a reconnect everything unacknowledged goes out again, in the original order. Nothing new is sent
 * before that is over, so that all of it was sent earlier than what comes.
 */
export class Resend<T extends Numbered> {
  /** The next one last. */
  #left: T[] = nothing;

  start(inFlight: InFlight<T> | undefined): void {
    this.#left = inFlight?.inOrder().reverse() ?? nothing;
  }

  stop(): void {
    this.#left = nothing;
  }

  get length(): number {
    return this.#left.length;
  }

  /** Takes the next; it may have been finished meanwhile. */
  take(): T | undefined {
    return this.#left.pop();
  }

  /** Whether a message in flight still has its turn before it. */
  awaits({ sequence }: T): boolean {
    const next = this.#left.at(-1);
    return next !== undefined && sequence >= next.sequence;
  }
}
