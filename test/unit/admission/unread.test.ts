/** What a session has stored is read when somebody asks for it: the table of `residence/unread.ts`, and what may happen before. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Contents } from '../../../services/broker/session/session.js';
import { reasons } from '../../../services/broker/wire/wire.js';
import { RecordUnreadable } from '../../../services/tenancy/tenancy.js';
import { until } from '../../support/until.js';
import { acme, acmeScope, type Device, pub, settle, Site } from './site.js';
import { id } from './world.js';

let site: Site;
let loaded: string[];
let publisher: Device;

/** The next broker serves and has opened the tenant; who is in the table of those that it reads for. */
async function follow(): Promise<void> {
  site.boot();
  loaded = [];
  const load = site.records.load.bind(site.records);
  vi.spyOn(site.records, 'load').mockImplementation((record, isClientThere) => {
    loaded.push(record.clientId);
    return load(record, isClientThere);
  });
  publisher = await site.admit('publisher', { clean: true, expiry: 0 });
}

async function send(payload: string, qos: 1 | 2 = 1): Promise<void> {
  publisher.send(pub('a', payload, qos, 1));
  await site.calm();
  expect(publisher.said()).toContain(qos === 1 ? 'puback 1' : 'pubrec 1');
  if (qos === 2) publisher.send({ cmd: 'pubrel', messageId: 1 });
  await site.calm();
  publisher.take();
}

async function stored(clientId: string, filter = 'a', qos: 0 | 1 | 2 = 1): Promise<void> {
  const device = await site.admit(clientId);
  await site.subscribe(device, filter, qos);
  device.end();
  await settle();
}

const sessionOf = (clientId: string) => publisher.in!.tenant.residences.get(id(clientId))!.session;
const recordOf = (clientId: string) => site.tables.records.get(`${acme}#${clientId}`);
const published = (device: Device): string[] => device.said().filter((line) => line.startsWith('publish'));

/** The client of `c` has come, and waits for what is stored of its session. */
async function comesWhileItIsRead() {
  let answer = (): void => undefined;
  const asked = new Promise<void>((resolve) => (answer = resolve));
  const load = site.records.load.bind(site.records);
  vi.mocked(site.records.load).mockImplementationOnce(async (record) => {
    await asked;
    return await load(record);
  });
  const coming = site.connect('c', { clean: false, expiry: 1000 });
  await until(() => vi.mocked(site.records.load).mock.calls.length === 1);
  return { ...coming, answer };
}

beforeEach(async () => {
  site = new Site({ queuedMessagesPerSession: 4 });
  publisher = await site.admit('publisher', { clean: true, expiry: 0 });
});

describe('when the tenant is opened', () => {
  it('only those are read that somebody may ask', async () => {
    await stored('zero', 'a', 0);
    await stored('one', 'a', 1);
    await stored('two', 'b', 2);
    await stored('shared', '$share/g/c', 1);
    await site.admit('none');
    await follow();
    expect(loaded.sort()).toEqual(['shared', 'two']);
  });

  it('a publisher is, whose QoS 2 message one of these has stored', async () => {
    await stored('two', 'a', 2);
    const device = await site.admit('p');
    await site.admit('q');
    device.send(pub('a', 'x', 2, 7));
    site.log.isLate = ({ lane }) => lane.startsWith('received');
    await site.calm();
    await follow();
    expect(loaded.sort()).toEqual(['p', 'two']);
    const back = await site.admit('p');
    back.send(pub('a', 'x', 2, 7)); // Again, without DUP.
    await site.calm();
    expect([back.said(), site.tables.payloads(`${acme}#two`)]).toEqual([['connack', 'pubrec 7'], ['x']]);
  });
});

describe('a session that is not read', () => {
  it('gets what was stored and what has come since, in order, over any number of brokers', async () => {
    await stored('c');
    await send('1');
    await follow();
    await send('2');
    await send('3', 2);
    await follow();
    await send('4');
    expect(loaded).toEqual([]);
    const device = await site.admit('c');
    await site.calm();
    expect(published(device)).toEqual(['publish 1', 'publish 2', 'publish 3', 'publish 4']);
    expect(loaded).toEqual(['c']);
  });

  it('is as long as its record says, until it is read', async () => {
    await stored('c');
    await send('1');
    await send('2'); // Its record does not know.
    await follow();
    expect(sessionOf('c').queuedMessages).toBe(0);
    await send('3');
    expect(sessionOf('c').queuedMessages).toBe(1);
    const device = await site.admit('c', { more: { receiveMaximum: 1 } });
    expect([sessionOf('c').queuedMessages, device.in!.tenant.backlog.messages]).toEqual([3, 3]);
    expect(loaded).toEqual(['c']);
  });

  it('is not full for what its record says, and takes no more than twice what it may hold', async () => {
    await stored('c');
    const record = recordOf('c')!;
    site.tables.records.set(`${acme}#c`, { ...record, queuedMessages: 4 }); // It has been emptied since.
    await follow();
    for (const each of ['1', '2', '3', '4', '5']) await send(each);
    expect([sessionOf('c').queuedMessages, sessionOf('c').droppedMessages]).toEqual([8, 1]);
    const device = await site.admit('c', { more: { receiveMaximum: 1 } });
    expect(device.in!.session.queuedMessages).toBe(4);
    device.end();
    await send('6');
    expect(device.in!.session.droppedMessages).toBe(2); // Now it is known to be full.
    expect(device.in!.tenant.backlog.messages).toBe(4);
  });

  it('ends without being read: it expires, its client begins anew, it is kicked', async () => {
    for (const clientId of ['late', 'anew', 'kicked']) await stored(clientId);
    await send('1');
    await follow();
    await send('2');
    const { born } = recordOf('kicked')!;
    await site.admission.apply(
      { type: 'session-kick', tenant: acme, clientId: id('kicked'), born },
      site.clock.nowMs() + 1,
    );
    const anew = await site.admit('anew', { clean: true });
    await site.calm();
    expect(published(anew)).toEqual([]);
    site.clock.advance(1_001_000);
    await site.calm();
    expect([loaded, recordOf('late'), recordOf('kicked')]).toEqual([[], undefined, undefined]);
    for (const clientId of ['late', 'anew', 'kicked']) expect(site.tables.payloads(`${acme}#${clientId}`)).toEqual([]);
    expect(publisher.in!.tenant.backlog.messages).toBe(0);
  });

  it('has its will published when it is due, and nothing is read for that', async () => {
    await stored('c', 'w');
    await site.admit('d', { will: { topic: 'w', payload: 'dead', delay: 5 } });
    await follow();
    site.clock.advance(6000);
    await site.calm();
    expect([loaded, site.tables.payloads(`${acme}#c`)]).toEqual([[], ['dead']]);
  });
});

