/**
 * One tenant does not slow, crowd out or bankrupt another: attacks of a tenant on the free plan or, where its rates would
 * stretch an attack over minutes, on a larger one. What `before` says is what the neighbour had before there was a limit, in
 * these tests on two busy cores. Attacks come one after the other at one broker, each by a tenant of its own; after one that has
 * hurt, the next gets a new broker. With NEIGHBOURS_REPORT each prints what it has measured.
 */
import { afterAll, test } from 'vitest';
import { type AttackName, rowOf } from './attacks/attacks.js';
import type { AttackOptions, Duel } from './duel.js';
import { type Bounds, duelFor, expectServed, fight, unmetered } from './verdict.js';

const seconds = 4;

interface Row extends AttackOptions {
  readonly name: AttackName;
  readonly before: string;
  readonly bounds?: Bounds;
}

const rows: readonly Row[] = [
  // First, because memory that an earlier attack has had is not given back.
  {
    name: 'plans',
    before: '600 MB, and a median of 1.1 s',
    quotas: unmetered,
    bounds: { growthBytesMax: 150e6 },
  },
  { name: 'deep-filters', before: 'a median of 99 ms, where it was 2 ms quiet' },
  { name: 'deep-grants', before: 'a median of 383 ms, where it was 3 ms quiet' },
  { name: 'long-subscribes', before: 'a median of 1.1 s, 26 messages and CONNECTs lost' },
  { name: 'pings', before: 'a median of 94 ms, where it was 2 ms quiet' },
  { name: 'subscribes', before: 'a median of 208 ms, where it was 3 ms quiet' },
  { name: 'many-properties', before: 'a median of 783 ms, where it was 3 ms quiet' },
  { name: 'paused-publishers', before: 'half of the thread', bounds: { loopShareMax: 0.33 } },
  { name: 'wrong-passwords', before: 'two of eight CONNECTs failed' },
  { name: 'one-client-id', before: 'six of eight CONNECTs refused' },
  // What a minute has saved up, what was under way when it was used up, and the neighbour's own.
  {
    name: 'wills',
    before: '15 024 write units',
    quotas: { databaseUnitsPerSecond: 20 },
    bounds: { unitsMax: 7000 },
  },
  { name: 'throttled-sessions', before: '76 of 80 messages of QoS 1 lost' },
  {
    name: 'stored-trickle',
    before: '10 400 write units',
    quotas: { databaseUnitsPerSecond: 20 },
    bounds: { unitsMax: 4500 },
  },
  {
    name: 'unread-replays',
    before: '810 write units',
    quotas: { databaseUnitsPerSecond: 1 },
    bounds: { unitsMax: 500 },
  },
  { name: 'unread-wildcards', before: 'a median of 336 ms, where it was 2 ms quiet' },
  { name: 'fan-out-to-stored', before: 'a median of 897 ms, 20 messages lost', scale: 0.2 },
];

let duel: Duel | undefined;

async function end(): Promise<void> {
  await duel?.close();
  duel = undefined;
}

afterAll(end);

test.each(rows)('$name (before: $before)', { timeout: 180_000 }, async ({ name, bounds, ...options }) => {
  // The neighbour of this one has a password that it has chosen.
  if (rowOf(name).chosenPasswords) await end();
  duel ??= await duelFor(name);
  try {
    const fought = await fight(duel, name, seconds, options);
    if (process.env['NEIGHBOURS_REPORT'] !== undefined) console.log(name, JSON.stringify(fought));
    expectServed(fought, bounds);
  } catch (error) {
    await end();
    throw error;
  }
});
