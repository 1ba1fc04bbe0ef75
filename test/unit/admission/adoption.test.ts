/** Sessions that an earlier broker has left: what cannot be read costs one session, what is out of reach is tried again. */
import { describe, expect, it, vi } from 'vitest';
import { reasons } from '../../../services/broker/wire/wire.js';
import type { ClientId, TenantScope } from '../../../services/kernel/kernel.js';
import { RecordUnreadable } from '../../../services/tenancy/tenancy.js';
import { acme, acmeScope, gone, World } from './world.js';

const other = 'other' as TenantScope;

/** A world in which another broker had sessions of these clients. */
async function worldWith(...sessions: [tenant: TenantScope, clientId: string][]): Promise<World> {
  const world = new World();
  for (const [tenant, clientId] of sessions)
    await world.leftBehind({ tenant, clientId: clientId as ClientId, userName: `device@${tenant}` });
  return world;
}

const isPresent = async (world: World, clientId: string): Promise<unknown> => {
  const [connack] = (await world.admit({ clientId, clean: false, expiry: 100 })).take();
  return (connack as { sessionPresent?: boolean }).sessionPresent;
};

/** Its client has subscribed: with QoS 2 or to share it, somebody may ask what it has stored before the client comes. */
function subscribed(world: World, clientId: string, filter: string, qos: 1 | 2 = 1): void {
  const route = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;
  const { epoch } = world.tables.records.get(`${acme}#${clientId}`)!;
  world.tables.write(`${acme}#${clientId}`, { kind: 'route', route, epoch });
}

/** What is stored with the session of one client fails with that error. */
function loadFails(world: World, clientId: string, error: () => Error) {
  const load = world.records.load.bind(world.records);
  return vi
    .spyOn(world.records, 'load')
    .mockImplementation((record) => (record.clientId === clientId ? Promise.reject(error()) : load(record)));
}

describe('taking over', () => {
  it('leaves out a session that cannot be read, and counts it once', async () => {
    const world = await worldWith([acmeScope, 'good'], [acmeScope, 'bad'], [acmeScope, 'fine']);
    subscribed(world, 'bad', 'a', 2);
    loadFails(world, 'bad', () => new RecordUnreadable('stored subscription: of a later release'));
    await world.admission.adopt(gone);
    expect([await isPresent(world, 'good'), await isPresent(world, 'fine')]).toEqual([true, true]);
    expect([await isPresent(world, 'bad'), await isPresent(world, 'bad')]).toEqual([false, true]);
    expect(world.gauge('shoal_records_unreadable_total')).toBe(1);
  });

  it('leaves out the queue of a shared subscription that cannot be read', async () => {
    const world = await worldWith([acmeScope, 'member']);
    subscribed(world, 'member', '$share/g/a');
    const load = vi.spyOn(world.shared, 'loadShared');
    load.mockRejectedValueOnce(new RecordUnreadable('stored messages: how many is not told'));
    await world.admission.adopt(gone);
    expect(await isPresent(world, 'member')).toBe(true);
    expect([load.mock.calls.length, world.gauge('shoal_records_unreadable_total')]).toEqual([1, 1]);
  });

  it('fails when the store is out of reach, and succeeds when it is asked again', async () => {
    const world = await worldWith([acmeScope, 'a'], [acmeScope, 'b']);
    subscribed(world, 'a', 'a', 2);
    const failing = loadFails(world, 'a', () => new Error('out of reach'));
    await expect(world.admission.adopt(gone)).rejects.toThrow(acme);
    await expect(world.admit({ clientId: 'new' })).rejects.toMatchObject({ reason: reasons.serverUnavailable });
    failing.mockRestore();
    expect([await isPresent(world, 'a'), await isPresent(world, 'b')]).toEqual([true, true]);
    expect(world.gauge('shoal_records_unreadable_total')).toBe(0);
  });

  it('lets go of the notes of a broker when all of its tenants are here, and not before', async () => {
    const world = await worldWith([acmeScope, 'a'], [acmeScope, 'b']);
    const forget = vi.spyOn(world.records, 'forget');
    const entered = vi.spyOn(world.records, 'entered');
    subscribed(world, 'a', 'a', 2);
    const failing = loadFails(world, 'a', () => new Error('out of reach'));
    await expect(world.admission.adopt(gone)).rejects.toThrow(acme);
    expect([forget.mock.calls, entered.mock.calls]).toEqual([[], []]);
    failing.mockRestore();
    await world.admit({ clientId: 'new' });
    await world.admission.adopt(gone);
    expect([forget.mock.calls, entered.mock.calls]).toEqual([[[gone]], [[acmeScope]]]);
  });

  it('reads nothing of a tenant of which no other broker has had sessions', async () => {
    const world = new World();
    const [enter, sessions] = [vi.spyOn(world.records, 'enter'), vi.spyOn(world.records, 'sessions')];
    await world.admit({ clientId: 'new' });
    expect([enter.mock.calls, sessions.mock.calls]).toEqual([[[acmeScope]], []]);
  });

  it('keeps sessions whose credential cannot be read, and lets nobody in with it', async () => {
    const world = await worldWith([acmeScope, 'a'], [acmeScope, 'b']);
    world.accounts.fault = (what) =>
      what === 'credential' ? new RecordUnreadable('stored credential: version is not 1') : undefined;
    await world.admission.adopt(gone);
    expect([world.gauge('shoal_sessions'), world.gauge('shoal_records_unreadable_total')]).toEqual([2, 1]);
    await expect(world.admit({ clientId: 'a' })).rejects.toMatchObject({ reason: reasons.serverUnavailable });
    world.accounts.fault = undefined;
    expect(await isPresent(world, 'a')).toBe(true);
  });

  it('goes on with the next tenant after one that cannot be opened', async () => {
    const world = await worldWith([other, 'x'], [acmeScope, 'a']);
    world.accounts.fault = (_, tenant) => (tenant === other ? new Error('the database is away') : undefined);
    await expect(world.admission.adopt(gone)).rejects.toThrow('tenant other');
    expect(world.gauge('shoal_sessions')).toBe(1);
    world.accounts.fault = undefined;
    await world.admission.adopt(gone);
  });
});
