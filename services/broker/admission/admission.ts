/**
 * The door of admission: who comes in (`authentication.ts`), and what the control log wants done (`control.ts`). It owns the
 * tenants that have sessions on this broker and, through them, the sessions, whose life is the room `residence`.
 */
import {
  type BrokerId,
  type Clock,
  type Counter,
  eachGuarded,
  type FaultPlace,
  guarded,
  type Log,
  type Metrics,
  type TenantScope,
} from '../../kernel/kernel.js';
import {
  type BrokerLoad,
  scopeOf,
  type SessionRecord,
  splitUserName,
  type TenantEntry,
  tenantOf,
} from '../../tenancy/tenancy.js';
import type { CommitLog } from '../inbox/inbox.js';
import { handedOn, type Receipt } from '../message/message.js';
import type { RemoteRoutes, RetainedStore } from '../fanout/fanout.js';
import { type ConnectPacket, PeerFault, type Reason, reasons, type Slab } from '../wire/wire.js';
import {
  type Admitted,
  type Connection,
  type LeaseGate,
  type ProcessMemory,
  type Residence,
  shedEveryMs,
  Shedding,
  type SharedStore,
  systemTopicsEveryMs,
  type Tenant,
  Tenants,
  type UnitLedger,
  saveUnitsEveryMs,
  type Thread,
  TurnedAway,
  Turnstile,
  accessOf,
} from '../tenant/tenant.js';
import {
  Arrival,
  checkedWill,
  chooseClientId,
  Departure,
  type Ending,
  HandingOver,
  Incoming,
  type Interest,
  Kicked,
  QueueNotes,
  Restoration,
  type SessionStore,
  sweepQueuesEveryMs,
  type Takeover,
  Unread,
  Unreadable,
} from '../residence/residence.js';
import { CachedAccounts } from './accounts.js';
import { Authentication, groupOf } from './authentication.js';
import { Control } from './control.js';
import { ofStranger, ofTenant, type Place, Places } from './places.js';
import type { Accounts } from './ports.js';
import { faultOf, shuttingDown, strangersBusy, tenantBusy, waitedTooLong } from './refusals.js';

export type { Accounts } from './ports.js';

export interface AdmissionOptions {
  readonly accounts: Accounts;
  readonly records: SessionStore;
  readonly shared: SharedStore;
  /** Where brokers serve together: this one. */
  readonly sharedOf?: BrokerId | undefined;
  readonly commitLog: CommitLog;
  /** Bytes of messages that a tenant may have on their way to safety before its publishers have to wait. */
  readonly unsafeBytesMax: number;
  /** How long a subscriber may hold back the acknowledgement of a message that it alone gets. */
  readonly holdBackMs: number;
  /** Of topics, filters and wills. */
  readonly topicLevelsMax: number;
  /** Most QoS 1 and 2 messages under way to a client, whatever it takes. */
  readonly inFlightMax: number;
  readonly lease: LeaseGate;
  readonly brokerId: BrokerId;
  /** Other brokers, of which clients may have sessions. Absent: there are none. */
  readonly takeover?: Takeover | undefined;
  /** Absent: what the tenants know of it. */
  readonly interest?: Interest | undefined;
  readonly units: UnitLedger;
  /** Whether everything that it told two seconds ago has come to `hear`. Absent: nobody knows. */
  readonly isControlLogHeard?: () => boolean;
  /** Shared by all tenants. */
  readonly thread: Thread;
  /** When the lease of a broker that has gone ended; undefined when it is not known. */
  readonly leaseEndedAtMs: (owner: BrokerId) => Promise<number | undefined>;
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  /** What a tenant has of the other brokers, if there may be any. */
  readonly remotes?: ((tenant: Tenant) => RemoteRoutes) | undefined;
  readonly clock: Clock;
  readonly slab: Slab;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Of the process. */
  readonly memory: ProcessMemory;
  /** Longest keep alive a client may choose, in seconds; 0 leaves it to the client. */
  readonly keepAliveSecondsMax: number;
  /** See `revoked-wills.ts`. */
  readonly publishesRevokedWills: boolean;
}

/** CONNECTs under way at once; each holds a packet, with a password and perhaps a will. */
const placesMax = 4096;
/** For the turn of a CONNECT. Before it, its socket has waited for up to 3 s for its own (`transport.ts`). */
const patienceMs = 1500;
/** How often tenants without sessions are dropped. */
const sweepEveryMs = 60_000;

/** No other broker serves. */
const nobodyElse: Interest = { matched: () => handedOn, arrived: () => handedOn };
const alone: Takeover = { from: () => Promise.resolve(undefined), finish: () => Promise.resolve(false) };

/** No tenant's name. */
const refusedGroup = ' ';

