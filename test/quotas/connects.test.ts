/** `connectsPerSecond`: what is too fast waits or is told why, and other tenants notice nothing. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Stack } from '../support/stack.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterEach(() => stack.endClients());
afterAll(() => stack?.close());

test('CONNECTs above the rate wait for a moment or are refused, with a code that every version knows', async () => {
  const tenant = await stack.tenant({ connectsPerSecond: 2 });
  const neighbour = await stack.tenant();
  const attempts = Array.from({ length: 16 }, (_, i) =>
    tenant.tryConnect({ clientId: `c${i}`, version: i % 2 ? 4 : 5 }),
  );
  const own = Promise.all(attempts);
  const others = await Promise.all(Array.from({ length: 16 }, (_, i) => neighbour.tryConnect({ clientId: `n${i}` })));
  expect(others.map(({ reasonCode }) => reasonCode)).toEqual(Array(16).fill(0));
  const codes = (await own).map(({ reasonCode }) => reasonCode);
  // Two at once and four that wait; one or two more if the machine is slow.
  expect(codes.filter((code) => code === 0).length).toBeGreaterThanOrEqual(6);
  expect(codes.filter((code) => code !== 0).length).toBeGreaterThan(2);
  codes.forEach((code, i) => expect([0, i % 2 ? 3 : 0x9f]).toContain(code));
});
