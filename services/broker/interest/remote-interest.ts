/**
 * What the other brokers have subscribed to, of one tenant that this broker watches: for each shape the fingerprints, for
 * each fingerprint which brokers. `match` looks a topic up once a shape. Costs 13 to 16 bytes a filter, however many
 * brokers have it.
 */
import { SparseMap } from '../../kernel/kernel.js';
import type { BrokerSets } from './broker-sets.js';
import { FingerprintTable } from './fingerprint-table.js';
import type { Fingerprint, Shape } from './shape.js';

/** Topics whose brokers are remembered. */
const topicsMax = 10_000;

interface KnownShape {
  readonly shape: Shape;
  /** By slot: how many fingerprints of this shape the broker has. */
  readonly counts: Map<number, number>;
}

interface Remembered {
  slots: readonly number[];
  /** When they were looked up. */
  version: number;
}

export class RemoteInterest {
  readonly #sets: BrokerSets;
  readonly #table: FingerprintTable;
  readonly #shapes = new Map<string, KnownShape>();
  #version = 0;
  readonly #byTopic = new SparseMap<string, Remembered>();
  #lastTopic: string | undefined;
  #last: Remembered | undefined;

  constructor(sets: BrokerSets) {
    this.#sets = sets;
    this.#table = new FingerprintTable((number) => {
      if (sets.members(number).length > 0) return true;
      sets.release(number);
      return false;
    });
  }

  get shapes(): number {
    return this.#shapes.size;
  }

  get filters(): number {
    return this.#table.size;
  }

  get bytes(): number {
    return this.#table.bytes;
  }

  /** The broker at `slot` has the filter, or has it not, from now on. Saying the same again changes nothing. */
  set(slot: number, shape: Shape, { high, low }: Fingerprint, isThere: boolean): void {
    const number = this.#table.get(high, low);
    if (this.#sets.has(number, slot) === isThere) return;
    // With the number that the entry has afterwards, if the table asks while it is copied.
    const after = this.#sets.change(number, slot, isThere);
    this.#table.set(high, low, after);
    this.#count(shape, slot, isThere ? 1 : -1);
    this.#version++;
  }

  /** The broker at `slot` has gone, and has been taken out of the sets. */
  dropped(slot: number): void {
    for (const { shape, counts } of this.#shapes.values()) {
      counts.delete(slot);
      if (counts.size === 0) this.#shapes.delete(shape.pattern);
    }
    this.#version++;
  }

  /** The tenant is not watched any more. */
  end(): void {
    this.#table.forEach((_high, _low, number) => this.#sets.release(number));
  }

  /** As `match`; remembered until somebody has told something new of the tenant: then it is looked up again. */
  slotsOf(topic: string): readonly number[] {
    let remembered = topic === this.#lastTopic ? this.#last : this.#byTopic.get(topic);
    if (remembered?.version !== this.#version) {
      const slots = this.match(topic);
      if (remembered) Object.assign(remembered, { slots, version: this.#version });
      else {
        remembered = { slots, version: this.#version };
        if (this.#byTopic.size >= topicsMax) this.#byTopic.clear();
        this.#byTopic.set(topic, remembered);
      }
    }
    this.#lastTopic = topic;
    this.#last = remembered;
    return remembered.slots;
  }

  /** The brokers with a filter that matches the topic, each once and in ascending order of slots. */
  match(topic: string): readonly number[] {
    let found: readonly number[] = [];
    for (const { shape } of this.#shapes.values()) {
      const print = shape.ofTopic(topic);
      const members = print && this.#sets.members(this.#table.get(print.high, print.low));
      if (members && members.length > 0) found = found.length === 0 ? members : joined(found, members);
    }
    return found;
  }

  #count(shape: Shape, slot: number, change: 1 | -1): void {
    let known = this.#shapes.get(shape.pattern);
    if (!known) this.#shapes.set(shape.pattern, (known = { shape, counts: new Map() }));
    const count = (known.counts.get(slot) ?? 0) + change;
    if (count > 0) known.counts.set(slot, count);
    else known.counts.delete(slot);
    if (known.counts.size === 0) this.#shapes.delete(shape.pattern);
  }
}

const joined = (some: readonly number[], others: readonly number[]): readonly number[] =>
  [...new Set([...some, ...others])].sort((a, b) => a - b);
