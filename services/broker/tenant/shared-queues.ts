/**
 * The queues of one tenant's shared subscriptions: opened with the first member that keeps messages, closed with the
 * last, and found again after a restart. What a queue stores carries an epoch, the time of its opening or later, which
 * is above that of everything stored under its name before: so what a crash has left of a queue that was closed is told
 * apart, and removed.
 *
 * Brokers that serve together have a queue each, in a partition of its own (`of`): the counters in keys, and what may be removed, are
 * known to one writer only.
 */
import {
  atOnce,
  type BrokerId,
  type ClientId,
  type Clock,
  type Log,
  SparseMap,
  type TenantScope,
} from '../../kernel/kernel.js';
import { epochAt, RecordUnreadable, sharedPartition } from '../../tenancy/tenancy.js';
import type { GroupQueues, SharedGroup } from '../fanout/fanout.js';
import { type CommitLog, type QueueHost, SharedQueue, type StoredOrigin } from '../inbox/inbox.js';
import { handedOn, Message } from '../message/message.js';
import type { SharedStore, StoredShared } from './ports.js';

/** Queues that are read at the same time. */
const atOnceMax = 32;

export interface SharedQueuesOptions {
  readonly store: SharedStore;
  /** Where brokers serve together: this one. */
  readonly of?: BrokerId | undefined;
  readonly commitLog: CommitLog;
  readonly clock: Clock;
  readonly log: Log;
}

export class SharedQueues implements GroupQueues {
  readonly #scope: TenantScope;
  readonly #host: QueueHost;
  readonly #options: SharedQueuesOptions;
  readonly #epochs = new SparseMap<SharedQueue, number>();
  #lastEpoch = 0;
  /** Opened by sessions that an earlier broker has left, whose queues are to be read; undefined from then on. */
  #toRestore: Map<SharedGroup, SharedQueue> | undefined = new Map();

  constructor(scope: TenantScope, host: QueueHost, options: SharedQueuesOptions) {
    this.#scope = scope;
    this.#host = host;
    this.#options = options;
  }

  open(group: SharedGroup): SharedQueue {
    const partition = sharedPartition(this.#scope, this.#nameOf(group));
    const queue = new SharedQueue(partition, this.#options.commitLog, this.#host, group);
    const epoch = this.#begin(queue, 0);
    if (this.#toRestore) this.#toRestore.set(group, queue);
    else void this.#purge(this.#nameOf(group), epoch);
    return queue;
  }

  /** Of the queue. In no filter there is a NUL. */
  #nameOf({ name }: SharedGroup): string {
    const { of } = this.#options;
    return of === undefined ? name : `${name}\0${of}`;
  }

  #begin(queue: SharedQueue, above: number): number {
    const epoch = Math.max(epochAt(this.#options.clock.nowMs()), this.#lastEpoch + 1, above + 1);
    this.#lastEpoch = epoch;
    this.#epochs.set(queue, epoch);
    queue.renew(epoch);
    return epoch;
  }

  close(group: SharedGroup, queue: SharedQueue): void {
    const epoch = this.#epochs.get(queue)!;
    this.#epochs.delete(queue);
    this.#toRestore?.delete(group);
    // While sessions are still being restored the next of them may be a member that keeps messages.
    const isRestoring = this.#toRestore !== undefined;
    queue.end(() => (isRestoring ? undefined : void this.#purge(this.#nameOf(group), epoch + 1)));
  }

  /** What cannot be removed now is removed when the queue is opened again. */
  async #purge(name: string, epochBelow: number): Promise<void> {
    const { store, log } = this.#options;
    try {
      await store.purgeShared(this.#scope, name, epochBelow);
    } catch (error) {
      log.warn(
        { tenant: this.#scope, name, error },
        'the stored messages of a shared subscription could not be removed',
      );
    }
  }

  /**
   * When all sessions that an earlier broker has left are there: what is stored for their shared subscriptions. Returns
   * the origins of QoS 2 messages. Rejects when the store is out of reach; what cannot be read is left out and told.
   */
  async restore(onUnreadable: (name: string, error: RecordUnreadable) => void): Promise<readonly StoredOrigin[]> {
    const origins: StoredOrigin[] = [];
    const opened = this.#toRestore!;
    this.#toRestore = undefined;
    await atOnce(opened, atOnceMax, async ([group, queue]) => {
      try {
        for (const origin of await this.#restoreOne(group, queue)) origins.push(origin);
      } catch (error) {
        if (!(error instanceof RecordUnreadable)) throw error;
        onUnreadable(group.name, error);
      }
    });
    return origins;
  }

  async #restoreOne(group: SharedGroup, queue: SharedQueue): Promise<readonly StoredOrigin[]> {
    const { store } = this.#options;
    const stored = await store.loadShared(this.#scope, this.#nameOf(group));
    const moved = stored.origins.filter(({ origin }) => group.isWithMember(messageOf(origin)));
    const keys = moved.map(({ key }) => key);
    // Before any of them can be completed there, or a second crash would bring it again.
    if (keys.length > 0) await store.removeShared(this.#scope, this.#nameOf(group), keys);
    this.#begin(queue, stored.lastEpoch);
    const left = without(stored, moved);
    queue.restoreInbox(stored.messages - moved.length, left);
    return left;
  }
}

const without = ({ origins }: StoredShared, moved: StoredShared['origins']): StoredOrigin[] =>
  origins.filter((one) => !moved.includes(one)).map(({ origin }) => origin);

/** A message of that origin, to ask for it. */
function messageOf({ publisher, ...origin }: StoredOrigin): Message {
  const none = Buffer.alloc(0);
  const message = Message.of({ topic: { text: '', bytes: none }, payload: none, qos: 2, retain: false });
  message.publisher = publisher as ClientId;
  message.origin = { ...origin, again: undefined, settled: handedOn };
  return message;
}
