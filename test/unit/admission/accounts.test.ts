/** What is remembered of accounts and passwords: bounded in bytes, the oldest goes first, and age ends it. */
import { describe, expect, it } from 'vitest';
import { CachedAccounts } from '../../../services/broker/admission/accounts.js';
import { RememberedPasswords } from '../../../services/broker/admission/remembered-passwords.js';
import type { TenantId, TenantScope } from '../../../services/kernel/kernel.js';
import { type Credential, type Grant, hashSecret, type SecretHash } from '../../../services/tenancy/tenancy.js';
import { ManualClock } from '../../support/manual-clock.js';

const acme = 'acme' as TenantScope;
const secretHash = await hashSecret('secret', 'generated');

function open(grants?: readonly Grant[]) {
  const clock = new ManualClock();
  let reads = 0;
  const told = { is: false };
  const accounts = new CachedAccounts(
    {
      tenant: () => Promise.resolve(undefined),
      credential(scope, name): Promise<Credential> {
        reads++;
        return Promise.resolve({ scope, name, secretHash, createdAtMs: 0, revision: 1, ...(grants && { grants }) });
      },
    },
    clock,
    () => told.is,
  );
  const ask = async (from: number, to: number): Promise<number> => {
    const before = reads;
    for (let i = from; i < to; i++) await accounts.credential(acme, `c${i}`);
    return reads - before;
  };
  return { accounts, clock, ask, told };
}

const longGrants = Array.from({ length: 100 }, (_, i): Grant => ({
  effect: 'allow',
  action: 'all',
  topic: `${i}/`.padEnd(600, 'x'),
}));

describe('remembered credentials', () => {
  it('are weighed: a hundred long grants take the room of a hundred credentials without', async () => {
    const { accounts, ask } = open(longGrants);
    expect(await ask(0, 2000)).toBe(2000);
    expect(accounts.bytes).toBeLessThanOrEqual(32 << 20);
    // The last ones are there, the first ones have gone.
    expect([await ask(1600, 2000), await ask(0, 100)]).toEqual([0, 100]);
  });

  it('are many where they are small', async () => {
    const { ask } = open();
    expect(await ask(0, 30_000)).toBe(30_000);
    expect(await ask(0, 30_000)).toBe(0);
  });

  it('go when nobody may use them any more, and their bytes with them', async () => {
    const { accounts, clock, ask } = open(longGrants);
    await ask(0, 100);
    clock.advance(30_000);
    await ask(100, 150);
    const half = accounts.bytes / 3;
    clock.advance(871_000);
    accounts.sweep();
    expect(accounts.bytes).toBe(half);
    accounts.forgetCredential(acme, 'c100');
    accounts.forgetCredential(acme, 'c100');
    accounts.forgetCredentialsOf(acme);
    expect(accounts.bytes).toBe(0);
    await ask(0, 1);
    clock.advance(1000);
    expect([accounts.doubt(acme, 'c0'), accounts.doubt(acme, 'c0'), accounts.bytes]).toEqual([true, false, 0]);
  });

  it('count for a quarter of an hour while the control log is heard, and for a minute when it is not', async () => {
    const { accounts, clock, ask, told } = open();
    told.is = true;
    await ask(0, 1);
    clock.advance(899_000);
    accounts.sweep();
    expect(await ask(0, 1)).toBe(0);
    told.is = false;
    expect(await ask(0, 1)).toBe(1);
    clock.advance(59_000);
    expect(await ask(0, 1)).toBe(0);
    clock.advance(2000);
    accounts.sweep(); // It may be told again in a moment.
    expect([accounts.knowsCredential(acme, 'c0'), (told.is = true), await ask(0, 1)]).toEqual([false, true, 0]);
    clock.advance(900_000);
    expect(await ask(0, 1)).toBe(1);
    accounts.forgetEverything();
    expect([await ask(0, 1), accounts.bytes > 0]).toEqual([1, true]);
  });

  it('that do not exist are looked for once a second, or when they have been told of', async () => {
    const clock = new ManualClock();
    let reads = 0;
    const made: Credential[] = [];
    const missing = new CachedAccounts(
      {
        tenant: () => Promise.resolve((reads++, undefined)),
        credential: () => Promise.resolve((reads++, made[0])),
      },
      clock,
    );
    const look = async (): Promise<number> => {
      const before = reads;
      await missing.tenant('nobody' as TenantId);
      await missing.credential(acme, 'c0');
      return reads - before;
    };
    expect([await look(), await look(), missing.knowsCredential(acme, 'c0')]).toEqual([2, 0, true]);
    clock.advance(999);
    expect([await look(), missing.doubt(acme, 'c0')]).toEqual([0, false]);
    clock.advance(1);
    expect([missing.knowsCredential(acme, 'c0'), await look(), await look()]).toEqual([false, 2, 0]);
    missing.forgetCredential(acme, 'c0');
    missing.forgetTenant('nobody' as TenantId);
    expect(await look()).toBe(2);
    missing.forgetCredentialsOf(acme);
    made.push({ scope: acme, name: 'c0', secretHash, createdAtMs: 0, revision: 1 });
    expect([await look(), await missing.credential(acme, 'c0')]).toEqual([1, made[0]]);
  });

  it('that do not exist are not remembered when they were told of while they were looked for', async () => {
    let reads = 0;
    const missing = new CachedAccounts(
      { tenant: () => Promise.resolve(undefined), credential: () => Promise.resolve((reads++, undefined)) },
      new ManualClock(),
    );
    const looking = missing.credential(acme, 'c0');
    missing.forgetCredential(acme, 'c0');
    await looking;
    await missing.credential(acme, 'c0');
    expect(reads).toBe(2);
  });

  it('that do not exist are remembered so far, and take no room from those that do', async () => {
    const { accounts, ask } = open();
    await ask(0, 1000);
    for (let i = 0; i < 20_000; i++) await accounts.tenant(`t${i}` as TenantId);
    expect([accounts.knowsTenant('t19999' as TenantId), accounts.knowsTenant('t0' as TenantId)]).toEqual([true, false]);
    expect(await ask(0, 1000)).toBe(0);
  });

  it('that do not exist take no room', async () => {
    const clock = new ManualClock();
    const missing = new CachedAccounts(
      { tenant: () => Promise.resolve(undefined), credential: () => Promise.reject(new Error('away')) },
      clock,
    );
    for (let i = 0; i < 10; i++) {
      await missing.tenant(`t${i}` as TenantId);
      await expect(missing.credential(acme, `c${i}`)).rejects.toThrow('away');
    }
    expect(missing.bytes).toBe(0);
  });
});

