/**
 * What must hold for a neighbour, whatever the machine: figures are compared with those of a quiet run at the same broker a
 * moment before, by the median, which a busy core moves less than the tail. `npm run bench -- --only neighbours` has the tails.
 */
import { expect } from 'vitest';
import { rowOf, type AttackName } from './attacks/attacks.js';
import { Duel, type Measured } from './duel.js';

export interface Fought {
  readonly quiet: Measured;
  readonly attacked: Measured;
}

const quietSeconds = 2;
const timesQuiet = 8;
/** What the scheduler of a busy machine adds. */
const busyMs = 30;
/** Acknowledgements that wait for the database, which the attacker uses, too: one thread in these tests. */
const storedMsMax = 1500;

/** At a broker of its own. NEIGHBOURS_ROOT names another checkout, whose broker it is then. */
export async function fight(name: AttackName, seconds: number, scale = 1): Promise<Fought> {
  const root = process.env['NEIGHBOURS_ROOT'];
  const choosesPasswords = rowOf(name).chosenPasswords === true;
  const duel = await Duel.start({ choosesPasswords, ...(root !== undefined && { root }) });
  try {
    const quiet = await duel.quiet(quietSeconds);
    return { quiet, attacked: await duel.attack(name, seconds, { scale }) };
  } finally {
    await duel.close();
  }
}

/** Nothing is lost, every CONNECT comes in, and nothing takes much longer than it did. */
export function expectServed({ quiet, attacked }: Fought): void {
  expect(attacked.broker, 'the broker answers').toBeDefined();
  const { qos0, qos1, stored, connects } = attacked.served;
  const lost = { qos0: qos0.lost, qos1: qos1.lost, stored: stored.lost, connects: connects.lost };
  expect(lost).toEqual({ qos0: 0, qos1: 0, stored: 0, connects: 0 });
  expect(qos0.p50).toBeLessThan(timesQuiet * quiet.served.qos0.p50 + busyMs);
  expect(qos1.p50).toBeLessThan(timesQuiet * quiet.served.qos1.p50 + busyMs);
  expect(stored.p50).toBeLessThan(timesQuiet * quiet.served.stored.p50 + storedMsMax);
}
