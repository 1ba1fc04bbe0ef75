/**
 * What happens to a tenant while its sessions are being read: an entry of the control log waits for it, and a name that has
 * changed hands gives nobody what another one had.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { type TenantEntry, hashSecret, scopeOf, type Tenant } from '../../../services/tenancy/tenancy.js';
import { acme, acmeScope, type Device, settle, Site } from './site.js';
import { id } from './world.js';

const isPresent = (device: Device): unknown => (device.take()[0] as { sessionPresent?: boolean }).sessionPresent;

/** A broker that has just started; the session `kept`, with a subscription, is of the one before. */
let site: Site;
/** The sessions of the tenant have been read, and that takes until `letGo`. */
let letGo: () => void;
let isReading: boolean;
/** Only then: its end is late, and not its beginning. */
let isLate: boolean;

beforeEach(async () => {
  site = new Site();
  const kept = await site.admit('kept');
  await site.subscribe(kept, 't');
  kept.end();
  await site.calm();
  site.boot();
  isReading = isLate = false;
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  const real = site.records.sessions.bind(site.records);
  vi.spyOn(site.records, 'sessions').mockImplementationOnce(async function* (...args) {
    if (isLate) yield* real(...args);
    isReading = true;
    await gate;
    if (!isLate) yield* real(...args);
  });
});

const become = (change: Partial<Tenant>): void => {
  site.accounts.tenants.set(acme, { ...site.accounts.tenants.get(acme)!, ...change });
};
const apply = (entry: TenantEntry): Promise<void> => site.admission.apply(entry, site.clock.nowMs());
const changed = (change: 'deleted' | 'suspended' | 'quotas'): TenantEntry => ({
  type: 'tenant-changed',
  tenant: acme,
  change,
});

/** A client has come, for whom the tenant is opened; nothing has been read yet. */
async function open(): Promise<{ device: Device; done: Promise<void> }> {
  const coming = site.connect('new', { clean: false, expiry: 1000 });
  for (let i = 0; i < 50 && !isReading; i++) await settle();
  expect(isReading).toBe(true);
  return coming;
}

describe('an entry that comes while the tenant is being opened', () => {
  it('of quotas: they hold', async () => {
    const { device, done } = await open();
    become({ quotaOverrides: { connections: 5 } });
    const obeyed = apply(changed('quotas'));
    letGo();
    await Promise.all([done, obeyed]);
    expect(device.in!.tenant.limits.connections).toBe(5);
  });

  it('of its deletion: nothing of it is left, and nobody comes in', async () => {
    const { device, done } = await open();
    site.accounts.tenants.delete(acme);
    const obeyed = apply(changed('deleted'));
    letGo();
    await expect(done).rejects.toThrow();
    await obeyed;
    await site.calm();
    expect([device.in, [...site.tables.records.keys()]]).toEqual([undefined, []]);
  });

  it('of its suspension: nobody comes in, and what it has stays', async () => {
    const { device, done } = await open();
    become({ status: 'suspended' });
    const obeyed = apply(changed('suspended'));
    letGo();
    await expect(done).rejects.toThrow();
    await obeyed;
    await site.calm();
    expect([device.in, [...site.tables.records.keys()]]).toEqual([undefined, ['acme#kept']]);
  });

  it('of the removal of a session: it is removed', async () => {
    const { done } = await open();
    const obeyed = apply({ type: 'session-kick', tenant: acme, clientId: id('kept') });
    letGo();
    await Promise.all([done, obeyed]);
    await site.calm();
    expect([...site.tables.records.keys()]).toEqual(['acme#new']);
  });

  it('of new grants: they hold for a session that has been read already', async () => {
    isLate = true;
    const { device, done } = await open();
    const before = site.accounts.credentials.get(acmeScope)!.get('device')!;
    const grants = [{ effect: 'deny', action: 'all', topic: '#' }] as const;
    site.accounts.put({ ...before, grants, revision: 2 });
    const obeyed = apply({ type: 'credential-changed', tenant: acme, name: 'device', change: 'grants' });
    letGo();
    await Promise.allSettled([done, obeyed]);
    expect(device.in).toBeUndefined(); // It had come with the old ones, and comes again.
    const { tenant } = (await site.admit('new')).in!;
    expect(tenant.residences.get(id('kept'))!.session.subscriptions.size).toBe(0);
  });

  it('and that opening fails: it is about nothing, and the next opening reads everything anew', async () => {
    const { done } = await open();
    const failing = vi.spyOn(site.records, 'load').mockRejectedValueOnce(new Error('away'));
    become({ quotaOverrides: { connections: 5 } });
    const obeyed = apply(changed('quotas'));
    letGo();
    await expect(done).rejects.toThrow();
    await obeyed;
    expect(failing).toHaveBeenCalledTimes(1);
    expect((await site.admit('new')).in!.tenant.limits.connections).toBe(5);
  });
});

