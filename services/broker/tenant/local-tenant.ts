/**
 * A tenant on this broker: an object of its own, with its own routing, sessions, limits and meters (G6). It is made
 * when the first client of the tenant connects and dropped some time after the last session has ended. Empty it takes 8 KB.
 * It is what the tenant's sessions see as their host; who comes in and who leaves is decided in `admission.ts`.
 */
import {
  type Clock,
  type ClientId,
  guarded,
  type Log,
  SparseMap,
  type TenantId,
  type TenantScope,
} from '../../kernel/kernel.js';
import { parseShared } from '../../topic/topic.js';
import {
  type Continuation,
  type FanOutHost,
  type RemoteRoutes,
  type RetainedCount,
  RetainedReads,
  type RetainedStore,
  Routing,
} from '../fanout/fanout.js';
import type { Message } from '../message/message.js';
import {
  handedOn,
  type Meters,
  newMeters,
  PendingReceipt,
  type Receipt,
  type SharedOrigin,
} from '../message/message.js';
import type { Keeping, RetainedRead, Session, SessionHost, Subscription } from '../session/session.js';
import { clientPartition, scopeOf, type Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import type { Backlog, StoredOrigin } from '../inbox/inbox.js';
import type { Activity, Touchable } from './activity.js';
import { Arrivals } from './arrivals.js';
import { Entrance } from './entrance.js';
import { isWill, KeptWills } from './kept-wills.js';
import { TenantLimits } from './limits.js';
import { HeldAcknowledgements } from './held-acknowledgements.js';
import { LoadAverages } from './load.js';
import type { LeaseGate } from './ports.js';
import { TenantRates } from './rates.js';
import { TenantMemory } from './memory.js';
import { SafetyLedger } from './safety-ledger.js';
import { SharedQueues, type SharedQueuesOptions } from './shared-queues.js';
import type { Residence } from './residence.js';
import { Same } from './same.js';
import type { Thread, TimeAccount } from './thread.js';
import { changedSystemMessages, isSystemFilter, readSystemTopics } from './system-topics.js';
import { Turns } from './turns.js';
import { TenantUnits } from './units.js';

const readAgainMs = 500;

/** A request to the database and its answer, without what is in it. */
const requestMs = 0.1;
/** To read an answer. */
const answerKibMs = 0.006;

/** Filters of one SUBSCRIBE for which the table is asked whether anything retained may match. Most have fewer. */
const looksMax = 8;

/** What the operator has set for every tenant. */
export interface Pace {
  /** How far its publishers may be ahead of safety, and for how long they are slowed. */
  readonly unsafeBytesMax: number;
  readonly holdBackMs: number;
  readonly topicLevelsMax: number;
}

/** What all tenants of a broker share. */
export interface TenantWorld {
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly queues: SharedQueuesOptions;
  readonly pace: Pace;
  readonly lease: LeaseGate;
  readonly thread: Thread;
  readonly activity: Activity<Tenant>;
  /** When subscribers of `$SYS` were last told: of a tenant that has not been touched by then nothing was counted before. */
  readonly systemLooks: { readonly lastMs: number };
  /** Undefined: this broker has no links to others. */
  readonly remotes?: ((tenant: Tenant) => RemoteRoutes) | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class Tenant implements SessionHost, FanOutHost, Touchable {
  isTouched = false;
  readonly id: TenantId;
  /** Of all that is stored of it: another tenant of that name has another one. */
  readonly scope: TenantScope;
  /** It has been deleted: nobody comes in any more. */
  isGone = false;
  readonly limits: TenantLimits;
  readonly meters: Meters = newMeters();
  readonly ledger: SafetyLedger;
  readonly units: TenantUnits;
  readonly rates: TenantRates;
  /** Its share of the broker's thread. */
  readonly time: TimeAccount;
  readonly turns: Turns;
  readonly entrance: Entrance;
  readonly routing: Routing;
  readonly queues: SharedQueues;
  readonly wills = new KeptWills();
  /** Where its stored sessions are kept. */
  readonly keeping: Keeping;
  readonly residences = new Map<ClientId, Residence>();
  readonly same = new Same();
  #connections = 0;
  /** The most there have been at once. */
  connectionsMax = 0;
  subscriptions = 0;
  sharedSubscriptions = 0;
  readonly memory: TenantMemory;
  readonly backlog: Backlog;
  /** As it was found when somebody first asked; a live count from then on. */
  retainedCount: RetainedCount = { messages: 0, bytes: 0 };
  readonly load: LoadAverages;
  readonly #sinceMs: number;
  /** Subscriptions to `$SYS` topics: without one nobody is told. */
  #systemSubscriptions = 0;
  /** What their subscribers were told last; empty when somebody has come since and may know something else. */
  readonly #told = new SparseMap<string, string>();
  readonly #retainedReads: RetainedReads;
  readonly #heldAcknowledgements: HeldAcknowledgements;
  readonly #remotes: RemoteRoutes | undefined;
  readonly #arrivals: Arrivals;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pace: Pace;
  readonly #lease: LeaseGate;
  readonly #activity: Activity<Tenant>;
  readonly #looks: TenantWorld['systemLooks'];
  #leaseAskedAtMs = -1;
  #withholds = false;

  constructor(record: TenantRecord, world: TenantWorld) {
    const { pace, lease, clock, log, activity } = world;
    this.#activity = activity;
    this.#looks = world.systemLooks;
    const touch = (): void => activity.touch(this);
    this.id = record.id;
    this.scope = scopeOf(record);
    this.#pace = pace;
    this.#lease = lease;
    this.#clock = clock;
    this.#log = log;
    this.#sinceMs = clock.monotonicMs();
    this.load = new LoadAverages(this.#sinceMs);
    this.time = world.thread.account(touch);
    this.limits = new TenantLimits(record, this.time, clock.nowMs());
    this.turns = new Turns(clock);
    this.entrance = new Entrance(this, clock);
    const ledger = new SafetyLedger(pace.unsafeBytesMax, touch);
    this.ledger = ledger;
    this.memory = new TenantMemory(record.id, this, this.limits, ledger, this.meters, clock, log, touch);
    this.backlog = { messages: 0, hold: (message) => ledger.hold(message), letGo: (message) => ledger.letGo(message) };
    this.units = new TenantUnits(this.scope, this.limits, clock);
    this.rates = new TenantRates(this.limits, this.ledger, this.units, this.time, clock);
    this.#heldAcknowledgements = new HeldAcknowledgements(clock);
    this.queues = new SharedQueues(this.scope, this, world.queues);
    const partitionOf = (clientId: ClientId): string => clientPartition(this.scope, clientId);
    this.keeping = { log: world.queues.commitLog, partitionOf };
    this.#remotes = world.remotes?.(this);
    this.routing = new Routing(world.makeRetained(this), this.queues, this, this.#remotes);
    this.#arrivals = new Arrivals(this, clock);
    this.#retainedReads = new RetainedReads(this.routing.retained, async () => {
      await this.time.turn();
      this.time.spend(requestMs);
    });
  }

  get connections(): number {
    return this.#connections;
  }

  set connections(connections: number) {
    this.#connections = connections;
    this.connectionsMax = Math.max(this.connectionsMax, connections);
    this.#activity.touch(this);
  }

  /** The session has ended; nothing happens if the client has another one by now. */
  drop(residence: Residence): void {
    const { clientId } = residence.session;
    if (this.residences.get(clientId) === residence) this.residences.delete(clientId);
    this.#activity.touch(this);
  }

  get isEmpty(): boolean {
    // A CONNECT may wait for its access rules: then only the account of time knows.
    return this.residences.size === 0 && this.turns.size === 0 && this.entrance.size === 0 && !this.time.isWaiting;
  }

  publish(message: Message, nowMs: number): Receipt {
    const receipt = this.routing.publish(message, nowMs);
    if (message.qos === 0) return receipt;
    // Asked again whenever time has gone on: a process that was frozen wakes up late.
    if (nowMs !== this.#leaseAskedAtMs) {
      this.#leaseAskedAtMs = nowMs;
      this.#withholds = this.#lease.state === 'lapsed' || this.#lease.state === 'lost';
    }
    return this.#withholds ? this.#whenAwake(receipt) : receipt;
  }

  /** Some come that another broker has accepted. */
  arriving(): void {
    this.#arrivals.begin();
  }

  arrive(message: Message): Receipt {
    return this.#arrivals.take(message);
  }

  arrived(): void {
    this.#arrivals.end();
  }

  whenArrived(then: () => void): void {
    this.#arrivals.whenPassed(then);
  }

  hinder(): void {
    this.ledger.hinder();
  }

  unhinder(): void {
    this.ledger.unhinder();
  }

  notForwarded(_message: Message): void {
    this.meters.droppedSlowSubscriber++;
  }

  filters(): Iterable<string> {
    return this.routing.filters();
  }

  whenMatched(then: () => void): void {
    if (this.#remotes) this.#remotes.whenMatched(then);
    else then();
  }

  /** It is not on this broker any more. */
  leave(): void {
    this.#remotes?.leave();
  }

  /** Not acknowledged before DynamoDB has said who serves, or has failed to: an outage stops no clean traffic. */
  #whenAwake(receipt: Receipt): Receipt {
    const withheld = new PendingReceipt();
    this.#lease.whenAwake(() => receipt.whenSettled(() => withheld.settle(receipt.reasonCode!)));
    return withheld;
  }

  filterError(topicFilter: string): string | undefined {
    return this.routing.filterError(topicFilter);
  }

  subscribe(session: Session, subscription: Subscription, isNew: boolean): void {
    const { topicFilter, group } = subscription;
    this.routing.subscribe(topicFilter, group, session, subscription);
    if (isNew) this.#count(subscription, 1);
  }

  unsubscribe(session: Session, subscription: Subscription): void {
    this.routing.unsubscribe(subscription.topicFilter, subscription.group, session);
    this.#count(subscription, -1);
  }

  #count({ filter, topicFilter, group }: Subscription, change: 1 | -1): void {
    this.subscriptions += change;
    if (group !== undefined) this.sharedSubscriptions += change;
    this.memory.countSubscription(filter, change);
    if (!isSystemFilter(topicFilter)) return;
    this.#systemSubscriptions += change;
    this.#told.clear();
    if (change > 0) void this.countRetained(); // Also for a session that is restored and reads nothing.
  }

  /** Once somebody asks for numbers. While DynamoDB is out of reach it stays what it was: the other numbers are told. */
  async countRetained(): Promise<void> {
    this.retainedCount = await this.routing.retained.counted().catch(() => this.retainedCount);
  }

  /** How long its totals have been counted. */
  get countingSeconds(): number {
    return Math.floor((this.#clock.monotonicMs() - this.#sinceMs) / 1000);
  }

  readRetained(filter: string, read: RetainedRead): Promise<void> {
    if (!isSystemFilter(filter)) return this.#readStored(filter, read);
    this.#updateLoad();
    this.#told.clear();
    return readSystemTopics(this, filter, read, (states) => this.#readStored(filter, states));
  }

  /** When it is the tenant's turn, and paid for: the request and its answer by what they take, the rest as it is measured. */
  #readStored(filter: string, read: RetainedRead): Promise<void> {
    const take = (messages: readonly Message[], next: string | undefined): void => {
      const bytes = messages.reduce((sum, { heldBytes }) => sum + heldBytes, 0);
      this.time.spend((bytes / 1024) * answerKibMs);
      this.time.charge(() => read.take(messages, next));
    };
    const { after, messagesMax } = read;
    return this.#retainedReads.read(filter, { after, messagesMax, isWanted: () => read.isWanted(), take });
  }

  whichMayBeRetained(filters: readonly string[], answer: (matched: ReadonlySet<string>) => void): void {
    const looked = filters.slice(0, looksMax);
    const matched = new Set(filters.slice(looksMax));
    const look = async (filter: string): Promise<void> => {
      if (isSystemFilter(filter) || (await this.#retainedReads.mayMatch(filter))) matched.add(filter);
    };
    Promise.all(looked.map(look))
      .then(() => answer(matched))
      .catch((error: unknown) => this.#log.error({ tenant: this.id, error }, 'a subscription could not be made'));
  }

  /** Tells subscribers of `$SYS` topics the tenant's own numbers, as far as they have changed. */
  publishSystemTopics(): void {
    this.#updateLoad();
    if (!this.hasSystemSubscribers) return;
    const nowMs = this.#clock.nowMs();
    for (const message of changedSystemMessages(this, this.#told)) this.routing.deliver(message, nowMs);
  }

  get hasSystemSubscribers(): boolean {
    return this.#systemSubscriptions > 0;
  }

  #updateLoad(): void {
    this.load.update(this.meters, this.#clock.monotonicMs(), this.#looks.lastMs);
  }

  hold(message: Message): boolean {
    if (this.memory.isFull) return false;
    this.ledger.hold(message);
    return true;
  }

  letGo(message: Message): void {
    this.ledger.letGo(message);
  }

  owe(message: Message): void {
    this.ledger.owe(message);
  }

  pay(message: Message, reasonCode: number): void {
    this.ledger.pay(message, reasonCode);
  }

  get isBehind(): boolean {
    return this.ledger.isUnsafe;
  }

  whenSafer(listener: () => void): void {
    this.ledger.whenSafer(listener);
  }

  lineUp(message: Message): void {
    this.ledger.lineUp(message);
  }

  leaveLine(message: Message): void {
    this.ledger.leaveLine(message);
  }

  later(continuation: Continuation): void {
    this.time.add(continuation);
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  sharedGroup(name: string): SharedOrigin | undefined {
    const shared = parseShared(name);
    return typeof shared === 'object' ? this.routing.sharedGroup(shared.filter, shared.group) : undefined;
  }

  settlementOf(origin: StoredOrigin): Receipt {
    if (isWill(origin)) return this.wills.settlementOf(origin.publisher as ClientId, origin);
    return this.residences.get(origin.publisher as ClientId)?.session.settlementOf(origin) ?? handedOn;
  }

  wakeShared({ topicFilter, group }: Subscription): void {
    this.routing.sharedGroup(topicFilter, group!)?.wake();
  }

  readFailed(reader: { pump(nowMs: number): void }, error: unknown): void {
    this.#log.warn({ tenant: this.id, error }, 'stored messages could not be read, trying again');
    this.#clock.after(readAgainMs, () => guarded('pump', () => reader.pump(this.#clock.nowMs())));
  }

  takeDelivery(bytes: number, nowMs: number): boolean {
    return this.rates.takeDelivery(bytes, nowMs);
  }

  spendStored(bytes: number, nowMs: number): void {
    this.rates.spendStored(bytes, nowMs);
  }

  pumpLater(session: Session): void {
    this.rates.pumpLater(session);
  }

  get topicLevelsMax(): number {
    return this.#pace.topicLevelsMax;
  }

  get holdBackMs(): number {
    return this.#pace.holdBackMs;
  }

  holdsBack(session: Session): void {
    this.#heldAcknowledgements.add(session);
  }
}
