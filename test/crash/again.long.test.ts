/**
 * Brokers are killed again while they take over, by a database whose commits are late: at random within the first second
 * after the first CONNACK, and exactly when DynamoDB gets, or has carried out, a given write. The proxy kills, so the
 * process is the one that is deployed. `deaths.test.ts` does it in memory at every write, and at pairs of them.
 */
import { afterEach, expect, test } from 'vitest';
import type { Chance } from '../support/chance.js';
import { type ChooseFault, noFaults } from '../support/faults.js';
import { until } from '../support/until.js';
import { wait } from './device.js';
import { Fleet } from './fleet.js';
import { requireKept } from './report.js';
import { note, rounds, seed, withinMs } from './settings.js';
import { Site } from './site.js';

/** What DynamoDB is asked for when the broker dies; `messages`, `received` and `delete` are parts of BatchWriteItem. */
const places = [
  ['UpdateItem', 'sessions', 'a claim'],
  ['PutItem', 'sessions', 'the release of a record'],
  ['BatchWriteItem', '"m0', 'messages of a subscriber'],
  ['BatchWriteItem', '"a-received"', 'the packet identifiers of a publisher'],
  ['BatchWriteItem', '"DeleteRequest"', 'the end of an item'],
  ['DeleteItem', 'sessions', 'the end of a record'],
] as const;

let site: Site;

afterEach(async () => {
  await site.close();
});

/** BatchWriteItem is late, everything else as it is. */
function late(chance: Chance): ChooseFault {
  return (action) =>
    action === 'BatchWriteItem' ? { kind: 'lateWrite', delayMs: chance.between(20, 420) } : undefined;
}

async function load(): Promise<Fleet> {
  site = await Site.open(seed, { withProxy: true });
  await site.start();
  const fleet = new Fleet(site);
  await fleet.start();
  return fleet;
}

async function finish(fleet: Fleet, kills: number): Promise<void> {
  site.setFaults(noFaults);
  await fleet.finish();
  await fleet.stop();
  const told = note(`${kills} kills: ${fleet.summary()}`);
  requireKept(site.history, told);
  console.log(told);
  await site.running!.stop();
}

const firstConnack = (): Promise<void> => {
  const before = site.history.entries.length;
  const isIn = (): boolean => site.history.entries.slice(before).some(({ type }) => type === 'connected');
  return until(isIn, 'the first client', 30_000);
};

test('brokers are killed two and three times in a row', { timeout: withinMs(rounds(1) * 3) }, async () => {
  const fleet = await load();
  let kills = 0;
  for (let round = 1; round <= rounds(1); round++) {
    site.setFaults(late(site.chance));
    await wait(site.chance.between(300, 1500));
    for (let left = site.chance.between(2, 3); left > 0; left--) {
      await site.kill();
      kills++;
      await site.start();
      await firstConnack();
      await wait(site.chance.between(0, 1000));
    }
  }
  await finish(fleet, kills);
});

/** Every run takes some of the places, in turn by seed; with SHOAL_TEST_RUNS as many as it says, and more than once. */
test(
  'a broker is killed exactly at a write, and so is the next one',
  { timeout: withinMs(rounds(1) * 2) },
  async () => {
    const fleet = await load();
    let kills = 0;
    const missed: string[] = [];
    for (let round = 0; round < rounds(1); round++)
      for (const offset of [0, 1]) {
        const index = seed + round + offset * (1 + (Math.floor(round / places.length) % places.length));
        const [action, part, what] = places[index % places.length]!;
        const when = site.chance.happens(0.5) ? 'before' : 'after';
        site.setFaults(late(site.chance));
        const died = site.killAt((asked, body) => asked === action && body.includes(part), when, what);
        const isSo = await Promise.race([died.then(() => true), wait(4000).then(() => false)]);
        if (!isSo) {
          missed.push(what); // Nobody has asked for it: killed anyhow.
          await site.kill();
        }
        kills++;
        site.proxy!.onRequest = undefined;
        await site.start();
      }
    await finish(fleet, kills);
    expect(missed.length).toBeLessThan(kills);
  },
);
