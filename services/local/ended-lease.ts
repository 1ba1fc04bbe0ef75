/**
 * Gives up the lease of a broker whose process is gone, in its name: the next one need not wait for its end. Called by
 * `machine.ts`, which is the parent of that process, when the system has told its end.
 *
 * Why that is safe, while a broker that only does not answer has to be waited for:
 *  - The process is gone. It acknowledges nothing any more; what it had handed to the system before was true then.
 *  - A renewal of its lease may be under way still. It asks that the lease is not given up: of the two writes one fails or
 *    both happen in the right order.
 *  - Other writes may be under way: an inbox item that nobody was told of, which would come between what the next broker reads
 *    and what a client sends again. So the database is asked first to finish all that came from that process
 *    (`broker-door.ts`). On AWS nobody can say that, and a broker there is followed after its lease.
 *  - The database hangs, or dies as well: nothing is given up, and the lease ends by itself.
 *  - This process dies before or after: the lease ends by itself, or has been given up.
 */
import { ConditionFailed, type Dynamo } from '../dynamo/dynamo.js';
import type { BrokerId } from '../kernel/kernel.js';
import { brokerLeaseKey, givenUpAt } from '../tenancy/tenancy.js';

/** Longer than any request takes, unless the disk hangs; not as long as a lease. */
const withinMs = 2000;

/** Resolves with whether the lease need not be waited for. */
export async function giveUpEndedLease(
  dynamo: Dynamo,
  brokerId: BrokerId,
  quiet: () => Promise<void>,
  nowMs: () => number,
): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), withinMs)));
  const isQuiet = await Promise.race([quiet().then(() => true), late]).finally(() => clearTimeout(timer));
  if (!isQuiet) return false;
  try {
    await dynamo.update('cluster', brokerLeaseKey(brokerId), givenUpAt(nowMs()));
  } catch (error) {
    return error instanceof ConditionFailed; // Taken, or it never had one.
  }
  return true;
}
