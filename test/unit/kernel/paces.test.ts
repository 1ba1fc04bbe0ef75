import { expect, it } from 'vitest';
import { Paces } from '../../../services/kernel/kernel.js';

/** How many may be spent at `nowMs`. */
function spendAll(paces: Paces, key: string, nowMs: number): number {
  let count = 0;
  for (; paces.waitMs(key, nowMs) === 0; count++) paces.spend(key, nowMs);
  return count;
}

it('gives each key its burst, and then its rate', () => {
  const paces = new Paces({ everyMs: 1000, burst: 3, keysMax: 10 });
  expect([spendAll(paces, 'a', 0), spendAll(paces, 'b', 0)]).toEqual([3, 3]);
  expect(paces.waitMs('a', 400)).toBe(600);
  expect([spendAll(paces, 'a', 999), spendAll(paces, 'a', 1000), spendAll(paces, 'a', 3500)]).toEqual([0, 1, 2]);
  expect(spendAll(paces, 'a', 100_000)).toBe(3);
});

it('takes back what was due to nobody', () => {
  const paces = new Paces({ everyMs: 1000, burst: 3, keysMax: 10 });
  expect(spendAll(paces, 'a', 0)).toBe(3);
  paces.giveBack('a');
  paces.giveBack('never seen');
  expect([spendAll(paces, 'a', 0), paces.size]).toEqual([1, 1]);
});

it('forgets who has been quiet, and the quietest when there are too many', () => {
  const paces = new Paces({ everyMs: 1000, burst: 2, keysMax: 100 });
  for (let i = 0; i < 1000; i++) paces.spend(`${i}`, 0);
  expect(paces.size).toBe(100);
  expect([spendAll(paces, '999', 0), spendAll(paces, '0', 0)]).toEqual([1, 2]);
  paces.spend('later', 10_000);
  expect(paces.size).toBe(1);
});
