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
 * Who has waited for longer than `patienceMs` is called up out of turn, as one that is late: to be told to try later, which takes a
 * fraction of what it takes to let one in. So nobody waits for long without an answer, and those who come behind them are in sooner.
 *
 * A task of its own, so that what one brings about by promises that are settled already (all of a CONNECT whose records are
 * remembered) is over, and counted as time, before the next one begins. Those that wait have places of their own, which bound them.
 */
import { BoundedFifo, caught, type Clock } from '../../kernel/kernel.js';

/** In one turn of the event loop: some 3 ms of CONNECTs, 1 ms of sockets. */
const perTurnMax = 16;
/** Each takes half of what the others do, or less, and comes back. */
const latePerTurnMax = 32;
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

/** `isLate`: is to be turned away. */
type Pass = (isLate: boolean) => void;

interface Waiting {
  readonly group: string;
  readonly cameAtMs: number;
  /** Until it has been called: what it holds, a socket or a CONNECT with its password, is let go of then. */
  pass: Pass | undefined;
}

export interface TurnstileOptions {
  /** With so many in its lines it gathers no more; 0: never. */
  readonly gatherMax?: number;
  /** Infinity: nobody is ever late. */
  readonly patienceMs?: number;
}

export class Turnstile {
  /** What one takes, as far as it has been measured: milliseconds of the thread. */
  averageMs = 0;
  readonly #clock: Clock;
  readonly #defer: (run: () => void) => void;
  /** By group; whose turn is next stands first. */
  readonly #lines = new Map<string, BoundedFifo<Waiting>>();
  /** All of these, in the order in which they have come, and those behind the oldest that have passed before it. */
  readonly #byAge = unbounded<Waiting>();
  #waiting = 0;
  /** In this turn of the loop. */
  #passed = 0;
  #endsAtMs = 0;
  readonly #gatherMax: number;
  readonly #patienceMs: number;
  #cameAtMs = -Infinity;
  #hasCome = false;
  #gatheredTurns = 0;
  #gatherEndsMs = 0;
  #startedMs: number | undefined;
  #isArmed = false;

  /** `defer`: runs something in a task of its own, in the next turn of the event loop. */
  constructor(
    clock: Clock,
    defer: (run: () => void) => void = setImmediate,
    { gatherMax = 0, patienceMs = Infinity }: TurnstileOptions = {},
  ) {
    this.#clock = clock;
    this.#defer = defer;
    this.#gatherMax = gatherMax;
    this.#patienceMs = patienceMs;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** `pass` is called before this returns, or later, and only once. What it throws is the caller's if it is called at once. */
  come(group: string, pass: Pass): void {
    this.#arm();
    if (this.#waiting === 0 && this.#passed < perTurnMax && !this.#isOneOfMany()) {
      this.#passed++;
      return pass(false);
    }
    this.#waiting++;
    this.#hasCome = true;
    const waiting = { group, pass, cameAtMs: this.#clock.monotonicMs() };
    let line = this.#lines.get(group);
    if (!line) this.#lines.set(group, (line = unbounded()));
    line.push(waiting);
    this.#byAge.push(waiting);
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
    if (this.#hasLate(nowMs)) for (let n = 0; n < latePerTurnMax; n++) this.#defer(this.#oneLate);
    for (let n = Math.min(perTurnMax, this.#waiting); n > 0; n--) this.#defer(this.#one);
  };

  #hasLate(nowMs: number): boolean {
    for (let oldest = this.#byAge.peek(); oldest; oldest = this.#byAge.peek()) {
      if (oldest.pass) return nowMs - oldest.cameAtMs > this.#patienceMs;
      this.#byAge.shift();
    }
    return false;
  }

  readonly #oneLate = (): void => {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#endsAtMs || !this.#hasLate(nowMs)) return;
    const { group } = this.#byAge.shift()!;
    this.#call(this.#firstOf(group, false), true); // Whoever is the oldest of all is the first of its group.
  };

  readonly #one = (): void => {
    const nowMs = this.#clock.monotonicMs();
    if (this.#startedMs !== undefined)
      this.averageMs += (Math.min(nowMs - this.#startedMs, eachMsMax) - this.averageMs) * newWeight;
    this.#startedMs = undefined;
    if (this.#waiting === 0 || nowMs >= this.#endsAtMs) return;
    this.#startedMs = nowMs;
    const [group] = this.#lines.keys();
    this.#call(this.#firstOf(group!, true), false);
  };

  #call(waiting: Waiting, isLate: boolean): void {
    const pass = waiting.pass!;
    waiting.pass = undefined;
    try {
      pass(isLate);
    } catch (error) {
      caught('accept', error);
    }
  }

  /** `goesBehind`: it was the group's turn, and it stands behind the others then. */
  #firstOf(group: string, goesBehind: boolean): Waiting {
    const line = this.#lines.get(group)!;
    const waiting = line.shift()!;
    this.#waiting--;
    if (goesBehind || line.length === 0) this.#lines.delete(group);
    if (goesBehind && line.length > 0) this.#lines.set(group, line);
    return waiting;
  }
}

/** What waits has a place of its own, which bounds it. */
const unbounded = <T>(): BoundedFifo<T> => new BoundedFifo({ itemsMax: Infinity, bytesMax: Infinity }, () => 0);
