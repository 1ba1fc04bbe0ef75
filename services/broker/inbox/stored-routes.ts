/**
 * The stored subscriptions of one persistent session: written before SUBACK, removed before UNSUBACK, the latest
 * state of each filter winning. They carry the epoch of their session, so that those of an earlier life are not its own.
 * It is made when there is something to write, and dropped with the rest of a session that is away (`isIdle`).
 */
import { handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import type { Bookmark } from './bookmark.js';
import type { CommitLog, CommitSource, StoredRoute, Write } from './commit.js';

export class StoredRoutes implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  readonly #log: CommitLog;
  /** By filter; undefined: to be removed. */
  #waiting: Map<string, StoredRoute | undefined> | undefined;
  /** Says the epoch of the session. */
  readonly #mark: Pick<Bookmark, 'epoch'>;
  readonly #whenWritten: (() => void) | undefined;
  #receipt: PendingReceipt | undefined;
  /** What has been taken of it so far includes something that the store does not take. */
  #isRefused = false;
  /** Settled when the writes under way are. */
  #writing: PendingReceipt | undefined;

  /** `whenWritten` is called after each commit. */
  constructor(partition: string, log: CommitLog, mark: Pick<Bookmark, 'epoch'>, whenWritten?: () => void) {
    this.partition = partition;
    this.lane = `routes ${partition}`;
    this.#log = log;
    this.#mark = mark;
    this.#whenWritten = whenWritten;
  }

  /** Everything is written. */
  get isIdle(): boolean {
    return this.#receipt === undefined && this.#writing === undefined && !this.#waiting?.size;
  }

  set(route: StoredRoute): void {
    this.#change(route.filter, route);
  }

  remove(filter: string): void {
    this.#change(filter, undefined);
  }

  #change(filter: string, route: StoredRoute | undefined): void {
    (this.#waiting ??= new Map()).set(filter, route);
    this.#receipt ??= new PendingReceipt();
    this.#log.request(this);
  }

  /** Settles when everything that was changed before the call is stored. */
  get stored(): Receipt {
    return this.#receipt ?? this.#writing ?? handedOn;
  }

  /** The session ends: what is not under way is not written any more, or it would be found by the client's next one. */
  end(): void {
    this.#waiting = undefined;
    this.#receipt?.settle(0);
    this.#receipt = undefined;
  }

  take(max: number): readonly Write[] {
    const taken = [...(this.#waiting ?? [])].slice(0, max);
    for (const [filter] of taken) this.#waiting!.delete(filter);
    if (!this.#waiting?.size) {
      this.#writing = this.#receipt;
      this.#receipt = undefined;
    }
    return taken.map(([filter, route]) =>
      route ? { kind: 'route', route, epoch: this.#mark.epoch } : { kind: 'unroute', filter },
    );
  }

  committed(refused: readonly Write[]): void {
    if (refused.length > 0) this.#isRefused = true;
    const written = this.#writing;
    this.#writing = undefined;
    if (this.#waiting?.size) this.#log.request(this);
    if (written) {
      const reasonCode = this.#isRefused ? 0x83 : 0; // Implementation specific error
      this.#isRefused = false;
      written.settle(reasonCode);
    }
    this.#whenWritten?.();
  }
}
