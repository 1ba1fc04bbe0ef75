import { describe, expect, it } from 'vitest';
import { Deadlines } from '../../../services/kernel/kernel.js';
import { Chance } from '../../support/chance.js';
import { heardFaults } from '../../support/heard-faults.js';
import { ManualClock } from '../../support/manual-clock.js';
import { seed } from '../../support/seeds.js';

interface Thing {
  readonly name: number;
  place: number;
}

function world(did: () => void = () => undefined) {
  const clock = new ManualClock();
  const done: string[] = [];
  const deadlines = new Deadlines<'place', Thing>(clock, 'place', 'due', ({ name }) => {
    done.push(`${name} at ${clock.monotonicMs()}`);
    did();
  });
  const things = Array.from({ length: 300 }, (_, name): Thing => ({ name, place: 0 }));
  return { clock, done, deadlines, things };
}

describe('deadlines', () => {
  it('come each at its time, with one timer for all of them', () => {
    const { clock, done, deadlines, things } = world();
    for (const [i, ms] of [500, 100, 300, 100, 0, -7].entries()) deadlines.set(things[i]!, ms);
    expect(clock.timers).toBe(1);
    clock.advance(300);
    expect(done.slice(0, 2).sort()).toEqual(['4 at 0', '5 at 0']);
    expect(done.slice(2)).toEqual([
      expect.stringMatching(/^[13] at 100/),
      expect.stringMatching(/^[13] at 100/),
      '2 at 300',
    ]);
    expect([deadlines.size, clock.timers]).toEqual([1, 1]);
  });

  it('that are set again or deleted are not due at their first time', () => {
    const { clock, done, deadlines, things } = world();
    const [one, two, three] = things as [Thing, Thing, Thing];
    for (const thing of [one, two, three]) deadlines.set(thing, 100);
    deadlines.set(one, 200);
    deadlines.delete(two);
    deadlines.delete(two);
    clock.advance(1000);
    expect(done).toEqual(['2 at 100', '0 at 200']);
    expect([one, two, three].map(({ place }) => place)).toEqual([0, 0, 0]);
    deadlines.set(two, 50);
    clock.advance(50);
    expect(done.at(-1)).toBe('1 at 1050');
  });

  it('of a whole fleet are done some in a turn of the event loop', () => {
    const { clock, done, deadlines, things } = world();
    for (const thing of things) deadlines.set(thing, 100);
    const perTurn: number[] = [];
    const after = clock.after.bind(clock);
    clock.after = (ms, run) => after(ms, () => (run(), perTurn.push(done.length)));
    deadlines.set({ name: 0, place: 0 }, 50);
    clock.advance(100);
    expect([perTurn, done.length]).toEqual([[1, 101, 201, 301], 301]);
  });

  it('that take long are fewer in a turn', () => {
    let spentMs = 0;
    const { clock, done, deadlines, things } = world(() => (spentMs += 0.75));
    const { after, monotonicMs } = clock;
    clock.monotonicMs = () => monotonicMs.call(clock) + spentMs;
    for (const thing of things.slice(0, 7)) deadlines.set(thing, 100);
    const perTurn: number[] = [];
    clock.after = (ms, run) => after.call(clock, ms, () => (run(), perTurn.push(done.length)));
    deadlines.set({ name: 0, place: 0 }, 50);
    clock.advance(110);
    expect(perTurn).toEqual([1, 4, 7, 8]);
  });

  it('go on when one of them throws', () => {
    const clock = new ManualClock();
    const done: number[] = [];
    const deadlines = new Deadlines<'place', Thing>(clock, 'place', 'due', ({ name }) => {
      if (name === 1) throw new Error('a fault');
      done.push(name);
    });
    const heard = heardFaults(clock);
    for (const name of [0, 1, 2]) deadlines.set({ name, place: 0 }, name);
    clock.advance(10);
    heard.stop();
    expect([done, heard.counts]).toEqual([[0, 2], { due: 1 }]);
  });

  it('are what a search through all of them would find, after any steps', () => {
    const chance = new Chance(seed);
    const { clock, done, deadlines, things } = world();
    const model = new Map<number, number>();
    for (let step = 0; step < 20_000; step++) {
      const thing = things[chance.between(0, things.length - 1)]!;
      const what = chance.between(0, 9);
      if (what < 5) {
        const ms = chance.between(0, 50);
        deadlines.set(thing, ms);
        model.set(thing.name, clock.monotonicMs() + ms);
      } else if (what < 8) {
        deadlines.delete(thing);
        model.delete(thing.name);
      } else {
        clock.advance(chance.between(0, 10));
        const due = [...model].filter(([, atMs]) => atMs <= clock.monotonicMs());
        for (const [name] of due) model.delete(name);
        const expected = due.map(([name, atMs]) => `${name} at ${atMs}`);
        expect(done.splice(0).sort()).toEqual(expected.sort());
      }
      expect(deadlines.size).toBe(model.size);
    }
  });
});
