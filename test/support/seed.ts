/**
 * One seed for all random tests of a run. A failing test names it; `SHOAL_TEST_SEED=<seed>` runs the same cases again and
 * `SHOAL_TEST_RUNS=<n>` more or fewer of them.
 */
export const seed = Number(process.env['SHOAL_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const runsWanted = process.env['SHOAL_TEST_RUNS'];

/** Settings for `fc.assert`; `runs` is what is affordable in every test run. */
export function random(runs: number): { seed: number; numRuns: number } {
  return { seed, numRuns: runsWanted === undefined ? runs : Number(runsWanted) };
}
