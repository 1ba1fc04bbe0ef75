/**
 * The brokers behind the front door: which of them take clients, as their health ports say, and whose turn it is.
 *
 *      told of -> initial --1 good check--> healthy <--2 good in a row-- unhealthy
 *                    '------3 bad in a row---------------------------------^
 *                                          healthy ------3 bad in a row----'
 *
 * One that stands by is checked, too, but has no ports yet; when it has them it begins anew as `initial`, as a task does that is
 * registered. One that nobody tells of any more gets no new clients, and those that it has stay until they or it end.
 */
import type { Cancel, Clock } from '../../kernel/kernel.js';

/**
 * As the load balancer's in AWS (`infra/constructs/broker-listeners.ts`: every 10 s, with 5 s to answer), 20 times as often:
 * one machine loses no packets and a check costs 0.2 ms. To answer there is more time, because the broker, its neighbours and
 * the door share the machine's cores; a broker that is frozen is out in 4.5 s, when its lease has ended as well.
 */
export const checks = { intervalMs: 500, answerMs: 1000, healthyAfter: 2, unhealthyAfter: 3 } as const;

/** What the door is told of a broker. */
export interface Told {
  /** A name of this machine's: `broker 1`. */
  readonly name: string;
  readonly healthPort: number;
  /** On 127.0.0.1, with a PROXY protocol header; missing while it does not listen. */
  readonly ports?: Readonly<Record<Way, number>>;
}

/** The brokers' listeners: TLS ends at the door. */
export type Way = 'mqtt' | 'ws';

export type TargetState = 'initial' | 'healthy' | 'unhealthy';

export interface TargetView {
  readonly name: string;
  readonly state: TargetState;
  /** The answer to the last check, or why there was none. */
  readonly answer: string;
}

/** Resolves with what the health port says: whether that is good, and in which words. Must not reject. */
export type Probe = (healthPort: number, answerMs: number) => Promise<Answer>;

export interface Answer {
  readonly isGood: boolean;
  readonly words: string;
}

export interface TargetsOptions {
  readonly probe: Probe;
  readonly clock: Clock;
  /** A target has come, gone, or changed its state. */
  onChange(views: readonly TargetView[]): void;
}

export class Targets {
  readonly #options: TargetsOptions;
  #targets: Target[] = [];
  #turn = 0;

  constructor(options: TargetsOptions) {
    this.#options = options;
  }

  /** All that there are from now on. */
  tell(all: readonly Told[]): void {
    const before = this.#targets;
    this.#targets = all.map(
      (told) => before.find((one) => one.is(told)) ?? new Target(told, this.#options, () => this.#changed()),
    );
    for (const one of before) if (!this.#targets.includes(one)) one.stop();
    this.#changed();
  }

  /** The port of the next healthy one, in turns; undefined: there is none. */
  next(way: Way): number | undefined {
    const healthy = this.#targets.filter(({ isHealthy }) => isHealthy);
    return healthy[this.#turn++ % healthy.length]?.told.ports?.[way];
  }

  stop(): void {
    this.tell([]);
  }

  #changed(): void {
    this.#options.onChange(this.#targets.map(({ told, state, answer }) => ({ name: told.name, state, answer })));
  }
}

class Target {
  readonly told: Told;
  state: TargetState = 'initial';
  answer = 'not asked yet';
  readonly #options: TargetsOptions;
  readonly #onChange: () => void;
  /** Good or bad ones, whichever came last. */
  #inARow = 0;
  #wasGood = false;
  #cancel: Cancel = () => undefined;
  #isStopped = false;

  constructor(told: Told, options: TargetsOptions, onChange: () => void) {
    this.told = told;
    this.#options = options;
    this.#onChange = onChange;
    void this.#check();
  }

  get isHealthy(): boolean {
    return this.state === 'healthy' && this.told.ports !== undefined;
  }

  is(told: Told): boolean {
    return JSON.stringify(told) === JSON.stringify(this.told);
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  /** The next one is due some time after this one's answer: a target that is slow is not asked twice at once. */
  async #check(): Promise<void> {
    const { probe, clock } = this.#options;
    const { isGood, words } = await probe(this.told.healthPort, checks.answerMs);
    if (this.#isStopped) return;
    this.#inARow = isGood === this.#wasGood ? this.#inARow + 1 : 1;
    this.#wasGood = isGood;
    const [state, answer] = [this.state, this.answer];
    this.state = this.#next();
    this.answer = words;
    this.#cancel = clock.after(checks.intervalMs, () => void this.#check());
    if (state !== this.state || answer !== words) this.#onChange();
  }

  #next(): TargetState {
    if (this.#wasGood)
      return this.state === 'unhealthy' && this.#inARow < checks.healthyAfter ? 'unhealthy' : 'healthy';
    return this.#inARow < checks.unhealthyAfter ? this.state : 'unhealthy';
  }
}

/** `GET /healthz` of a broker on this machine. */
export const askHealth: Probe = async (healthPort, answerMs) => {
  try {
    const signal = AbortSignal.timeout(answerMs);
    const response = await fetch(`http://127.0.0.1:${healthPort}/healthz`, { signal });
    const words = (await response.text()).trim().slice(0, 100);
    return { isGood: response.status === 200, words };
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    return { isGood: false, words: isLate ? `no answer within ${answerMs} ms` : 'it does not answer' };
  }
};
