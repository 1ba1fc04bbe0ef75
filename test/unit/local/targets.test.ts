/** Which brokers the front door lets clients to, as their health ports answer, and whose turn it is. */
import { beforeEach, expect, test } from 'vitest';
import { checks, Targets, type TargetView, type Told } from '../../../services/local/front-door/targets.js';
import { ManualClock } from '../../support/manual-clock.js';

const good = { isGood: true, words: 'ok' };
const standingBy = { isGood: false, words: 'standing by' };

let clock: ManualClock;
let targets: Targets;
let views: readonly TargetView[];
/** Checks that wait for their answers. */
let asked: { healthPort: number; answer: (answer: typeof good) => void }[];
beforeEach(() => {
  clock = new ManualClock();
  asked = [];
  targets = new Targets({
    clock,
    probe: (healthPort) => new Promise((answer) => asked.push({ healthPort, answer })),
    onChange: (all) => (views = all),
  });
});

const told = (at: number, hasPorts = true): Told => ({
  name: `broker ${at}`,
  healthPort: at,
  ...(hasPorts && { ports: { mqtt: 1000 + at, ws: 2000 + at } }),
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Answers the checks that are waiting, then goes on to the next ones. */
async function answer(by: Readonly<Record<number, typeof good>>): Promise<void> {
  for (const one of asked.splice(0)) one.answer(by[one.healthPort]!);
  await turn();
  clock.advance(checks.intervalMs);
}
const states = (): string[] => views.map(({ state }) => state);
const nextOnes = (count: number): (number | undefined)[] => Array.from({ length: count }, () => targets.next('mqtt'));

test('a new one is asked at once, and one good answer is enough', async () => {
  targets.tell([told(1)]);
  expect([asked.length, targets.next('mqtt'), states()]).toEqual([1, undefined, ['initial']]);
  await answer({ 1: good });
  expect([states(), targets.next('mqtt'), targets.next('ws')]).toEqual([['healthy'], 1001, 2001]);
});

test('three bad answers in a row make it unhealthy, two good ones healthy again', async () => {
  targets.tell([told(1)]);
  await answer({ 1: good });
  const seen: string[] = [];
  for (const one of [standingBy, standingBy, good, standingBy, standingBy, standingBy, good, standingBy, good, good]) {
    await answer({ 1: one });
    seen.push(views[0]!.state);
  }
  expect(seen).toEqual([
    ...['healthy', 'healthy', 'healthy', 'healthy', 'healthy', 'unhealthy'],
    ...['unhealthy', 'unhealthy', 'unhealthy', 'healthy'],
  ]);
});

test('one that was never good is unhealthy after three, and never has a turn', async () => {
  targets.tell([told(1)]);
  const seen: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    await answer({ 1: standingBy });
    seen.push(views[0]!.state, targets.next('mqtt'));
  }
  expect(seen).toEqual(['initial', undefined, 'initial', undefined, 'unhealthy', undefined]);
  expect(views[0]!.answer).toBe('standing by');
});

test('healthy ones take turns; one that stands by has none until it has ports and answers', async () => {
  targets.tell([told(1), told(2, false), told(3)]);
  await answer({ 1: good, 2: standingBy, 3: good });
  const turns = nextOnes(4);
  expect([new Set(turns.slice(0, 2)), new Set(turns.slice(2))]).toEqual(Array(2).fill(new Set([1001, 1003])));
  targets.tell([told(1), told(2), told(3)]);
  expect(states()).toEqual(['healthy', 'initial', 'healthy']);
  await answer({ 1: good, 2: good, 3: good });
  expect(new Set(nextOnes(3))).toEqual(new Set([1001, 1002, 1003]));
});

test('one that is told of no more has no turn and is not asked again, whatever it still answers', async () => {
  targets.tell([told(1)]);
  await answer({ 1: good });
  targets.tell([]);
  await answer({ 1: good });
  clock.advance(10 * checks.intervalMs);
  expect([views, targets.next('mqtt'), asked.length, clock.timers]).toEqual([[], undefined, 0, 0]);
});

test('one that does not answer is not asked twice at once', async () => {
  targets.tell([told(1)]);
  clock.advance(100 * checks.intervalMs);
  await turn();
  expect(asked).toHaveLength(1);
});
