/**
 * Topic names of incoming PUBLISH packets, decoded and validated once: a direct-mapped table from the bytes on the
 * wire to a shared `TopicName`. A hit costs one hash and one comparison and allocates nothing; a collision simply
 * replaces the entry. Bounded by its number of slots and the longest name it keeps.
 */
import { levelsError, topicBytesMax, topicLevelsMax, topicNameError } from '../../topic/topic.js';
import { ownBytes } from '../../kernel/kernel.js';
import type { TopicName } from '../message/message.js';
import { decodeUtf8 } from './cursor.js';
import { PeerFault, reasons } from './reasons.js';

/** A name takes its text, its bytes and some 300 bytes of objects: 14 MB in the worst case, 6 with names of 30 bytes. */
const slots = 1 << 14;
const keptBytesMax = 256;

export class TopicTable {
  readonly #slots: (TopicName | undefined)[] = new Array<TopicName | undefined>(slots).fill(undefined);
  readonly #levelsMax: number;

  constructor(levelsMax = topicLevelsMax) {
    this.#levelsMax = levelsMax;
  }

  /** Throws a `PeerFault` for what is not a topic name. */
  lookup(bytes: Buffer, start: number, end: number): TopicName {
    const length = end - start;
    if (length > keptBytesMax) return this.#decode(bytes, start, end);
    let hash = 0x811c9dc5; // FNV-1a
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const slot = (hash ^ (hash >>> 15)) & (slots - 1);
    const known = this.#slots[slot];
    if (known !== undefined && known.bytes.length === length && equal(known.bytes, bytes, start)) return known;
    return (this.#slots[slot] = this.#decode(bytes, start, end));
  }

  #decode(bytes: Buffer, start: number, end: number): TopicName {
    if (end - start > topicBytesMax) throw invalid(`a topic name can have at most ${topicBytesMax} bytes`);
    const text = decodeUtf8(bytes, start, end);
    const error = topicNameError(text) ?? levelsError('a topic name', text, this.#levelsMax);
    if (error !== undefined) throw invalid(error);
    return { text, bytes: ownBytes(bytes, start, end) };
  }
}

function equal(known: Buffer, bytes: Buffer, start: number): boolean {
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}

const invalid = (detail: string): PeerFault => new PeerFault(reasons.topicNameInvalid, detail);
