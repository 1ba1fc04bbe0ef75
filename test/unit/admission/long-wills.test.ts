/**
 * Wills whose content has an item of its own (decision 41): one test for each interleaving and each point at which a broker may die.
 * Deaths at each write, and at pairs of them, are in `deaths.test.ts`; what is stored when, in `test/contract/broker/stored-wills.test.ts`.
 */
import { describe, expect, it, vi } from 'vitest';
import { reasons } from '../../../services/broker/wire/wire.js';
import { acme, acmeScope, type Device, settle, Site } from './site.js';
import { type FakeConnection, World } from './world.js';

const partition = `${acme}#c`;
const text = (name: string): string => name.padEnd(600, '.');
const willOf = (name: string, delay = 0) => ({ topic: 'w', payload: text(name), delay });
const lost = { publishWill: true };

const recordOf = (site: Site) => site.tables.records.get(partition);
const itemsOf = ({ tables }: Site | World): string[] =>
  [...(tables.wills.get(partition)?.values() ?? [])].map(({ payload }) => name(Buffer.from(payload).toString()));
const name = (padded: string): string => padded.replace(/\.+$/, '');
const heard = (device: Device): string[] => device.said().map(name);
const unreadable = (site: Site): number =>
  [...site.metrics.samples()]
    .filter(({ name: what, labels }) => what === 'shoal_records_unreadable_total' && labels['record'] === 'will')
    .reduce((sum, { value }) => sum + value, 0);

/** A site with a stored session that hears of wills, whose client is away. */
async function siteWithListener(): Promise<Site> {
  const site = new Site();
  const late = await site.admit('late');
  await site.subscribe(late, 'w');
  late.end();
  await site.calm();
  return site;
}

/** The next broker serves, and the listener has come to it. */
async function follow(site: Site): Promise<Device> {
  site.boot();
  const late = await site.admit('late');
  await site.calm();
  return late;
}

/** As `follow`, where more may come: what came until now has been told. */
async function heardAtNext(site: Site): Promise<string[]> {
  return heard(await follow(site)).slice(1);
}

describe('after the death of its broker, a long will', () => {
  it('is read and published when it is due, once, and its record lets it go', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead') });
    expect(recordOf(site)!.will).not.toHaveProperty('payload');
    expect(await heardAtNext(site)).toEqual(['publish dead']);
    expect(recordOf(site)).not.toHaveProperty('will');
    expect(recordOf(site)).toHaveProperty('willItem');
    site.boot();
    site.records.will = () => Promise.reject(new Error('nobody asks'));
    expect(heard(await site.admit('late'))).toEqual(['connack', 'publish dead']); // Not acknowledged before: it is the same one.
  });

  it('is not read before it is due, nor when its client is back before that', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead', 30) });
    site.boot();
    const reads = vi.spyOn(site.records, 'will');
    const late = await site.admit('late');
    await site.admit('c', { will: willOf('next', 30) });
    site.clock.advance(60_000);
    await site.calm();
    expect([reads.mock.calls, heard(late), itemsOf(site)]).toEqual([[], ['connack'], ['next']]);
    expect(await heardAtNext(site)).toEqual([]); // That one has its delay, too.
    site.clock.advance(31_000);
    await site.calm();
    expect(await heardAtNext(site)).toEqual(['publish next']);
  });

  it('is published by the one after the next, if that dies while it reads', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead') });
    site.boot();
    site.records.will = () => new Promise(() => undefined);
    const late = await site.admit('late');
    await site.calm();
    expect([heard(late), recordOf(site)!.connected]).toEqual([['connack'], true]);
    expect(await heardAtNext(site)).toEqual(['publish dead']);
  });

  it('is waited for while DynamoDB is out of reach', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead') });
    site.boot();
    const read = site.records.will.bind(site.records);
    site.records.will = () => Promise.reject(new Error('out of reach'));
    const late = await site.admit('late');
    await site.calm();
    expect([heard(late), recordOf(site)!.connected, unreadable(site)]).toEqual([['connack'], true, 0]);
    site.records.will = read;
    site.clock.advance(1000);
    await site.calm();
    expect(heard(late)).toEqual(['publish dead']);
  });

  it('that is not there is counted, and nothing is published', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead') });
    site.tables.wills.clear();
    expect(await heardAtNext(site)).toEqual([]);
    expect(unreadable(site)).toBe(1);
    expect(recordOf(site)).not.toHaveProperty('will');
    // Its client comes back with the same will, which is stored.
    expect((await site.admit('c', { will: willOf('dead') })).said()).toEqual(['connack']);
    expect([itemsOf(site), unreadable(site)]).toEqual([['dead'], 1]);
    expect(await heardAtNext(site)).toEqual(['publish dead']);
  });

  it('of a deleted credential is not read, and not published', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead'), user: 'other' });
    site.accounts.credentials.get(acmeScope)!.delete('other');
    site.boot();
    const reads = vi.spyOn(site.records, 'will');
    await site.admit('late');
    await site.calm();
    expect([reads.mock.calls, recordOf(site)!.will]).toEqual([[], undefined]);
  });

  it('is the one of the last CONNACK, if the broker has died before the next claim', async () => {
    const site = await siteWithListener();
    (await site.admit('c', { will: willOf('first', 10) })).end(lost);
    await site.calm();
    vi.spyOn(site.tables.records, 'set').mockImplementationOnce(() => {
      throw new Error('not claimed');
    });
    const refused = { reason: reasons.serverUnavailable };
    await expect(site.admit('c', { will: willOf('second', 10) })).rejects.toMatchObject(refused);
    expect(itemsOf(site)).toEqual(['first', 'second']);
    site.clock.advance(20_000);
    site.life.isOver = true;
    expect(await heardAtNext(site)).toEqual(['publish first']);
    // And what nobody names goes with the session.
    (await site.admit('c')).end({ publishWill: false, expirySeconds: 0 });
    await site.calm();
    expect(itemsOf(site)).toEqual([]);
  });
});