export class Admission {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #tenants: Tenants;
  readonly #authentication: Authentication;
  readonly #topicLevelsMax: number;
  readonly #arrival: Arrival;
  readonly #departure: Departure;
  readonly #restoration: Restoration;
  readonly #control: Control;
  readonly #queueNotes: QueueNotes;
  readonly #refusals: (reason: Reason) => Counter;
  readonly #admitted: Counter;
  readonly #accounts: CachedAccounts;
  readonly #records: SessionStore;
  readonly #places = new Places(placesMax);
  readonly #turnstile: Turnstile;
  /** For other brokers, whose clients have sessions here. */
  readonly handingOver: HandingOver;
  #isDraining = false;
  #stopping = false;

  constructor(options: AdmissionOptions) {
    const { metrics, clock } = options;
    const accounts = new CachedAccounts(options.accounts, clock, options.isControlLogHeard);
    this.#log = options.log;
    this.#clock = clock;
    this.#turnstile = new Turnstile(clock, setImmediate, { patienceMs });
    const unreadable = new Unreadable(options.log, metrics);
    this.#departure = new Departure({ ...options, unreadable });
    const unread = new Unread({ ...options, departure: this.#departure, unreadable });
    const { takeover = alone, interest = nobodyElse } = options;
    const kicked = new Kicked(clock);
    const shared = { ...options, accounts, departure: this.#departure, unreadable, unread, kicked, takeover, interest };
    const incoming: Incoming = new Incoming({ ...shared, restore: (...args) => restoration.bring(...args) });
    this.handingOver = new HandingOver({
      ...shared,
      known: (scope) => this.#tenants.known(scope),
      isUnfinished: (residence) => incoming.unfinished(residence) !== undefined,
    });
    const returns = (known: Residence, found: SessionRecord): void => this.handingOver.inherits(known, found);
    const restoration = new Restoration({ ...shared, incoming, returns });
    this.#tenants = new Tenants({
      ...options,
      restore: (tenant, record) => restoration.restore(tenant, record),
      opened: ({ scope }) => options.records.entered(scope),
      current: (id) => accounts.tenant(id),
      retire: (tenant) => this.#control.retire(tenant),
    });
    this.#restoration = restoration;
    this.#queueNotes = new QueueNotes(options.records, this.#tenants, clock);
    this.#accounts = accounts;
    this.#authentication = new Authentication(accounts, clock, metrics);
    this.#topicLevelsMax = options.topicLevelsMax;
    this.#records = options.records;
    this.#arrival = new Arrival({
      ...options,
      isStillValid: (account, credential) => this.#authentication.isStillValid(account, credential),
      departure: this.#departure,
      restoration,
      unread,
      incoming,
      handingOver: this.handingOver,
      isStopping: () => this.#isDraining,
    });
    this.#control = new Control({ ...shared, tenants: this.#tenants, handingOver: this.handingOver });
    this.#refusals = ({ name }) =>
      metrics.counter('shoal_connects_refused_total', 'CONNECTs refused', { reason: name });
    metrics.gauge('shoal_connects_under_way', 'CONNECTs that are not answered yet', () => this.#places.taken);
    this.#admitted = metrics.counter('shoal_connects_admitted_total', 'CONNECTs admitted');
    this.#every(sweepEveryMs, 'sweep', () => this.#tenants.sweep());
    const shedding = new Shedding(this.#tenants, options.memory, reasons.quotaExceeded, clock, options.log, metrics);
    this.#every(shedEveryMs, 'sweep', () => shedding.look());
    this.#every(sweepEveryMs, 'sweep', () => this.#authentication.sweep());
    this.#every(saveUnitsEveryMs, 'sweep', () => void options.units.save());
    this.#every(sweepQueuesEveryMs, 'queue-notes', () => void this.#queueNotes.sweep());
    this.#every(systemTopicsEveryMs, 'system-topics', () => this.#tenants.publishSystemTopics());
  }

  /**
   * Lets the client of `connection` in: `connection.admitted` is called with CONNACK in the outbox. Throws
   * `PeerFault` with the reason of a refusal (nothing has been sent then).
   */
  connect(packet: ConnectPacket, connection: Connection): Promise<void> {
    if (connection.isTurnedAway) return this.#refuse(waitedTooLong());
    const named = (packet.userName === undefined ? undefined : splitUserName(packet.userName)?.tenant) ?? '';
    const place = this.#places.take(ofStranger(groupOf(connection), named));
    return place ? this.#connect(packet, connection, place, named) : this.#refuse(strangersBusy());
  }

  /**
   * In turns as well: thousands of refusals in one moment would hold up everybody. They are in one line, whatever names they have
   * thought of, and what their packets have brought is let go of.
   */
  async #refuse(why: PeerFault): Promise<never> {
    await this.#turn(refusedGroup);
    const fault = this.#isDraining ? shuttingDown() : why;
    this.#refusals(fault.reason).add();
    throw fault;
  }

  async #connect(packet: ConnectPacket, connection: Connection, place: Place, named: string): Promise<void> {
    try {
      if (this.#isDraining) throw shuttingDown();
      const turn = this.#turn(named);
      if (turn && (await turn)) throw waitedTooLong();
      if (connection.closed) throw new TurnedAway('gone');
      await this.#admit(packet, connection, place);
      this.#admitted.add();
    } catch (error) {
      const fault = error instanceof PeerFault ? error : this.#faultOf(error);
      this.#refusals(fault.reason).add();
      throw fault;
    } finally {
      place.leave();
    }
  }

