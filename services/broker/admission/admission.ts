/**
 * The door of admission: who comes in (`arrival.ts`), who leaves (`departure.ts`) and what the control log wants done
 * (`control.ts`). It owns the tenants that have sessions on this broker and, through them, the sessions.
 */
import { type Clock, type Counter, type Log, type Metrics } from '../../kernel/kernel.js';
import type { ControlEntry } from '../../tenancy/tenancy.js';
import type { RetainedStore } from '../fanout/fanout.js';
import { type ConnectPacket, PeerFault, type Reason, reasons, type Slab } from '../wire/wire.js';
import { CachedAccounts } from './accounts.js';
import { Arrival } from './arrival.js';
import { Authentication } from './authentication.js';
import { Control } from './control.js';
import { Departure } from './departure.js';
import type { Accounts, Admitted, Connection, Ending, SessionRecords } from './ports.js';
import { systemTopicsEveryMs } from './system-topics.js';
import type { Tenant } from './tenant.js';
import { Tenants } from './tenants.js';

export type { TenantLimits } from './limits.js';
export type { Accounts, Admitted, Connection, Ending, SessionRecords } from './ports.js';
export type { Tenant } from './tenant.js';

export interface AdmissionOptions {
  readonly accounts: Accounts;
  readonly records: SessionRecords;
  readonly makeRetained: (tenant: Tenant) => RetainedStore;
  readonly clock: Clock;
  readonly slab: Slab;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Longest keep alive a client may choose, in seconds; 0 leaves it to the client. */
  readonly keepAliveSecondsMax: number;
}

/** CONNECTs under way at once; each holds a packet and perhaps a thread that stretches a password. */
const admittingMax = 4096;
/** How often tenants without sessions are dropped. */
const sweepEveryMs = 60_000;

export class Admission {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #tenants: Tenants;
  readonly #arrival: Arrival;
  readonly #departure: Departure;
  readonly #control: Control;
  readonly #refusals: (reason: Reason) => Counter;
  readonly #admitted: Counter;
  #admitting = 0;
  #stopping = false;

  constructor(options: AdmissionOptions) {
    const { metrics, clock } = options;
    const accounts = new CachedAccounts(options.accounts, clock);
    this.#log = options.log;
    this.#clock = clock;
    this.#tenants = new Tenants(options);
    this.#departure = new Departure(options);
    this.#arrival = new Arrival({
      ...options,
      authentication: new Authentication(accounts),
      tenants: this.#tenants,
      departure: this.#departure,
      isStopping: () => this.#stopping,
    });
    this.#control = new Control(accounts, this.#tenants, this.#departure, clock);
    this.#refusals = ({ name }) =>
      metrics.counter('shoal_connects_refused_total', 'CONNECTs refused', { reason: name });
    this.#admitted = metrics.counter('shoal_connects_admitted_total', 'CONNECTs admitted');
    this.#every(sweepEveryMs, () => this.#tenants.sweep());
    this.#every(systemTopicsEveryMs, () => {
      for (const tenant of this.#tenants) tenant.publishSystemTopics();
    });
  }

  /**
   * Lets the client of `connection` in: `connection.admitted` is called with CONNACK in the outbox. Throws
   * `PeerFault` with the reason of a refusal (nothing has been sent then).
   */
  async connect(packet: ConnectPacket, connection: Connection): Promise<void> {
    if (this.#stopping) throw new PeerFault(reasons.serverShuttingDown, reasons.serverShuttingDown.words);
    if (this.#admitting >= admittingMax) throw new PeerFault(reasons.serverBusy, reasons.serverBusy.words);
    this.#admitting++;
    try {
      await this.#arrival.admit(packet, connection);
      this.#admitted.add();
    } catch (error) {
      const fault = error instanceof PeerFault ? error : this.#unavailable(error);
      this.#refusals(fault.reason).add();
      throw fault;
    } finally {
      this.#admitting--;
    }
  }

  #unavailable(error: unknown): PeerFault {
    this.#log.error({ error }, 'a client could not be admitted');
    return new PeerFault(reasons.serverUnavailable, reasons.serverUnavailable.words);
  }

  /** The connection of an admitted client has ended. Call it once, whatever the cause. */
  disconnected(admitted: Admitted, ending: Ending): void {
    this.#departure.disconnected(admitted, ending);
  }

  /** Obeys an entry of the control log. */
  apply(entry: ControlEntry): Promise<void> {
    return this.#control.apply(entry);
  }

  /**
   * Every client is told to go elsewhere; resolves when records and retained messages are written. Nobody has died, so
   * no will is published.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    const released: Promise<unknown>[] = [];
    for (const tenant of this.#tenants)
      for (const { session, connection } of tenant.residences.values()) {
        session.will = undefined;
        connection?.close(reasons.serverShuttingDown);
        released.push(tenant.inTurn(session.clientId, () => Promise.resolve()));
      }
    for (const tenant of this.#tenants) released.push(tenant.routing.retained.settled());
    await Promise.allSettled(released);
  }

  #every(everyMs: number, run: () => void): void {
    this.#clock.after(everyMs, () => {
      if (this.#stopping) return;
      run();
      this.#every(everyMs, run);
    });
  }
}