describe('the item of a long will', () => {
  it('is removed when the next one has another, and the client is in', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('first', 30) });
    await site.admit('c', { will: willOf('second', 30) });
    await site.calm();
    expect(itemsOf(site)).toEqual(['second']);
    await site.admit('c');
    await site.calm();
    expect([itemsOf(site), recordOf(site)!.willItem]).toEqual([[], undefined]);
  });

  it('is one for any number of connections with the same, and goes with the session', async () => {
    const site = await siteWithListener();
    const names = new Set<string | undefined>();
    for (let i = 0; i < 3; i++) {
      const device = await site.admit('c', { will: willOf('dead') });
      names.add(recordOf(site)!.willItem);
      device.end();
      await site.calm();
    }
    expect([names.size, itemsOf(site)]).toEqual([1, ['dead']]);
    site.clock.advance(1_001_000);
    await site.calm();
    expect([recordOf(site), itemsOf(site)]).toEqual([undefined, []]);
  });

  it('is another one for a client that begins anew with the same, though what it had is removed later', async () => {
    const site = await siteWithListener();
    (await site.admit('c', { will: willOf('dead') })).end();
    await site.calm();
    const { willItem } = recordOf(site)!;
    await site.admit('c', { will: willOf('dead'), clean: true });
    await site.calm();
    expect(recordOf(site)!.willItem).not.toBe(willItem);
    expect(itemsOf(site)).toEqual(['dead']);
    expect(await heardAtNext(site)).toEqual(['publish dead']);
  });

  it('is stored again at the next broker, for the one of before may be gone before the record that names it', async () => {
    const site = await siteWithListener();
    const device = await site.admit('c', { will: willOf('dead') });
    site.records.release = () => new Promise(() => undefined); // The record is to go last, and stays.
    device.end({ publishWill: false, expirySeconds: 0 });
    await site.calm();
    expect([itemsOf(site), recordOf(site)!.connected]).toEqual([[], true]);
    expect(await heardAtNext(site)).toEqual([]);
    await site.admit('c', { will: willOf('dead') });
    expect(itemsOf(site)).toEqual(['dead']);
    expect(await heardAtNext(site)).toEqual(['publish dead']);
  });

  it('is not needed by a session that ends with its connection', async () => {
    const site = await siteWithListener();
    await site.admit('c', { will: willOf('dead'), clean: true, expiry: 0 });
    expect([itemsOf(site), Buffer.from(recordOf(site)!.will!.payload!).toString()]).toEqual([[], text('dead')]);
    expect(await heardAtNext(site)).toEqual(['publish dead']);
  });
});

describe('a claim that is given back', () => {
  const wish = (payload: string) => ({
    clientId: 'c',
    clean: false,
    expiry: 1000,
    will: { topic: 'w', payload: text(payload), delay: 30 },
  });

  /** Of a client whose will waits for its delay, and that comes with another one. */
  async function givenBack(meanwhile: (world: World, connection: FakeConnection) => void): Promise<World> {
    const world = new World();
    (await world.admit(wish('first'))).end('lost', lost);
    await settle();
    world.records.holding = true;
    const { connection, done } = world.connect(wish('second'));
    await settle();
    meanwhile(world, connection);
    world.records.open();
    await expect(done).rejects.toBeDefined();
    world.records.holding = false;
    await settle();
    return world;
  }

  it('leaves the record with the will of before, and removes the item of the next', async () => {
    const world = await givenBack((_, connection) => connection.end('gone', lost));
    expect(itemsOf(world)).toEqual(['first']);
    const { willItem, will } = world.records.stored.get('c')!;
    expect([...world.tables.wills.get(partition)!.keys()]).toEqual([willItem]);
    expect(will).toMatchObject({ topic: 'w', delaySeconds: 30 });
    world.clock.advance(31_000);
    await settle();
    expect(world.retained.puts.map(name)).toEqual(['w first']);
  });

  it('leaves both items when the lease has ended: whoever follows may have read either record', async () => {
    const world = await givenBack(({ lease }) => (lease.state = 'outage'));
    expect(itemsOf(world)).toEqual(['first', 'second']);
    world.lease.become('held');
    expect((await world.admit(wish('first'))).take()[0]).toMatchObject({ cmd: 'connack', sessionPresent: true });
  });
});
