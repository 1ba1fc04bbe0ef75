/** Chosen passwords take turns by tenant and address, are stretched once, and not for those who have left. */
import { expect, it } from 'vitest';
import { PasswordQueue } from '../../../services/broker/admission/password-queue.js';
import type { SecretHash } from '../../../services/tenancy/tenancy.js';

const hash = 'scrypt$14$8$1$salt$hash' as SecretHash;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A queue whose checks last until the test ends them; `checked` tells of them in their order. */
function open() {
  const checked: string[] = [];
  const ends: (() => void)[] = [];
  const queue = new PasswordQueue(async (password) => {
    checked.push(password);
    await new Promise<void>((resolve) => ends.push(resolve));
    return password.startsWith('right');
  });
  const asker = (tenant = 'acme', addressGroup = '192.0.2.1') => ({
    tenant,
    addressGroup,
    connection: { closed: false },
  });
  const ask = (password: string, of = asker()) => queue.ask(password, Buffer.from(password), hash, of);
  const endAll = async (): Promise<void> => {
    for (; ends.length > 0; await settle()) ends.shift()!();
  };
  return { queue, checked, ask, asker, endAll };
}

it('checks two at a time, and tells each whether it was right', async () => {
  const { queue, checked, ask, endAll } = open();
  const answers = ['right 1', 'wrong 2', 'right 3'].map((password) => ask(password));
  await settle();
  expect([checked, queue.waiting]).toEqual([['right 1', 'wrong 2'], 1]);
  await endAll();
  expect([await Promise.all(answers), queue.waiting, queue.has('right 1')]).toEqual([[true, false, true], 0, false]);
});

it('lets tenants take turns, and within a tenant addresses', async () => {
  const { checked, ask, asker, endAll } = open();
  for (let i = 0; i < 20; i++) void ask(`guess ${i}`, asker('acme', '192.0.2.66'));
  void ask('device of acme', asker('acme', '192.0.2.1'));
  void ask('device of good', asker('good', '192.0.2.66'));
  void ask('device of better', asker('better', '198.51.100.1'));
  await endAll();
  expect(checked.slice(0, 6)).toEqual([
    ...['guess 0', 'guess 1', 'guess 2'], // Who came first, while nobody else did.
    ...['device of good', 'device of better', 'device of acme'],
  ]);
  expect(checked).toHaveLength(23);
});

it('checks the same password of the same credential once for all who ask', async () => {
  const { checked, ask, endAll } = open();
  const answers = Array.from({ length: 100 }, () => ask('right'));
  await endAll();
  expect([checked, new Set(await Promise.all(answers))]).toEqual([['right'], new Set([true])]);
});

it('checks nothing for clients that have left, unless one is still there', async () => {
  const { queue, checked, ask, asker, endAll } = open();
  void ask('first');
  void ask('second');
  const askers = Array.from({ length: 30 }, () => asker());
  const answers = askers.map((each, i) => ask(`gone ${i}`, each));
  const stays = ask('gone 0', asker('acme', '198.51.100.1'));
  for (const { connection } of askers) connection.closed = true;
  await endAll();
  expect(checked).toEqual(['first', 'second', 'gone 0']);
  expect([await stays, new Set(await Promise.all(answers.slice(1))), queue.waiting]).toEqual([
    false,
    new Set(['left']),
    0,
  ]);
});

it('holds so many of an address, of a tenant and of all; those who have left make room', async () => {
  const { queue, ask, asker, endAll } = open();
  const askers: ReturnType<typeof asker>[] = [];
  /** How many are taken of a hundred. */
  const fill = async (tenant: string, addressGroup: string): Promise<number> => {
    const [before, answers] = [queue.waiting, []] as [number, Promise<unknown>[]];
    for (let i = 0; i < 100; i++) {
      askers.push(asker(tenant, addressGroup));
      answers.push(ask(`${tenant} ${addressGroup} ${i}`, askers.at(-1)));
    }
    if (queue.waiting < 256) expect(await answers.at(-1)).toBe('full');
    return queue.waiting - before;
  };
  const taken = [];
  for (const i of [1, 2, 3]) taken.push(await fill('acme', `192.0.2.${i}`));
  for (const i of [1, 2, 3, 4, 5, 6, 7, 8]) taken.push(await fill(`tenant ${i}`, `address ${i}`));
  expect(taken).toEqual([32, 32, 0, 32, 32, 32, 32, 32, 32, 0, 0]);
  expect(await ask('one more', asker('late', 'late'))).toBe('full');
  for (const { connection } of askers) connection.closed = true;
  const late = ask('right, one more', asker('late', 'late'));
  expect(queue.waiting).toBe(1);
  await endAll();
  expect(await late).toBe(true);
});
