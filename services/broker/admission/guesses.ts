/**
 * Whoever guesses is slowed before that costs anything: wrong passwords are counted by the address that they come from, by
 * the name that they are for, and by both together. A device with the right password that is remembered is never asked, and one
 * that has it from another address than the guesser is slowed only when the guesser has many addresses.
 */
import { type Clock, Paces } from '../../kernel/kernel.js';

/** More than can be noticed at a keyboard, and less than costs a core anything. */
const keysMax = 1 << 14;
const ofBoth = { everyMs: 1000, burst: 10, keysMax };
const ofName = { everyMs: 100, burst: 50, keysMax };
/** A house full of devices that were all given a wrong password. */
const ofAddress = { everyMs: 100, burst: 100, keysMax };
/** Names that do not exist, each looked for in the database: more than a factory brings that was given the wrong list. */
const ofMissing = { everyMs: 20, burst: 200, keysMax };

export interface Guess {
  readonly addressGroup: string;
  /** Scope and name of the credential. */
  readonly name: string;
}

export class Guesses {
  readonly #clock: Clock;
  readonly #byBoth = new Paces(ofBoth);
  readonly #byName = new Paces(ofName);
  readonly #byAddress = new Paces(ofAddress);
  readonly #missing = new Paces(ofMissing);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts one; false, and nothing is counted, when there were too many. */
  count(guess: Guess): boolean {
    const nowMs = this.#clock.monotonicMs();
    const rates = this.#ratesOf(guess);
    if (rates.some(([paces, key]) => paces.waitMs(key, nowMs) > 0)) return false;
    for (const [paces, key] of rates) paces.spend(key, nowMs);
    return true;
  }

  /** It was the right password. */
  wasNone(guess: Guess): void {
    for (const [paces, key] of this.#ratesOf(guess)) paces.giveBack(key);
  }

  /** A name was looked for, and did not exist. */
  missed({ addressGroup }: Pick<Guess, 'addressGroup'>): void {
    this.#missing.spend(addressGroup, this.#clock.monotonicMs());
  }

  /** Whether a name that is not remembered is looked for, for somebody at that address. */
  mayLookUp({ addressGroup }: Pick<Guess, 'addressGroup'>): boolean {
    return this.#missing.waitMs(addressGroup, this.#clock.monotonicMs()) === 0;
  }

  #ratesOf({ addressGroup, name }: Guess): (readonly [Paces, string])[] {
    return [
      [this.#byBoth, `${addressGroup} ${name}`],
      [this.#byName, name],
      [this.#byAddress, addressGroup],
    ];
  }
}
