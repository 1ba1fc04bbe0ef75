/**
 * Is it a leak? Each round does the same work and ends in quiet, so that what is held then should stay the same. Caches
 * fill up to their bounds and code is compiled, so a series may grow, if its growth falls. The rounds are cut into three
 * thirds; of each the least counts, because what is still being let go only adds to a sample.
 *
 *      growth one = least(second) - least(first)       growth two = least(third) - least(second)
 *
 * A leak is a growth two above the tolerance that is not below half of growth one.
 */
export interface Series {
  readonly name: string;
  /** Growth of one third over the one before that may come by chance. */
  readonly tolerance: number;
  readonly samples: readonly number[];
}

export interface Verdict {
  readonly name: string;
  readonly least: readonly [number, number, number];
  readonly isLeak: boolean;
}

export const roundsMin = 9;

export function judge({ name, tolerance, samples }: Series): Verdict {
  if (samples.length < roundsMin) throw new Error(`${samples.length} rounds are too few to tell a slope from chance`);
  const size = Math.floor(samples.length / 3);
  // What is left over is warm-up, and is left out.
  const from = samples.length - 3 * size;
  const least = [0, 1, 2].map((third) =>
    Math.min(...samples.slice(from + third * size, from + (third + 1) * size)),
  ) as [number, number, number];
  const [one, two] = [least[1] - least[0], least[2] - least[1]];
  return { name, least, isLeak: two > tolerance && two >= one / 2 };
}
