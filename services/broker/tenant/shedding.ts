/**
 * Before the process runs out of memory it takes it back from the tenant that holds most, and from no other:
 *
 *      live memory of the limit     80 %  that tenant gets no new sessions and subscriptions
 *                                   88 %  its newest connections are closed, some at each look, with 0x97
 *                                   70 %  it is over
 *
 * What is live is known after each full collection; what tenants have come to hold since is added, and what they have let go of
 * taken off. Without pressure a look
 * costs some microseconds.
 */
import type { Clock, Counter, Log, Metrics } from '../../kernel/kernel.js';
import type { Reason } from '../wire/wire.js';
import type { Tenant } from './local-tenant.js';
import { memoryWords } from './memory.js';

export const shedEveryMs = 100;
const overAt = 0.7;
const refuseAt = 0.8;
const closeAt = 0.88;
/** Who holds less of the limit is not the one who takes it from the others, whoever is. */
const worthPart = 1 / 20;
/** Of the tenant's connections, at each look. */
const closePart = 1 / 10;
const tellEveryMs = 60_000;

/** Memory of the process, in bytes. */
export interface ProcessMemory {
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly liveBytes: number;
  /** Grows with each new `liveBytes`. */
  readonly collections: number;
}

export class Shedding {
  readonly #tenants: Iterable<Tenant>;
  readonly #memory: ProcessMemory;
  readonly #reason: Reason;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #closed: Counter;
  /** What tenants held at the last collection. */
  #countedThen = 0;
  #collections = -1;
  #toldAtMs = -Infinity;
  #shed: Tenant | undefined;

  /** `reason`: with which connections are closed. */
  constructor(
    tenants: Iterable<Tenant>,
    memory: ProcessMemory,
    reason: Reason,
    clock: Clock,
    log: Log,
    metrics: Metrics,
  ) {
    this.#tenants = tenants;
    this.#memory = memory;
    this.#reason = reason;
    this.#clock = clock;
    this.#log = log;
    this.#closed = metrics.counter('shoal_connections_shed_total', 'Connections closed because memory ran short');
  }

  look(): void {
    const { limitBytes, usedBytes, liveBytes, collections } = this.#memory;
    if (usedBytes < overAt * limitBytes) return this.#over();
    let counted = 0;
    let heaviest: Tenant | undefined;
    for (const tenant of this.#tenants) {
      const { bytes } = tenant.memory;
      counted += bytes;
      if (!heaviest || bytes > heaviest.memory.bytes) heaviest = tenant;
    }
    if (collections !== this.#collections) this.#countedThen = counted;
    this.#collections = collections;
    const part = (liveBytes + counted - this.#countedThen) / limitBytes;
    if (part < overAt || !heaviest || heaviest.memory.bytes < worthPart * limitBytes) return this.#over();
    if (part < refuseAt) return;
    if (this.#shed !== heaviest) this.#over();
    this.#shed = heaviest;
    heaviest.memory.isShed = true;
    this.#tell(heaviest, part);
    if (part >= closeAt) this.#closeNewest(heaviest);
  }

  #over(): void {
    if (this.#shed) this.#shed.memory.isShed = false;
    this.#shed = undefined;
  }

  #closeNewest({ residences }: Tenant): void {
    const connected = [...residences.values()].filter(({ connection }) => connection !== undefined);
    connected.sort((one, other) => other.record.connectedAtMs - one.record.connectedAtMs);
    for (const { connection } of connected.slice(0, Math.ceil(connected.length * closePart))) {
      connection?.close(this.#reason, memoryWords.shed);
      this.#closed.add();
    }
  }

  #tell({ id, memory: { bytes } }: Tenant, part: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#toldAtMs < tellEveryMs) return;
    this.#toldAtMs = nowMs;
    const { limitBytes } = this.#memory;
    const fields = { tenant: id, bytes, limitBytes, usedPercent: Math.round(part * 100) };
    this.#log.error(fields, 'the broker is short of memory: the tenant that uses most gets no more');
  }
}
