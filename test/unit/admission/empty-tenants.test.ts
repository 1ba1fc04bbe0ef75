/** A tenant whose last session has ended is kept open for a while, so that a device that wakes now and then costs its claim alone. */
import { expect, test } from 'vitest';
import { World } from './world.js';

const minuteMs = 60_000;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function visit(world: World): Promise<void> {
  (await world.admit({ clientId: 'sensor' })).end('goodbye', { publishWill: false });
  await settle();
}

test('a device that wakes every two minutes finds its tenant open, and one that has gone does not keep it', async () => {
  const world = new World();
  for (let wake = 0; wake < 20; wake++) {
    await visit(world);
    world.clock.advance(2 * minuteMs);
    expect(world.gauge('shoal_tenants')).toBe(1);
  }
  expect(world.gauge('shoal_tenants_empty')).toBe(1);
  world.clock.advance(13 * minuteMs);
  expect(world.gauge('shoal_tenants')).toBe(1);
  world.clock.advance(2 * minuteMs);
  expect([world.gauge('shoal_tenants'), world.gauge('shoal_tenants_empty')]).toEqual([0, 0]);
});

test('numbers of one scrape are as they stand, and totals outlive their tenants', async () => {
  const world = new World();
  const one = await world.admit({ clientId: 'one' });
  await world.admit({ clientId: 'two' });
  expect([world.gauge('shoal_connections'), world.gauge('shoal_sessions')]).toEqual([2, 2]);
  one.end('goodbye', { publishWill: false });
  expect([world.gauge('shoal_connections'), world.gauge('shoal_sessions')]).toEqual([1, 1]);
});
