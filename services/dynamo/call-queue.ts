/**
 * So many calls of one kind at a time, each with a socket of its own; the others wait here and not in the agent of the HTTP
 * client. There the time of an attempt would run already: a broker that has 2000 records to write would take its own queue for
 * a slow DynamoDB, and write each of them three times.
 *
 * Those that somebody waits for (a claim: its client wants CONNACK) go before those that can wait (a release), but for one call
 * in eight, so that releases go on in the longest storm. In each of the two tenants take turns, so whoever has fewer waiting goes
 * first; and each has bounds of its own, so that what can wait takes no place from what cannot.
 */
import { BoundedFifo } from '../kernel/kernel.js';

/** Of one tenant: half the sessions of a free one. Each holds its command, some KB. */
const waitingOfOneMax = 5000;
const waitingMax = 50_000;
/** Longer than any burst that one core can make of what may wait. */
const waitMsMax = 30_000;
/** Calls that overtake those that can wait, in a row. */
const overtakingMax = 7;

/** Why a call was not sent. */
export type NotSent = 'QueueFull' | 'QueuedTooLong';

interface Waiter {
  go: () => void;
  /** It has waited too long, and keeps its place until that is reached. */
  isGone: boolean;
}

export class CallQueue {
  readonly #atOnceMax: number;
  #underWay = 0;
  readonly #awaited = new Lines();
  readonly #patient = new Lines();
  #overtaking = 0;

  constructor(atOnceMax: number) {
    this.#atOnceMax = atOnceMax;
  }

  get waiting(): number {
    return this.#awaited.waiting + this.#patient.waiting;
  }

  /** Undefined: it may go, at once or when it has waited, and is to `leave`. */
  enter(tenant: string, withinMs: number, canWait = false): NotSent | undefined | Promise<NotSent | undefined> {
    if (this.#underWay < this.#atOnceMax) {
      this.#underWay++;
      return undefined;
    }
    return (canWait ? this.#patient : this.#awaited).wait(tenant, Math.min(withinMs, waitMsMax));
  }

  leave(): void {
    const next = this.#next();
    if (next) next.go();
    else this.#underWay--;
  }

  #next(): Waiter | undefined {
    const isPatientNext = this.#patient.waiting > 0 && this.#overtaking >= overtakingMax;
    const awaited = isPatientNext ? undefined : this.#awaited.next();
    this.#overtaking = awaited ? this.#overtaking + 1 : 0;
    return awaited ?? this.#patient.next();
  }
}

/** Those who wait, by tenant. */
class Lines {
  waiting = 0;
  /** The first is next. */
  readonly #lines = new Map<string, BoundedFifo<Waiter>>();

  wait(tenant: string, withinMs: number): NotSent | Promise<NotSent | undefined> {
    let line = this.#lines.get(tenant);
    if (!line) {
      line = new BoundedFifo({ itemsMax: waitingOfOneMax, bytesMax: Infinity }, () => 0);
      this.#lines.set(tenant, line);
    }
    if (this.waiting >= waitingMax || line.length >= waitingOfOneMax) return 'QueueFull';
    return this.#wait(line, withinMs);
  }

  #wait(line: BoundedFifo<Waiter>, withinMs: number): Promise<NotSent | undefined> {
    this.waiting++;
    return new Promise((resolve) => {
      const waiter: Waiter = { go: () => undefined, isGone: false };
      const timer = setTimeout(
        () => {
          waiter.isGone = true;
          this.waiting--;
          resolve('QueuedTooLong');
        },
        Math.max(0, withinMs),
      );
      waiter.go = () => {
        clearTimeout(timer);
        this.waiting--;
        resolve(undefined);
      };
      line.push(waiter);
    });
  }

  /** Of the tenant whose turn it is. */
  next(): Waiter | undefined {
    for (const [tenant, line] of this.#lines) {
      this.#lines.delete(tenant);
      let next = line.shift();
      while (next?.isGone) next = line.shift();
      if (line.length > 0) this.#lines.set(tenant, line); // Behind the others.
      if (next) return next;
    }
    return undefined;
  }
}
