/** What other brokers have, in few bytes: against maps that do the same without cleverness. */
import { describe, expect, it } from 'vitest';
import { BrokerSets } from '../../../services/broker/interest/broker-sets.js';
import { FingerprintTable } from '../../../services/broker/interest/fingerprint-table.js';
import { RemoteInterest } from '../../../services/broker/interest/remote-interest.js';
import { Shape } from '../../../services/broker/interest/shape.js';
import { filterMatches } from '../../../services/topic/topic.js';
import { Chance } from '../../support/chance.js';
import { seed } from '../../support/seeds.js';

describe('a table of fingerprints', () => {
  /** `bits`: how many differ at the top; few, and they stand in one place. */
  function compare(bits: number, count: number, chance: Chance): void {
    const table = new FingerprintTable();
    const map = new Map<string, [number, number, number]>();
    for (let i = 0; i < count; i++) {
      const high = (Math.floor(chance.next() * 2 ** bits) * 2 ** (32 - bits)) >>> 0;
      const low = chance.between(0, 2000);
      const value = chance.happens(0.4) ? 0 : chance.between(1, 1000);
      table.set(high, low, value);
      if (value === 0) map.delete(`${high} ${low}`);
      else map.set(`${high} ${low}`, [high, low, value]);
    }
    expect(table.size).toBe(map.size);
    for (const [high, low, value] of map.values()) expect(table.get(high, low)).toBe(value);
    for (let i = 0; i < 1000; i++) {
      const low = 5000 + i;
      expect(table.get(Math.floor(chance.next() * 2 ** 32), low)).toBe(0);
    }
    const seen: string[] = [];
    table.forEach((high, low) => seen.push(`${high} ${low}`));
    expect(seen.sort()).toEqual([...map.keys()].sort());
  }

  it.each([0, 1, 4, 16, 32])('is a map, with %i bits of difference at the top', (bits) => {
    compare(bits, 6000, new Chance(seed + bits));
  });

  it('takes 16 bytes an entry at most, from a quarter of a million on, and 20 before', () => {
    const chance = new Chance(seed);
    const table = new FingerprintTable();
    for (let i = 1; i <= 700_000; i++) {
      table.set(Math.floor(chance.next() * 2 ** 32), i, 1);
      if (i % 10_000 === 0) expect(table.bytes / i).toBeLessThan(i < 250_000 ? 20 : 16);
    }
  });

  it('gives memory back', () => {
    const chance = new Chance(seed);
    const table = new FingerprintTable();
    const highs = Array.from({ length: 20_000 }, () => Math.floor(chance.next() * 2 ** 32));
    for (const [i, high] of highs.entries()) table.set(high, i, 1);
    for (const [i, high] of highs.entries()) table.set(high, i, 0);
    expect([table.size, table.bytes < 1000]).toEqual([0, true]);
  });
});

describe('sets of brokers', () => {
  it('are kept once each, and no longer than they are used', () => {
    const sets = new BrokerSets();
    const a = sets.change(0, 1, true);
    const b = sets.change(0, 1, true);
    expect([a === b, sets.size]).toEqual([true, 1]);
    const both = sets.change(a, 7, true);
    expect(sets.members(both)).toEqual([1, 7]);
    expect(sets.change(both, 1, false)).toBe(sets.change(0, 7, true));
    expect(sets.change(b, 1, false)).toBe(0);
    expect(sets.size).toBe(1);
  });

  it('a broker that goes leaves all of them, and what has become the same is one for those who come', () => {
    const sets = new BrokerSets();
    const alone = sets.change(0, 1, true);
    const both = sets.change(sets.change(0, 1, true), 2, true);
    const second = sets.change(0, 2, true);
    sets.drop(2);
    expect([alone, both, second].map((number) => sets.members(number))).toEqual([[1], [1], []]);
    expect(sets.change(0, 1, true)).toBe(alone);
    for (const number of [alone, alone, both, second]) sets.release(number);
    expect(sets.size).toBe(0);
  });
});

describe('what other brokers have subscribed to', () => {
  const levels = ['a', 'b', '+', 'c'];

  it('is what each has told last, whoever comes and goes', () => {
    const chance = new Chance(seed);
    const sets = new BrokerSets();
    const interest = new RemoteInterest(sets);
    const told = new Map<number, Set<string>>();
    for (let i = 0; i < 4000; i++) {
      const slot = chance.between(0, 5);
      if (chance.happens(0.002)) {
        sets.drop(slot);
        interest.dropped(slot);
        told.delete(slot);
        continue;
      }
      const parts = Array.from({ length: chance.between(1, 4) }, () => levels[chance.between(0, 3)]!);
      const filter = (chance.happens(0.2) ? [...parts, '#'] : parts).join('/');
      const isThere = chance.happens(0.6);
      const shape = Shape.of(filter);
      interest.set(slot, shape, shape.ofFilter(filter), isThere);
      const filters = told.get(slot) ?? new Set();
      told.set(slot, filters);
      if (isThere) filters.add(filter);
      else filters.delete(filter);
      const topic = Array.from({ length: chance.between(1, 4) }, () => levels[chance.between(0, 1)]!).join('/');
      const expected = [...told].flatMap(([slot, filters]) =>
        [...filters].some((filter) => filterMatches(filter, topic)) ? [slot] : [],
      );
      expect(interest.match(topic)).toEqual(expected.sort((a, b) => a - b));
      expect(interest.slotsOf(topic)).toEqual(interest.match(topic));
    }
    expect(interest.shapes).toBeGreaterThan(5);
    interest.end();
    expect(sets.size).toBe(0);
  });

  it('a shape is forgotten with its last filter', () => {
    const interest = new RemoteInterest(new BrokerSets());
    const shape = Shape.of('a/+');
    interest.set(3, shape, shape.ofFilter('a/+'), true);
    interest.set(3, shape, shape.ofFilter('b/+'), true);
    interest.set(3, shape, shape.ofFilter('a/+'), false);
    expect(interest.shapes).toBe(1);
    interest.set(3, shape, shape.ofFilter('b/+'), false);
    interest.set(3, shape, shape.ofFilter('b/+'), false);
    expect([interest.shapes, interest.filters]).toEqual([0, 0]);
  });
});
