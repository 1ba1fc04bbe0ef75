import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { DeadlineWheel, type Guarded, wheelTickMs } from '../../../services/broker/transport/wheel.js';

let nowMs = 0;
beforeEach(() => {
  nowMs = 0;
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => void vi.useRealTimers());

const advance = (byMs: number): void => {
  for (let left = byMs; left > 0; left -= wheelTickMs) {
    nowMs += Math.min(left, wheelTickMs);
    vi.advanceTimersByTime(Math.min(left, wheelTickMs));
  }
};

/** Notes when it is looked at, and asks to be looked at again in the times given. */
const guarded = (...againMs: number[]): Guarded & { looks: number[] } => {
  const looks: number[] = [];
  return {
    slot: undefined,
    looks,
    checkDeadline(atMs) {
      looks.push(atMs);
      return againMs.shift() ?? 0;
    },
    destroy() {},
  };
};

it('looks when the time has come, never before and at most one tick late', () => {
  const wheel = new DeadlineWheel(() => nowMs);
  const all = [1, 250, 999, 1000, 10_000, 90_000].map((delayMs) => ({ delayMs, one: guarded() }));
  for (const { one, delayMs } of all) wheel.watch(one, nowMs, delayMs);
  advance(100_000);
  for (const { one, delayMs } of all) {
    expect(one.looks).toHaveLength(1);
    expect(one.looks[0]).toBeGreaterThanOrEqual(delayMs);
    expect(one.looks[0]).toBeLessThan(delayMs + 2 * wheelTickMs);
  }
  wheel.stop();
});

it('looks again when it is asked to, and not for those who have gone', () => {
  const wheel = new DeadlineWheel(() => nowMs);
  const chatty = guarded(1000, 500);
  const gone = guarded();
  const moved = guarded();
  wheel.watch(chatty, nowMs, 1000);
  wheel.watch(gone, nowMs, 1000);
  wheel.watch(moved, nowMs, 1000);
  wheel.forget(gone);
  wheel.watch(moved, nowMs, 5000);
  advance(4000);
  expect(chatty.looks).toEqual([1000, 2000, 2500]);
  expect([gone.looks, moved.looks]).toEqual([[], []]);
  advance(1000);
  expect(moved.looks).toEqual([5000]);
  wheel.stop();
});

it('catches up after the process has stood still', () => {
  const wheel = new DeadlineWheel(() => nowMs);
  const early = guarded();
  const late = guarded();
  wheel.watch(early, nowMs, 500);
  wheel.watch(late, nowMs, 60_000);
  nowMs = 30_000;
  vi.advanceTimersByTime(wheelTickMs);
  expect([early.looks, late.looks]).toEqual([[30_000], []]);
  wheel.stop();
});

it('keeps nothing of deadlines that are far away when those who had them have gone or been heard of', () => {
  const wheel = new DeadlineWheel(() => nowMs);
  const all = Array.from({ length: 1000 }, () => guarded());
  all.forEach((one, i) => wheel.watch(one, nowMs, 90_000_000 + i * wheelTickMs));
  expect(wheel.slots).toBe(1000);
  all.slice(0, 500).forEach((one) => wheel.forget(one));
  all.slice(500).forEach((one) => wheel.watch(one, nowMs, 5000));
  expect(wheel.slots).toBe(1);
  advance(10_000);
  expect([all.filter(({ looks }) => looks.length === 1).length, wheel.slots]).toEqual([500, 0]);
  wheel.stop();
});

it('lets one that is looked at forget another of the same moment', () => {
  const wheel = new DeadlineWheel(() => nowMs);
  const other = guarded();
  const first = { ...guarded(), checkDeadline: () => (wheel.forget(other), 0) };
  wheel.watch(first, nowMs, 1000);
  wheel.watch(other, nowMs, 1000);
  advance(2000);
  expect([other.looks, wheel.slots]).toEqual([[], 0]);
  wheel.stop();
});
