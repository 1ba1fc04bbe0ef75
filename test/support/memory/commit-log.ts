/**
 * `CommitLog` in memory, which refuses what is too large for an item. A test decides how far a commit has come: `take`, then `write`, then `confirm`; `commit` does
 * all of it for as long as anybody has something to write. A `prompt` one does so by itself, some microtasks later.
 */
import type { CommitLog, CommitSource, StoredPage, Write } from '../../../services/broker/inbox/inbox.js';
import { SessionTables } from './session-tables.js';

export interface MemoryCommitLogOptions {
  readonly tables?: SessionTables;
  readonly nowMs: () => number;
  readonly prompt?: boolean;
  /** Items of a page. */
  readonly readItemsMax?: number;
  readonly writesMax?: number;
}

export class MemoryCommitLog implements CommitLog {
  readonly persistDelayMs = 50;
  readonly tables: SessionTables;
  /** Every write that has been taken, in short: `messages 3`, `delete`, `route a/#`. */
  readonly taken: string[] = [];
  /** Whose turn has not come: its lane is busy for longer than those of others. */
  isLate: (source: CommitSource) => boolean = () => false;
  /** Reads fail while it is set. */
  readError: Error | undefined;
  readonly #options: MemoryCommitLogOptions;
  readonly #dirty = new Set<CommitSource>();
  readonly #later = new Set<CommitSource>();
  readonly #again = new Set<CommitSource>();
  readonly #underWay = new Map<CommitSource, readonly Write[]>();

  constructor(options: MemoryCommitLogOptions) {
    this.#options = options;
    this.tables = options.tables ?? new SessionTables();
  }

  request(source: CommitSource): void {
    if (this.#isUnderWay(source)) this.#again.add(source);
    else this.#dirty.add(source);
    if (this.#options.prompt) queueMicrotask(() => this.commit());
  }

  #isUnderWay({ lane }: CommitSource): boolean {
    return [...this.#underWay.keys()].some((other) => other.lane === lane);
  }

  requestLater(source: CommitSource): void {
    this.#later.add(source);
  }

  /** The delay is over for everybody who asked for it. */
  delayOver(): void {
    const sources = [...this.#later];
    this.#later.clear();
    for (const source of sources) this.request(source);
  }

  /** What is due leaves the sources; nothing of it is durable yet. */
  take(): void {
    const { writesMax = 25, nowMs } = this.#options;
    for (const source of [...this.#dirty]) {
      if (this.isLate(source)) continue;
      this.#dirty.delete(source);
      if (this.#isUnderWay(source)) {
        this.#again.add(source);
        continue;
      }
      const writes = source.take(writesMax, nowMs(), Infinity);
      if (new Set(writes.map(keyOf)).size < writes.length) throw new Error('two writes of one commit have one key');
      if (writes.length > writesMax) throw new Error(`${writes.length} writes where ${writesMax} were asked for`);
      if (writes.length === 0) source.committed([]);
      else this.#underWay.set(source, writes);
      this.taken.push(...writes.map(inShort));
    }
  }

  /** What was taken is durable; nobody knows. */
  write(): void {
    for (const [{ partition }, writes] of this.#underWay)
      for (const write of writes) if (!isTooLarge(write)) this.tables.write(partition, write);
  }

  confirm(): void {
    this.#end((source, writes) => source.committed(writes.filter(isTooLarge)));
  }

  refuse(): void {
    this.#end((source, writes) => source.committed(writes));
  }

  #end(tell: (source: CommitSource, writes: readonly Write[]) => void): void {
    const underWay = [...this.#underWay];
    this.#underWay.clear();
    for (const [source, writes] of underWay) tell(source, writes);
    const again = [...this.#again];
    this.#again.clear();
    for (const source of again) this.request(source);
  }

  /** Everything that is due, and what comes of it. */
  commit(): void {
    const isDue = (source: CommitSource): boolean => !this.isLate(source);
    for (let rounds = 0; this.#underWay.size > 0 || [...this.#dirty].some(isDue); rounds++) {
      if (rounds > 1000) throw new Error('a source asks for ever');
      this.take();
      this.write();
      this.confirm();
    }
  }

  async read(partition: string, after: string, upTo: string): Promise<StoredPage> {
    await Promise.resolve();
    if (this.readError) throw this.readError;
    const { readItemsMax = 16 } = this.#options;
    const items = this.tables.items(partition).filter(({ key }) => key > after && key <= upTo);
    return { items: items.slice(0, readItemsMax), more: items.length > readItemsMax, unreadable: 0 };
  }
}

function keyOf(write: Write): string {
  switch (write.kind) {
    case 'messages':
    case 'delete':
      return write.key;
    case 'route':
      return `route ${write.route.filter}`;
    case 'unroute':
      return `route ${write.filter}`;
    case 'received':
      return 'received';
  }
}

const itemBytesMax = 400 * 1024;

function isTooLarge(write: Write): boolean {
  if (write.kind !== 'messages') return false;
  return write.messages.reduce((sum, { message }) => sum + message.payloadBytes, 0) > itemBytesMax;
}

function inShort(write: Write): string {
  switch (write.kind) {
    case 'messages':
      return `messages ${write.messages.length}`;
    case 'delete':
      return 'delete';
    case 'route':
      return `route ${write.route.filter}`;
    case 'unroute':
      return `unroute ${write.filter}`;
    case 'received':
      return `received ${write.packetIds.join(' ')}`;
  }
}
