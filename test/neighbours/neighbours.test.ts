/** One tenant's filters and rules do not slow another one. The other attacks are in `neighbours.long.test.ts`. */
import { afterAll, beforeAll, test } from 'vitest';
import type { Duel } from './duel.js';
import { duelFor, expectServed, fight, unmetered } from './verdict.js';

const seconds = 4;
const timeout = 60_000;
let duel: Duel;

beforeAll(async () => {
  duel = await duelFor('combinations');
});
afterAll(() => duel.close());

test('99 deep deny rules, and topics that each have to be compared with them', { timeout }, async () => {
  // Before: a median of 2.0 s, 42 messages and all CONNECTs lost.
  expectServed(await fight(duel, 'deny-rules', seconds, { quotas: unmetered }));
});

test('4096 filters of + and a on 13 levels, and topics that match many of them', { timeout }, async () => {
  // Before: a median of 1.3 s, and 81 of 129 messages lost.
  expectServed(await fight(duel, 'combinations', seconds, { scale: 0.5 }));
});
