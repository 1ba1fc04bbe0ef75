/** The table of `revoked-wills.ts`: what becomes of a will when its client may not come in any more. */
import { describe, expect, it } from 'vitest';
import { type TenantEntry, RecordUnreadable } from '../../../services/tenancy/tenancy.js';
import { settle } from './site.js';
import { acme, gone, World } from './world.js';

const will = { topic: 'status', payload: 'gone' };
const kept = { clientId: 'c', clean: false, expiry: 1000 };
/** Longer than the delay, shorter than the session. */
const laterMs = 60_000;

/** Where the will is when it happens. Each resolves with what goes on afterwards. */
const states: Record<string, (world: World) => Promise<() => Promise<void>>> = {
  'of a client that is connected': async (world) => {
    await world.admit({ ...kept, will });
    return () => Promise.resolve();
  },
  'of a client that is connected, whose session ends with its connection': async (world) => {
    await world.admit({ clientId: 'c', will });
    return () => Promise.resolve();
  },
  'of a client that is connected, with a delay': async (world) => {
    await world.admit({ ...kept, will: { ...will, delay: 30 } });
    return () => Promise.resolve();
  },
  'that waits for its delay': async (world) => {
    (await world.admit({ ...kept, will: { ...will, delay: 30 } })).end('lost', { publishWill: true });
    await settle();
    return () => Promise.resolve();
  },
  'of a session whose broker has gone': async (world) => {
    const properties = Buffer.alloc(0);
    await world.leftBehind({
      will: { ...will, payload: Buffer.from('gone'), properties, qos: 1, retain: true, delaySeconds: 30 },
    });
    return () => world.admission.adopt(gone);
  },
};

const changed = (change: 'deleted' | 'rotated'): TenantEntry => ({
  type: 'credential-changed',
  tenant: acme,
  name: 'device',
  change,
});

/** What happens, and what the control log says of it. */
const events: Record<string, (world: World) => TenantEntry> = {
  'the credential is deleted': (world) => {
    world.credential = undefined;
    return changed('deleted');
  },
  'the credential is deleted and made anew': (world) => {
    const createdAtMs = world.clock.nowMs();
    world.credential = { ...world.credential!, secretHash: 'sha256$other' as never, createdAtMs };
    return changed('deleted');
  },
  'the password is rotated': (world) => {
    world.credential = { ...world.credential!, secretHash: 'sha256$other' as never, revision: 2 };
    return changed('rotated');
  },
  'the tenant is suspended': (world) => {
    world.tenant = { ...world.tenant!, status: 'suspended' };
    return { type: 'tenant-changed', tenant: acme, change: 'suspended' };
  },
  'the tenant is deleted': (world) => {
    world.tenant = { ...world.tenant!, status: 'deleting' };
    return { type: 'tenant-changed', tenant: acme, change: 'deleted' };
  },
};

async function publishedAfter(state: string, event: string, publishesRevokedWills: boolean): Promise<string[]> {
  const world = new World({}, publishesRevokedWills);
  const goOn = await states[state]!(world);
  world.clock.advance(5000);
  const entry = events[event]!(world);
  await world.admission.apply(entry, world.clock.nowMs());
  await settle();
  await goOn();
  await settle();
  world.clock.advance(laterMs);
  await settle();
  const { puts } = world.retained;
  const left = world.records.stored.get('c');
  // What is not published is not kept for the next broker either; a tenant that is deleted takes its records with it.
  if (event !== 'the tenant is deleted') expect(left?.will).toBeUndefined();
  return [...puts];
}

const silent = new Set([
  'the credential is deleted',
  'the credential is deleted and made anew',
  'the tenant is suspended',
]);

describe.each(Object.keys(states))('the will %s', (state) => {
  it.each(Object.keys(events))('when %s', async (event) => {
    const isSilent = silent.has(event) || event === 'the tenant is deleted';
    expect(await publishedAfter(state, event, false)).toEqual(isSilent ? [] : ['status gone']);
  });

  it.each(Object.keys(events))('when %s, where the operator wants them published', async (event) => {
    expect(await publishedAfter(state, event, true)).toEqual(event === 'the tenant is deleted' ? [] : ['status gone']);
  });
});

it('a credential that cannot be read silences nobody but those whom the log says it is gone for', async () => {
  for (const [change, published] of [
    ['rotated', ['status gone']],
    ['deleted', []],
  ] as const) {
    const world = new World();
    await world.admit({ ...kept, will });
    world.accounts.fault = (what) => (what === 'credential' ? new Error('out of reach') : undefined);
    await world.admission.apply(changed(change), world.clock.nowMs());
    await settle();
    expect(world.retained.puts).toEqual(published);
  }
});

it('a session whose credential cannot be read keeps its will', async () => {
  const world = new World();
  const goOn = await states['of a session whose broker has gone']!(world);
  world.accounts.fault = (what) => (what === 'credential' ? new RecordUnreadable('of a later release') : undefined);
  await goOn();
  world.clock.advance(laterMs);
  await settle();
  expect(world.retained.puts).toEqual(['status gone']);
});

it('clocks that differ by less than a second silence nobody', async () => {
  const world = new World();
  const goOn = await states['of a session whose broker has gone']!(world);
  world.credential = { ...world.credential!, createdAtMs: world.clock.nowMs() + 900 };
  await goOn();
  world.clock.advance(laterMs);
  await settle();
  expect(world.retained.puts).toEqual(['status gone']);
});
