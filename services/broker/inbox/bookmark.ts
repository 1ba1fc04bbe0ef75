/**
 * What memory keeps of an inbox of which everything is stored: how much waits in the table, where reading it begins, and
 * under which keys the next items go. An inbox is made over its bookmark when there is something to do, and dropped
 * when nothing of it is in memory (`Inbox.isIdle`); the next one goes on where the bookmark says.
 */
import type { Message, Receipt } from '../message/message.js';
import type { StoredItem } from './delivery.js';
import type { StoredOrigin } from './commit.js';

const digits = 10;
const keyBytes = Buffer.from(`m${'0'.repeat(2 * digits)}`);
const hexDigits = Buffer.from('0123456789abcdef');

/**
 * `m`, then both in hex. In one piece: what is put together from parts keeps them, and that may be for years. Written digit by
 * digit, because a broker that starts makes one for each session.
 */
export function keyOf(epoch: number, counter: number): string {
  write(epoch, digits);
  write(counter, 2 * digits);
  return keyBytes.toString('latin1');
}

/** The last digit at `end`. */
function write(value: number, end: number): void {
  for (let at = end; at > end - digits; at--) {
    const rest = Math.floor(value / 16);
    keyBytes[at] = hexDigits[value - 16 * rest]!;
    value = rest;
  }
}

/** Behind which a reader begins that is to find it. */
export const before = (key: string): string => keyOf(parseInt(key.slice(1, 11), 16), parseInt(key.slice(11), 16) - 1);

export class Bookmark {
  /** Of the latest claim: items carry it. */
  epoch = 0;
  /** How many items have been written under it. */
  counter = 0;
  /** Messages accepted and not done, in memory or not. */
  unfinished = 0;
  /** Of these so many are in the table only by what the record says, which may be some seconds old; undefined when they are known. */
  believed: number | undefined;
  /** And these have epochs below this one; what has come since has not. */
  unreadBelow = 0;
  /** Messages that a full queue has refused. */
  dropped = 0;
  /** Of the newest item that is certain to be in the table. */
  confirmedKey = '';
  /** Stored messages that are not in memory begin behind this key. */
  unreadAfter: string | undefined;

  // What only some have.

  /** Items that deliveries in memory belong to, or that are done in part. */
  items: Map<string, StoredItem> | undefined;
  /** Of stored QoS 2 messages that memory has let go, by item: what their deletes have to wait for. */
  unsettled: Map<string, Receipt> | undefined;
  /** Identifiers of QoS 1 messages sent before memory let them go, by item and place in it; those of QoS 2 are stored. */
  packetIds: Map<string, Uint16Array> | undefined;
  /** QoS 2 messages that an earlier owner had stored. */
  inherited: Inherited | undefined;

  /** A claim of the session has given it a new epoch. */
  renew(epoch: number): void {
    this.epoch = epoch;
    this.counter = 0;
  }

  /** After a restart: what is in the table, if anything is, begins behind the epoch at which the session began. */
  restore(born: number, believed: number): void {
    this.unfinished = this.believed = believed;
    this.unreadBelow = this.epoch;
    this.unreadAfter = keyOf(born, 0);
    this.confirmedKey = keyOf(this.epoch, 0);
  }

  /**
   * `count` messages were in the table when it was restored. More may have come since. Returns how many that is more than was believed.
   * `isOfLiving`: a broker that lives has stored them, and this one may have been sent the same.
   */
  know(count: number, origins: readonly StoredOrigin[], isOfLiving = false): number {
    const more = count - this.believed!;
    this.believed = undefined;
    this.unfinished += more;
    if (origins.length > 0) this.inherited = new Inherited(origins, isOfLiving);
    if (this.unfinished === 0) this.unreadAfter = undefined;
    return more;
  }

  /**
   * Whether `waiting` messages are as many as a queue may hold. Nothing is dropped for what may not be true any more: a queue that has
   * not been looked at takes as many as it may hold beside those it is believed to have.
   */
  isFull(waiting: number, limit: number): boolean {
    return waiting - Math.min(this.believed ?? 0, limit) >= limit;
  }

  /** The same of one that comes from its publisher, or from another broker. Nearly always there is nothing to look up. */
  knows(message: Message, shared: string | undefined): boolean {
    const { origin } = message;
    if (!origin || !this.inherited || !(origin.again || this.inherited.isOfLiving)) return false;
    return this.inherited.has(message, shared);
  }

  /** Whether an earlier owner has stored this QoS 2 message: its publisher sends it again, or another inbox had it, too. */
  hasStored(message: Message, shared: string | undefined): boolean {
    return this.inherited?.has(message, shared) ?? false;
  }
}

class Inherited {
  readonly isOfLiving: boolean;
  /** By publisher and packet identifier. */
  readonly #byName = new Map<string, StoredOrigin[]>();
  /** Those that have moved on. */
  #left: Set<StoredOrigin> | undefined;

  constructor(origins: readonly StoredOrigin[], isOfLiving: boolean) {
    this.isOfLiving = isOfLiving;
    for (const origin of origins) {
      const key = `${origin.packetId}/${origin.publisher}`;
      const same = this.#byName.get(key);
      if (same) same.push(origin);
      else this.#byName.set(key, [origin]);
    }
  }

  has({ publisher, origin }: Message, shared: string | undefined): boolean {
    if (origin === undefined) return false;
    const { again, packetId, epoch, number } = origin;
    const known = this.#byName.get(`${packetId}/${publisher!}`) ?? [];
    const same = known.filter((stored) => stored.shared === shared);
    if (again) return same.some(again);
    return same.some((stored) => !this.#left?.has(stored) && stored.epoch === epoch && stored.number === number);
  }

  /** The message has moved on to another inbox, and may come back from there. */
  left({ publisher, origin }: Message, shared: string | undefined): void {
    for (const stored of this.#byName.get(`${origin!.packetId}/${publisher!}`) ?? [])
      if (stored.shared === shared && stored.epoch === origin!.epoch && stored.number === origin!.number)
        (this.#left ??= new Set()).add(stored);
  }
}
