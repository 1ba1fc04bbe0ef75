/**
 * This broker's lease: an item that says until when it counts as alive, renewed long before. Other brokers take over its
 * sessions when the lease is over, so it makes no promise to clients while it cannot be sure that the lease is its own.
 * How a broker starts, stands by and finds dead ones is in `lease-serving.ts`.
 *
 *      held --no renewal in time--> lapsed --DynamoDB cannot be reached--> outage
 *        ^                            |                                      |
 *        '-------- renewed -----------+--------------------------------------'      any --taken by another--> lost
 *
 * `lapsed` says: the end of the lease was noticed and nothing is known since. The process may have been frozen for
 * minutes and another broker may serve its clients: nothing at all may be acknowledged until DynamoDB has answered,
 * or has failed to. `outage` says: this process runs well, DynamoDB does not answer it. What needs no DynamoDB goes on.
 */
import {
  type BrokerId,
  type Cancel,
  type Clock,
  type Counter,
  eachGuarded,
  type Log,
  type Metrics,
} from '../../kernel/kernel.js';
import { type Dynamo, DynamoUnavailable } from '../../dynamo/dynamo.js';
import { LeaseRecords } from './lease-records.js';
import { type Contender, type DeadBroker, takeDead, takeLock } from './lease-serving.js';
import { type Moment, momentOf, Term } from './lease-term.js';

const renewMs = 2000;
/** For others. Two renewals may fail before a third would be late. */
const validMs = 6000;
/** The clocks of two brokers may differ by one second. */
const clockMarginMs = 1000;
/** For this broker's acknowledgements to be gone. */
const ownMs = validMs - clockMarginMs;
/** What was acknowledged while the lease was held gets this long to the socket: many times a turn of the event loop. */
const leavingMs = 250;
/** A failed renewal tells that this process is awake, for as long as the next one takes at most. */
const awakeMs = 4000;
const retryMsMin = 250;
const retryMsMax = 1000;
const stopTriesMax = 4;

/**
 * For the client that a lease is given, one of its own: a renewal that hangs leaves time for another one, and waits
 * behind no other request.
 */
export const leaseDynamoOptions = { requestTimeoutMs: 1000, maxAttempts: 1 } as const;

export interface LeaseOptions {
  readonly dynamo: Dynamo;
  readonly brokerId: BrokerId;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export type LeaseState = 'held' | 'lapsed' | 'outage' | 'lost';

/** Acknowledgements that may leave: all, those made since the end of the lease was noticed, none. */
export type Leave = 'all' | 'new' | 'none';

/** The process is to stop, and had not begun to serve. */
export class StartAborted extends Error {
  override readonly name = 'StartAborted';
}

/** Another broker has counted this one among the dead. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

type Listener = () => void;

export class Lease {
  readonly #options: LeaseOptions;
  readonly #records: LeaseRecords;
  readonly #held: Term;
  readonly #leaving: Term;
  readonly #awake: Term;
  readonly #listeners: Record<'lapsed' | 'outage' | 'renewed' | 'lost', Listener[]>;
  #whenAwake: Listener[] = [];
  /** The end of the lease has not been noticed. */
  #believesHeld = false;
  #hasLapsed = false;
  #ended: 'no' | 'stopped' | 'lost' = 'no';
  #isServing = false;
  #starting: Promise<readonly DeadBroker[]> | undefined;
  #stopping: Promise<void> | undefined;
  #interrupt: Listener | undefined;
  #renewing: Promise<void> | undefined;
  #cancelRenewal: Cancel | undefined;
  #cancelLapse: Cancel | undefined;
  #failures = 0;
  /** When the last attempt that failed began. */
  #failedSinceMs = -Infinity;
  readonly #renewed: Counter;
  readonly #failed: Counter;
  readonly #refused: Counter;

  constructor(options: LeaseOptions) {
    const { clock, metrics } = options;
    this.#options = options;
    this.#records = new LeaseRecords(options.dynamo);
    this.#held = new Term(clock);
    this.#leaving = new Term(clock);
    this.#awake = new Term(clock);
    this.#listeners = { lapsed: [], outage: [], renewed: [], lost: [] };
    const results = (result: string): Counter =>
      metrics.counter('shoal_lease_renewals_total', 'Renewals of the lease of this broker', { result });
    this.#renewed = results('renewed');
    this.#failed = results('failed');
    this.#refused = results('taken');
    metrics.gauge('shoal_lease_held', '1 while this broker holds its lease', () => (this.isHeld() ? 1 : 0));
  }

  // Asked.

