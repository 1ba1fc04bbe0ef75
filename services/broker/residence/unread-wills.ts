/**
 * Wills that a broker before this one has left, and that are long: their content is in items of their own, and is read when they are
 * due. All of a fleet may be due at once, when its broker has died; so many are read at the same time, in turns by tenant, and the others
 * wait, with a few words each. Whoever waits for a will to be safe waits for that as well: its record names it until then.
 *
 *  | when it is read                      | then                                                              |
 *  | ------------------------------------ | ----------------------------------------------------------------- |
 *  | it is there                          | it is published                                                   |
 *  | it is not there, or cannot be read   | told and counted (`Unreadable`); nothing is published             |
 *  | DynamoDB is out of reach             | its place goes to another, and it is read again, in the end once  |
 *  |                                      | a minute; the record names it still                               |
 *  | the tenant has gone                  | nothing is published (`revoked-wills.ts`)                         |
 *  | the broker dies                      | the next one finds the record as it was                           |
 */
import { type ClientId, type Clock, unattended } from '../../kernel/kernel.js';
import { RecordUnreadable, type WillContent } from '../../tenancy/tenancy.js';
import type { Tenant } from '../tenant/tenant.js';
import type { SessionStore } from './ports.js';
import type { Unreadable } from './unreadable.js';

/** 2 MB, if all are as long as they may be. */
const atOnceMax = 32;
/** Of one tenant, so that another one's need not wait for slow reads of it. */
const ofOneMax = 16;
const againAfterMsMin = 1000;
const againAfterMsMax = 60_000;

export interface UnreadWillsOptions {
  readonly records: SessionStore;
  readonly unreadable: Unreadable;
  readonly clock: Clock;
}

interface Awaited {
  readonly tenant: Tenant;
  readonly clientId: ClientId;
  readonly willItem: string;
  /** Undefined: nothing is to be published. */
  readonly then: (content: WillContent | undefined) => void;
  /** If DynamoDB is out of reach. */
  readonly againAfterMs: number;
}

interface Queue {
  readonly waiting: Set<Awaited>;
  reading: number;
}

export class UnreadWills {
  readonly #options: UnreadWillsOptions;
  /** Of tenants of which some wait or are read; that whose turn is next comes first. */
  readonly #queues = new Map<Tenant, Queue>();
  #reading = 0;

  constructor(options: UnreadWillsOptions) {
    this.#options = options;
  }

  read(tenant: Tenant, clientId: ClientId, willItem: string, then: Awaited['then']): void {
    this.#add({ tenant, clientId, willItem, then, againAfterMs: againAfterMsMin });
  }

  #add(awaited: Awaited): void {
    const { tenant } = awaited;
    const queue = this.#queues.get(tenant);
    if (queue) queue.waiting.add(awaited);
    else this.#queues.set(tenant, { waiting: new Set([awaited]), reading: 0 });
    this.#readNext();
  }

  #readNext(): void {
    for (const [tenant, queue] of this.#queues) {
      if (this.#reading === atOnceMax) return;
      const [next] = queue.waiting;
      if (!next || queue.reading === ofOneMax) continue;
      queue.waiting.delete(next);
      queue.reading++;
      this.#reading++;
      // To the end, where this loop comes to it again.
      this.#queues.delete(tenant);
      this.#queues.set(tenant, queue);
      const read = this.#readOne(next).finally(() => {
        this.#reading--;
        if (--queue.reading === 0 && queue.waiting.size === 0) this.#queues.delete(tenant);
        this.#readNext();
      });
      unattended('session', read);
    }
  }

  async #readOne(awaited: Awaited): Promise<void> {
    const { tenant, then, againAfterMs } = awaited;
    const content = tenant.isGone ? undefined : await this.#content(awaited);
    if (content !== 'out of reach') return tenant.time.charge(() => then(tenant.isGone ? undefined : content));
    const next = { ...awaited, againAfterMs: Math.min(2 * againAfterMs, againAfterMsMax) };
    this.#options.clock.after(againAfterMs, () => this.#add(next));
  }

  async #content({ tenant, clientId, willItem }: Awaited): Promise<WillContent | undefined | 'out of reach'> {
    const { records, unreadable } = this.#options;
    try {
      const content = await records.will(tenant.scope, clientId, willItem);
      if (content) return content;
      throw new RecordUnreadable('the item that the record of its session names is not there');
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) return 'out of reach';
      unreadable.will(tenant.scope, clientId, willItem, error);
      return undefined;
    }
  }
}
