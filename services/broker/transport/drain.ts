/**
 * Sends clients away one after the other when the broker stops: they all connect again somewhere, and those who let them
 * in should not get them all at once. Few clients are gone at once, many in as long as there is. Called by `transport.ts`.
 */
import { caught, type Clock } from '../../kernel/kernel.js';

/** What a broker lets in without effort: each CONNECT is a write and perhaps some 30 ms of stretching a password. */
const perSecondMin = 250;
const stepMs = 100;

/** How long it takes to send `count` away. */
export function drainTakesMs(count: number, withinMs: number): number {
  const takesMs = Math.min(withinMs, (1000 * count) / perSecondMin);
  return takesMs <= stepMs ? 0 : takesMs;
}

/** How many of `count` are to have gone after `elapsedMs`, of `withinMs` at most. */
export function dueAfter(elapsedMs: number, count: number, withinMs: number): number {
  const takesMs = drainTakesMs(count, withinMs);
  // A step ahead: the last leave when the time begins to run out, not when it has.
  return takesMs === 0 ? count : Math.min(count, Math.ceil((count * (elapsedMs + stepMs)) / takesMs));
}

/** Resolves when the last has been told. What time a busy process has lost is made up for in the next step. */
export async function paced<T>(
  all: readonly T[],
  withinMs: number,
  clock: Clock,
  sendAway: (each: T) => void,
): Promise<void> {
  const startedMs = clock.monotonicMs();
  for (let sent = 0; ;) {
    const due = dueAfter(clock.monotonicMs() - startedMs, all.length, withinMs);
    for (; sent < due; sent++)
      try {
        sendAway(all[sent]!);
      } catch (error) {
        caught('drain', error);
      }
    if (sent === all.length) return;
    await new Promise<void>((resolve) => clock.after(stepMs, resolve));
  }
}
