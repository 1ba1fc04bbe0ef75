/**
 * What must hold for a neighbour, whatever the machine: figures are compared with those of a quiet run at the same broker a
 * moment before, by the median, which a busy core moves less than the tail, and the kernel says how long the broker had
 * no core. `npm run bench -- --only neighbours` has the tails.
 */
import { expect } from 'vitest';
import { rowOf, type AttackName } from './attacks/attacks.js';
import { Duel, type AttackOptions, type Measured } from './duel.js';

export interface Fought {
  readonly quiet: Measured;
  readonly attacked: Measured;
}

/** What an attack may take of the broker, where the neighbour alone does not show it on every machine. */
export interface Bounds {
  /** CPU time of the broker's thread, as a share of the time. */
  readonly loopShareMax?: number;
  /** How much more memory the process has than quiet. */
  readonly growthBytesMax?: number;
  /** Write units of the database in all; five read units count as one. */
  readonly unitsMax?: number;
}

/** Quotas of one who may send messages as fast as the thread takes them. */
export const unmetered = { publishPerSecond: null, deliverPerSecond: null, bytesPerSecond: null };

const quietSeconds = 2;
const timesQuiet = 8;
/** Turns of other tenants, and what the scheduler adds. */
const busyMs = 30;
/** Acknowledgements that wait for the database, which the attacker uses, too: one thread in these tests. */
const storedMsMax = 1500;

/** With a broker of its own. NEIGHBOURS_ROOT names another checkout, whose broker it is then. */
export function duelFor(name: AttackName): Promise<Duel> {
  const root = process.env['NEIGHBOURS_ROOT'];
  const choosesPasswords = rowOf(name).chosenPasswords === true;
  return Duel.start({ choosesPasswords, ...(root !== undefined && { root }) });
}

export async function fight(
  duel: Duel,
  name: AttackName,
  seconds: number,
  options: AttackOptions = {},
): Promise<Fought> {
  const quiet = await duel.quiet(quietSeconds);
  return { quiet, attacked: await duel.attack(name, seconds, options) };
}

/** Nothing is lost, every CONNECT comes in, and nothing takes much longer than it did. */
export function expectServed({ quiet, attacked }: Fought, bounds: Bounds = {}): void {
  const { broker } = attacked;
  expect(broker, 'the broker answers').toBeDefined();
  const { qos0, qos1, stored, connects } = attacked.served;
  const lost = { qos0: qos0.lost, qos1: qos1.lost, stored: stored.lost, connects: connects.lost };
  expect(lost).toEqual({ qos0: 0, qos1: 0, stored: 0, connects: 0 });
  expect(qos0.count).toBeGreaterThan(0);
  // Beside a busy core a turn takes longer, and it is not the attacker who makes it so.
  const { slowdown } = broker!;
  expect(qos0.p50).toBeLessThan(timesQuiet * quiet.served.qos0.p50 + busyMs * slowdown);
  expect(qos1.p50).toBeLessThan(timesQuiet * quiet.served.qos1.p50 + busyMs * slowdown);
  expect(stored.p50).toBeLessThan(timesQuiet * quiet.served.stored.p50 + storedMsMax * slowdown);
  const { loopShareMax = Infinity, growthBytesMax = Infinity, unitsMax = Infinity } = bounds;
  expect(broker!.loopShare, 'share of the thread').toBeLessThan(loopShareMax);
  expect(broker!.rssBytesMax - quiet.broker!.rssBytesMax, 'growth of memory').toBeLessThan(growthBytesMax);
  expect(broker!.writeUnits + broker!.readUnits / 5, 'units of the database').toBeLessThan(unitsMax);
}
