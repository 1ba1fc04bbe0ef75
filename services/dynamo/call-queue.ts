/**
 * So many calls of one kind at a time, each with a socket of its own; the others wait here and not in the agent of the HTTP
 * client. There the time of an attempt would run already: a broker that has 2000 records to write would take its own queue for
 * a slow DynamoDB, and write each of them three times.
 *
 * Whoever has fewer waiting goes first: those who wait take turns by tenant.
 */
import { BoundedFifo } from '../kernel/kernel.js';

/** Of one tenant: half the sessions of a free one. Each holds its command, some KB. */
const waitingOfOneMax = 5000;
const waitingMax = 50_000;
/** Longer than any burst that one core can make of what may wait. */
const waitMsMax = 30_000;

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
  #waiting = 0;
  /** By tenant; the first is next. */
  readonly #lines = new Map<string, BoundedFifo<Waiter>>();

  constructor(atOnceMax: number) {
    this.#atOnceMax = atOnceMax;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Undefined: it may go, at once or when it has waited, and is to `leave`. */
  enter(tenant: string, withinMs: number): NotSent | undefined | Promise<NotSent | undefined> {
    if (this.#underWay < this.#atOnceMax) {
      this.#underWay++;
      return undefined;
    }
    let line = this.#lines.get(tenant);
    if (!line) {
      line = new BoundedFifo({ itemsMax: waitingOfOneMax, bytesMax: Infinity }, () => 0);
      this.#lines.set(tenant, line);
    }
    if (this.#waiting >= waitingMax || line.length >= waitingOfOneMax) return 'QueueFull';
    return this.#wait(line, Math.min(withinMs, waitMsMax));
  }

  #wait(line: BoundedFifo<Waiter>, withinMs: number): Promise<NotSent | undefined> {
    this.#waiting++;
    return new Promise((resolve) => {
      const waiter: Waiter = { go: () => undefined, isGone: false };
      const timer = setTimeout(
        () => {
          waiter.isGone = true;
          this.#waiting--;
          resolve('QueuedTooLong');
        },
        Math.max(0, withinMs),
      );
      waiter.go = () => {
        clearTimeout(timer);
        this.#waiting--;
        resolve(undefined);
      };
      line.push(waiter);
    });
  }

  leave(): void {
    this.#underWay--;
    for (const [tenant, line] of this.#lines) {
      this.#lines.delete(tenant);
      let next = line.shift();
      while (next?.isGone) next = line.shift();
      if (line.length > 0) this.#lines.set(tenant, line); // Behind the others.
      if (!next) continue;
      this.#underWay++;
      return next.go();
    }
  }
}
