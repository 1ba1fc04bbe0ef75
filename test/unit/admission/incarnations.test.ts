/** A tenant's name that is taken by somebody else: what the broker knows of the one before is none of the next one's. */
import { beforeAll, describe, expect, it } from 'vitest';
import { reasons } from '../../../services/broker/wire/wire.js';
import { hashSecret, scopeOf, type SecretHash, type Tenant } from '../../../services/tenancy/tenancy.js';
import { until } from '../../support/until.js';
import { acme, type FakeConnection, gone, id, World } from './world.js';

const refused = expect.objectContaining({ reason: reasons.badUserNameOrPassword }) as Error;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const [first, second] = ['00f1', '00f2'].map((creationId) => ({ tenant: acme, creationId })) as [About, About];
interface About {
  readonly tenant: typeof acme;
  readonly creationId: string;
}

let hashes: Readonly<Record<string, SecretHash>>;
beforeAll(async () => {
  hashes = Object.fromEntries(
    await Promise.all(['old', 'new'].map(async (secret) => [secret, await hashSecret(secret, 'generated')] as const)),
  );
});

/** Who has the name now, with a credential of one name and its own password. */
function own(world: World, { creationId }: About, secret: string): void {
  const tenant: Tenant = {
    id: acme,
    plan: 'free',
    status: 'active',
    quotaOverrides: {},
    createdAtMs: world.clock.nowMs(),
    creationId,
  };
  world.tenant = tenant;
  const scope = scopeOf(tenant);
  world.accounts.put({ scope, name: 'device', secretHash: hashes[secret]!, createdAtMs: 0, revision: 1 });
}

const kept = (secret: string, clientId = 'c') => ({ clientId, secret, clean: false, expiry: 500 });
const saysPresent = (connection: FakeConnection): unknown =>
  (connection.take()[0] as { sessionPresent?: boolean }).sessionPresent;

/** A world in which the name has changed hands, and this broker has not heard of it. */
async function changed(): Promise<{ world: World; old: FakeConnection }> {
  const world = new World();
  own(world, first, 'old');
  const old = await world.admit(kept('old'));
  world.clock.advance(2500); // So long a deletion keeps the name back.
  own(world, second, 'new');
  return { world, old };
}

describe('a name that somebody else has taken', () => {
  it('comes free in slices of the time of the one before, for all who wait for it, and lets in nobody of that one meanwhile', async () => {
    const world = new World({ cpuShare: 25 });
    const count = 40;
    own(world, first, 'old');
    let sinceTurn = 0;
    let most = 0;
    let ended = 0;
    for (let i = 0; i < count; i++) {
      const { session } = (await world.admit(kept('old', `c${i}`))).in!;
      const get = (): boolean => {
        if (sinceTurn === 0) setImmediate(() => (sinceTurn = 0));
        most = Math.max(most, ++sinceTurn);
        ended++;
        world.clock.advance(0.5);
        return false;
      };
      Object.defineProperty(session, 'isShared', { get });
    }
    world.clock.advance(2500);
    own(world, second, 'new');
    const came = await Promise.all(['a', 'b', 'c0'].map((clientId) => world.admit(kept('new', clientId))));
    expect(came.map(saysPresent)).toEqual([false, false, false]);
    // Two quanta of the free plan: what it had left, and one when its turn comes.
    expect([ended, most <= 8, world.gauge('shoal_tenants'), world.gauge('shoal_sessions')]).toEqual([
      count,
      true,
      1,
      3,
    ]);
  });

  it('lets in nobody with a credential of the one before, though the broker has not heard', async () => {
    const { world } = await changed();
    await expect(world.admit(kept('old', 'other'))).rejects.toThrow(refused);
  });

  it.each(['the tenant', 'nothing that can be read'])(
    'is forgotten as soon as the control log tells of %s',
    async (told) => {
      const world = new World();
      own(world, first, 'old');
      await world.admit(kept('old'));
      world.isControlLogHeard = true;
      world.clock.advance(100_000);
      own(world, second, 'new');
      await world.admit(kept('old', 'not told'));
      world.admission.hear(told === 'the tenant' ? { ...first, type: 'tenant-changed', change: 'deleted' } : undefined);
      await expect(world.admit(kept('old', 'other'))).rejects.toThrow(refused);
      await world.admit(kept('new', 'next'));
    },
  );

  it('lets the next owner in, to sessions of its own, and sends away whoever is left of the one before', async () => {
    const { world, old } = await changed();
    const young = await world.admit(kept('new'));
    expect(saysPresent(young)).toBe(false);
    expect([old.closedBy, young.in!.tenant === old.in!.tenant]).toEqual(['administrative-action', false]);
    expect(young.in!.tenant.residences.size).toBe(1);
    expect([...world.tables.records.keys()]).toEqual(['acme~00f2#c']);
  });

  it.each([false, true])('is not touched by the end of the one before (it came first: %s)', async (cameFirst) => {
    const { world, old } = await changed();
    const before = cameFirst ? await world.admit(kept('new')) : undefined;
    await world.admission.apply({ ...first, type: 'tenant-changed', change: 'deleted' }, world.clock.nowMs() + 60_000);
    await settle();
    expect([old.closedBy, before?.closedBy]).toEqual(['administrative-action', undefined]);
    const young = before ?? (await world.admit(kept('new')));
    expect(young.in!.tenant.residences.size).toBe(1);
    await until(() => world.tables.records.size === 1);
    expect([...world.tables.records.keys()]).toEqual(['acme~00f2#c']);
  });

  it('is not touched by any other entry about the one before, however late it is obeyed', async () => {
    const { world } = await changed();
    const young = await world.admit(kept('new'));
    const { limits, residences } = young.in!.tenant;
    world.tenant = { ...world.tenant!, quotaOverrides: { connections: 1 }, status: 'suspended' };
    const late = world.clock.nowMs() + 60_000;
    for (const change of ['quotas', 'suspended', 'deleted'] as const)
      await world.admission.apply({ ...first, type: 'tenant-changed', change }, late);
    for (const change of ['deleted', 'rotated', 'grants'] as const)
      await world.admission.apply({ ...first, type: 'credential-changed', name: 'device', change }, late);
    await world.admission.apply({ ...first, type: 'session-kick', clientId: id('c'), born: Infinity }, late);
    await world.admission.apply({ ...first, type: 'session-kick', clientId: id('c') }, late);
    await settle();
    expect([young.closedBy, residences.size, limits.connections]).toEqual([undefined, 1, 1000]);
    await world.admission.apply({ ...second, type: 'tenant-changed', change: 'quotas' }, late);
    expect(limits.connections).toBe(1);
  });

  it('is not given what an earlier broker had of the one before', async () => {
    const world = new World();
    own(world, first, 'old');
    await world.leftBehind({ tenant: scopeOf(world.tenant!) });
    own(world, second, 'new');
    await world.admission.adopt(gone);
    expect(world.gauge('shoal_sessions')).toBe(0);
    expect(saysPresent(await world.admit(kept('new')))).toBe(false);
  });

  it('is asked for again when its claim has waited: a CONNECT of the one before does not come in', async () => {
    const world = new World();
    own(world, first, 'old');
    world.records.holding = true;
    const { connection, done } = world.connect(kept('old'));
    await until(() => world.records.waiting === 1);
    world.clock.advance(2500);
    own(world, second, 'new');
    world.records.holding = false;
    world.records.open();
    await expect(done).rejects.toThrow(expect.objectContaining({ reason: reasons.serverUnavailable }) as Error);
    expect([connection.in, connection.said(), world.gauge('shoal_sessions')]).toEqual([undefined, [], 0]);
  });
});