  /** Cheap enough for every message. The first time that the answer is no, the others are told (`onLapsed`). */
  isHeld(): boolean {
    if (this.#held.lasts) return true;
    if (this.#believesHeld) this.#lapse();
    return false;
  }

  get state(): LeaseState {
    if (this.#ended === 'lost') return 'lost';
    if (this.isHeld()) return 'held';
    return this.#awake.lasts ? 'outage' : 'lapsed';
  }

  /** Asked at the socket, once for all that leaves in a turn of the event loop. */
  leave(): Leave {
    if (this.#leaving.lasts) return 'all';
    return this.state === 'outage' ? 'new' : 'none';
  }

  /** Calls once: at once unless it has lapsed, otherwise when it is held again or DynamoDB is known to be away. */
  whenAwake(listener: Listener): void {
    const { state } = this;
    if (state === 'held' || state === 'outage') listener();
    else this.#whenAwake.push(listener);
  }

  /** The end of the lease was noticed. Called from `isHeld`, `state` or `leave`, or by a timer. */
  onLapsed(listener: Listener): void {
    this.#listeners.lapsed.push(listener);
  }

  /** From lapsed to outage. */
  onOutage(listener: Listener): void {
    this.#listeners.outage.push(listener);
  }

  /** Held again after a lapse. */
  onRenewed(listener: Listener): void {
    this.#listeners.renewed.push(listener);
  }

  /** Another broker has taken the lease: the process has to end at once, without another byte to clients. */
  onLost(listener: Listener): void {
    this.#listeners.lost.push(listener);
  }

  // Start and stop.

  /**
   * Resolves when this broker is the one to serve, with all brokers that are dead: their sessions are to be adopted, and
   * each told to `adopted` then. Waits while another one serves. Rejects with StartAborted after `stop`, with LeaseLost,
   * and when DynamoDB refuses (but not when it is out of reach).
   */
  start(): Promise<readonly DeadBroker[]> {
    return (this.#starting ??= this.#start());
  }

  async #start(): Promise<readonly DeadBroker[]> {
    const { brokerId, clock, log } = this.#options;
    let isTold = false;
    const contender: Contender = {
      records: this.#records,
      brokerId,
      clock,
      isHeld: () => this.isHeld(),
      wait: (delayMs) => this.#wait(delayMs),
      onStandingBy: (holder) => {
        if (!isTold) log.info({ serving: holder }, 'another broker is serving, standing by');
        isTold = true;
      },
    };
    await this.#persist(() => this.#create());
    await this.#persist(() => takeLock(contender));
    this.#isServing = true;
    return await this.#persist(() => takeDead(contender));
  }

  async #create(): Promise<void> {
    const { brokerId, clock } = this.#options;
    const since = momentOf(clock);
    const lease = { brokerId, leaseUntilMs: since.wallMs + validMs, startedAtMs: since.wallMs };
    const isOwn = await this.#records.create(lease);
    if (this.#ended !== 'no') return;
    if (!isOwn) return this.#lose();
    this.#hold(since);
    this.#renewAfter(renewMs);
  }

  /** The step again and again until DynamoDB answers. */
  async #persist<T>(step: () => Promise<T>): Promise<T> {
    for (let isTold = false; ;) {
      await this.#wait(0);
      try {
        return await step();
      } catch (error) {
        if (!(error instanceof DynamoUnavailable)) throw error;
        if (!isTold) this.#options.log.warn({ error }, 'DynamoDB is out of reach while starting, trying again');
        isTold = true;
        await this.#wait(jitteredMs());
      }
    }
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        if (this.#ended === 'stopped') reject(new StartAborted('stopped before it began to serve'));
        else if (this.#ended === 'lost') reject(new LeaseLost('the lease of this broker was taken by another one'));
        else resolve();
      };
      if (delayMs === 0 || this.#ended !== 'no') return end();
      const cancel = this.#options.clock.after(delayMs, end);
      this.#interrupt = () => {
        cancel();
        end();
      };
    });
  }

  /** All sessions of a dead broker have an owner again, so that nobody needs to know of it any more. */
  async adopted(brokerId: BrokerId): Promise<void> {
    await this.#records.remove(brokerId);
  }

  /** Gives the lease up, so that the next broker need not wait. Call it when nothing is written any more. */
  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    if (this.#ended !== 'no') return;
    this.#finish('stopped');
    // Nothing that is under way may come after what follows.
    await Promise.all([this.#starting?.catch(() => undefined), this.#renewing]);
    if (this.#starting === undefined) return;
    const { brokerId, clock } = this.#options;
    for (let tries = 1; ; tries++)
      try {
        if (this.#isServing) await this.#records.giveUp(brokerId, clock.nowMs());
        await this.#records.releaseLock(brokerId);
        if (!this.#isServing) await this.#records.remove(brokerId); // It never had a session.
        return;
      } catch (error) {
        if (!(error instanceof DynamoUnavailable) || tries === stopTriesMax) throw error;
        await new Promise<void>((resolve) => clock.after(jitteredMs(), resolve));
      }
  }

  #finish(how: 'stopped' | 'lost'): void {
    this.#ended = how;
    this.#cancelRenewal?.();
    this.#cancelLapse?.();
    this.#believesHeld = false;
    this.#whenAwake = [];
    for (const term of [this.#held, this.#leaving, this.#awake]) term.end();
    this.#interrupt?.();
  }

  // Renewal.

  #renewAfter(delayMs: number): void {
    this.#cancelRenewal?.();
    if (this.#ended === 'no') this.#cancelRenewal = this.#options.clock.after(delayMs, () => this.#renew());
  }

  #renew(): void {
    if (this.#renewing || this.#ended !== 'no') return;
    this.#cancelRenewal?.();
    const since = momentOf(this.#options.clock);
    this.#renewing = this.#renewOnce(since).finally(() => {
      this.#renewing = undefined;
      // A renewal that came too late, or failed, is followed by another one soon.
      const agoMs = this.#options.clock.monotonicMs() - since.monotonicMs;
      this.#renewAfter(this.#failures > 0 ? jitteredMs() : Math.max(renewMs - agoMs, 0));
    });
  }

  async #renewOnce(since: Moment): Promise<void> {
    const { brokerId } = this.#options;
    try {
      const isOwn = await this.#records.renew(brokerId, since.wallMs + validMs);
      if (this.#ended !== 'no') return;
      if (isOwn) this.#hold(since);
      else this.#lose();
    } catch (error) {
      if (this.#ended === 'no') this.#fail(since, error);
    }
  }

  /** Counts from the start of the request: nobody knows when in between it was written. */
  #hold(since: Moment): void {
    const { clock, log } = this.#options;
    if (this.#failures > 0) log.info({ failures: this.#failures }, 'the lease is renewed again');
    this.#failures = 0;
    this.#renewed.add();
    this.#leaving.begin(since, ownMs);
    this.#held.begin(since, ownMs - leavingMs);
    if (!this.#held.lasts) return void this.#held.end(); // A late answer: the process was frozen meanwhile.
    this.#awake.end();
    this.#believesHeld = true;
    const hasLapsed = this.#hasLapsed;
    this.#hasLapsed = false;
    this.#cancelLapse?.();
    const notice = (): void => {
      if (this.isHeld()) this.#cancelLapse = clock.after(1, notice); // A timer may be early by a fraction.
    };
    this.#cancelLapse = clock.after(since.monotonicMs + ownMs - leavingMs - clock.monotonicMs(), notice);
    tell(this.#whenAwake.splice(0));
    if (hasLapsed) tell(this.#listeners.renewed);
  }

  #fail(since: Moment, error: unknown): void {
    this.#failed.add();
    if (this.#failures++ === 0) this.#options.log.warn({ error }, 'the lease could not be renewed, trying again');
    const before = this.state;
    // One failure proves nothing: the connection of before a freeze is dead when the process wakes up, whoever holds the
    // lease by then. The next attempt makes a new one, and only that says whether DynamoDB can be reached.
    if (since.monotonicMs - this.#failedSinceMs < awakeMs) this.#awake.begin(since, awakeMs);
    this.#failedSinceMs = since.monotonicMs;
    if (before === 'lapsed' && this.state === 'outage') this.#beginOutage();
  }

  #lapse(): void {
    this.#believesHeld = false;
    this.#hasLapsed = true;
    this.#held.end(); // Also when somebody sets the clock back: only a renewal helps now.
    this.#options.log.warn({ state: this.state }, 'the lease was not renewed in time, acknowledgements wait');
    tell(this.#listeners.lapsed);
    if (this.state === 'outage') this.#beginOutage();
    this.#renew();
  }

  #beginOutage(): void {
    tell(this.#listeners.outage);
    tell(this.#whenAwake.splice(0));
  }

  #lose(): void {
    this.#refused.add();
    this.#finish('lost');
    tell(this.#listeners.lost);
  }
}

/** They are of all tenants, and what one of them throws is no failure of the lease. */
function tell(listeners: readonly Listener[]): void {
  eachGuarded('lease', listeners, (listener) => listener());
}

function jitteredMs(): number {
  return retryMsMin + Math.random() * (retryMsMax - retryMsMin);
}
