/**
 * Reads the control log: what the tenant API wants brokers to hear. The sort key is a ULID of the writer's clock, and
 * clocks differ; so each read goes back some seconds behind the latest entry seen, and an entry is obeyed once. A broker
 * that starts obeys first what was written while none ran (`catchUp`), and one that inherits what the dead broker may have missed (`again`).
 *
 * What cannot be obeyed because DynamoDB does not answer is tried again, and holds up no entry about anything else. Each entry is
 * told to `hear` when it is met, before anything is waited for: what is remembered of accounts counts as long as the log is heard.
 */
import { type Cancel, caught, type Clock, eachGuarded, type Log } from '../../kernel/kernel.js';
import { type Dynamo, mayPass } from '../../dynamo/dynamo.js';
import {
  controlCursorAt,
  type ControlEntry,
  controlFromItem,
  controlPartition,
  controlTimeMs,
  scopeOf,
} from '../../tenancy/tenancy.js';

/** With one second of it a change reaches every broker well within two. */
const pollMs = 700;
/** More than clocks of writers differ and writes take. */
const overlapMs = 10_000;
/** What is left then is obeyed while the broker serves already. */
const catchUpMsMax = 10_000;

/** An entry is heard of for less long than a deleted tenant keeps its name back. */
const heardForMs = 2000;

export interface ControlListener {
  /** Whether an entry is any of its business; others are neither told nor obeyed. Without it all are. */
  concerns?(entry: ControlEntry): boolean;
  /** Of each entry, at once; undefined of one that cannot be read. Must not throw. */
  hear(entry: ControlEntry | undefined): void;
  /** Obeys it. `atMs`: when it was written. */
  apply(entry: ControlEntry, atMs: number): Promise<void>;
}

export class ControlLog {
  readonly #dynamo: Dynamo;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listener: ControlListener;
  /** Entries of the overlap, with the time at which they were met. */
  readonly #met = new Map<string, number>();
  /** What is being obeyed, by what it is about: one after the other, so that the latest look at it counts. */
  readonly #obeying = new Map<string, Promise<void>>();
  readonly #waits = new Set<() => void>();
  #readUpToMs: number;
  /** Entries since then are to be obeyed once more, with the next read. */
  #againFromMs = Infinity;
  /** When the last read began that has told everything; monotonic. */
  #heardAtMs = -Infinity;
  #stopped = false;
  #failing = false;

  constructor(dynamo: Dynamo, clock: Clock, log: Log, listener: ControlListener) {
    this.#dynamo = dynamo;
    this.#clock = clock;
    this.#log = log;
    this.#listener = listener;
    this.#readUpToMs = clock.nowMs();
  }

  /** Resolves when what was written since `fromMs` has been obeyed, or when that takes too long. */
  async catchUp(fromMs: number): Promise<void> {
    this.#readUpToMs = Math.min(fromMs, this.#clock.nowMs());
    let isLate = false;
    let cancel: Cancel | undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.after(catchUpMsMax, () => {
        isLate = true;
        this.#log.warn({}, 'the control log is not fully read yet, serving nevertheless');
        resolve();
      });
    });
    const caughtUp = async (): Promise<void> => {
      while (!(await this.#poll()) && !isLate && !this.#stopped) await this.#wait(pollMs);
      await Promise.all(this.#obeying.values());
    };
    await Promise.race([caughtUp(), late]);
    cancel?.();
  }

  /**
   * What was written since `fromMs` is obeyed once more, by the next read: sessions have come to this broker, whose owner may not have
   * obeyed it any more.
   */
  again(fromMs: number): void {
    this.#againFromMs = Math.min(this.#againFromMs, fromMs);
  }

  /** Whether everything that was written up to two seconds ago has been told to `hear`. */
  get isHeard(): boolean {
    return this.#clock.monotonicMs() - this.#heardAtMs < heardForMs;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    for (const end of this.#waits) end();
  }

  async #run(): Promise<void> {
    for (await this.#wait(pollMs); !this.#stopped; await this.#wait(pollMs)) await this.#poll();
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stopped) return resolve();
      const end = (): void => {
        cancel();
        this.#waits.delete(end);
        resolve();
      };
      const cancel = this.#clock.after(delayMs, end);
      this.#waits.add(end);
    });
  }

  /** False when the log could not be read. */
  async #poll(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    const startedMs = this.#clock.monotonicMs();
    const againFromMs = this.#againFromMs;
    for (const id of this.#met.keys()) if (controlTimeMs(id) >= againFromMs) this.#met.delete(id);
    try {
      const after = controlCursorAt(Math.min(this.#readUpToMs, againFromMs) - overlapMs);
      for await (const items of this.#dynamo.queryAll('cluster', {
        pk: controlPartition,
        sk: { after },
        consistent: true,
      }))
        eachGuarded('control-log', items, (item) => this.#meet(item));
      this.#readUpToMs = nowMs;
      this.#heardAtMs = startedMs;
      if (this.#againFromMs === againFromMs) this.#againFromMs = Infinity;
      // Only now that the cursor has moved on: what it may read again is remembered.
      for (const [id, atMs] of this.#met) if (atMs < nowMs - 4 * overlapMs) this.#met.delete(id);
      this.#failing = false;
    } catch (error) {
      // Once per outage; the cursor stays, so nothing is missed.
      if (!this.#failing) this.#log.error({ error }, 'the control log cannot be read, trying again');
      this.#failing = true;
    }
    return !this.#failing;
  }

  #meet(item: Readonly<Record<string, unknown>>): void {
    const id = item['sk'] as string;
    if (this.#met.has(id)) return;
    this.#met.set(id, this.#clock.nowMs());
    const entry = this.#read(item);
    if (entry && this.#listener.concerns?.(entry) === false) return;
    this.#listener.hear(entry);
    if (!entry) return;
    this.#log.info({ entry }, 'control entry');
    const atMs = controlTimeMs(id); // Here and not behind what is being obeyed: nothing in that chain may throw.
    const about = aboutOf(entry);
    const obeyed = (this.#obeying.get(about) ?? Promise.resolve())
      .then(() => this.#obey(entry, atMs))
      .then(() => {
        if (this.#obeying.get(about) === obeyed) this.#obeying.delete(about);
      });
    this.#obeying.set(about, obeyed);
  }

  #read(item: Readonly<Record<string, unknown>>): ControlEntry | undefined {
    try {
      return controlFromItem(item);
    } catch (error) {
      this.#log.error({ id: item['sk'], error }, 'a control entry cannot be read');
      return undefined;
    }
  }

  async #obey(entry: ControlEntry, atMs: number): Promise<void> {
    for (let tries = 1; !this.#stopped; tries++)
      try {
        return await this.#listener.apply(entry, atMs);
      } catch (error) {
        if (!mayPass(error)) return caught('control', error, { entry });
        if (tries === 1) this.#log.error({ entry, error }, 'a control entry could not be applied, trying again');
        await this.#wait(pollMs);
      }
  }
}

/** Entries about different things need not wait for each other. */
function aboutOf(entry: ControlEntry): string {
  if (entry.type === 'broker-drain') return `broker ${entry.brokerId}`;
  const scope = scopeOf({ ...entry, id: entry.tenant });
  switch (entry.type) {
    case 'session-kick':
      return `${scope} session ${entry.clientId}`;
    case 'credential-changed':
      return `${scope} credential ${entry.name}`;
    case 'tenant-changed':
      return scope;
  }
}
