/**
 * Wills that a broker before this one has left, and that are long: their content is in items of their own, and is read when they are
 * due. All of a fleet may be due at once, when its broker has died; so many are read at the same time, and the others wait, with a few
 * words each. Whoever waits for a will to be safe waits for that as well: its record names it until then.
 *
 *  | when it is read                      | then                                                              |
 *  | ------------------------------------ | ----------------------------------------------------------------- |
 *  | it is there                          | it is published                                                   |
 *  | it is not there, or cannot be read   | told and counted (`Unreadable`); nothing is published             |
 *  | DynamoDB is out of reach             | read again, in the end once a minute; the record names it still   |
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
}

export class UnreadWills {
  readonly #options: UnreadWillsOptions;
  readonly #waiting = new Set<Awaited>();
  #reading = 0;

  constructor(options: UnreadWillsOptions) {
    this.#options = options;
  }

  read(tenant: Tenant, clientId: ClientId, willItem: string, then: Awaited['then']): void {
    this.#waiting.add({ tenant, clientId, willItem, then });
    this.#readNext();
  }

  #readNext(): void {
    for (const next of this.#waiting) {
      if (this.#reading === atOnceMax) return;
      this.#waiting.delete(next);
      this.#reading++;
      const read = this.#readOne(next).finally(() => {
        this.#reading--;
        this.#readNext();
      });
      unattended('session', read);
    }
  }

  async #readOne(awaited: Awaited): Promise<void> {
    const { tenant, then } = awaited;
    for (let againAfterMs = 1000; ; againAfterMs = Math.min(2 * againAfterMs, againAfterMsMax)) {
      const content = tenant.isGone ? undefined : await this.#content(awaited);
      if (content !== 'out of reach') return tenant.time.charge(() => then(tenant.isGone ? undefined : content));
      await new Promise<void>((resolve) => this.#options.clock.after(againAfterMs, resolve));
    }
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
