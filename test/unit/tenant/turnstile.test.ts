/** Who comes while many do: so many a turn of the event loop, in turns by group. */
import { expect, test } from 'vitest';
import { Turnstile } from '../../../services/broker/tenant/turnstile.js';
import { heardFaults } from '../../support/heard-faults.js';
import { ManualClock } from '../../support/manual-clock.js';

/** Turns of an event loop: what is deferred in one runs in the next, in order. */
function setUp(gatherMax?: number, patienceMs?: number) {
  const clock = new ManualClock();
  const deferred: (() => void)[] = [];
  const turnstile = new Turnstile(clock, (run) => deferred.push(run), {
    ...(gatherMax !== undefined && { gatherMax }),
    ...(patienceMs !== undefined && { patienceMs }),
  });
  const turn = (): void => deferred.splice(0).forEach((run) => run());
  const isIdle = (): boolean => deferred.length === 0;
  const passed: string[] = [];
  return { clock, turnstile, turn, isIdle, passed };
}

test('few pass at once, and more in the turns that follow', () => {
  const { turnstile, turn, isIdle, passed } = setUp();
  for (let n = 0; n < 40; n++) turnstile.come('a', () => passed.push(`a${n}`));
  const counts = [passed.length];
  for (let n = 0; n < 6; n++) {
    turn();
    counts.push(passed.length);
  }
  expect(counts).toEqual([16, 16, 32, 40, 40, 40, 40]);
  expect(passed).toEqual(Array.from({ length: 40 }, (_, n) => `a${n}`));
  expect([turnstile.waiting, isIdle()]).toEqual([0, true]);
  turnstile.come('a', () => passed.push('at once'));
  expect(passed.at(-1)).toBe('at once');
});

test('one of a group that has few does not wait for one that has many', () => {
  const { turnstile, turn, passed } = setUp();
  for (let n = 0; n < 4000; n++) turnstile.come('many', () => passed.push('many'));
  turnstile.come('few', () => passed.push('few'));
  turn();
  turn();
  expect(passed.indexOf('few')).toBe(17);
  for (let n = 0; n < 250; n++) turn();
  expect([passed.length, turnstile.waiting]).toEqual([4001, 0]);
});

test('a turn is over when it has taken its time, and what one takes is known', () => {
  const { clock, turnstile, turn, passed } = setUp();
  const slow = (): void => {
    clock.advance(1);
    passed.push('slow');
  };
  for (let n = 0; n < 30; n++) turnstile.come('a', slow);
  turn();
  const before = passed.length;
  turn();
  expect(passed.length - before).toBe(3);
  for (let n = 0; n < 10; n++) turn();
  expect(passed).toHaveLength(30);
  expect(turnstile.averageMs).toBeGreaterThan(0.3);
  expect(turnstile.averageMs).toBeLessThanOrEqual(1);
});

test('one that throws holds up nobody', () => {
  const faults = heardFaults();
  const { turnstile, turn, passed } = setUp();
  for (let n = 0; n < 20; n++)
    turnstile.come('a', () => {
      if (n === 17) throw new Error('broken');
      passed.push(`a${n}`);
    });
  turn();
  turn();
  expect(passed).toHaveLength(19);
  expect(faults.counts).toEqual({ accept: 1 });
  faults.stop();
});

test('one that comes in the middle of a turn waits behind those of its group', () => {
  const { turnstile, turn, passed } = setUp();
  for (let n = 0; n < 20; n++)
    turnstile.come('a', () => {
      passed.push(`a${n}`);
      if (n === 16) turnstile.come('a', () => passed.push('last'));
    });
  for (let n = 0; n < 4; n++) turn();
  expect(passed).toHaveLength(21);
  expect(passed.at(-1)).toBe('last');
});

test('one that gathers lets nobody in while one comes in every turn, so that groups take turns among all of them', () => {
  const { turnstile, turn, passed } = setUp(4000);
  const comes = (name: string): void => turnstile.come(name, () => passed.push(name));
  for (let n = 0; n < 100; n++) {
    comes('many');
    turn();
  }
  comes('few');
  // The first at once; the second when the turn ended in which it came.
  expect(passed).toEqual(['many', 'many']);
  for (let n = 0; n < 3; n++) turn();
  expect(passed.indexOf('few')).toBeLessThan(4);
  for (let n = 0; n < 20; n++) turn();
  expect([passed.length, turnstile.waiting]).toEqual([101, 0]);
});

test('one that gathers lets some in after so many turns, after so long, and with so many in its lines', () => {
  const attack = (gatherMax: number, turnMs: number): number => {
    const { clock, turnstile, turn, passed } = setUp(gatherMax);
    for (let n = 0; n < 400; n++) {
      turnstile.come('many', () => passed.push(''));
      turn();
      clock.advance(turnMs);
    }
    return passed.length;
  };
  expect(attack(4000, 0.01)).toBe(2 + 3 * 16);
  expect(attack(4000, 0.9)).toBe(2 + 17 * 16);
  // As if it did not gather: each is called up at the end of its turn, but the last.
  expect(attack(1, 0.01)).toBe(400);
});

test('those that come now and then do not wait for one that gathers', () => {
  const { clock, turnstile, turn, passed } = setUp(4000);
  for (let n = 0; n < 10; n++) {
    turnstile.come('a', () => passed.push('a'));
    expect(passed).toHaveLength(n + 1);
    turn();
    clock.advance(2);
  }
});

test('who has waited too long is called up out of turn, and known to be late', () => {
  const { clock, turnstile, turn } = setUp(0, 3000);
  const passed: [name: string, isLate: boolean][] = [];
  const come = (group: string, name: string): void => turnstile.come(group, (isLate) => passed.push([name, isLate]));
  for (let n = 0; n < 200; n++) come('many', `many${n}`);
  clock.advance(2000);
  come('few', 'few');
  clock.advance(1001);
  turn();
  turn();
  // 16 at once, then 32 that are late, and with them 16 in turn; the lines go on in order.
  expect(passed.slice(0, 16).every(([, isLate]) => !isLate)).toBe(true);
  expect(passed.slice(16, 48)).toEqual(Array.from({ length: 32 }, (_, n) => [`many${16 + n}`, true]));
  expect(passed.slice(48, 50)).toEqual([
    ['many48', false],
    ['few', false],
  ]);
  while (turnstile.waiting > 0) turn();
  expect(passed).toHaveLength(201);
  expect(new Set(passed.map(([name]) => name)).size).toBe(201);
});

test('the late ones of a turn have no more time than all of them', () => {
  const { clock, turnstile, turn } = setUp(0, 10);
  const passed: boolean[] = [];
  for (let n = 0; n < 40; n++)
    turnstile.come('a', (isLate) => {
      clock.advance(1);
      passed.push(isLate);
    });
  clock.advance(11);
  turn();
  const before = passed.length;
  turn();
  expect(passed.slice(before)).toEqual([true, true, true]);
});
