/**
 * Stored items that this release cannot read: a later release wrote them, or a person did. One of them costs one session
 * and not its tenant: it is left out, told once and counted. Called while sessions are taken over.
 */
import type { ClientId, Counter, Log, Metrics, TenantScope } from '../../kernel/kernel.js';

/** A tenant is opened many times in the life of a broker; what is told once need not be told again. */
const toldMax = 10_000;

export class Unreadable {
  readonly #log: Log;
  readonly #counters: Readonly<Record<'session' | 'credential' | 'shared', Counter>>;
  readonly #told = new Set<string>();

  constructor(log: Log, metrics: Metrics) {
    const counter = (record: string): Counter =>
      metrics.counter('shoal_records_unreadable_total', 'Stored records that cannot be read, each counted once', {
        record,
      });
    this.#log = log;
    this.#counters = { session: counter('session'), credential: counter('credential'), shared: counter('shared') };
  }

  /** Its client begins a new session when it comes. */
  session(tenant: TenantScope, clientId: ClientId, error: Error): void {
    if (this.#isNew('session', `${tenant}#${clientId}`))
      this.#log.error({ tenant, clientId, error }, 'a stored session cannot be read and is left out');
  }

  /** Sessions that came in with it live on, and nobody comes in with it. */
  credential(tenant: TenantScope, name: string, clientId: ClientId, error: Error): void {
    if (this.#isNew('credential', `${tenant}#${name}`))
      this.#log.error({ tenant, credential: name, clientId, error }, 'the credential of a session cannot be read');
  }

  /** Its queue begins empty. */
  shared(tenant: TenantScope, name: string, error: Error): void {
    if (this.#isNew('shared', `${tenant}${name}`))
      this.#log.error({ tenant, name, error }, 'the queue of a shared subscription cannot be read and is left out');
  }

  #isNew(record: 'session' | 'credential' | 'shared', key: string): boolean {
    const mark = `${record} ${key}`;
    if (this.#told.has(mark)) return false;
    if (this.#told.size >= toldMax) this.#told.clear();
    this.#told.add(mark);
    this.#counters[record].add();
    return true;
  }
}
