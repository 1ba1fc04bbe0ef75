/**
 * The same random scenarios on aedes and on Shoal. Every difference is in the table of known ones, with the statement of
 * the specification that Shoal keeps there, or is a bug of ours.
 * `test/support/seeds.ts` says how to run a case again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runsOf, seedsOf } from '../support/seeds.js';
import { Stack } from '../support/stack.js';
import { compare, type Difference } from './compare.js';
import { explanationOf } from './known-differences.js';
import { peerOf, startAedes, type Peer } from './peers.js';
import { play } from './player.js';
import { scenarios, type Step } from './scenario.js';

const runs = runsOf(50);

let stack: Stack;
let shoal: Peer;
beforeAll(async () => {
  stack = await Stack.start();
  shoal = await peerOf(stack);
}, 60_000);
afterAll(() => stack?.close());

interface Counted {
  steps: number;
  played: number;
}

async function differences(scenario: readonly Step[], counted: Counted): Promise<Difference[]> {
  const aedes = await startAedes();
  try {
    const [ours, theirs] = [await play(scenario, shoal), await play(scenario, aedes)];
    counted.steps += scenario.length;
    counted.played += theirs.length;
    return compare(scenario, ours, theirs);
  } finally {
    await aedes.close();
  }
}

const shown = ({ index, step, ...rest }: Difference): string =>
  `step ${index} ${JSON.stringify(step)}: ${JSON.stringify(rest)}`;

test.each(seedsOf('differential'))(
  `${runs} scenarios with seed %i`,
  { timeout: 60_000 + runs * 2_000 },
  async (seed) => {
    const counted = { steps: 0, played: 0 };
    await fc.assert(
      fc.asyncProperty(scenarios, async (scenario) => {
        const unexplained = (await differences(scenario, counted)).filter((difference) => !explanationOf(difference));
        expect(unexplained.map(shown)).toEqual([]);
      }),
      { seed, numRuns: runs },
    );
    // aedes gives up some scenarios before their end; most of them have to be a comparison of two.
    expect(counted.played / counted.steps).toBeGreaterThan(0.7);
  },
);