  /** Until fewer CONNECTs are at work: whether that took too long. Undefined when few are. */
  #turn(named: string): Promise<boolean> | undefined {
    let hasPassed = false;
    let pass: (isLate: boolean) => void = () => (hasPassed = true);
    this.#turnstile.come(named, (isLate) => pass(isLate));
    return hasPassed ? undefined : new Promise((resolve) => (pass = resolve));
  }

  async #admit(packet: ConnectPacket, connection: Connection, place: Place): Promise<void> {
    const { record: account, credential } =
      this.#authentication.recognize(packet) ?? (await this.#authentication.authenticate(packet, connection));
    const { clientId, assigned } = chooseClientId(packet);
    if (!place.becomes(ofTenant(scopeOf(account)))) throw tenantBusy();
    const tenant = this.#tenants.here(account) ?? (await this.#tenants.open(account));
    tenant.time.spend(this.#turnstile.averageMs);
    const compiled = accessOf(tenant.time, credential.grants, { clientId, username: credential.name });
    const access = compiled instanceof Promise ? await compiled : compiled;
    const will = packet.will && checkedWill(packet.will, access, tenant.limits, this.#topicLevelsMax);
    await this.#arrival.admit({ packet, connection, tenant, account, credential, clientId, access, will, assigned });
  }

  #faultOf(error: unknown): PeerFault {
    if (error instanceof TurnedAway) return faultOf(error);
    this.#log.error({ error }, 'a client could not be admitted');
    return new PeerFault(reasons.serverUnavailable, reasons.serverUnavailable.words);
  }

  /** See `Departure.disconnected`. */
  disconnected(admitted: Admitted, ending: Ending): Receipt {
    return this.#departure.disconnected(admitted, ending);
  }

  /** What this broker has to do with, for operators. */
  get load(): BrokerLoad {
    return this.#tenants.load;
  }

  /** A tenant's commits have taken `ms` of the thread. */
  pay(tenant: TenantScope, ms: number): void {
    this.#tenants.pay(tenant, ms);
  }

  /**
   * Takes over the sessions of a broker that has gone, those that have come to this one: all tenants one after the other. One that
   * cannot be opened holds no other up; then it rejects when the last has been tried, and is to be called again.
   */
  async adopt(owner: BrokerId): Promise<void> {
    const failures: Error[] = [];
    for (const scope of await this.#records.scopesOf(owner))
      try {
        const record = await this.#accounts.tenant(tenantOf(scope));
        // What is left of a tenant that has gone is nobody's, and the tenant API removes it.
        if (record && scopeOf(record) === scope && record.status !== 'deleting')
          await this.#restoration.inherit(await this.#tenants.open(record), record);
      } catch (error) {
        failures.push(new Error(`tenant ${scope} could not be taken over`, { cause: error }));
      }
    if (failures.length > 0) throw failures.length > 1 ? new AggregateError(failures) : failures[0]!;
    await this.#records.forget(owner);
  }

  /** An entry of the control log has been met, and will be obeyed; undefined: it cannot be read. */
  hear(entry: TenantEntry | undefined): void {
    this.#control.forget(entry);
  }

  /** Obeys an entry of the control log, which was written at `atMs`; once more does no harm. */
  apply(entry: TenantEntry, atMs: number): Promise<void> {
    return this.#control.apply(entry, atMs);
  }

  /**
   * Nobody is let in any more. Clients whose connections end because the broker stops have not died, so no will of them is
   * published; those of sessions that live on are due when their clients have not come back some time after `doneAtMs`,
   * when the last is expected to have been sent away.
   */
  drain(doneAtMs: number): void {
    this.#isDraining = true;
    this.#departure.drainedAtMs = doneAtMs;
  }

  /** Every client that is left is told to go elsewhere; resolves when records and retained messages are written. */
  async stop(): Promise<void> {
    if (!this.#isDraining) this.drain(this.#clock.nowMs());
    this.#stopping = true;
    const released: Promise<unknown>[] = [];
    for (const tenant of this.#tenants)
      eachGuarded('stop', tenant.residences.values(), ({ session, connection }) => {
        connection?.close(reasons.serverShuttingDown);
        released.push(tenant.turns.take(session.clientId, () => Promise.resolve()));
      });
    eachGuarded('stop', this.#tenants, (tenant) => released.push(tenant.routing.retained.rest()));
    await Promise.allSettled(released);
  }

  /** The last thing of a stop, when everything is stored: what the API shows while no broker runs. */
  noteQueues(): Promise<void> {
    return this.#queueNotes.all();
  }

  /** Armed again first: whatever one run comes to, there is a next one. */
  #every(everyMs: number, where: FaultPlace, run: () => void): void {
    this.#clock.after(everyMs, () => {
      if (this.#stopping) return;
      this.#every(everyMs, where, run);
      guarded(where, run);
    });
  }
}
