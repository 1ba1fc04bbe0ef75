/**
 * Whether this process may acknowledge anything. Other brokers take over its sessions when its lease is over, so it makes no
 * promise to clients while it cannot be sure that the lease is its own. `Membership` tells it what became of each renewal;
 * everybody else asks, once a message or once a flush. It knows clocks and no database.
 *
 *      state  | what is known                                     | acknowledgements    | whenAwake | a renewal: done | failed      | taken
 *      -------|---------------------------------------------------|---------------------|-----------|-----------------|-------------|------
 *      held   | the last renewal counts still                     | all                 | at once   | held            | held        | lost
 *      lapsed | its time has ended, and nothing since             | none                | waits     | held            | outage (1)  | lost
 *      outage | its time has ended; this process runs well, and   | those made since    | at once   | held            | outage      | lost
 *             | DynamoDB does not answer it                       | that was noticed    |           |                 |             |
 *      lost   | another broker has counted this one among the     | none ever           | never     | lost            | lost        | lost
 *             | dead                                              |                     |           |                 |             |
 *      closed | this broker has stopped; asked, it says `lapsed`  | none                | never     | closed          | closed      | closed
 *
 *  (1) By the second failure of two that began within `awakeMs`. One proves nothing: the connection of before a freeze is
 *      dead when the process wakes up, whoever holds the lease by then.
 *
 * From held to lapsed, and from outage to lapsed, time alone leads: whoever asks first, or a timer, notices. In `lapsed` the process
 * may have been frozen for minutes and another broker may serve its clients, so nothing at all is acknowledged until DynamoDB
 * has answered, or has failed to.
 */
import { type Cancel, type Clock, eachGuarded, type Log, type Metrics } from '../../kernel/kernel.js';
import { awakeMs, leavingMs, type Moment, ownMs, Term } from './lease-term.js';

export type GateState = 'held' | 'lapsed' | 'outage' | 'lost';

/** Acknowledgements that may leave: all, those made since the end of the lease was noticed, none. */
export type Leave = 'all' | 'new' | 'none';

export interface GateOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

type Listener = () => void;

export class Gate {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #held: Term;
  readonly #leaving: Term;
  readonly #awake: Term;
  readonly #listeners: Record<'lapsed' | 'outage' | 'renewed' | 'lost', Listener[]>;
  #whenAwake: Listener[] = [];
  /** The end of the lease has not been noticed. */
  #believesHeld = false;
  #hasLapsed = false;
  #ended: 'no' | 'closed' | 'lost' = 'no';
  #cancelLapse: Cancel | undefined;
  /** When the last renewal that failed began. */
  #failedSinceMs = -Infinity;

  constructor({ clock, log, metrics }: GateOptions) {
    this.#clock = clock;
    this.#log = log;
    this.#held = new Term(clock);
    this.#leaving = new Term(clock);
    this.#awake = new Term(clock);
    this.#listeners = { lapsed: [], outage: [], renewed: [], lost: [] };
    metrics.gauge('shoal_lease_held', '1 while this broker holds its lease', () => (this.isHeld() ? 1 : 0));
  }

  // Asked.

  /** Cheap enough for every message. The first time that the answer is no, the others are told (`onLapsed`). */
  isHeld(): boolean {
    if (this.#held.lasts) return true;
    if (this.#believesHeld) this.#lapse();
    return false;
  }

  get state(): GateState {
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

  // Told, by `Membership`.

  /** A renewal has succeeded. It counts from the start of the request: nobody knows when in between it was written. */
  hold(since: Moment): void {
    if (this.#ended !== 'no') return;
    this.#leaving.begin(since, ownMs);
    this.#held.begin(since, ownMs - leavingMs);
    if (!this.#held.lasts) return void this.#held.end(); // A late answer: the process was frozen meanwhile.
    this.#awake.end();
    this.#believesHeld = true;
    const hasLapsed = this.#hasLapsed;
    this.#hasLapsed = false;
    this.#cancelLapse?.();
    const notice = (): void => {
      if (this.isHeld()) this.#cancelLapse = this.#clock.after(1, notice); // A timer may be early by a fraction.
    };
    this.#cancelLapse = this.#clock.after(since.monotonicMs + ownMs - leavingMs - this.#clock.monotonicMs(), notice);
    tell(this.#whenAwake.splice(0));
    if (hasLapsed) tell(this.#listeners.renewed);
  }

  /** A renewal has failed that began then. */
  fail(since: Moment): void {
    if (this.#ended !== 'no') return;
    const before = this.state;
    if (since.monotonicMs - this.#failedSinceMs < awakeMs) this.#awake.begin(since, awakeMs);
    this.#failedSinceMs = since.monotonicMs;
    if (before === 'lapsed' && this.state === 'outage') this.#beginOutage();
  }

  /** Another broker has counted this one among the dead. */
  lose(): void {
    if (this.#ended !== 'no') return;
    this.#end('lost');
    tell(this.#listeners.lost);
  }

  /** This broker stops. */
  close(): void {
    if (this.#ended === 'no') this.#end('closed');
  }

  #lapse(): void {
    this.#believesHeld = false;
    this.#hasLapsed = true;
    this.#held.end(); // Also when somebody sets the clock back: only a renewal helps now.
    this.#log.warn({ state: this.state }, 'the lease was not renewed in time, acknowledgements wait');
    tell(this.#listeners.lapsed);
    if (this.state === 'outage') this.#beginOutage();
  }

  #beginOutage(): void {
    tell(this.#listeners.outage);
    tell(this.#whenAwake.splice(0));
  }

  #end(how: 'closed' | 'lost'): void {
    this.#ended = how;
    this.#cancelLapse?.();
    this.#believesHeld = false;
    this.#whenAwake = [];
    for (const term of [this.#held, this.#leaving, this.#awake]) term.end();
  }
}

/** They are of all tenants, and what one of them throws is no failure of the lease. */
function tell(listeners: readonly Listener[]): void {
  eachGuarded('lease', listeners, (listener) => listener());
}
