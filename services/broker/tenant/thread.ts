/**
 * The one thread of a broker, shared by its tenants: time is a quota. Each tenant has an account in it, which fills by its
 * share (`cpuShare`) of the time that goes by and pays for what is done for the tenant. One with time left is served at once.
 * One without waits, and those that wait are served in turn, by deficit round robin: over tenants, and of a tenant over its
 * connections and jobs, a slice each. So who is alone gets all there is, and nobody pays for fairness who has no need of it.
 *
 *      bytes come -> time left?  yes -> read now, for a slice at most -> more? -> wait
 *                                no  -> keep them ---------------------------> wait
 *      end of a turn of the event loop, if anybody waits: `turnMs` of slices; then sockets are looked at again
 *
 * A packet of a quiet tenant waits for `turnMs` and the quantum of one other, however many are busy. Time is measured for each
 * slice, never for each packet. What a step took too long is owed, and repaid by waiting.
 */
import { caught, type Clock, type FaultPlace, SparseSet } from '../../kernel/kernel.js';

/** What a tenant with the whole share gets before it is another one's turn; a share of 25 % gets 2 ms. */
const wholeQuantumMs = 8;
/** The longest that one connection or job goes on while others wait. */
const sliceMs = 1;
/** Of slices between two looks at the sockets. Looking costs some 10 us. */
const turnMs = 2;
/** More than that is not owed: a step that took so long is a fault of ours, and not to be made worse. */
const debtMsMax = 1000;

/** Work for a tenant that is done in small steps; see `TimeAccount.add`. */
export interface Job {
  /** Does a little, far less than a slice; whether there is more to do. What it throws is caught, and ends the job. */
  step(): boolean;
}

export class Thread {
  readonly clock: Clock;
  /** Milliseconds that have been used for tenants. */
  usedMs = 0;
  readonly #defer: (run: () => void) => void;
  /** Accounts with work that waits, in the order of their turns. */
  readonly #waiting = new Set<TimeAccount>();
  #isArmed = false;
  #beforeTurn: () => void = () => undefined;
  #idle: (() => void)[] = [];

  /** `defer`: runs something at the end of this turn of the event loop. */
  constructor(clock: Clock, defer: (run: () => void) => void = setImmediate) {
    this.clock = clock;
    this.#defer = defer;
  }

  /** `used`: is told after each time that it has been used. */
  account(used: () => void = () => undefined): TimeAccount {
    return new TimeAccount(this, used);
  }

  /** How many tenants wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** What is done first at the end of a turn: answers of those who did not wait do not wait either. */
  beforeTurn(run: () => void): void {
    this.#beforeTurn = run;
  }