it('an entry that comes between the look at a record and the opening is not lost', async () => {
  letGo();
  let answer = (): void => undefined;
  const asked = new Promise<void>((resolve) => (answer = resolve));
  const real = site.accounts.credential.bind(site.accounts);
  vi.spyOn(site.accounts, 'credential').mockImplementationOnce(async (...args) => {
    await asked;
    return real(...args);
  });
  const coming = site.connect('new'); // The record has been read, the credential has not.
  await settle();
  become({ quotaOverrides: { connections: 5 } });
  await apply(changed('quotas'));
  answer();
  await coming.done;
  expect(coming.device.in!.tenant.limits.connections).toBe(5);
});

describe('a tenant with many sessions', () => {
  const sessions = 300;
  beforeEach(async () => {
    site = new Site();
    const first = await site.admit('many-0');
    await site.subscribe(first, 't/0', 1); // With QoS 2 it would be asked for what it has stored.
    first.end();
    await site.calm();
    // Others like it.
    const { records } = site.tables;
    const record = records.get('acme#many-0')!;
    const stored = site.tables.routes('acme#many-0').get('t/0')!;
    for (let i = 1; i < sessions; i++) {
      records.set(`acme#many-${i}`, { ...record, clientId: id(`many-${i}`) });
      site.tables.routes(`acme#many-${i}`).set(`t/${i}`, { ...stored, route: { ...stored.route, filter: `t/${i}` } });
    }
    site.boot();
  });

  it('is taken over in slices: whoever else has something to do has his turn in between', async () => {
    // Each look at the clock finds it a millisecond later, which is a slice.
    let ms = 0;
    vi.spyOn(site.clock, 'monotonicMs').mockImplementation(() => ms++);
    let turns = 0;
    let isIn = false;
    const others = (): void => {
      turns++;
      if (!isIn) setImmediate(others);
    };
    setImmediate(others);
    const { tenant } = (await site.admit('new')).in!;
    isIn = true;
    expect(turns).toBeGreaterThan(sessions / 20);
    expect([tenant.residences.size, tenant.subscriptions]).toEqual([sessions + 1, sessions]);
  });

  it('is not here without one of them: a fault fails the opening, and the next one has all', async () => {
    const real = site.records.inherit.bind(site.records);
    let left = sessions / 2;
    vi.spyOn(site.records, 'inherit').mockImplementation((record) => {
      if (left-- === 0) throw new Error('a fault of ours');
      return real(record);
    });
    await expect(site.connect('new').done).rejects.toThrow();
    const { tenant } = (await site.admit('new')).in!;
    expect([tenant.residences.size, tenant.subscriptions]).toEqual([sessions + 1, sessions]);
  });
});

describe('a name that is signed up again', () => {
  const again = async (creationId: string): Promise<void> => {
    become({ creationId });
    const secretHash = await hashSecret('correct horse', 'generated');
    const scope = scopeOf({ id: acme, creationId });
    site.accounts.put({ scope, name: 'device', secretHash, createdAtMs: 7, revision: 1 });
  };

  it('while the tenant before it is being opened: no session of that is given to it', async () => {
    const { device, done } = await open();
    await again('00f7');
    const obeyed = apply(changed('deleted'));
    letGo();
    await expect(done).rejects.toThrow();
    await obeyed;
    expect(device.in).toBeUndefined();
    const young = await site.admit('kept');
    expect([isPresent(young), young.in!.tenant.scope]).toEqual([false, 'acme~00f7']);
  });

  it('and nobody has told: clients of the one before are sent away when the first of its own comes', async () => {
    letGo();
    const old = await site.admit('kept');
    expect(isPresent(old)).toBe(true);
    await again('00f7');
    site.clock.advance(61_000); // So long a record is believed.
    const young = await site.admit('kept');
    expect([old.closed, isPresent(young), young.in!.tenant === old.in!.tenant]).toEqual([true, false, false]);
    expect([young.in!.tenant.residences.size, old.in!.tenant.isGone]).toEqual([1, true]);
  });
});
