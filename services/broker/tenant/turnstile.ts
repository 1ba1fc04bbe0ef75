/**
 * Newcomers give way to those who are in: so many a turn of the event loop, however many come at once. There are two: one for
 * sockets, before anything is read of them, in turns by address (`transport.ts`); one for CONNECTs, before anything of them is
 * looked up, in turns by the tenant that they name (`admission.ts`). So what one address or one name brings waits for itself.
 *
 *      comes, and few have come in this turn of the loop  -> at once
 *      else it waits                                      -> in the next turn or a later one, each in a task of its own
 *
 * libuv accepts one socket in a turn of the event loop, so while turns are full of CONNECTs, whoever comes waits in the kernel's
 * queue, where there are no groups. The turnstile of sockets therefore gathers: while one comes in every turn, it lets in few, and
 * turns are short. So all stand in its lines soon, and one of a group that has few is called up among the first.
 *
 *      comes, another one came just now  -> waits
 *      end of a turn in which one came   -> nobody, for up to `gatherTurnsMax` turns or `gatherMsMax`; then a turn as ever
 *
 * A task of its own, so that what one brings about by promises that are settled already (all of a CONNECT whose records are
 * remembered) is over, and counted as time, before the next one begins. Those that wait have places of their own, which bound them.
 */
import { BoundedFifo, caught, type Clock } from '../../kernel/kernel.js';

/** In one turn of the event loop: some 3 ms of CONNECTs, 1 ms of sockets. */
const perTurnMax = 16;
/** Whatever they take. */
const turnMsMax = 3;
/** How much the last one changes the average. */
const newWeight = 1 / 16;
/** More than that has been something else. */
const eachMsMax = 2;
/** Come one after the other: a thousand a second. */
const crowdMs = 1;
/** Eight come for each one that is let in: some 10 ms of accepting for 5 ms of CONNECTs. */
const gatherTurnsMax = 128;
/** Where turns are long for another reason. */
const gatherMsMax = 20;

type Pass = () => void;

export class Turnstile {
  /** What one takes, as far as it has been measured: milliseconds of the thread. */
  averageMs = 0;
  readonly #clock: Clock;
  readonly #defer: (run: () => void) => void;
  /** By group; whose turn is next stands first. */
  readonly #lines = new Map<string, BoundedFifo<Pass>>();
  #waiting = 0;
  /** In this turn of the loop. */
  #passed = 0;
  #endsAtMs = 0;
  readonly #gatherMax: number;
  #cameAtMs = -Infinity;
  #hasCome = false;
  #gatheredTurns = 0;
  #gatherEndsMs = 0;
  #startedMs: number | undefined;
  #isArmed = false;

  /**
   * `defer`: runs something in a task of its own, in the next turn of the event loop. `gatherMax`: with so many in its lines it
   * gathers no more; 0: never.
   */
  constructor(clock: Clock, defer: (run: () => void) => void = setImmediate, gatherMax = 0) {
    this.#clock = clock;
    this.#defer = defer;
    this.#gatherMax = gatherMax;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** `pass` is called before this returns, or later, and only once. What it throws is the caller's if it is called at once. */
  come(group: string, pass: Pass): void {
    this.#arm();
    if (this.#waiting === 0 && this.#passed < perTurnMax && !this.#isOneOfMany()) {
      this.#passed++;
      return pass();
    }
    this.#waiting++;
    this.#hasCome = true;
    let line = this.#lines.get(group);
    if (!line) {
      line = new BoundedFifo({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
      this.#lines.set(group, line);
    }
    line.push(pass);
  }

  #isOneOfMany(): boolean {
    if (this.#gatherMax === 0) return false;
    const beforeMs = this.#cameAtMs;
    this.#cameAtMs = this.#clock.monotonicMs();
    return this.#cameAtMs - beforeMs < crowdMs;
  }

  /** At the end of a turn: whether more are awaited before anybody is let in. */
  #gathers(nowMs: number): boolean {
    const hasCome = this.#hasCome;
    this.#hasCome = false;
    if (hasCome && this.#waiting < this.#gatherMax && nowMs < this.#gatherEndsMs)
      if (++this.#gatheredTurns <= gatherTurnsMax) return true;
    this.#gatheredTurns = 0;
    this.#gatherEndsMs = nowMs + gatherMsMax;
    return false;
  }

  #arm(): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#defer(this.#turn);
  }

  /** Comes before those that the last turn has called up. */
  readonly #turn = (): void => {
    this.#isArmed = false;
    this.#startedMs = undefined;
    const nowMs = this.#clock.monotonicMs();
    this.#endsAtMs = nowMs + turnMsMax;
    this.#passed = this.#waiting > 0 ? perTurnMax : 0;
    if (this.#waiting === 0) return;
    this.#arm();
    if (this.#gathers(nowMs)) return;
    for (let n = Math.min(perTurnMax, this.#waiting); n > 0; n--) this.#defer(this.#one);
  };

  readonly #one = (): void => {
    const nowMs = this.#clock.monotonicMs();
    if (this.#startedMs !== undefined)
      this.averageMs += (Math.min(nowMs - this.#startedMs, eachMsMax) - this.averageMs) * newWeight;
    this.#startedMs = undefined;
    if (this.#waiting === 0 || nowMs >= this.#endsAtMs) return;
    this.#startedMs = nowMs;
    try {
      this.#next()();
    } catch (error) {
      caught('accept', error);
    }
  };

  /** Of the group whose turn it is, which stands behind the others then. */
  #next(): Pass {
    const [group, line] = this.#lines.entries().next().value!;
    this.#lines.delete(group);
    const pass = line.shift()!;
    this.#waiting--;
    if (line.length > 0) this.#lines.set(group, line);
    return pass;
  }
}
