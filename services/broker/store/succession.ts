/**
 * Brokers that serve together inherit from each other, by the shares in the marks on leases (`tenancy/shares.ts`). This class
 * follows the marks: whose a record is now, and what of dead brokers is due to be adopted by this one. `Membership` tells it of each
 * read of the leases; the session store asks. It keeps the tables that it has met, and writes what was adopted on the dead broker's lease.
 *
 *      a look finds D marked -> slots that lead to this broker and that nobody has adopted are due -> adopted -> said on D's lease
 *        -> all 64 have been adopted: D's notes are removed, its end and its shares kept, its lease removed
 *
 * Decision 47 has the interleavings and crash points. What is known here is as old as the last look, 2 s at most, and safe to use: a mark
 * that has been read never changes its meaning, and who has none yet is left alone. Who has to know it better (`isFresh`) reads the lease.
 */
import { type BrokerId, type Clock, eachGuarded, type TenantScope, unattended } from '../../kernel/kernel.js';
import {
  type BrokerLease,
  type Fate,
  isAlive,
  markOf,
  RecordUnreadable,
  sessionBuckets,
  slotCount,
  slotOf,
  type Way,
  wayOf,
} from '../../tenancy/tenancy.js';
import type { Dynamo } from '../../dynamo/dynamo.js';
import { LeaseRecords } from './lease-records.js';

/** 100 KB with one heir each. A tenant's records name a few brokers. */
const goneMax = 1000;
/** Marks on one way. A longer one is replaced by what it leads to. */
const marksMax = 8;
const slots = Array.from({ length: slotCount }, (_, slot) => slot);

/**
 * `others`: a broker's that lives, or is about to be marked. `undecided`: its broker is dead, and nobody has inherited yet. `nobodys`:
 * nothing is known of its broker any more.
 */
export type Whose = 'mine' | 'others' | 'undecided' | 'nobodys';

/** What this broker is to adopt of a dead one. */
export interface Due {
  readonly owner: BrokerId;
  readonly leaseUntilMs: number;
  /** None: all have been adopted, and this broker is to clear away. */
  readonly slots: ReadonlySet<number>;
}

/** Other shares for slots that lead to nobody; see `lease-serving.ts`. */
type ShareAnew = (
  lease: BrokerLease,
  leases: readonly BrokerLease[],
  leadsToNobody: (slot: number) => boolean,
) => Promise<BrokerLease | undefined>;

interface Waiting {
  readonly owner: BrokerId;
  readonly slots: readonly number[];
  readonly done: () => void;
  /** The leases have been read since it was asked. */
  readonly hasLooked: boolean;
}

export class Succession {
  readonly #records: LeaseRecords;
  readonly #me: BrokerId;
  readonly #clock: Clock;
  /** As last read. */
  #leases = new Map<BrokerId, BrokerLease>();
  /** Of brokers whose leases are gone. */
  readonly #gone = new Map<BrokerId, Fate>();
  readonly #due = new Map<BrokerId, Due>();
  /** Slots that this broker has adopted, by owner. */
  readonly #adopted = new Map<BrokerId, Set<number>>();
  readonly #onDue: ((due: Due) => void)[] = [];
  readonly #composing = new Set<BrokerId>();
  #waiting: Waiting[] = [];

  constructor(dynamo: Dynamo, me: BrokerId, clock: Clock) {
    this.#records = new LeaseRecords(dynamo);
    this.#me = me;
    this.#clock = clock;
  }

  /** More has become due. Told before the look that has found it ends. */
  onDue(listener: (due: Due) => void): void {
    this.#onDue.push(listener);
  }

  get due(): ReadonlyMap<BrokerId, Due> {
    return this.#due;
  }

