/**
 * Sessions that are taken over without a write: what the table says is true for the next broker as well, and for the one after
 * it. What is written when, and what is late, the contract of the store has (`test/contract/broker/session-store.test.ts`).
 */
import { describe, expect, it, vi } from 'vitest';
import { reasons } from '../../../services/broker/wire/wire.js';
import { acme, type Device, settle, Site } from './site.js';
import { World } from './world.js';

const recordOf = (site: Site) => site.tables.records.get(`${acme}#c`);

/** The next broker serves, and has opened the tenant. */
async function follow(site: Site): Promise<Device> {
  site.boot();
  const watcher = await site.admit('watcher', { clean: true, expiry: 0 });
  await site.subscribe(watcher, '#');
  return watcher;
}

describe('a session whose client was connected', () => {
  it('ends so long after the lease of its own broker, however many follow, and nobody writes that', async () => {
    const site = new Site();
    await site.admit('c', { expiry: 100 });
    const asLeft = recordOf(site);
    await follow(site);
    site.clock.advance(60_000);
    await settle();
    await follow(site);
    site.clock.advance(39_000);
    await settle();
    expect(recordOf(site)).toBe(asLeft);
    site.clock.advance(2000);
    await settle(6);
    expect(recordOf(site)).toBeUndefined();
  });

  it('counts from when it was found, and that is written, if nobody knows the end of the lease', async () => {
    const site = new Site();
    await site.admit('c', { expiry: 100 });
    site.clock.advance(50_000);
    vi.spyOn(site.leaseEnds, 'get').mockReturnValue(undefined);
    await follow(site);
    await settle();
    const disconnectedAtMs = site.clock.nowMs();
    expect(recordOf(site)).toMatchObject({ owner: 'broker-2', connected: false, disconnectedAtMs });
    site.clock.advance(60_000);
    await follow(site);
    site.clock.advance(39_000);
    await settle();
    expect(recordOf(site)).toMatchObject({ owner: 'broker-2', disconnectedAtMs });
    site.clock.advance(2000);
    await settle(6);
    expect(recordOf(site)).toBeUndefined();
  });

  it('comes back at the second broker that follows, with what it had and what has come meanwhile', async () => {
    const site = new Site();
    await site.subscribe(await site.admit('c'), 'a');
    const first = await follow(site);
    first.send({ cmd: 'publish', topic: 'a', payload: 'one', qos: 1, dup: false, retain: false, messageId: 1 });
    await site.calm();
    expect(first.said()).toContain('puback 1');
    const second = await follow(site);
    second.send({ cmd: 'publish', topic: 'a', payload: 'two', qos: 1, dup: false, retain: false, messageId: 1 });
    await site.calm();
    expect(second.said()).toContain('puback 1');
    expect(recordOf(site)).toMatchObject({ owner: 'broker-1' });
    await follow(site);
    const back = await site.admit('c');
    await site.calm();
    expect(back.said()).toEqual(['connack', 'publish one', 'publish two']);
    expect(recordOf(site)).toMatchObject({ owner: 'broker-4', connected: true });
  });
});

describe('a will', () => {
  const will = { topic: 'w', payload: 'dead', delay: 30 };

  it('that is not due costs no write, and is due when it was, at whoever serves then', async () => {
    const site = new Site();
    await site.admit('c', { will });
    const asLeft = recordOf(site);
    const first = await follow(site);
    site.clock.advance(20_000);
    await settle();
    expect([recordOf(site), first.said()]).toEqual([asLeft, []]);
    const second = await follow(site);
    site.clock.advance(9000);
    await site.calm(); // Which takes less than a second.
    expect(second.said()).toEqual([]);
    site.clock.advance(1000);
    await site.calm();
    expect(second.said()).toEqual(['publish dead']);
    expect(recordOf(site)).toMatchObject({ owner: 'broker-3', connected: false });
    expect(recordOf(site)).not.toHaveProperty('will');
    const third = await follow(site);
    await site.calm();
    expect(third.said()).toEqual([]);
  });

  it('that was due while nobody served is published once all sessions are there, and the record says so', async () => {
    const site = new Site();
    await site.admit('c', { will: { ...will, delay: 0 } });
    await site.subscribe(await site.admit('late'), 'w');
    await follow(site);
    await site.calm();
    expect(recordOf(site)).toMatchObject({ owner: 'broker-2' });
    expect(recordOf(site)).not.toHaveProperty('will');
    await follow(site);
    const late = await site.admit('late');
    await site.calm();
    expect(late.said()).toEqual(['connack', 'publish dead']);
  });

  it('that was withdrawn stays withdrawn, though whoever has done it dies', async () => {
    const site = new Site();
    await site.admit('c', { will, user: 'other' });
    const other = site.accounts.credentials.get(recordOf(site)!.tenant)!;
    const credential = other.get('other')!;
    other.delete('other');
    await follow(site);
    await settle();
    expect(recordOf(site)).not.toHaveProperty('will');
    other.set('other', credential);
    const next = await follow(site);
    site.clock.advance(60_000);
    await site.calm();
    expect(next.said()).toEqual([]);
  });
});

describe('a claim that is answered when the lease has ended', () => {
  it.each(['lapsed', 'outage'] as const)(
    'is given back (%s), for another broker may have the session',
    async (state) => {
      const world = new World();
      const wish = { clientId: 'c', clean: false, expiry: 1000 };
      (await world.admit(wish)).end('lost', { publishWill: true });
      await settle();
      const before = world.records.stored.get('c')!;
      world.records.holding = true;
      const { done } = world.connect(wish);
      await settle();
      world.lease.state = state;
      world.records.open();
      await expect(done).rejects.toMatchObject({ reason: reasons.serverUnavailable });
      expect(world.records.stored.get('c')).toEqual({ ...before, epoch: before.epoch + 1 });
      world.records.holding = false;
      world.lease.become('held');
      const [connack] = (await world.admit(wish)).take();
      expect(connack).toMatchObject({ sessionPresent: true });
    },
  );
});
