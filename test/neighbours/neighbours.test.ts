/** One tenant's filters do not slow another one. The other attacks are in `neighbours.long.test.ts`. */
import { expect, test } from 'vitest';
import { expectServed, fight } from './verdict.js';

test('4096 filters of + and a on 13 levels, and topics that match many of them', { timeout: 120_000 }, async () => {
  // Before: a median of 1.3 s, and 81 of 129 messages lost.
  const fought = await fight('combinations', 4, 0.5);
  expectServed(fought);
  expect(fought.attacked.served.qos0.count).toBeGreaterThan(0);
});
