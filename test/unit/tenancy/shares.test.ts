/** Who inherits what: tables of heirs, and the ways that lead through them. */
import { expect, it } from 'vitest';
import type { BrokerId, TenantScope } from '../../../services/kernel/kernel.js';
import {
  type Fate,
  sessionBuckets,
  type Shares,
  sharesAmong,
  sharesToText,
  slotCount,
  slotOf,
  wayOf,
} from '../../../services/tenancy/tenancy.js';
import { sharesFromText, slotsFromText, slotsToText } from '../../../services/tenancy/shares.js';

const ids = (...names: string[]): BrokerId[] => names as BrokerId[];
const [a, b, c, d] = ids('a', 'b', 'c', 'd') as [BrokerId, BrokerId, BrokerId, BrokerId];
const countOf = (shares: Shares): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const heir of shares) counts[heir] = (counts[heir] ?? 0) + 1;
  return counts;
};

it('are equal parts, of the marking broker and the others, and never of the dead one', () => {
  expect(countOf(sharesAmong(d, a, []))).toEqual({ a: 64 });
  expect(countOf(sharesAmong(d, a, [b, d, a]))).toEqual({ a: 32, b: 32 });
  expect(Object.values(countOf(sharesAmong(d, a, [b, c]))).sort()).toEqual([21, 21, 22]);
});

it('are of sixteen heirs at most, others for each death', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => `broker-${i}` as BrokerId);
  const heirs = new Set<BrokerId>();
  for (const dead of hundred) {
    const counts = countOf(sharesAmong(dead, a, hundred));
    expect([Object.keys(counts).length, counts['a'], counts[dead]]).toEqual([16, 4, undefined]);
    for (const heir of Object.keys(counts)) heirs.add(heir as BrokerId);
  }
  expect(heirs.size).toBeGreaterThan(95);
});

it('are read as they were written, and refused when they are not whole', () => {
  for (const others of [[], [b], Array.from({ length: 20 }, (_, i) => `broker-_-${i}` as BrokerId)]) {
    const shares = sharesAmong(d, a, others);
    expect(sharesFromText(sharesToText(shares))).toEqual(shares);
    expect(sharesToText(sharesFromText(sharesToText(shares))!)).toBe(sharesToText(shares));
  }
  const whole = sharesToText(sharesAmong(d, a, [b]));
  for (const text of ['', whole.slice(1), whole.slice(0, -1), `${whole}A`, whole.replace('B', 'C'), 7, undefined])
    expect(sharesFromText(text)).toBeUndefined();
  expect(slotsFromText(slotsToText([0, 7, 63]))).toEqual(new Set([0, 7, 63]));
  expect(slotsFromText('A!')).toBeUndefined();
});

it('give the buckets of one tenant to all heirs, and are where they were', () => {
  const buckets = sessionBuckets('acme' as TenantScope);
  expect(new Set(buckets.map(slotOf)).size).toBeGreaterThan(12);
  expect(['acme#00', 'acme#15', 'x.y#07'].map(slotOf)).toEqual([36, 14, 46]); // Frozen: marks that are stored divide by them.
});

it('lead to a broker without a mark, or to nobody', () => {
  const all = (heir: BrokerId): Shares => Array.from({ length: slotCount }, () => heir);
  const fates = new Map<BrokerId, Fate>([
    [a, all(b)],
    [b, sharesAmong(b, c, [d])],
    [c, 'unmarked'],
    [d, 'unknown'],
  ]);
  const missing: BrokerId[] = [];
  const way = (from: BrokerId, slot = 0) =>
    wayOf(
      from,
      slot,
      (one) => fates.get(one),
      (one) => missing.push(one),
    );
  expect(way(c)).toEqual({ heir: c, passed: [] });
  expect(way(a)).toEqual({ heir: c, passed: [b, c] });
  expect(way(a, 1)).toEqual({ heir: undefined, passed: [b, d] });
  fates.set(c, all(a));
  expect(way(a)).toEqual({ heir: undefined, passed: [b, c] });
  fates.delete(c);
  expect([way(a), missing]).toEqual([undefined, [c]]);
});
