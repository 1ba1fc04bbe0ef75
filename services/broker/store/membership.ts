/**
 * Who lives. A broker is a member while its lease counts: an item that says until when, renewed long before. This class keeps
 * the broker's own lease, tells the gate what became of each renewal (`gate.ts`), and looks for members that have died.
 * How one of them becomes one that serves is in `lease-serving.ts`.
 *
 *      state    | leads on                                                      | own lease                   | deaths of others
 *      ---------|---------------------------------------------------------------|-----------------------------|------------------
 *      new      | `start` -> standing by                                        | none                        | not looked for
 *      standing | the lock is its own -> serving                                | renewed every `renewMs`     | not looked for (1)
 *      serving  | `stop` -> stopped; a renewal finds a mark -> lost             | renewed every `renewMs`     | looked for every `lookMs`
 *      stopped  | nothing                                                       | given up; removed if it has | not looked for
 *               |                                                               | never served                |
 *      lost     | nothing: the process ends                                     | another broker's            | not looked for
 *
 *  (1) A broker with links to others reads their leases all the same (`onLeases`), once it has written its own and then every
 *      `watchMs`; while it serves its looks tell of them. So each broker makes one query every 2 s, and with more than twenty brokers
 *      all together ten a second: 7 units each with a hundred brokers, 180 million a month, $23.
 *
 * A death is an event (`onDead`). Who serves marks the dead broker's lease, by a condition, and then tells its subscribers, once; a
 * process that starts anew tells it again, until `adopted` has removed the item. So nothing is forgotten, whoever dies in
 * between. Interleavings and crash points of the mark are those of `lease-serving.ts`; of the looks:
 *  - A look and `adopted` overlap: the look has read an item that is removed when it ends. It has been told, and it stays
 *    noted until a look does not find it any more. A broker id is used for one start, so it never comes back.
 *  - The own lease has ended while a look was under way: nothing is marked before it is renewed; a mark that is under way
 *    has a condition that only a dead broker's lease meets.
 *  - DynamoDB was away, for everybody: all leases have ended, and who renews first would find all others dead. So nobody is
 *    marked, at start and later, before every living broker has had the time to renew (`recoveryMs`).
 *  - A listener throws: the next ones are told all the same, and the death comes again with the next process.
 */
import {
  type BrokerId,
  type Cancel,
  caught,
  type Clock,
  type Counter,
  eachGuarded,
  type Log,
  type Metrics,
} from '../../kernel/kernel.js';
import { type Dynamo, DynamoUnavailable } from '../../dynamo/dynamo.js';
import type { BrokerLease, BrokerLinks, BrokerLoad } from '../../tenancy/tenancy.js';
import type { Gate } from './gate.js';
import { LeaseRecords, type Told } from './lease-records.js';
import { type Contender, type DeadBroker, shareAnew, takeDead, takeLock } from './lease-serving.js';
import type { Succession } from './succession.js';
import {
  type Moment,
  momentOf,
  recoveryMs,
  renewMs,
  requestMs,
  retryMsMax,
  retryMsMin,
  validMs,
} from './lease-term.js';

const stopTriesMax = 4;
/** One read of all leases: with ten brokers one unit, 1.3 million a month. */
export const lookMs = 2000;
/** Between two reads of a broker that does not serve. Who joins says so itself, so these only find who has gone. */
const watchMs = (brokers: number): number => Math.max(lookMs, 100 * brokers);

/** For the client that a membership is given, one of its own: a renewal waits behind no other request. */
export const leaseDynamoOptions = { requestTimeoutMs: requestMs, maxAttempts: 1 } as const;

export interface MembershipOptions {
  readonly dynamo: Dynamo;
  readonly brokerId: BrokerId;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Of Shoal; told to operators. */
  readonly version?: string;
  /** Told with each renewal, which goes on without it if it throws. */
  readonly load?: () => BrokerLoad;
  /** It serves together with other brokers, which inherit from each other (`succession.ts`); otherwise it serves alone. */
  readonly succession?: Succession;
  /** To other brokers, if there are any; the address is read once, at the start. */
  readonly linked?: { readonly address: string; readonly links: BrokerLinks };
}

/** The process is to stop, and had not begun to serve. */
export class StartAborted extends Error {
  override readonly name = 'StartAborted';
}

/** Another broker has counted this one among the dead. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

type DeathListener = (dead: DeadBroker) => void;
/** All leases, by a read that began at `sinceMs` of the monotonic clock; never an earlier one than before. */
type LeaseListener = (leases: readonly BrokerLease[], sinceMs: number) => void;