describe('passwords that were checked', () => {
  const hash = 'scrypt$14$8$1$salt$hash' as SecretHash;

  it('go one by one when there are too many, the one that was not used for longest first', () => {
    const clock = new ManualClock();
    const passwords = new RememberedPasswords(clock, { right: 500, wrong: 100 });
    const markOf = (i: number) => passwords.markOf(Buffer.from(`secret ${i}`), hash);
    const remember = (from: number, to: number, isRight = true): void => {
      for (let i = from; i < to; i++) passwords.remember(markOf(i), isRight);
    };
    const recall = (...numbers: number[]) => numbers.map((i) => passwords.recall(markOf(i)));
    remember(0, 500);
    expect(passwords.size).toBe(500);
    clock.advance(50_000_000);
    for (let i = 0; i < 100; i++) expect(recall(i)).toEqual([true]); // Used again.
    remember(70_000, 70_050);
    expect([recall(0, 99, 100, 149, 150, 70_049), passwords.size]).toEqual([
      [true, true, undefined, undefined, true, true],
      500,
    ]);
    remember(90_000, 91_000, false); // However many are wrong.
    expect([recall(0, 90_000, 90_900, 90_999), passwords.size]).toEqual([[true, undefined, false, false], 600]);
    clock.advance(50_000_000);
    passwords.sweep();
    expect(passwords.size).toBe(151); // A day old were all but those, and ten minutes all that were wrong.
    clock.advance(40_000_000);
    passwords.sweep();
    expect(passwords.size).toBe(0);
  });

  it('are another when the credential has another hash', () => {
    const passwords = new RememberedPasswords(new ManualClock());
    passwords.remember(passwords.markOf(Buffer.from('secret'), hash), true);
    expect(passwords.recall(passwords.markOf(Buffer.from('secret'), 'scrypt$14$8$1$salt$new' as SecretHash))).toBe(
      undefined,
    );
  });
});
