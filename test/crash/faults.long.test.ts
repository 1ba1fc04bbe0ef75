/** The same promises while DynamoDB fails in every way at random, and the broker is killed on top of it. */
import { afterAll, expect, test } from 'vitest';
import { noFaults, randomFaults } from '../support/faults.js';
import { wait } from './device.js';
import { Fleet } from './fleet.js';
import { requireKept } from './report.js';
import { note, rounds, seed, withinMs } from './settings.js';
import { Site } from './site.js';

/** One call in seven goes wrong. A delay may be longer than the broker's patience with one attempt. */
const rates = { internalError: 0.03, throttle: 0.03, delay: 0.03, reset: 0.02, lostAnswer: 0.02, partialBatch: 0.1 };
const delayMsMax = 2500;

const count = rounds(1);
let site: Site;

afterAll(async () => {
  await site.close();
});

test(`keeps its promises with faults of DynamoDB and ${count} kills`, { timeout: withinMs(count) }, async () => {
  site = await Site.open(seed, { withProxy: true });
  await site.start();
  const fleet = new Fleet(site);
  await fleet.start();
  for (let round = 1; round <= count; round++) {
    site.setFaults(randomFaults(seed + round, rates, delayMsMax));
    await wait(site.chance.between(1500, 4000));
    await site.kill();
    // A broker may give up when it meets trouble at its start: whoever runs it starts it again. Not what is tested here.
    site.setFaults(noFaults);
    await site.start();
    await fleet.checkRetained();
  }
  site.setFaults(randomFaults(seed, rates, delayMsMax));
  await wait(2000);
  site.setFaults(noFaults);
  await fleet.finish();
  await fleet.stop();
  const faults = [...site.proxy!.faults].map(([kind, times]) => `${kind} ${times}`).join(', ');
  const told = note(`${count} kills, faults: ${faults} of ${site.proxy!.requestCount()} requests; ${fleet.summary()}`);
  requireKept(site.history, told);
  console.log(told);
  for (const kind of Object.keys(rates)) expect([...site.proxy!.faults.keys()]).toContain(kind);
});
