/**
 * Sessions that come here because their clients have, from a broker that lives. Decision 46 has the steps, and what
 * becomes of them when somebody dies; this is the side of the broker to which the client has connected. The other side is
 * `handing-over.ts`.
 *
 *      claim finds (Y, e) -> ask Y -> given -> take the record -> here, as one that is away       -> ... claim, CONNACK
 *                                                             \_ matched -> Y finishes -> read _/
 *
 * The lower way goes on without the client, and whoever adopts the session from this broker goes it once more: the record says
 * `takenFrom` until then. Nothing but that needs to survive.
 */
import { type ClientId, type Clock, unattended } from '../../kernel/kernel.js';
import { RecordUnreadable, type Tenant as TenantRecord } from '../../tenancy/tenancy.js';
import { settled } from '../message/message.js';
import type { Residence, Tenant } from '../tenant/tenant.js';
import type { Kicked } from './kicked.js';
import type { Elsewhere, Interest, Owner, SessionStore, StoredSession, Takeover } from './ports.js';
import type { Unread } from './unread.js';
import type { Unreadable } from './unreadable.js';

/** Who was told to try later, or not answered. */
const askAgainMs = 250;
/** The same of one whose client need not wait for it any more. */
const finishAgainMs = 500;

export interface IncomingOptions {
  readonly records: SessionStore;
  readonly takeover: Takeover;
  readonly interest: Interest;
  readonly unread: Unread;
  readonly unreadable: Unreadable;
  readonly kicked: Kicked;
  readonly clock: Clock;
  /** See `Restoration.bring`. */
  readonly restore: (tenant: Tenant, account: TenantRecord, stored: StoredSession, epoch: number) => Promise<void>;
}

/** Of a CONNECT that has found its session elsewhere. */
interface Comer {
  readonly tenant: Tenant;
  readonly account: TenantRecord;
  readonly clientId: ClientId;
  readonly packet: { readonly cleanStart: boolean };
}

export class Incoming {
  readonly #options: IncomingOptions;
  readonly #unfinished = new Map<Residence, Promise<void>>();

  constructor(options: IncomingOptions) {
    this.#options = options;
  }

  /** What is left to be done for a session that has come here; undefined: nothing. */
  unfinished(residence: Residence): Promise<void> | undefined {
    return this.#unfinished.get(residence);
  }

  /** In the client's turn: one try, after which the record is to be claimed again. */
  async bring(comer: Comer, found: Elsewhere): Promise<void> {
    const { tenant, clientId } = comer;
    const { owner, epoch } = found;
    const wish = {
      tenant: tenant.scope,
      clientId,
      says: { owner, epoch },
      beginsAnew: await this.#beginsAnew(comer, found),
    };
    const answer = await this.#options.takeover.from(owner, wish);
    if (answer?.kind === 'given') await this.#take(comer, { owner, epoch: answer.epoch }, true);
    else if (answer?.kind === 'none') await this.#take(comer, found, false);
    else if (answer === undefined || answer.kind === 'busy') await this.#pause(askAgainMs);
  }

  async #beginsAnew(comer: Comer, found: Elsewhere): Promise<boolean> {
    const { tenant, clientId, packet } = comer;
    if (packet.cleanStart) return true;
    const { kicked } = this.#options;
    if (!kicked.has(tenant.scope, clientId)) return false;
    const stored = await this.#stored(comer, found);
    return stored !== undefined && kicked.isMeant(tenant.scope, clientId, stored.record);
  }

  /** Undefined: the record says something else than `says`, or cannot be read and its client begins anew. */
  async #stored({ tenant, clientId }: Comer, { owner, epoch }: Owner): Promise<StoredSession | undefined> {
    const { records, unreadable } = this.#options;
    try {
      const stored = await records.sessionOf(tenant.scope, clientId);
      return stored?.record.owner === owner && stored.record.epoch === epoch ? stored : undefined;
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      unreadable.session(tenant.scope, clientId, error);
      await records.take({ tenant: tenant.scope, clientId }, { owner, epoch });
      return undefined;
    }
  }

  async #take(comer: Comer, { owner, epoch: its }: Owner, isGiven: boolean): Promise<void> {
    const { records, restore } = this.#options;
    const says = { owner, epoch: its };
    const stored = await this.#stored(comer, says);
    if (!stored) return;
    const takenFrom = isGiven ? says : undefined;
    const epoch = await records.take(stored.record, says, takenFrom);
    if (epoch === undefined) return; // Somebody else has taken it, and is asked next.
    const { takenFrom: _, ...record } = stored.record;
    const taken = { ...record, ...(takenFrom && { takenFrom }) };
    await restore(comer.tenant, comer.account, { ...stored, record: taken }, epoch);
  }

  /** It is here, with its subscriptions; `takenFrom` may still have something of it. Once more does nothing. */
  goOn(residence: Residence, takenFrom: Owner): void {
    if (this.#unfinished.has(residence)) return;
    const finished = this.#finish(residence, takenFrom).finally(() => this.#unfinished.delete(residence));
    this.#unfinished.set(residence, finished);
    unattended('session', finished);
  }

  async #finish(residence: Residence, takenFrom: Owner): Promise<void> {
    const { interest, clock } = this.#options;
    const { tenant, session } = residence;
    const isHere = (): boolean => tenant.residences.get(session.clientId) === residence; // It may end, or move on.
    await settled(interest.matched(tenant));
    while (isHere() && !(await this.#hasLetGo(residence, takenFrom))) await this.#pause(finishAgainMs);
    while (isHere() && !(await this.#isRead(residence))) await this.#pause(finishAgainMs);
    if (!isHere()) return;
    tenant.time.charge(() => session.earlierAreStored(clock.nowMs()));
    const { takenFrom: _, ...record } = residence.record;
    residence.record = record;
  }

  /** Or is dead: what it had not stored was not acknowledged. */
  async #hasLetGo({ tenant, session }: Residence, { owner, epoch }: Owner): Promise<boolean> {
    const { takeover, records } = this.#options;
    if (await takeover.finish(owner, { tenant: tenant.scope, clientId: session.clientId, epoch })) return true;
    return await records.isAlive(owner).then(
      (isAlive) => !isAlive,
      () => false,
    );
  }

  async #isRead(residence: Residence): Promise<boolean> {
    return await this.#options.unread.read(residence.tenant, residence, true, true).then(
      () => true,
      () => false,
    );
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.after(ms, resolve));
  }
}
