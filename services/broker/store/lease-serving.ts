/**
 * How one broker becomes the one that serves, or one of those that serve together. Alone, only the holder of the lock serves, and all
 * others stand by. Called by `Membership`; it keeps no state: whoever starts anew reads everything anew.
 *
 *      write own lease -> read the lock -> nobody's: take it
 *                              ^           X's, whose lease lives: wait, no longer than the lease, and read again
 *                              |           X's, whose lease is over: mark it as taken by me, move the lock from X to me
 *                              '---------- any condition that does not hold: somebody was faster, read again
 *      -> mark the leases of all other dead brokers as taken -> their sessions can be adopted
 *
 * What may happen in between, and why it is safe:
 *  - X renews while A takes. Both are writes to X's lease with a condition. The mark asks that `leaseUntilMs` is what A
 *    has read, a renewal that nobody has marked: one of the two fails. If X won, A goes on waiting; if A won, X finds
 *    the mark at its next renewal and ends. X acknowledges nothing meanwhile: the mark is made after the end of the
 *    lease, and X counts it a second shorter (`gate.ts`).
 *  - A and B start at once. One of them marks X, the other finds the mark. Both may then move the lock, on condition that
 *    it is X's still: one succeeds. The other reads that the lock belongs to a living broker and stands by.
 *  - A dies after marking X, before moving the lock: X is marked and the lock is X's. B finds a lease that is taken, which
 *    never comes back to life, and moves the lock from X to itself. X stays on B's list of brokers to adopt.
 *  - A dies after moving the lock, before or while adopting: A's lease runs out, B takes it like any other. X is marked
 *    and its item is there until its sessions are adopted, so B gets it once more. Adopting twice does no harm.
 *  - A is frozen between marking and moving, B serves meanwhile: A's move fails, the lock is no more X's. If B has died
 *    since, A finds B's lease like any other. A broker id is used for one start, so the lock never comes back to X.
 *  - A's own lease runs out while it stands by (it was frozen): nothing is moved until it is renewed, and if another
 *    broker has counted A among the dead, A is lost and ends.
 *  - The answer to a write is lost: `LeaseRecords` compares. If the lock was moved and nobody knows, the next look at it
 *    says `me`.
 *  - A clean stop gives up the lease first and then removes the lock. A crash between leaves a lock whose holder has
 *    given up: taken without waiting. (The other order would leave a living lease that no one waits for.)
 *  - DynamoDB was away, and is back: the leases of all have ended, A finds that of X over, and X lives. A marks nobody before
 *    every living broker has had the time to renew; a lease that was marked or given up before is not waited for.
 *  - Brokers that serve together (decision 47): the lock says so, and only the first of them takes it. It may be dead while others
 *    serve, so who serves alone looks at all leases before it takes such a lock. A broker that joins the others meanwhile has written
 *    its lease before it read the lock: it is seen, or has read that the lock's holder was dead and moves the lock, too.
 *  - The lease of the lock's holder is missing: removed by hand, or a broker that stopped while it stood by, whose move
 *    of the lock arrived late. Nobody can be waited for, so the lock moves on.
 */
import type { BrokerId, Clock } from '../../kernel/kernel.js';
import {
  type BrokerLease,
  isAlive,
  markOf,
  type ServingLock,
  type Shares,
  sharesAmong,
} from '../../tenancy/tenancy.js';
import type { LeaseRecords } from './lease-records.js';

/** A broker whose sessions nobody looks after. */
export interface DeadBroker {
  readonly brokerId: BrokerId;
  /** When it was last known to live: its clients count as disconnected from then on. */
  readonly leaseUntilMs: number;
}

export interface Contender {
  readonly records: LeaseRecords;
  readonly brokerId: BrokerId;
  /** It serves together with others. */
  readonly isTogether: boolean;
  readonly clock: Clock;
  isHeld(): boolean;
  /** DynamoDB was out of reach so short a time ago that a broker that lives may not have renewed its lease yet. */
  maySomeoneBeLate(): boolean;
  /** Rejects when this broker is to stop. */
  wait(delayMs: number): Promise<void>;
  onStandingBy(holder: BrokerId): void;
}

/** A broker that stops cleanly is followed this soon. */
const pollMs = 500;
/** Between looks that failed for no lasting reason. */
const retryMs = 50;

