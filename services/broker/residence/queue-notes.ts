/**
 * Queue depths and drops for the API, which reads them in the session's record. Each note costs a write of that record, so
 * only what has changed is written, for a client that is away in each sweep, for one that is connected at most every
 * 60 s, and of those that are due the ones that have waited longest, 500 in a sweep. A clean stop notes all.
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

export class QueueNotes {
  readonly #records: SessionStore;
  readonly #tenants: Iterable<Tenant>;
  readonly #clock: Clock;

  constructor(records: SessionStore, tenants: Iterable<Tenant>, clock: Clock) {
    this.#records = records;
    this.#tenants = tenants;
    this.#clock = clock;
  }

  sweep(): void {
    const nowMs = this.#clock.nowMs();
    const due = this.#changed(({ connection, noted }) => !connection || nowMs - noted.atMs >= connectedEveryMs);
    due.sort((a, b) => a.residence.noted.atMs - b.residence.noted.atMs);
    for (const one of due.slice(0, notesPerSweepMax)) void this.#note(one);
  }

  /** Of all sessions, now; for a clean stop. */
  async all(): Promise<void> {
    await atOnce(
      this.#changed(() => true),
      notesAtOnce,
      (one) => this.#note(one),
    );
  }

  #changed(isDue: (residence: Residence) => boolean): Due[] {
    const due: Due[] = [];
    for (const tenant of this.#tenants) {
      if (tenant.units.waitMs() > 0) continue; // It has better things to pay for.
      eachGuarded('queue-notes', tenant.residences.values(), (residence) => {
        const { session, noted, isNoting } = residence;
        const { queuedMessages, droppedMessages } = session;
        const isSame = noted.queuedMessages === queuedMessages && noted.droppedMessages === droppedMessages;
        if (session.isDurable && !isNoting && !isSame && isDue(residence)) due.push({ tenant, residence });
      });
    }
    return due;
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
      // As it was: the next sweep tries again.
    } finally {
      residence.isNoting = false;
    }
  }
}
