/**
 * Queue depths and drops for the API, which reads them in the session's record. Each note costs a write of that record, so
 * only what has changed is written, for a client that is away in each sweep, for one that is connected at most every
 * 60 s, and of those that are due the ones that have waited longest, 500 in a sweep. A clean stop notes all. A sweep looks at the
 * sessions of tenants that something has happened to, or whose notes are not all written.
 *
 * A note touches nothing else in the record, and only if its session is still this broker's and of the same epoch: it
 * can neither bring a session back nor overwrite what a later owner says. Nothing depends on it, so one that DynamoDB does
 * not take is left for the next sweep.
 */
import { atOnce, type Clock, eachGuarded } from '../../kernel/kernel.js';
import { depthOf, type Residence, type Tenant } from '../tenant/tenant.js';
import type { SessionStore } from './ports.js';

/** How often sessions are looked at: so old may a depth be that the API shows. */
export const sweepQueuesEveryMs = 5_000;
const connectedEveryMs = 60_000;
/** 100 writes a second at most. */
const notesPerSweepMax = 500;
/** When the broker stops: as many as there are connections to DynamoDB for them. */
const notesAtOnce = 64;

interface Due {
  readonly tenant: Tenant;
  readonly residence: Residence;
}

/** Of a tenant with more of them they are looked at in slices of its time. */
const lookedAtAtOnceMax = 200;

export interface NotedTenants extends Iterable<Tenant> {
  /** Returns those that something has happened to since the last call. */
  look(): () => Iterable<Tenant>;
}

export class QueueNotes {
  readonly #records: SessionStore;
  readonly #tenants: Iterable<Tenant>;
  readonly #recent: () => Iterable<Tenant>;
  /** They have something to be noted, or may have. */
  readonly #open = new Set<Tenant>();
  #isSweeping = false;
  readonly #clock: Clock;

  constructor(records: SessionStore, tenants: NotedTenants, clock: Clock) {
    this.#records = records;
    this.#tenants = tenants;
    this.#recent = tenants.look();
    this.#clock = clock;
  }

  /** Unless the last one has not come to its end: tenants that are busy look at their sessions when it is their turn. */
  async sweep(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      await this.#noteChanged(this.#clock.nowMs());
    } finally {
      this.#isSweeping = false;
    }
  }

  async #noteChanged(nowMs: number): Promise<void> {
    for (const tenant of this.#recent()) this.#open.add(tenant);
    const changed: Due[] = [];
    await Promise.all([...this.#open].map((tenant) => this.#look(tenant, changed)));
    const due = changed.filter(
      ({ residence: { connection, noted } }) => !connection || nowMs - noted.atMs >= connectedEveryMs,
    );
    due.sort((a, b) => a.residence.noted.atMs - b.residence.noted.atMs);
    for (const one of due.slice(0, notesPerSweepMax)) void this.#note(one);
  }

  /** Of all sessions, now; for a clean stop. */
  async all(): Promise<void> {
    const changed: Due[] = [];
    for (const tenant of this.#tenants)
      if (tenant.units.waitMs() === 0)
        eachGuarded('queue-notes', tenant.residences.values(), (residence) => addChanged(changed, tenant, residence));
    await atOnce(changed, notesAtOnce, (one) => this.#note(one));
  }

  async #look(tenant: Tenant, changed: Due[]): Promise<void> {
    if (tenant.units.waitMs() > 0) return; // It has better things to pay for.
    const before = changed.length;
    const look = (residence: Residence): void => addChanged(changed, tenant, residence);
    const { residences, time } = tenant;
    if (residences.size > lookedAtAtOnceMax) await time.each('queue-notes', residences.values(), look);
    else eachGuarded('queue-notes', residences.values(), look);
    // Others may have added theirs meanwhile; it is looked at once more then.
    if (changed.length === before) this.#open.delete(tenant);
  }

  /** In turn, so that it does not come behind the record of a client that leaves. */
  async #note({ tenant, residence }: Due): Promise<void> {
    const { session } = residence;
    residence.isNoting = true;
    try {
      await tenant.turns.take(session.clientId, async () => {
        const noted = depthOf(session, this.#clock.nowMs());
        await this.#records.note({ ...residence.record, ...noted });
        residence.noted = noted;
      });
    } catch {
      this.#open.add(tenant); // As it was: the next sweep tries again, though sweeps meanwhile may have found nothing to note.
    } finally {
      residence.isNoting = false;
    }
  }
}

function addChanged(changed: Due[], tenant: Tenant, residence: Residence): void {
  const { session, noted, isNoting } = residence;
  const { queuedMessages, droppedMessages } = session;
  const isSame = noted.queuedMessages === queuedMessages && noted.droppedMessages === droppedMessages;
  if (session.isDurable && !isNoting && !isSame) changed.push({ tenant, residence });
}
