/**
 * The stored subscriptions of one persistent session: written before SUBACK, removed before UNSUBACK, the latest
 * state of each filter winning. They carry the epoch of their session, so that those of an earlier life are not its own.
 */
import { handedOn, PendingReceipt, type Receipt } from '../message/message.js';
import type { CommitLog, CommitSource, StoredRoute, Write } from './commit.js';

export class StoredRoutes implements CommitSource {
  readonly partition: string;
  readonly #log: CommitLog;
  /** By filter; undefined: to be removed. */
  readonly #waiting = new Map<string, StoredRoute | undefined>();
  #epoch = 0;
  #receipt: PendingReceipt | undefined;
  /** Settled when the writes under way are confirmed. */
  #writingReceipts: PendingReceipt[] = [];

  constructor(partition: string, log: CommitLog) {
    this.partition = partition;
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
    return this.#receipt ?? this.#writingReceipts.at(-1) ?? handedOn;
  }

  take(max: number): readonly Write[] {
    const taken = [...this.#waiting].slice(0, max);
    for (const [filter] of taken) this.#waiting.delete(filter);
    if (this.#waiting.size === 0 && this.#receipt) {
      this.#writingReceipts.push(this.#receipt);
      this.#receipt = undefined;
    }
    return taken.map(([filter, route]) =>
      route ? { kind: 'route', route, epoch: this.#epoch } : { kind: 'unroute', filter },
    );
  }

  confirmed(): void {
    this.#settle(0);
  }

  refused(): void {
    this.#settle(0x83);
  }

  #settle(reasonCode: number): void {
    const receipts = this.#writingReceipts;
    this.#writingReceipts = [];
    if (this.#waiting.size > 0) this.#log.request(this);
    for (const receipt of receipts) receipt.settle(reasonCode);
  }
}
