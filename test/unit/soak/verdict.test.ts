/** The soak's verdict: chance and caches that fill up are no leak, a slope that does not fall is one. */
import { expect, it } from 'vitest';
import { Chance } from '../../support/chance.js';
import { judge, roundsMin } from '../../soak/verdict.js';

const chance = new Chance(1);
/** What has not been let go yet when the look is taken: always more, never less. */
const noise = (): number => (chance.happens(0.5) ? chance.between(0, 80) : 0);

const series = (rounds: number, at: (round: number) => number) => ({
  name: 'x',
  tolerance: 100,
  samples: Array.from({ length: rounds }, (_, i) => at(i) + noise()),
});
const isLeak = (rounds: number, at: (round: number) => number): boolean => judge(series(rounds, at)).isLeak;

it.each([roundsMin, 10, 11, 12, 30])('tells a slope from chance in %i rounds', (rounds) => {
  for (let i = 0; i < 50; i++) {
    expect(isLeak(rounds, () => 10_000)).toBe(false);
    expect(isLeak(rounds, (round) => 10_000 - 50 * round)).toBe(false);
    // A cache that fills up, code that is compiled.
    expect(isLeak(rounds, (round) => 10_000 + 5000 * (1 - 0.2 ** ((10 * round) / rounds)))).toBe(false);
    expect(isLeak(rounds, (round) => 10_000 + 200 * round)).toBe(true);
    // It begins late.
    expect(isLeak(rounds, (round) => 10_000 + Math.max(0, round - rounds / 3) * 300)).toBe(true);
  }
});

it('does not forgive one item a third where none is right', () => {
  const judged = (samples: number[]) => judge({ name: 'x', tolerance: 0, samples }).isLeak;
  expect(judged([0, 0, 0, 0, 0, 0, 0, 0, 0])).toBe(false);
  expect(judged([0, 5, 1, 0, 3, 4, 7, 0, 3])).toBe(false);
  expect(judged([0, 0, 0, 1, 2, 1, 2, 2, 2])).toBe(true);
});

it('does not judge what is too short', () => {
  expect(() => judge({ name: 'x', tolerance: 0, samples: [1, 2, 3, 4, 5, 6, 7, 8] })).toThrow('too few');
});