describe('when its client comes', () => {
  beforeEach(async () => {
    await stored('c');
    await send('1');
    await follow();
  });

  it('and DynamoDB is out of reach: 0x88, nothing is claimed, and the next attempt finds all', async () => {
    const before = recordOf('c');
    vi.mocked(site.records.load).mockRejectedValueOnce(new Error('away'));
    await expect(site.admit('c')).rejects.toMatchObject({ reason: reasons.serverUnavailable });
    expect(recordOf('c')).toBe(before);
    await send('2');
    const device = await site.admit('c');
    await site.calm();
    expect(published(device)).toEqual(['publish 1', 'publish 2']);
  });

  it('and it cannot be read: a new session begins, of which nobody has heard', async () => {
    vi.mocked(site.records.load).mockRejectedValueOnce(new RecordUnreadable('stored messages: how many is not told'));
    const device = await site.admit('c');
    expect(device.take()[0]).toMatchObject({ cmd: 'connack', sessionPresent: false });
    await send('2');
    expect(published(device)).toEqual([]);
    const { subscriptions, backlog } = device.in!.tenant;
    expect([subscriptions, backlog.messages]).toEqual([0, 0]);
  });

  it('a message may come, and be stored, while it is read: it is counted once', async () => {
    const { device, done, answer } = await comesWhileItIsRead();
    await send('2');
    publisher.send(pub('a', '3', 1, 2)); // This one is not stored yet.
    answer();
    await done;
    expect(device.in!.session.queuedMessages).toBe(3);
    await site.calm();
    expect(published(device)).toEqual(['publish 1', 'publish 2', 'publish 3']);
  });

  it('a claim that would have ended it is given back: what has come by then is counted once', async () => {
    await send('2');
    const claim = site.records.claim.bind(site.records);
    vi.spyOn(site.records, 'claim').mockImplementationOnce(async (...of) => {
      const claimed = await claim(...of);
      hasty.device.closed = true;
      return claimed;
    });
    const hasty = site.connect('c', { clean: true });
    await expect(hasty.done).rejects.toThrow('left');
    await send('3');
    const device = await site.admit('c');
    const { stored: before } = (await vi.mocked(site.records.load).mock.results.at(-1)!.value) as Contents;
    expect(before.messages).toBe(1);
    expect(device.in!.session.queuedMessages).toBe(3);
    await site.calm();
    expect(published(device)).toEqual(['publish 1', 'publish 2', 'publish 3']);
  });

  it('it may expire while it is read: a new one begins', async () => {
    const { device, done, answer } = await comesWhileItIsRead();
    site.clock.advance(1_001_000);
    answer();
    await done;
    expect(device.take()[0]).toMatchObject({ cmd: 'connack', sessionPresent: false });
    await site.calm();
    expect(site.tables.payloads(`${acme}#c`)).toEqual([]);
    expect(device.in!.tenant.residences.get(id('c'))!.session).toBe(device.in!.session);
  });

  it('its QoS 2 exchanges go on: a repeated PUBLISH is known, and PUBREL is answered', async () => {
    const device = await site.admit('c');
    device.send(pub('b', 'x', 2, 9));
    await site.calm();
    expect(device.said()).toContain('pubrec 9');
    await follow();
    expect(loaded).toEqual([]);
    const back = await site.admit('c');
    back.send(pub('b', 'x', 2, 9, true), { cmd: 'pubrel', messageId: 9 });
    await site.calm();
    expect(back.said().filter((line) => line.startsWith('pub') && !line.startsWith('publish'))).toEqual([
      'pubrec 9',
      'pubcomp 9',
    ]);
  });
});

it('a tenant that cannot be opened is opened anew, and no session is half read', async () => {
  await stored('two', 'a', 2);
  await stored('one');
  await send('1');
  site.boot();
  vi.spyOn(site.records, 'load').mockRejectedValueOnce(new Error('away'));
  await expect(site.admission.adopt('broker-1' as never)).rejects.toThrow(acmeScope);
  publisher = await site.admit('publisher', { clean: true, expiry: 0 });
  await send('2');
  for (const clientId of ['one', 'two']) {
    const device = await site.admit(clientId);
    await site.calm();
    expect(published(device)).toEqual(['publish 1', 'publish 2']);
  }
});