  /** Brokers that have a mark, and have not been adopted by all heirs. */
  get marked(): readonly BrokerId[] {
    return [...this.#leases.values()].filter((lease) => lease.takenBy !== undefined).map(({ brokerId }) => brokerId);
  }

  /** All leases as they were read, those that are over with their marks. */
  async heard(leases: readonly BrokerLease[], shareAnew: ShareAnew): Promise<void> {
    const now = new Map(leases.map((lease) => [lease.brokerId, lease]));
    for (const [owner, lease] of this.#leases) if (!now.has(owner)) this.#forget(owner, markOf(lease));
    this.#leases = now;
    for (const lease of leases) if (lease.takenBy !== undefined) await this.#judge(lease, leases, shareAnew);
    const left = this.#waiting;
    this.#waiting = [];
    for (const one of left) this.#wait({ ...one, hasLooked: true });
  }

  #forget(owner: BrokerId, fate: Fate | undefined): void {
    this.#due.delete(owner);
    this.#adopted.delete(owner);
    if (fate) this.#remember(owner, fate);
  }

  async #judge(found: BrokerLease, leases: readonly BrokerLease[], shareAnew: ShareAnew): Promise<void> {
    const owner = found.brokerId;
    let [lease, ways] = [found, await this.#ways(owner)];
    const isNobodys = (slot: number): boolean => ways[slot]!.heir === undefined && !found.adopted?.has(slot);
    if (slots.some(isNobodys)) {
      const anew = await shareAnew(lease, leases, isNobodys);
      if (!anew) return; // The next look tries again.
      lease = anew;
      this.#leases.set(owner, lease);
      ways = await this.#ways(owner);
    }
    const { adopted = new Set(), leaseUntilMs } = lease;
    const due = new Set(slots.filter((slot) => ways[slot]!.heir === this.#me && !adopted.has(slot)));
    const isToClear = adopted.size === slotCount && ways[0]!.heir === this.#me;
    const before = this.#due.get(owner);
    if (due.size === 0 && !isToClear) return void this.#due.delete(owner);
    const isMore = !before || (isToClear && before.slots.size > 0) || [...due].some((slot) => !before.slots.has(slot));
    const one = { owner, leaseUntilMs, slots: due };
    this.#due.set(owner, one);
    if (isMore) eachGuarded('lease', this.#onDue, (listener) => listener(one));
  }

  /**
   * This broker has adopted what was due then. Returns whether all has been adopted by now: then what the dead broker has left is to be
   * removed, and `clear` called.
   */
  async adopted({ owner, slots: now }: Due): Promise<boolean> {
    const mine = this.#adopted.get(owner) ?? new Set();
    for (const slot of now) mine.add(slot);
    this.#adopted.set(owner, mine);
    for (let isSaid = false; ; isSaid = true) {
      const lease = await this.#records.find(owner);
      if (!lease) return false;
      const all = new Set([...(lease.adopted ?? []), ...mine]);
      if (all.size === slotCount) return true;
      if (isSaid) return false;
      await this.#records.adopted(owner, this.#me, mine); // Of two that are the last at once, one at least reads the other's word.
    }
  }

  /** Nobody needs to know more of a dead broker than its end and its shares. */
  async clear(owner: BrokerId): Promise<void> {
    await this.#records.end(owner);
    this.#due.delete(owner);
  }

  /** Resolves when all heirs of a broker, which has died or will have, have adopted what it has left of the tenant. */
  whenAdopted(owner: BrokerId, scope: TenantScope): Promise<void> {
    const needed = sessionBuckets(scope).map(slotOf);
    return new Promise((resolve) => this.#wait({ owner, slots: needed, done: resolve, hasLooked: false }));
  }

  #wait(one: Waiting): void {
    const lease = this.#leases.get(one.owner);
    const adopted = this.#adopted.get(one.owner);
    const isGone = !lease && (one.hasLooked || this.#gone.has(one.owner));
    const isThere = (slot: number): boolean => !!lease?.adopted?.has(slot) || !!adopted?.has(slot);
    if (isGone || one.slots.every(isThere)) one.done();
    else this.#waiting.push(one);
  }

  /** Whose a record is that names this owner, in that partition. `isFresh`: as of now. */
  async whose(owner: BrokerId, pk: string, isFresh = false): Promise<Whose> {
    if (owner === this.#me) return 'mine';
    if (isFresh && this.#fateOf(owner) === 'unmarked') await this.#load(owner);
    const { heir, passed } = await this.#way(owner, slotOf(pk));
    if (passed.length > marksMax) unattended('lease', this.#compose(owner));
    if (heir === this.#me) return 'mine';
    const lease = heir && this.#leases.get(heir);
    if (heir !== undefined) return lease && isAlive(lease, this.#clock.nowMs()) ? 'others' : 'undecided';
    return [owner, ...passed].some((one) => this.#leases.has(one)) ? 'undecided' : 'nobodys';
  }

  async #ways(owner: BrokerId): Promise<readonly Way[]> {
    const ways: Way[] = [];
    for (const slot of slots) ways.push(await this.#way(owner, slot));
    return ways;
  }

  async #way(owner: BrokerId, slot: number): Promise<Way> {
    for (;;) {
      let missing: BrokerId | undefined;
      const way = wayOf(
        owner,
        slot,
        (broker) => this.#fateOf(broker),
        (broker) => (missing = broker),
      );
      if (way) return way;
      await this.#load(missing!);
    }
  }

  #fateOf(broker: BrokerId): Fate | undefined {
    if (broker === this.#me) return 'unmarked';
    const lease = this.#leases.get(broker);
    return lease ? (markOf(lease) ?? 'unmarked') : this.#gone.get(broker);
  }

  /** Its lease first: its end is written before that is removed. */
  async #load(broker: BrokerId): Promise<void> {
    try {
      const lease = await this.#records.find(broker);
      if (lease) return void this.#leases.set(broker, lease);
      this.#leases.delete(broker);
      this.#remember(broker, (await this.#records.endOf(broker))?.shares ?? 'unknown');
    } catch (error) {
      if (!(error instanceof RecordUnreadable)) throw error;
      this.#remember(broker, 'unmarked'); // Of a later release: left alone.
    }
  }

  #remember(broker: BrokerId, fate: Fate): void {
    if (this.#gone.size >= goneMax) this.#gone.clear();
    this.#gone.set(broker, fate);
  }

  async #compose(owner: BrokerId): Promise<void> {
    const shares = this.#gone.get(owner);
    if (this.#composing.has(owner) || shares === undefined || typeof shares === 'string') return;
    this.#composing.add(owner);
    try {
      const heirs = (await this.#ways(owner)).map(({ heir }) => heir);
      if (heirs.includes(undefined)) return;
      const composed = heirs as BrokerId[];
      await this.#records.compose(owner, shares, composed);
      this.#remember(owner, composed);
    } finally {
      this.#composing.delete(owner);
    }
  }
}
