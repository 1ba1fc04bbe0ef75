import fc from 'fast-check';
import { expect, it } from 'vitest';
import { SparseMap, SparseSet } from '../../../services/kernel/kernel.js';
import { random } from '../../support/seeds.js';

const key = fc.integer({ min: 0, max: 3 });
const steps = fc.array(
  fc.oneof(
    fc.record({ op: fc.constant('set' as const), key, value: fc.nat() }),
    fc.record({ op: fc.constantFrom('delete' as const, 'clear' as const), key }),
  ),
);

it('a sparse map is a map, after any steps', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const [sparse, map] = [new SparseMap<number, number>(), new Map<number, number>()];
      for (const step of all) {
        if (step.op === 'set') {
          sparse.set(step.key, step.value);
          map.set(step.key, step.value);
        } else if (step.op === 'delete') {
          sparse.delete(step.key);
          map.delete(step.key);
        } else {
          sparse.clear();
          map.clear();
        }
        expect([...sparse]).toEqual([...map]);
        expect([[...sparse.keys()], [...sparse.values()]]).toEqual([[...map.keys()], [...map.values()]]);
        expect([sparse.size, sparse.has(1), sparse.get(1)]).toEqual([map.size, map.has(1), map.get(1)]);
      }
    }),
    random(200),
  );
});

it('a sparse set is a set, after any steps', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const [sparse, set] = [new SparseSet<number>(), new Set<number>()];
      for (const step of all) {
        if (step.op === 'set') {
          sparse.add(step.key);
          set.add(step.key);
        } else {
          sparse.delete(step.key);
          set.delete(step.key);
        }
        expect([[...sparse], sparse.size]).toEqual([[...set], set.size]);
      }
    }),
    random(200),
  );
});

it('what is taken out while they are gone through is not met', () => {
  const [map, set] = [new SparseMap<number, number>(), new SparseSet<number>()];
  for (const n of [1, 2, 3]) {
    map.set(n, n);
    set.add(n);
  }
  const met: number[] = [];
  for (const [n] of map) {
    met.push(n);
    for (const one of [1, 2, 3]) map.delete(one);
    map.set(4, 4);
  }
  for (const n of set) {
    met.push(n);
    set.delete(2);
  }
  expect([met, map.size]).toEqual([[1, 1, 3], 1]);
});
