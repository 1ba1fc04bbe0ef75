/**
 * Reads the control log: what the tenant API wants brokers to hear. The sort key is a ULID of the writer's clock, and
 * clocks differ; so each read goes back some seconds behind the latest entry seen, and an entry is obeyed once.
 */
import { type Cancel, type Clock, type Log } from '../../kernel/kernel.js';
import { type Dynamo, DynamoUnavailable } from '../../dynamo/dynamo.js';
import { controlCursorAt, type ControlEntry, controlFromItem, controlPartition } from '../../tenancy/tenancy.js';

/** With one second of it a change reaches every broker well within two. */
const pollMs = 700;
/** More than clocks of writers differ and writes take. */
const overlapMs = 10_000;

export class ControlLog {
  readonly #dynamo: Dynamo;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #apply: (entry: ControlEntry) => Promise<void>;
  /** Entries of the overlap, with the time at which they were obeyed. */
  readonly #obeyed = new Map<string, number>();
  #readUpToMs: number;
  #cancel: Cancel | undefined;
  #stopped = false;
  #failing = false;

  constructor(dynamo: Dynamo, clock: Clock, log: Log, apply: (entry: ControlEntry) => Promise<void>) {
    this.#dynamo = dynamo;
    this.#clock = clock;
    this.#log = log;
    this.#apply = apply;
    this.#readUpToMs = clock.nowMs();
  }

  start(): void {
    this.#cancel = this.#clock.after(pollMs, () => {
      void this.#poll().finally(() => {
        if (!this.#stopped) this.start();
      });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  async #poll(): Promise<void> {
    const nowMs = this.#clock.nowMs();
    try {
      const after = controlCursorAt(this.#readUpToMs - overlapMs);
      for await (const items of this.#dynamo.queryAll('cluster', {
        pk: controlPartition,
        sk: { after },
        consistent: true,
      }))
        for (const item of items) await this.#obey(item);
      this.#readUpToMs = nowMs;
      // Only now that the cursor has moved on: what it may read again is remembered.
      for (const [id, atMs] of this.#obeyed) if (atMs < nowMs - 4 * overlapMs) this.#obeyed.delete(id);
      this.#failing = false;
    } catch (error) {
      // Once per outage; the cursor stays, so nothing is missed.
      if (!this.#failing) this.#log.error({ error }, 'the control log cannot be read, trying again');
      this.#failing = true;
    }
  }

  async #obey(item: Readonly<Record<string, unknown>>): Promise<void> {
    const id = item['sk'] as string;
    if (this.#obeyed.has(id)) return;
    this.#obeyed.set(id, this.#clock.nowMs());
    const entry = controlFromItem(item);
    if (!entry) return;
    this.#log.info({ entry }, 'control entry');
    try {
      await this.#apply(entry);
    } catch (error) {
      // Out of reach: this read fails as a whole, and the entry is met again by the next one.
      if (error instanceof DynamoUnavailable) {
        this.#obeyed.delete(id);
        throw error;
      }
      this.#log.error({ entry, error }, 'a control entry could not be obeyed');
    }
  }
}