/** Resolves when this broker may serve: it holds the lock, or a broker that it serves with does; and its own lease. */
export async function takeLock(contender: Contender): Promise<void> {
  const { records, brokerId, isTogether, clock } = contender;
  const mine: ServingLock = { brokerId, ...(isTogether && { isTogether }) };
  for (;;) {
    const lock = await records.lock();
    if (!contender.isHeld()) await contender.wait(retryMs);
    else if (lock?.brokerId === brokerId) return;
    else if (lock === undefined) await records.moveLock(undefined, mine);
    else {
      const { brokerId: holder } = lock;
      const lease = await records.find(holder);
      if (lease && isAlive(lease, clock.nowMs())) {
        if (isTogether && lock.isTogether) return;
        contender.onStandingBy(holder);
        await contender.wait(Math.min(pollMs, Math.max(lease.leaseUntilMs - clock.nowMs(), 1)));
      } else if (lease && mayBeLate(contender, lease)) await contender.wait(pollMs);
      else if (lock.isTogether && !isTogether && survivors(contender, await records.all()).length > 0) {
        contender.onStandingBy(holder);
        await contender.wait(pollMs);
      } else if (await isTaken(contender, lease)) {
        if (contender.isHeld()) await records.moveLock(holder, mine);
      }
    }
    await contender.wait(0);
  }
}

/** Marks what is over. A mark that another broker has made counts as well: it died before it could go on. */
async function isTaken(contender: Contender, lease: BrokerLease | undefined): Promise<boolean> {
  if (lease === undefined || lease.takenBy !== undefined) return true;
  const { records, brokerId, isTogether } = contender;
  const others = isTogether ? await records.all() : [];
  return (await records.take(lease, brokerId, sharesOfDead(contender, lease, others))) !== undefined;
}

/** Other brokers that serve together and live. */
function survivors({ brokerId, clock }: Contender, leases: readonly BrokerLease[]): BrokerId[] {
  return leases
    .filter((lease) => lease.isTogether && lease.brokerId !== brokerId && isAlive(lease, clock.nowMs()))
    .map((lease) => lease.brokerId);
}

function sharesOfDead(contender: Contender, dead: BrokerLease, leases: readonly BrokerLease[]): Shares {
  const others = contender.isTogether ? survivors(contender, leases) : [];
  return sharesAmong(dead.brokerId, contender.brokerId, others);
}

/** Its end says nothing when nobody could have renewed it. */
function mayBeLate({ maySomeoneBeLate }: Contender, { takenBy, givenUp }: BrokerLease): boolean {
  return takenBy === undefined && !givenUp && maySomeoneBeLate();
}

/** All other brokers that are dead, each marked, and all leases with these marks. For a broker that serves: whoever lives merely stands by. */
export async function takeDead(
  contender: Contender,
): Promise<{ readonly dead: readonly DeadBroker[]; readonly leases: readonly BrokerLease[] }> {
  const { records, brokerId, clock } = contender;
  const dead: DeadBroker[] = [];
  const leases = await records.all();
  for (const [at, lease] of leases.entries()) {
    if (lease.brokerId === brokerId || isAlive(lease, clock.nowMs())) continue;
    if (lease.takenBy === undefined) {
      if (!contender.isHeld() || mayBeLate(contender, lease)) continue; // The next look finds it again.
      const marked = await records.take(lease, brokerId, sharesOfDead(contender, lease, leases));
      if (!marked) continue;
      leases[at] = marked;
    }
    dead.push({ brokerId: lease.brokerId, leaseUntilMs: lease.leaseUntilMs });
  }
  return { dead, leases };
}

/** Shares of a dead broker that lead to nobody in some slots: these go to the brokers that live. Returns its lease as it is now. */
export async function shareAnew(
  contender: Contender,
  lease: BrokerLease,
  leases: readonly BrokerLease[],
  leadsToNobody: (slot: number) => boolean,
): Promise<BrokerLease | undefined> {
  if (!contender.isHeld()) return undefined;
  const anew = sharesOfDead(contender, lease, leases);
  const shares = markOf(lease)!.map((heir, slot) => (leadsToNobody(slot) ? anew[slot]! : heir));
  return await contender.records.shareAnew(lease, contender.brokerId, shares);
}
