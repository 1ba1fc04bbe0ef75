/** How long and how random: `SHOAL_TEST_RUNS=100 SHOAL_TEST_SEED=7 npx vitest run test/crash`. */
import { runsOf, seedsOf } from '../support/seeds.js';

export const [seed] = seedsOf('crash');

/** How often the broker is killed; `few` is what every run of the tests can afford. */
export const rounds = runsOf;

/** A restart waits for the lease of the broker before it; the rest is load and drain. */
export const withinMs = (count: number): number => 150_000 + count * 15_000;

export const note = (what: string): string =>
  `${what}; the same chances again: SHOAL_TEST_SEED=${seed} (what the machine does in between differs)`;