export class Membership {
  readonly #options: MembershipOptions;
  readonly #records: LeaseRecords;
  readonly #contender: Contender;
  readonly #onDead: DeathListener[] = [];
  readonly #onLeases: LeaseListener[] = [];
  #leasesSinceMs = -Infinity;
  /** Those whose items are there still. */
  #knownDead = new Set<BrokerId>();
  #ended: 'no' | 'stopped' | 'lost' = 'no';
  #isServing = false;
  #starting: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #interrupt: (() => void) | undefined;
  #renewing: Promise<void> | undefined;
  #looking: Promise<void> | undefined;
  #cancelRenewal: Cancel | undefined;
  #cancelLook: Cancel | undefined;
  #cancelWatch: Cancel | undefined;
  #failures = 0;
  /** When DynamoDB has last been found out of reach. */
  #troubleAtMs = -Infinity;
  readonly #renewed: Counter;
  readonly #failed: Counter;
  readonly #refused: Counter;

  constructor(options: MembershipOptions) {
    const { dynamo, brokerId, clock, gate, log, metrics, succession } = options;
    this.#options = options;
    this.#records = new LeaseRecords(dynamo);
    let isTold = false;
    this.#contender = {
      records: this.#records,
      brokerId,
      isTogether: succession !== undefined,
      clock,
      isHeld: () => gate.isHeld(),
      maySomeoneBeLate: () => clock.monotonicMs() - this.#troubleAtMs < recoveryMs,
      wait: (delayMs) => this.#wait(delayMs),
      onStandingBy: (holder) => {
        if (!isTold) log.info({ serving: holder }, 'another broker is serving, standing by');
        isTold = true;
      },
    };
    gate.onLapsed(() => this.#renew());
    const results = (result: string): Counter =>
      metrics.counter('shoal_lease_renewals_total', 'Renewals of the lease of this broker', { result });
    this.#renewed = results('renewed');
    this.#failed = results('failed');
    this.#refused = results('taken');
  }

  /**
   * Each dead broker once: its sessions are to be adopted, and `adopted` called then. Those that are dead when this
   * broker begins to serve are told before `start` resolves.
   */
  onDead(listener: DeathListener): void {
    this.#onDead.push(listener);
  }

  /** Of every read of the leases that this broker makes. With `linked` the first is made right after its own has been written. */
  onLeases(listener: LeaseListener): void {
    this.#onLeases.push(listener);
  }

  /** All sessions of a dead broker have an owner again, so that nobody needs to know more of it than its end and who has inherited. */
  async adopted(brokerId: BrokerId): Promise<void> {
    await this.#records.end(brokerId);
  }

  // Start and stop.

