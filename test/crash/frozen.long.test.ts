/**
 * The broker's process stands still for longer than its lease (a machine that swaps, a paused virtual machine) while a
 * second broker takes over. When it goes on, it must not acknowledge anything more, and it must end.
 */
import { afterAll, expect, test } from 'vitest';
import { until } from '../support/until.js';
import { wait } from './device.js';
import { Fleet } from './fleet.js';
import { requireKept } from './report.js';
import { note, seed } from './settings.js';
import { Site } from './site.js';

/** Leases hold for 4 s. */
const frozenMs = 8_000;
let site: Site;

afterAll(async () => {
  await site.close();
});

test('a broker that wakes up after its lease acknowledges nothing more and ends', { timeout: 150_000 }, async () => {
  site = await Site.open(seed);
  await site.start();
  const fleet = new Fleet(site);
  await fleet.start();
  await wait(1000);

  const frozen = site.running!;
  frozen.signal('SIGSTOP');
  const frozenAtMs = performance.now();
  site.note(`${frozen.name} is frozen`);
  // Its clients notice nothing yet: what they send waits in its sockets.
  const next = site.launch();
  await site.serveFrom(next);
  // A load balancer would send new connections to the new broker. The subscribers and half of the publishers go there;
  // the other half stays, with messages that the frozen broker has not read.
  const [goes, stays] = [fleet.publishers.slice(2), fleet.publishers.slice(0, 2)];
  for (const device of [...goes, ...fleet.subscribers, ...fleet.wills]) device.drop();
  await until(() => goes.every(({ at }) => at === next.name), 'the clients to change', 20_000);
  await wait(Math.max(500, frozenMs - (performance.now() - frozenAtMs)));
  expect(stays.map(({ at }) => at)).toEqual(stays.map(() => frozen.name));

  site.note(`${frozen.name} goes on`);
  const from = site.history.entries.length;
  frozen.signal('SIGCONT');
  await until(() => frozen.hasExited, 'the end of the frozen broker', 10_000);
  expect(await frozen.exited, frozen.lines.join('\n')).not.toBe(0);
  await until(() => stays.every(({ at }) => at === next.name), 'the last clients to change', 20_000);

  await fleet.finish();
  await fleet.stop();
  const told = note(`frozen for ${frozenMs} ms; ${fleet.summary()}`);
  requireKept(site.history, told);
  const late = site.history.entries
    .slice(from)
    .filter((entry) => entry.type === 'acknowledged' && entry.by === frozen.name && !entry.key.includes(' will/'));
  expect(late, 'acknowledged by the frozen broker').toEqual([]);
  console.log(told);
  await next.stop();
});
