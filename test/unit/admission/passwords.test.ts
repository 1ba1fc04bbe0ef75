/** Chosen passwords at the door: guessing costs the one who guesses, and nobody else. Real ones, which take 27 ms each. */
import { expect, it } from 'vitest';
import { hashSecret } from '../../../services/tenancy/tenancy.js';
import { type ConnectWish, World } from './world.js';

const secret = 'chosen by a person';
const secretHash = await hashSecret(secret, 'chosen');
const guesser = '203.0.113.66';

function open(): World {
  const world = new World({ connectsPerSecond: null });
  world.credential = { ...world.credential!, secretHash };
  return world;
}

async function outcome(world: World, wish: Partial<ConnectWish> = {}): Promise<string> {
  try {
    await world.admit({ clientId: `c${clients++}`, secret, ...wish });
    return 'in';
  } catch (error) {
    return (error as { reason: { name: string } }).reason.name;
  }
}
let clients = 0;
const guess = (world: World, i: number, address = guesser): Promise<string> =>
  outcome(world, { secret: `guess ${i}`, address });

it('slows who guesses, wherever the right device is remembered or comes from', async () => {
  const world = open();
  expect(await outcome(world, { address: guesser })).toBe('in'); // A device behind the same address.
  const guesses = [];
  for (let i = 0; i < 20; i++) guesses.push(await guess(world, i));
  expect(guesses).toEqual([
    ...Array<string>(10).fill('bad-user-name-or-password'),
    ...Array<string>(10).fill('too-many-wrong-passwords'),
  ]);
  expect(await outcome(world, { address: guesser })).toBe('in');
  world.credential = { ...world.credential!, name: 'other' }; // One that nobody remembers.
  expect(await outcome(world, { user: 'other@acme', address: '192.0.2.1' })).toBe('in');
  world.clock.advance(1000);
  expect([await guess(world, 20), await guess(world, 21)]).toEqual([
    'bad-user-name-or-password',
    'too-many-wrong-passwords',
  ]);
  expect(world.gauge('shoal_connects_refused_total')).toBe(22);
});

it('slows it in the same way for names without a chosen password, and for those that do not exist', async () => {
  for (const user of ['nobody@acme', 'device@nowhere']) {
    const world = open();
    const guesses = [];
    for (let i = 0; i < 12; i++) guesses.push(await outcome(world, { user, secret: `guess ${i}`, address: guesser }));
    expect(new Set(guesses.slice(0, 10))).toEqual(new Set(['bad-user-name-or-password']));
    expect(new Set(guesses.slice(10))).toEqual(new Set(['too-many-wrong-passwords']));
  }
});

it('lets a device with a generated password in, whoever guesses its name from its own address', async () => {
  const world = new World();
  for (let i = 0; i < 20; i++) await guess(world, i);
  expect(await outcome(world, { secret: 'correct horse', address: guesser })).toBe('in');
});

it('slows who guesses many names from one address', async () => {
  const world = open();
  const guesses = [];
  for (let i = 0; i < 102; i++)
    guesses.push(await outcome(world, { user: `name-${i}@acme`, secret: 'guess', address: guesser }));
  expect([guesses[99], guesses[100], guesses[101]]).toEqual([
    'bad-user-name-or-password',
    ...['too-many-wrong-passwords', 'too-many-wrong-passwords'],
  ]);
});

it('keeps nothing waiting for clients that have left', async () => {
  const world = open();
  await world.admit({ clientId: 'first', secret });
  const attempts = Array.from({ length: 9 }, (_, i) => world.connect({ clientId: 'c', secret: `guess ${i}` }));
  await new Promise((resolve) => setImmediate(resolve));
  expect(world.gauge('shoal_passwords_waiting')).toBe(7);
  for (const { connection } of attempts) connection.end('lost', { publishWill: true });
  const outcomes = await Promise.allSettled(attempts.map(({ done }) => done));
  const names = outcomes.map((each) => (each as { reason: { reason: { name: string } } }).reason.reason.name);
  // Two were being checked.
  expect(names).toEqual([
    ...Array<string>(2).fill('bad-user-name-or-password'),
    ...Array<string>(7).fill('connection-lost'),
  ]);
  expect([world.gauge('shoal_passwords_waiting'), world.gauge('shoal_connects_under_way')]).toEqual([0, 0]);
});

it('takes no device for a guesser because its password had no place in the queue', async () => {
  const world = open();
  const scope = world.credential!.scope;
  const devices = Array.from({ length: 60 }, (_, i) => `device-${i}`);
  await Promise.all(
    devices.map(async (name) => {
      const own = await hashSecret(secret, 'chosen'); // With a salt of its own.
      world.accounts.put({ scope, name, secretHash: own, createdAtMs: 0, revision: 1 });
    }),
  );
  const outcomes = await Promise.all(devices.map((name) => outcome(world, { user: `${name}@acme`, address: guesser })));
  // Two are being checked, and 32 of an address wait; some of those that come in later turns of the loop may find a place.
  const comeIn = outcomes.filter((one) => one === 'in').length;
  expect(comeIn).toBeGreaterThanOrEqual(34);
  expect(comeIn).toBeLessThan(60);
  expect(outcomes.filter((one) => one === 'server-busy')).toHaveLength(60 - comeIn);
});

it('looks for so many names that do not exist for one address, and for all that are known', async () => {
  const world = open();
  await world.admit({ clientId: 'first', secret });
  let reads = 0;
  const { tenant } = world.accounts;
  world.accounts.tenant = (id) => (reads++, tenant.call(world.accounts, id));
  for (let i = 0; i < 400; i++)
    await outcome(world, { user: `name@no-tenant-${i}`, secret: 'guess', address: guesser });
  expect(reads).toBe(200);
  expect(await outcome(world, { secret, address: guesser })).toBe('in');
  expect(await outcome(world, { user: 'name@elsewhere', address: '192.0.2.1' })).toBe('bad-user-name-or-password');
  expect(reads).toBe(201);
});
