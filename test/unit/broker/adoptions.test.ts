/** Dead brokers are adopted one after the other, whenever they are told of, and what fails is tried again. */
import { expect, test } from 'vitest';
import { Adoptions } from '../../../services/broker/adoptions.js';
import { type BrokerId, silentLog } from '../../../services/kernel/kernel.js';
import { ManualClock } from '../../support/manual-clock.js';

const a = 'a' as BrokerId;
const b = 'b' as BrokerId;
const c = 'c' as BrokerId;
const settle = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

function world() {
  const clock = new ManualClock();
  const calls: string[] = [];
  const failing = new Set<BrokerId>();
  const adoptions = new Adoptions({
    adopt: (owner) => {
      calls.push(`adopt ${owner}`);
      return failing.has(owner) ? Promise.reject(new Error('away')) : Promise.resolve();
    },
    adopted: (owner) => {
      calls.push(`adopted ${owner}`);
      return Promise.resolve();
    },
    clock,
    log: silentLog,
  });
  return { clock, calls, failing, adoptions };
}

test('nothing is adopted before clients are let in, and every death after that is', async () => {
  const { calls, adoptions } = world();
  adoptions.add(a, 1000);
  adoptions.add(b, 500);
  await settle();
  expect([calls, adoptions.earliestEndMs]).toEqual([[], 500]);
  adoptions.begin();
  await settle();
  adoptions.add(c, 2000);
  await settle();
  expect(calls).toEqual(['adopt a', 'adopted a', 'adopt b', 'adopted b', 'adopt c', 'adopted c']);
});

test('one that fails holds up nobody, and is tried again until it is done', async () => {
  const { clock, calls, failing, adoptions } = world();
  failing.add(a);
  adoptions.add(a, 0);
  adoptions.add(b, 0);
  adoptions.begin();
  await settle();
  expect(calls.splice(0)).toEqual(['adopt a', 'adopt b', 'adopted b']);
  adoptions.add(c, 0); // While it waits to try again.
  await settle();
  expect(calls.splice(0)).toEqual(['adopt a', 'adopt c', 'adopted c']);
  failing.clear();
  clock.advance(1999);
  await settle();
  expect(calls).toEqual([]);
  clock.advance(1);
  await settle();
  expect(calls.splice(0)).toEqual(['adopt a', 'adopted a']);
  clock.advance(600_000);
  await settle();
  expect(calls).toEqual([]);
});
