/**
 * Who inherits what from a broker that has died. All that is stored of sessions is divided into slots, by a hash of the partition
 * key, and shares name one heir for each slot. They are part of the mark on the dead broker's lease, and of what is kept of that lease.
 *
 *      record of D, in slot 7 -> D has a mark: its heir for slot 7 is X -> X has one, too: Y -> Y has none: the record is Y's
 *
 * A table can be replaced by what it leads to (`composed`), because each slot has exactly one way.
 */
import type { BrokerId } from '../kernel/kernel.js';
import { stableHash } from './stable-hash.js';

/** Each of 16 heirs gets four; the 16 buckets of one large tenant are in as many as that. Frozen: marks that are stored have them. */
export const slotCount = 64;
/** Names take 30 bytes each, and a tenant has no more buckets that could be shared. */
const heirsMax = 16;

/** A record that has come to this broker by these shares is to be read before its session goes on. */
export class NotHereYet extends Error {
  override readonly name = 'NotHereYet';
}

/** An heir for each slot. */
export type Shares = readonly BrokerId[];

/** Of everything under that partition key. */
export const slotOf = (pk: string): number => stableHash(pk) % slotCount;

/**
 * Of `dead`, among `marker` and others that live: equal parts. Of more than 16 others those are chosen by a hash that is another
 * one for each death.
 */
export function sharesAmong(dead: BrokerId, marker: BrokerId, others: readonly BrokerId[]): Shares {
  const ranked = others
    .filter((one) => one !== marker && one !== dead)
    .map((one) => ({ one, rank: mixed(stableHash(`${one} ${dead}`)) }))
    .sort((a, b) => a.rank - b.rank || (a.one < b.one ? -1 : 1));
  const heirs = [marker, ...ranked.slice(0, heirsMax - 1).map(({ one }) => one)];
  return Array.from({ length: slotCount }, (_, slot) => heirs[slot % heirs.length]!);
}

/** Names that end alike have hashes whose order does; so all bits are moved. */
function mixed(hash: number): number {
  const half = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return Math.imul(half ^ (half >>> 13), 0xc2b2ae35) >>> 0;
}

/** All to one. */
export const sharesOf = (heir: BrokerId): Shares => Array.from({ length: slotCount }, () => heir);

/** In no broker's id. */
const [between, end] = [',', ':'];
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** `heir,heir:ABAB...`: a digit for each slot. */
export function sharesToText(shares: Shares): string {
  const heirs = [...new Set(shares)];
  return heirs.join(between) + end + shares.map((heir) => digits[heirs.indexOf(heir)]).join('');
}

/** Undefined: it is none. */
export function sharesFromText(text: unknown): Shares | undefined {
  if (typeof text !== 'string') return undefined;
  const at = text.indexOf(end);
  const heirs = text.slice(0, at).split(between) as BrokerId[];
  const shares = [...text.slice(at + 1)].map((digit) => heirs[digits.indexOf(digit)]);
  return at > 0 && shares.length === slotCount && shares.every((heir) => heir !== undefined && heir !== '')
    ? (shares as Shares)
    : undefined;
}

/** A digit for each. */
export const slotsToText = (slots: Iterable<number>): string => [...slots].map((slot) => digits[slot]).join('');

/** Undefined: it is no such text. */
export function slotsFromText(text: unknown): ReadonlySet<number> | undefined {
  if (typeof text !== 'string') return undefined;
  const slots = [...text].map((digit) => digits.indexOf(digit));
  return slots.includes(-1) ? undefined : new Set(slots);
}

/** What is known of a broker: it has no mark, it has one with shares, or nobody knows anything of it. */
export type Fate = 'unmarked' | Shares | 'unknown';

/** Where the way of a slot leads. */
export interface Way {
  /** A broker without a mark; undefined: it leads to nobody. */
  readonly heir: BrokerId | undefined;
  /** Brokers behind `from`, the heir included. */
  readonly passed: readonly BrokerId[];
}

/** From `from` on, by the marks. Undefined when `fateOf` does not know one of them: that is told to `missing`. */
export function wayOf(
  from: BrokerId,
  slot: number,
  fateOf: (broker: BrokerId) => Fate | undefined,
  missing: (broker: BrokerId) => void,
): Way | undefined {
  const passed: BrokerId[] = [];
  for (let at = from; ;) {
    const fate = fateOf(at);
    if (fate === undefined) {
      missing(at);
      return undefined;
    }
    if (fate === 'unmarked') return { heir: at, passed };
    if (fate === 'unknown') return { heir: undefined, passed };
    at = fate[slot]!;
    if (at === from || passed.includes(at)) return { heir: undefined, passed }; // A circle.
    passed.push(at);
  }
}