  /**
   * Resolves when this broker is the one to serve. Waits while another one serves. Rejects with StartAborted after `stop`,
   * with LeaseLost, and when DynamoDB refuses (but not when it is out of reach).
   */
  start(): Promise<void> {
    return (this.#starting ??= this.#start());
  }

  async #start(): Promise<void> {
    await this.#persist(() => this.#create());
    if (this.#options.linked) void this.#watch();
    await this.#persist(() => takeLock(this.#contender));
    this.#isServing = true;
    await this.#persist(() => this.#look());
    this.#lookLater();
  }

  async #create(): Promise<void> {
    const { brokerId, clock, gate, version, linked, succession } = this.#options;
    const since = momentOf(clock);
    const isOwn = await this.#records.create({
      ...{ brokerId, leaseUntilMs: since.wallMs + validMs, startedAtMs: since.wallMs },
      ...(version !== undefined && { version }),
      ...(succession && { isTogether: true as const }),
      ...(linked && { address: linked.address }),
      ...this.#told(),
    });
    if (this.#ended !== 'no') return;
    if (!isOwn) return this.#lose();
    this.#renewed.add();
    gate.hold(since);
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
        if (!isTold) this.#options.log.warn({ error }, 'DynamoDB cannot be reached while starting, trying again');
        isTold = true;
        this.#troubleAtMs = this.#options.clock.monotonicMs();
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

  /** Gives the lease up, so that the next broker need not wait. Call it when nothing is written any more. */
  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    if (this.#ended !== 'no') return;
    this.#finish('stopped');
    this.#options.gate.close();
    // Nothing that is under way may come after what follows.
    await Promise.all([this.#starting?.catch(() => undefined), this.#renewing, this.#looking]);
    if (this.#starting === undefined) return;
    const { brokerId, clock, succession } = this.#options;
    for (let tries = 1; ; tries++)
      try {
        // Shares of others may name it, though it has never served.
        if (this.#isServing || succession) await this.#records.giveUp(brokerId, clock.nowMs());
        if (!succession) await this.#records.releaseLock(brokerId);
        if (!this.#isServing && !succession) await this.#records.remove(brokerId); // It never had a session.
        return;
      } catch (error) {
        if (!(error instanceof DynamoUnavailable) || tries === stopTriesMax) throw error;
        await new Promise<void>((resolve) => clock.after(jitteredMs(), resolve));
      }
  }

  #lose(): void {
    this.#refused.add();
    this.#finish('lost');
    this.#options.gate.lose();
  }

  #finish(how: 'stopped' | 'lost'): void {
    this.#ended = how;
    this.#cancelRenewal?.();
    this.#cancelLook?.();
    this.#cancelWatch?.();
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
    const { brokerId, clock, gate, log } = this.#options;
    try {
      const isOwn = await this.#records.renew(brokerId, since.wallMs + validMs, this.#told());
      if (this.#ended !== 'no') return;
      if (!isOwn) return this.#lose();
      if (this.#failures > 0) log.info({ failures: this.#failures }, 'the lease is renewed again');
      this.#failures = 0;
      this.#renewed.add();
      gate.hold(since);
    } catch (error) {
      if (this.#ended !== 'no') return;
      this.#troubleAtMs = clock.monotonicMs();
      this.#failed.add();
      if (this.#failures++ === 0) log.warn({ error }, 'the lease could not be renewed, trying again');
      gate.fail(since);
    }
  }

  /** What operators are told must not cost the lease. */
  #told(): Told {
    try {
      const { load, linked } = this.#options;
      return { ...(load && { load: load() }), ...(linked && { links: linked.links }) };
    } catch (error) {
      caught('lease', error);
      return {};
    }
  }

  // Leases of others.

  async #watch(): Promise<void> {
    const { clock, log } = this.#options;
    if (this.#ended !== 'no' || this.#isServing) return;
    let brokers = 0;
    try {
      const sinceMs = clock.monotonicMs();
      const leases = await this.#records.all();
      brokers = leases.length;
      this.#tell(leases, sinceMs);
    } catch (error) {
      if (this.#ended === 'no' && !(error instanceof DynamoUnavailable))
        log.warn({ error }, 'the leases of other brokers cannot be read');
    }
    if (this.#ended !== 'no') return;
    this.#cancelWatch = clock.after(watchMs(brokers), () => void this.#watch());
  }

  #tell(leases: readonly BrokerLease[], sinceMs: number): void {
    if (this.#ended !== 'no' || sinceMs < this.#leasesSinceMs) return;
    this.#leasesSinceMs = sinceMs;
    eachGuarded('lease', this.#onLeases, (listener) => listener(leases, sinceMs));
  }

  // Deaths.

  #lookLater(): void {
    const { clock, log } = this.#options;
    if (this.#ended !== 'no') return;
    this.#cancelLook = clock.after(lookMs, () => {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          if (error instanceof DynamoUnavailable) this.#troubleAtMs = clock.monotonicMs();
          else log.warn({ error }, 'the leases of other brokers could not be read, trying again');
        })
        .finally(() => {
          this.#looking = undefined;
          this.#lookLater();
        });
    });
  }

  async #look(): Promise<void> {
    const sinceMs = this.#options.clock.monotonicMs();
    const { dead, leases } = await takeDead(this.#contender);
    if (this.#ended !== 'no') return;
    this.#tell(leases, sinceMs);
    await this.#options.succession?.heard(leases, (...all) => shareAnew(this.#contender, ...all));
    if (this.#ended !== 'no') return;
    const isThere = new Set(leases.map((lease) => lease.brokerId));
    const news = dead.filter(({ brokerId }) => !this.#knownDead.has(brokerId));
    this.#knownDead = new Set([...this.#knownDead].filter((brokerId) => isThere.has(brokerId)));
    for (const one of news) {
      this.#knownDead.add(one.brokerId);
      eachGuarded('lease', this.#onDead, (listener) => listener(one));
    }
  }
}

function jitteredMs(): number {
  return retryMsMin + Math.random() * (retryMsMax - retryMsMin);
}
