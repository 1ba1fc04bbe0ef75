/**
 * One tenant does not slow, crowd out or bankrupt another: attacks of a tenant on the free plan, each at a broker of its own. What
 * `before` says is what the neighbour had before there was a limit, in these tests on two busy cores.
 */
import { expect, test } from 'vitest';
import type { AttackName } from './attacks/attacks.js';
import { expectServed, fight } from './verdict.js';

const seconds = 4;

interface Row {
  readonly name: AttackName;
  readonly before: string;
}

const rows: readonly Row[] = [
  { name: 'wrong-passwords', before: 'two of eight CONNECTs failed' },
  { name: 'throttled-sessions', before: '76 of 80 messages of QoS 1 lost' },
  { name: 'one-client-id', before: 'six of eight CONNECTs refused' },
  { name: 'pings', before: 'a median of 94 ms, where it was 2 ms quiet' },
  { name: 'subscribes', before: 'a median of 208 ms, where it was 3 ms quiet' },
  { name: 'many-properties', before: 'a median of 783 ms, where it was 3 ms quiet' },
  { name: 'deep-grants', before: 'a median of 383 ms, where it was 3 ms quiet' },
  { name: 'deep-filters', before: 'a median of 99 ms, where it was 2 ms quiet' },
];

test.each(rows)('$name (before: $before)', { timeout: 180_000 }, async ({ name }) => {
  const fought = await fight(name, seconds);
  expectServed(fought);
  expect(fought.attacked.served.qos0.count).toBeGreaterThan(0);
});
