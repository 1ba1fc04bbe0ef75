/**
 * What brokers tell each other of a topic filter: its shape, and a fingerprint of 64 bits. The shape is at which levels the
 * filter has wildcards (`wildcardPattern`); the fingerprint is a hash over the shape and the other levels. A topic matches a
 * filter of a shape if the hash over the topic's levels that the shape keeps is the filter's. So a topic is looked up once for
 * each shape, however many filters there are, and a filter takes 8 bytes on every other broker, however long it is.
 *
 * Two filters with the same fingerprint: among ten million there are such two with a chance of 3 in a million. What is
 * matched too much costs one message to a broker that finds nobody. A tenant can make such filters on purpose, for itself.
 */
import { wildcardPattern } from '../../topic/topic.js';

/** Two halves of 32 bits each, unsigned. */
export interface Fingerprint {
  readonly high: number;
  readonly low: number;
}

const dollar = 0x24;
const slash = 0x2f;

export class Shape {
  /** As `wildcardPattern` says it: `+1,#3`. Empty: no wildcards. */
  readonly pattern: string;
  /** The levels that are `+`, in ascending order. */
  readonly #any: readonly number[];
  /** How many levels stand before `#`. */
  readonly #before: number | undefined;
  readonly #seedHigh: number;
  readonly #seedLow: number;

  private constructor(pattern: string, any: readonly number[], before: number | undefined) {
    this.pattern = pattern;
    this.#any = any;
    this.#before = before;
    let high = 0x9e3779b9;
    let low = 0x811c9dc5;
    for (let i = 0; i < pattern.length; i++) {
      const code = pattern.charCodeAt(i);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code, 0x85ebca6b) + low;
    }
    this.#seedHigh = high;
    this.#seedLow = low;
  }

  static of(filter: string): Shape {
    return Shape.parse(wildcardPattern(filter))!;
  }

  /** From its pattern, as another broker tells it; undefined if that is none. */
  static parse(pattern: string): Shape | undefined {
    if (pattern === '') return new Shape('', [], undefined);
    const any: number[] = [];
    let before: number | undefined;
    for (const place of pattern.split(',')) {
      const level = Number(place.slice(1));
      const isCanonical =
        place.slice(1) === String(level) && Number.isInteger(level) && level >= 0 && level < levelsMax;
      if (!isCanonical || before !== undefined || level <= (any.at(-1) ?? -1)) return undefined;
      if (place.startsWith('+')) any.push(level);
      else if (place.startsWith('#')) before = level;
      else return undefined;
    }
    return new Shape(pattern, any, before);
  }

  ofFilter(filter: string): Fingerprint {
    return this.#hash(filter, this.#before === undefined ? filter.length : Math.max(0, filter.length - '/#'.length))!;
  }

  /** Undefined: no filter of this shape matches the topic name. */
  ofTopic(topic: string): Fingerprint | undefined {
    // [MQTT-4.7.2-1] Wildcards in the first level do not match names that start with "$".
    if (topic.charCodeAt(0) === dollar && (this.#any[0] === 0 || this.#before === 0)) return undefined;
    return this.#hash(topic, topic.length);
  }

  /** Over the levels that are kept of the first `end` characters; each level with its number, so that an empty one counts. */
  #hash(text: string, end: number): Fingerprint | undefined {
    const any = this.#any;
    const before = this.#before ?? Infinity;
    let high = this.#seedHigh;
    let low = this.#seedLow;
    let level = 0;
    let at = 0;
    let nextAny = 0;
    while (level < before && at <= end) {
      const isAny = any[nextAny] === level;
      if (isAny) nextAny++;
      low = Math.imul(low ^ (level + 0x100), 0x01000193);
      high = (Math.imul(high ^ (level + 0x100), 0x85ebca6b) + low) | 0;
      for (; at < end; at++) {
        const code = text.charCodeAt(at);
        if (code === slash) break;
        if (isAny) continue;
        low = Math.imul(low ^ code, 0x01000193);
        high = (Math.imul(high ^ code, 0x85ebca6b) + low) | 0;
      }
      at++;
      level++;
    }
    // Not enough levels for what the shape asks for. "sport/#" matches "sport", too: as many as stand before "#" are enough.
    if (nextAny < any.length || (before !== Infinity && level < before)) return undefined;
    return { high: mixed(high ^ Math.imul(low, 0xc2b2ae35)), low: mixed(low ^ Math.imul(high, 0x27d4eb2f)) };
  }
}

/** Of what another broker may tell: far above what any filter has. */
const levelsMax = 65_536;

function mixed(bits: number): number {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
