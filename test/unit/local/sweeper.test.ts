/** On one machine, what has expired is removed; what has not, or has been written anew meanwhile, stays. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Dynamo, removeExpired, tableDefinitions } from '../../../services/dynamo/dynamo.js';
import { silentLog } from '../../../services/kernel/kernel.js';
import { Sweeper } from '../../../services/local/sweeper.js';
import { type Dynalite, startDynalite } from '../../support/dynalite.js';
import { ManualClock } from '../../support/manual-clock.js';
import { until } from '../../support/until.js';

let server: Dynalite;
beforeAll(async () => (server = await startDynalite()));
afterAll(() => server.stop());

const nowSeconds = 1_900_000_000;
const goOn = (): Promise<boolean> => Promise.resolve(true);

async function sortKeys(dynamo: Dynamo, table: (typeof tableDefinitions)[number]['name']): Promise<string[]> {
  const { items } = await dynamo.query(table, { pk: 'p', consistent: true });
  return items.map(({ sk }) => sk as string);
}

it('removes from every table what has expired, and nothing else', async () => {
  const dynamo = await server.open();
  for (const { name } of tableDefinitions)
    await dynamo.batchWrite(name, [
      { pk: 'p', sk: 'expired', ttl: nowSeconds - 1 },
      { pk: 'p', sk: 'for ever' },
      { pk: 'p', sk: 'later', ttl: nowSeconds + 1 },
      { pk: 'p', sk: 'no number', ttl: '1' },
    ]);
  expect(await removeExpired(dynamo, { nowSeconds, pause: goOn })).toBe(tableDefinitions.length);
  for (const { name } of tableDefinitions)
    expect(await sortKeys(dynamo, name)).toEqual(['for ever', 'later', 'no number']);
});

it('goes on over many pages, and pauses between them', async () => {
  const dynamo = await server.open();
  const items = Array.from({ length: 900 }, (_, i) => ({ pk: `p${i}`, sk: 's', ...(i % 20 === 0 && { ttl: 1 }) }));
  await dynamo.batchWrite('retained', items);
  let pauses = 0;
  const pause = (): Promise<boolean> => {
    pauses++;
    return goOn();
  };
  expect(await removeExpired(dynamo, { nowSeconds, pause })).toBe(45);
  expect(pauses).toBeGreaterThanOrEqual(5 + tableDefinitions.length - 1);
});

it('leaves alone what is written anew between the look and the removal', async () => {
  const dynamo = await server.open();
  await dynamo.batchWrite('retained', [
    { pk: 'p', sk: 'a', ttl: 1 },
    { pk: 'p', sk: 'b', ttl: 1 },
  ]);
  const first = dynamo.delete.bind(dynamo);
  // Somebody is faster once.
  dynamo.delete = async (table, key, options) => {
    dynamo.delete = first;
    await dynamo.put('retained', { pk: 'p', sk: 'a', text: 'new' });
    return await first(table, key, options);
  };
  expect(await removeExpired(dynamo, { nowSeconds, pause: goOn })).toBe(1);
  expect(await sortKeys(dynamo, 'retained')).toEqual(['a']);
});

it('sweeps once a minute, whatever failed, until it is stopped', async () => {
  const dynamo = await server.open();
  const clock = new ManualClock(nowSeconds * 1000);
  const sweeper = new Sweeper(dynamo, clock, silentLog);
  const expire = (): Promise<void> => dynamo.batchWrite('cluster', [{ pk: 'p', sk: 's', ttl: 1 }]);
  const pass = async (): Promise<void> => {
    await until(async () => {
      clock.advance(60_000);
      return (await sortKeys(dynamo, 'cluster')).length === 0;
    });
  };
  await expire();
  expect(await sortKeys(dynamo, 'cluster')).toEqual(['s']);
  await pass();

  const run = dynamo.run.bind(dynamo);
  let failures = 0;
  dynamo.run = () => {
    failures++;
    return Promise.reject(new Error('away'));
  };
  await until(() => (clock.advance(60_000), failures > 0));
  dynamo.run = run;
  await expire();
  await pass();

  await sweeper.stop();
  expect(clock.timers).toBe(0);
});