  /** Resolves when nothing waits. */
  idle(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** For its accounts. */
  wait(account: TimeAccount): void {
    this.#waiting.add(account);
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#defer(this.#turn);
  }

  readonly #turn = (): void => {
    this.#beforeTurn();
    const untilMs = this.clock.monotonicMs() + turnMs;
    // Who has not done comes behind the others, and up again in the same turn if there is time.
    for (const account of this.#waiting) {
      this.#waiting.delete(account);
      if (account.serve()) this.#waiting.add(account);
      if (this.clock.monotonicMs() >= untilMs) break;
    }
    this.#isArmed = this.#waiting.size > 0;
    if (this.#isArmed) this.#defer(this.#turn);
    else for (const resolve of this.#idle.splice(0)) resolve();
  };
}

export class TimeAccount {
  /** Milliseconds of the thread that have been used for the tenant. */
  usedMs = 0;
  readonly #thread: Thread;
  readonly #used: () => void;
  readonly #clock: Clock;
  #quantumMs = wholeQuantumMs;
  #leftMs = wholeQuantumMs;
  #filledAtMs: number;
  #sliceEndsMs = 0;
  #isRunning = false;
  /** Every other slice is one of jobs: the control log is obeyed however many connections wait. */
  readonly #jobs = new SparseSet<Job>();
  readonly #readers = new SparseSet<Job>();
  #isJobNext = true;

  constructor(thread: Thread, used: () => void) {
    this.#thread = thread;
    this.#used = used;
    this.#clock = thread.clock;
    this.#filledAtMs = this.#clock.monotonicMs();
  }

  /** Of 100. */
  setShare(percent: number): void {
    this.#quantumMs = (wholeQuantumMs * Math.min(percent, 100)) / 100;
    this.#leftMs = Math.min(this.#leftMs, this.#quantumMs);
  }

  /**
   * Adds a job. Its `step` is called again and again, in slices and when it is the tenant's turn, as long as it returns true:
   * never before this call returns. Jobs of a tenant take turns, so what must stay in order is one job. Adding one that
   * waits already changes nothing.
   */
  add(job: Job): void {
    this.#jobs.add(job);
    this.#wait();
  }

  /** As `add`, but its first slice is now if the tenant has time left. */
  start(job: Job): void {
    if (this.#jobs.size > 0 || !this.begin()) return this.add(job);
    const hasMore = this.#run(job);
    this.end();
    if (hasMore) this.add(job);
  }

  /** It is not to be called any more. */
  remove(job: Job): void {
    this.#jobs.delete(job);
  }

  /** Resolves when it is the tenant's turn. For work that waits for others anyway; charge what it then does. */
  async turn(): Promise<void> {
    if (this.#hasTime(this.#clock.monotonicMs())) return;
    await new Promise<void>((resolve) => this.add({ step: () => (resolve(), false) }));
  }

  /** Takes all steps of the job, in slices. Rejects with what one of them throws, which was the last then. */
  async through(job: Job): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.start({
        step: () => {
          try {
            if (job.step()) return true;
            resolve();
          } catch (error) {
            reject(error);
          }
          return false;
        },
      }),
    );
  }

  /** Takes `step` for each item, in slices. One that throws is caught there, and the others get their turn. */
  each<T>(where: FaultPlace, items: Iterable<T>, step: (item: T) => void): Promise<void> {
    return this.eachThrough(where, items, (item) => void step(item));
  }

  /** The same where an item may take a while: `step` returns what is to be done for it in steps of its own. */
  eachThrough<T>(where: FaultPlace, items: Iterable<T>, begin: (item: T) => Job | undefined | void): Promise<void> {
    const left = items[Symbol.iterator]();
    let job: Job | undefined;
    return this.through({
      step: () => {
        const current = job;
        job = undefined;
        const next = current ? undefined : left.next();
        if (next?.done === true) return false;
        try {
          if (next) job = begin(next.value) ?? undefined;
          else if (current!.step()) job = current;
        } catch (error) {
          caught(where, error);
        }
        return true;
      },
    });
  }

  /** Work that cannot wait, and is paid for all the same. */
  charge<T>(work: () => T): T {
    if (this.#isRunning) return work();
    const startedMs = this.#clock.monotonicMs();
    this.#fill(startedMs);
    this.#isRunning = true;
    try {
      return work();
    } finally {
      this.#isRunning = false;
      this.#pay(this.#clock.monotonicMs() - startedMs);
    }
  }

  /** Work that has no clock of its own, or is done elsewhere: takes `ms` from the account. */
  spend(ms: number): void {
    this.#pay(ms);
  }

  /** A connection has bytes that wait: its `step` is called when it is its turn. */
  queue(reader: Job): void {
    this.#readers.add(reader);
    this.#wait();
  }

  leave(reader: Job): void {
    this.#readers.delete(reader);
  }

  /** Begins a slice of somebody who has not waited, unless no time is left. `end` must follow. */
  begin(nowMs = this.#clock.monotonicMs()): boolean {
    if (this.#isRunning || !this.#hasTime(nowMs)) return false;
    this.#isRunning = true;
    this.#sliceEndsMs = nowMs + sliceMs;
    return true;
  }

  /** Asked now and then during a slice. */
  get isOver(): boolean {
    return this.#clock.monotonicMs() >= this.#sliceEndsMs;
  }

  end(): void {
    this.#isRunning = false;
    this.#pay(this.#clock.monotonicMs() - this.#sliceEndsMs + sliceMs);
  }

  /** One visit of the round robin: a quantum more, and slices until it is used up. Whether something still waits. */
  serve(): boolean {
    this.#leftMs = Math.min(this.#leftMs + this.#quantumMs, this.#quantumMs);
    while (this.#leftMs > 0) {
      const queue = this.#nextQueue();
      const [job] = queue;
      if (!job) break;
      queue.delete(job);
      this.#isRunning = true;
      this.#sliceEndsMs = this.#clock.monotonicMs() + sliceMs;
      const hasMore = this.#run(job);
      this.end();
      if (hasMore) queue.add(job);
    }
    // While it waits turns fill the account, not time.
    this.#filledAtMs = this.#clock.monotonicMs();
    return this.isWaiting;
  }

  /** It has work that waits for its turn. */
  get isWaiting(): boolean {
    return this.#jobs.size + this.#readers.size > 0;
  }

  #wait(): void {
    this.#thread.wait(this);
  }

  #nextQueue(): SparseSet<Job> {
    this.#isJobNext = !this.#isJobNext;
    if (this.#jobs.size === 0) return this.#readers;
    return this.#isJobNext || this.#readers.size === 0 ? this.#jobs : this.#readers;
  }

  #run(job: Job): boolean {
    try {
      while (job.step()) if (this.isOver) return true;
    } catch (error) {
      caught('slice', error);
    }
    return false;
  }

  #hasTime(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#leftMs > 0;
  }

  #fill(nowMs: number): void {
    if (this.isWaiting) return;
    const filledMs = ((nowMs - this.#filledAtMs) * this.#quantumMs) / wholeQuantumMs;
    this.#filledAtMs = nowMs;
    this.#leftMs = Math.min(this.#leftMs + filledMs, this.#quantumMs);
  }

  #pay(ms: number): void {
    this.usedMs += ms;
    this.#thread.usedMs += ms;
    this.#leftMs = Math.max(this.#leftMs - ms, -debtMsMax);
    this.#used();
  }
}
