/**
 * Brokers under a clock of their own, with links that are cut, processes that stand still, die and come: what clients were
 * promised holds. `npm run sim -- --seed 7` has one of these again, with a look from outside; `--runs 1000` searches.
 */
import { describe, expect, it } from 'vitest';
import { seedsOf } from '../support/seeds.js';
import { World } from './world.js';

describe('a cluster in trouble keeps its promises', () => {
  it.each(seedsOf('sim').flatMap((seed) => [2, 3, 5].map((brokers) => [seed, brokers] as const)))(
    'seed %i, %i brokers',
    (seed, brokers) => {
      const { complaints, ...figures } = new World({ seed, brokers, steps: 3000 }).run();
      expect(complaints).toEqual([]);
      // It has been in trouble.
      expect(figures.cuts + figures.freezes + figures.deaths).toBeGreaterThan(10);
      expect(figures.forwards).toBeGreaterThan(100);
    },
  );

  it('without trouble a SUBACK takes one way to the others and back', () => {
    const { complaints, subackMsMax, deaths } = new World({ seed: 1, brokers: 4, steps: 3000, isCalm: true }).run();
    expect([complaints, deaths]).toEqual([[], 0]);
    expect(subackMsMax).toBeLessThan(100);
  });

  it('the same seed is the same run', () => {
    const run = (): unknown => new World({ seed: 5, brokers: 3, steps: 500 }).run();
    expect(run()).toEqual(run());
  });
});
