/**
 * Moments at which something is due, for as many things as there are: a heap with one timer for the first of them. Each thing
 * takes 24 bytes, and knows its place, so that it can be taken out. A timer and a closure each would take half a kilobyte.
 *
 * What is due at the same moment is done in order of its time, some in a turn of the event loop. `due` may set and
 * delete as it likes. Delays are of the monotonic clock: one that is set back or forward changes nothing.
 */
import type { Cancel, Clock } from './clock.js';
import { type FaultPlace, guarded } from './faults.js';

/** A place in the heap of that name, beginning with 1; 0: in none. Nobody else writes it. */
export type Placed<K extends string> = Record<K, number>;

/** What a fleet leaves behind when it goes at once must not hold up the others: so many in a turn, */
const perTurnMax = 100;
/** and none more when they have taken so long. */
const turnMs = 2;

export class Deadlines<K extends string, T extends Placed<K>> {
  readonly #clock: Clock;
  readonly #place: K;
  readonly #due: (thing: T) => void;
  readonly #fault: FaultPlace;
  /** The thing at `i` is due no later than those at `2i + 1` and `2i + 2`. */
  readonly #things: T[] = [];
  readonly #atMs: number[] = [];
  #cancel: Cancel | undefined;
  #armedForMs = Infinity;

  constructor(clock: Clock, place: K, fault: FaultPlace, due: (thing: T) => void) {
    this.#clock = clock;
    this.#place = place;
    this.#fault = fault;
    this.#due = due;
  }

  get size(): number {
    return this.#things.length;
  }

  /** Once; a later call replaces it. */
  set(thing: T, delayMs: number): void {
    this.delete(thing);
    this.#things.push(thing);
    this.#atMs.push(this.#clock.monotonicMs() + Math.max(0, delayMs));
    this.#rise(this.#things.length - 1);
    this.#arm();
  }

  delete(thing: T): void {
    const at = thing[this.#place] - 1;
    if (at < 0) return;
    this.#write(thing, 0);
    const last = this.#things.pop()!;
    const lastMs = this.#atMs.pop()!;
    if (last === thing) return;
    this.#put(at, last, lastMs);
    this.#rise(at);
    this.#sink(last[this.#place] - 1);
  }

  #write(thing: Placed<K>, place: number): void {
    thing[this.#place] = place;
  }

  #put(at: number, thing: T, atMs: number): void {
    this.#things[at] = thing;
    this.#atMs[at] = atMs;
    this.#write(thing, at + 1);
  }

  #rise(at: number): void {
    const [thing, atMs] = [this.#things[at]!, this.#atMs[at]!];
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#atMs[parent]! <= atMs) break;
      this.#put(at, this.#things[parent]!, this.#atMs[parent]!);
      at = parent;
    }
    this.#put(at, thing, atMs);
  }

  #sink(at: number): void {
    const [thing, atMs] = [this.#things[at]!, this.#atMs[at]!];
    for (;;) {
      let child = 2 * at + 1;
      if (child + 1 < this.#things.length && this.#atMs[child + 1]! < this.#atMs[child]!) child++;
      if (child >= this.#things.length || this.#atMs[child]! >= atMs) break;
      this.#put(at, this.#things[child]!, this.#atMs[child]!);
      at = child;
    }
    this.#put(at, thing, atMs);
  }

  /** A timer that is too early finds nothing due, and is set again: it is not worth cancelling one for each that is taken out. */
  #arm(): void {
    const firstMs = this.#atMs[0];
    if (firstMs === undefined || firstMs >= this.#armedForMs) return;
    this.#cancel?.();
    this.#armedForMs = firstMs;
    this.#cancel = this.#clock.after(Math.max(0, firstMs - this.#clock.monotonicMs()), () => this.#look());
  }

  #look(): void {
    this.#cancel = undefined;
    this.#armedForMs = Infinity;
    const nowMs = this.#clock.monotonicMs();
    for (let done = 0; done < perTurnMax && this.#atMs[0]! <= nowMs; done++) {
      const thing = this.#things[0]!;
      this.delete(thing);
      guarded(this.#fault, () => this.#due(thing));
      if (this.#clock.monotonicMs() - nowMs >= turnMs) break;
    }
    this.#arm();
  }
}
