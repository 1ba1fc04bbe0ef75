/**
 * Stored items that this release cannot read: a later release wrote them, or a person did. One of them costs one session
 * and not its tenant: it is left out, told once and counted. Called while sessions are taken over.
 */
import type { ClientId, Counter, Log, Metrics, TenantScope } from '../../kernel/kernel.js';

/** A tenant is opened many times in the life of a broker; what is told once need not be told again. */
const toldMax = 10_000;

type Kind = 'session' | 'credential' | 'shared' | 'will';

export class Unreadable {
  readonly #log: Log;
  readonly #counters: Readonly<Record<Kind, Counter>>;
  readonly #told = new Set<string>();

  constructor(log: Log, metrics: Metrics) {
    const counter = (record: string): Counter =>
      metrics.counter('shoal_records_unreadable_total', 'Stored records that cannot be read, each counted once', {
        record,
      });
    this.#log = log;
    this.#counters = {
      session: counter('session'),
      credential: counter('credential'),
      shared: counter('shared'),
      will: counter('will'),
    };
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

  /** It is not published. */
  will(tenant: TenantScope, clientId: ClientId, willItem: string, error: Error): void {
    if (this.#isNew('will', `${tenant}#${clientId}#${willItem}`))
      this.#log.error({ tenant, clientId, error }, 'the will of a session cannot be read and is not published');
  }

  #isNew(record: Kind, key: string): boolean {
    const mark = `${record} ${key}`;
    if (this.#told.has(mark)) return false;
    if (this.#told.size >= toldMax) this.#told.clear();
    this.#told.add(mark);
    this.#counters[record].add();
    return true;
  }
}
