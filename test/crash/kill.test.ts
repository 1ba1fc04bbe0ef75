/** The broker is killed at random instants under load, many times, and started again on the same data. */
import { afterAll, expect, test } from 'vitest';
import { Fleet } from './fleet.js';
import { requireKept } from './report.js';
import { note, rounds, seed, withinMs } from './settings.js';
import { Site } from './site.js';
import { wait } from './device.js';

const count = rounds(3);
let site: Site;

afterAll(async () => {
  await site.close();
});

test(`keeps its promises over ${count} kills`, { timeout: withinMs(count) }, async () => {
  site = await Site.open(seed);
  await site.start();
  const fleet = new Fleet(site);
  await fleet.start();
  for (let round = 1; round <= count; round++) {
    await wait(site.chance.between(50, 1500));
    await site.kill();
    await site.start();
    await fleet.checkRetained();
  }
  await fleet.finish();
  await fleet.stop();
  const told = note(`${count} kills: ${fleet.summary()}`);
  requireKept(site.history, told);
  console.log(told);
  await site.running!.stop();
  expect(site.startMs).toHaveLength(count + 1);
});
