/**
 * The stored subscriptions of one persistent session: written before SUBACK, removed before UNSUBACK, the latest
 * state of each filter winning. They carry the epoch of their session, so that those of an earlier life are not its own.
 */
import { handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import type { CommitLog, CommitSource, StoredRoute, Write } from './commit.js';

export class StoredRoutes implements CommitSource {
  readonly partition: string;
  readonly lane: string;
  readonly #log: CommitLog;
  /** By filter; undefined: to be removed. */
  readonly #waiting = new Map<string, StoredRoute | undefined>();
  #epoch = 0;
  #receipt: PendingReceipt | undefined;
  /** What has been taken of it so far includes something that the store does not take. */
  #isRefused = false;
  /** Settled when the writes under way are. */
  #writing: PendingReceipt | undefined;

  constructor(partition: string, log: CommitLog) {
    this.partition = partition;
    this.lane = `routes ${partition}`;
    this.#log = log;
  }

  renew(epoch: number): void {
    this.#epoch = epoch;
  }

  set(route: StoredRoute): void {
    this.#change(route.filter, route);
  }

  remove(filter: string): void {
    this.#change(filter, undefined);
  }

  #change(filter: string, route: StoredRoute | undefined): void {
    this.#waiting.set(filter, route);
    this.#receipt ??= new PendingReceipt();
    this.#log.request(this);
  }

  /** Settles when everything that was changed before the call is stored. */
  get stored(): Receipt {
    return this.#receipt ?? this.#writing ?? handedOn;
  }

  /** The session ends: what is not under way is not written any more, or it would be found by the client's next one. */
  end(): void {
    this.#waiting.clear();
    this.#receipt?.settle(0);
    this.#receipt = undefined;
  }

  take(max: number): readonly Write[] {
    const taken = [...this.#waiting].slice(0, max);
    for (const [filter] of taken) this.#waiting.delete(filter);
    if (this.#waiting.size === 0) {
      this.#writing = this.#receipt;
      this.#receipt = undefined;
    }
    return taken.map(([filter, route]) =>
      route ? { kind: 'route', route, epoch: this.#epoch } : { kind: 'unroute', filter },
    );
  }

  committed(refused: readonly Write[]): void {
    if (refused.length > 0) this.#isRefused = true;
    const written = this.#writing;
    this.#writing = undefined;
    if (this.#waiting.size > 0) this.#log.request(this);
    if (!written) return;
    const reasonCode = this.#isRefused ? 0x83 : 0; // Implementation specific error
    this.#isRefused = false;
    written.settle(reasonCode);
  }
}
