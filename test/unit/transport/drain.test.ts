/** The pace at which clients are sent away. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { drainTakesMs, dueAfter, paced } from '../../../services/broker/transport/drain.js';
import { ManualClock } from '../../support/manual-clock.js';
import { random } from '../../support/seeds.js';

/** How many had been sent away when, from the start. */
async function drain(count: number, withinMs: number, stepMs = 100): Promise<[atMs: number, sent: number][]> {
  const clock = new ManualClock();
  let sent = 0;
  let done = false;
  const seen: [number, number][] = [];
  void paced(Array.from({ length: count }), withinMs, clock, () => sent++).then(() => (done = true));
  for (;;) {
    seen.push([clock.monotonicMs(), sent]);
    await new Promise((resolve) => setImmediate(resolve));
    if (done) return seen;
    clock.advance(stepMs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

it.each([0, 1, 25])('%d clients are sent away at once', async (count) => {
  expect(await drain(count, 100_000)).toEqual([[0, count]]);
});

it('some clients: 250 a second', async () => {
  const seen = await drain(1000, 100_000);
  expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => [100 * i, 25 * (i + 1)]));
});

it('many clients: in as long as there is', async () => {
  const seen = await drain(50_000, 100_000);
  expect(seen.at(-1)).toEqual([99_900, 50_000]);
  expect(seen[499]).toEqual([49_900, 25_000]);
});

it('no time: all at once', async () => {
  expect(await drain(50_000, 0)).toEqual([[0, 50_000]]);
});

it('a process that stalls makes up for it', async () => {
  const seen = await drain(1000, 100_000, 1700);
  expect(seen).toEqual([
    [0, 25],
    [1700, 450],
    [3400, 875],
    [5100, 1000],
  ]);
});

it('everybody has gone in time, and never more go than the pace allows', () => {
  const times = fc.array(fc.integer({ min: 0, max: 5000 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(fc.nat(200_000), fc.nat(120_000), times, (count, withinMs, steps) => {
      const takesMs = drainTakesMs(count, withinMs);
      expect(takesMs).toBeLessThanOrEqual(withinMs);
      expect(dueAfter(takesMs, count, withinMs)).toBe(count);
      let before = 0;
      let atMs = 0;
      for (const stepMs of steps) {
        const due = dueAfter((atMs += stepMs), count, withinMs);
        expect(due).toBeGreaterThanOrEqual(before);
        expect(due).toBeLessThanOrEqual(count);
        before = due;
      }
    }),
    random(300),
  );
});
