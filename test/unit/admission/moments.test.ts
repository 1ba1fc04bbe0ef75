/**
 * Moments at which a message or a will could be lost, or come twice, found one by one: each is a story over a whole
 * admission with commits that stop where it matters. `durability.test.ts` looks for more of them by chance.
 */
import { expect, it } from 'vitest';
import { sharedPartition, clientPartition } from '../../../services/tenancy/tenancy.js';
import { ack, acmeScope as acme, type Device, pub, settle, Site } from './site.js';
import type { ClientId } from '../../../services/kernel/kernel.js';

const inboxOf = (site: Site, clientId: string): string[] =>
  site.tables.payloads(clientPartition(acme, clientId as ClientId));
const queueOf = (site: Site, name: string): string[] => site.tables.payloads(sharedPartition(acme, name));

/** What a device gets, acknowledging all, until nothing comes. */
async function drain(site: Site, device: Device): Promise<string[]> {
  const got: string[] = [];
  for (let idle = 0; idle < 4;) {
    await site.calm();
    const packets = device.take();
    idle = packets.length === 0 ? idle + 1 : 0;
    for (const p of packets) {
      if (p.cmd === 'publish') {
        got.push(p.payload.toString());
        if (p.qos === 1) device.send(ack('puback', p.messageId!));
        if (p.qos === 2) device.send(ack('pubrec', p.messageId!));
      } else if (p.cmd === 'pubrel') device.send(ack('pubcomp', p.messageId!));
    }
  }
  return got;
}

it('a subscriber for whom it is too large does not acknowledge for one that is away', async () => {
  const site = new Site();
  const small = await site.admit('small', { more: { maximumPacketSize: 100 } });
  await site.subscribe(small, 't', 1);
  const away = await site.admit('away');
  await site.subscribe(away, 't', 1);
  away.end();
  await site.calm();
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'x'.repeat(200), 1, 7));
  await settle();
  expect(p.said()).toEqual([]); // nothing is stored yet
  expect(inboxOf(site, 'away')).toEqual([]);
});

it('handed on at DISCONNECT with expiry 0, purged before the taker has it safe', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, '$share/g/t', 1);
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'm', 1, 7));
  await site.calm();
  expect(p.said()).toEqual(['puback 7']); // stored for a
  expect(inboxOf(site, 'a')).toEqual(['m']);
  const b = await site.admit('b');
  await site.subscribe(b, '$share/g/t', 1);
  a.end({ publishWill: false, expirySeconds: 0 }); // b gets it, and does not acknowledge yet
  for (let i = 0; i < 5; i++) {
    site.log.commit();
    await settle();
  } // but the 50 ms are not over
  expect(b.said()).toEqual(['publish m']);
  expect([...inboxOf(site, 'a'), ...inboxOf(site, 'b')]).toContain('m');
});

it('QoS 2 in two groups of one member: restart does not take the one for the other', async () => {
  const site = new Site();
  const a = await site.admit('a', { more: { receiveMaximum: 10 } });
  await site.subscribe(a, '$share/g1/t', 2);
  a.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: 't', qos: 2 }] });
  site.log.commit();
  await settle();
  a.take();
  a.end();
  await site.calm();
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'm', 2, 7));
  await site.calm();
  expect(p.said()).toEqual(['pubrec 7']);
  expect([inboxOf(site, 'a'), queueOf(site, '$share/g1/t')]).toEqual([['m'], ['m']]);
  site.boot();
  const again = await site.admit('a');
  expect(await drain(site, again)).toEqual(['m', 'm']); // one for each subscription
});

it('QoS 2 in two groups of one member: a crash while it takes both', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, '$share/g1/t', 2);
  const b = await site.admit('b');
  await site.subscribe(b, '$share/g1/t', 2);
  await site.subscribe(b, '$share/g2/t', 2);
  a.end();
  await site.calm();
  b.end();
  await site.calm();
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'm', 2, 7));
  await site.calm();
  expect(p.said()).toEqual(['pubrec 7']);
  expect([queueOf(site, '$share/g1/t'), queueOf(site, '$share/g2/t')]).toEqual([['m'], ['m']]);
  // b takes both; only the first read is stored before the crash
  const b2 = await site.admit('b');
  // stop when b has one stored
  for (let i = 0; i < 3 && inboxOf(site, 'b').length === 0; i++) {
    site.log.take();
    site.log.write();
    if (inboxOf(site, 'b').length) break;
    site.log.confirm();
    await settle(1);
  }
  const before = [inboxOf(site, 'b').length, queueOf(site, '$share/g1/t').length, queueOf(site, '$share/g2/t').length];
  site.boot();
  const got = await drain(site, await site.admit('b'));
  const got2 = await drain(site, await site.admit('a'));
  expect([before, [...got, ...got2]]).toEqual([before, ['m', 'm']]);
  void b2;
});

it('what TTL has removed does not count against the queue for ever', async () => {
  const site = new Site({ queuedMessagesPerSession: 5 });
  const a = await site.admit('a');
  await site.subscribe(a, 't', 1);
  a.end();
  await site.calm();
  const p = await site.admit('p');
  p.take();
  for (let i = 1; i <= 5; i++)
    p.send({
      cmd: 'publish',
      topic: 't',
      payload: `${i}`,
      qos: 1,
      dup: false,
      retain: false,
      messageId: i,
      properties: { messageExpiryInterval: 60 },
    });
  await site.calm();
  for (const { key } of site.tables.items(clientPartition(acme, 'a' as ClientId)))
    site.tables.write(clientPartition(acme, 'a' as ClientId), { kind: 'delete', key }); // DynamoDB's TTL, days later
  site.clock.advance(200_000);
  const a2 = await site.admit('a');
  expect(await drain(site, a2)).toEqual([]);
  expect(a2.in!.session.queuedMessages).toBe(0);
  a2.end();
  await site.calm();
  p.send(pub('t', 'new', 1, 9));
  await site.calm();
  expect(inboxOf(site, 'a')).toEqual(['new']);
});

it('the record of a session that is over keeps the will until that is safe', async () => {
  const site = new Site();
  const w = await site.admit('watch');
  await site.subscribe(w, 'will', 1);
  w.end();
  await site.calm();
  const a = await site.admit('a', { will: { topic: 'will', payload: 'dead' } });
  await site.subscribe(a, '$share/g/t', 1);
  a.end({ publishWill: true, expirySeconds: 0 });
  await settle(5); // DynamoDB takes records, but the will is not stored for watch yet
  site.boot(); // crash
  const w2 = await site.admit('watch');
  expect(await drain(site, w2)).toEqual(['dead']);
});

it.each([
  ['a', 'b'],
  ['b', 'a'],
])(
  'H6: a member whose rules have changed does not take the queue of the others with it at a restart %s',
  async (good, bad) => {
    const site = new Site();
    const a = await site.admit('a', { user: bad === 'a' ? 'other' : 'device' });
    await site.subscribe(a, '$share/g/t', 1);
    const b = await site.admit('b', { user: bad === 'b' ? 'other' : 'device' });
    await site.subscribe(b, '$share/g/t', 1);
    a.end();
    b.end();
    await site.calm();
    const p = await site.admit('p');
    p.take();
    p.send(pub('t', 'm', 1, 7));
    await site.calm();
    expect(p.said()).toEqual(['puback 7']);
    expect(queueOf(site, '$share/g/t')).toEqual(['m']);
    site.clock.advance(20_000);
    site.boot();
    const c = site.accounts.credentials.get(acme)!.get('other')!;
    site.accounts.put({ ...c, grants: [{ effect: 'allow', action: 'all', topic: 'elsewhere/#' }] } as never);
    const load = site.records.load.bind(site.records);
    site.records.load = async (record) => {
      if (record.clientId === good) await settle();
      return load(record);
    };
    const purge = site.shared.purgeShared.bind(site.shared);
    site.shared.purgeShared = (...args) => {
      console.log('purge', ...args);
      return purge(...args);
    };
    const a2 = await site.admit(good, { user: 'device' });
    const badSession = a2.in!.tenant.residences.get(bad as ClientId)!.session;
    expect(badSession.subscriptions.size).toBe(0);
    expect(await drain(site, a2)).toEqual(['m']);
  },
);

it('a stored message is not moved into the memory of a clean session', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, '$share/g/t', 1);
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'm', 1, 7));
  await site.calm();
  expect(p.said()).toEqual(['puback 7']);
  const c = await site.admit('c', { clean: true, expiry: 0 });
  await site.subscribe(c, '$share/g/t', 1);
  a.end();
  await site.calm();
  site.boot();
  expect(await drain(site, await site.admit('a'))).toEqual(['m']);
});

it('done while the delete is under way, not read again', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, 't', 1);
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'one', 1, 1));
  await site.calm();
  p.send(pub('t', 'two', 1, 2));
  await site.calm();
  const ids = a.take().map((x) => x.messageId!);
  expect([ids.length, inboxOf(site, 'a')]).toEqual([2, ['one', 'two']]);
  p.send(pub('t', 'three', 1, 3)); // something to be under way when the second is acknowledged
  site.clock.advance(60);
  site.log.delayOver();
  site.log.take();
  a.send(ack('puback', ids[1]!)); // its delete waits for its turn
  a.end();
  site.log.write();
  site.log.confirm(); // everything is stored: parked
  site.log.take(); // the delete is under way, and stays so: DynamoDB is slow with writes
  const a2 = await site.admit('a');
  await settle(5);
  const got = a2
    .take()
    .filter((x) => x.cmd === 'publish')
    .map((x) => (x as { payload: Buffer }).payload.toString());
  expect(got).toEqual(['one', 'three']);
});

it('done while the delete is under way, not counted twice', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, 't', 1);
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'one', 1, 1));
  await site.calm();
  p.send(pub('t', 'two', 1, 2));
  await site.calm();
  const ids = a.take().map((x) => x.messageId!);
  p.send(pub('t', 'three', 1, 3));
  site.clock.advance(60);
  site.log.delayOver();
  site.log.take();
  a.send(ack('puback', ids[1]!));
  a.end();
  site.log.write();
  site.log.confirm();
  site.log.take();
  const a2 = await site.admit('a');
  await settle(5);
  site.log.write();
  site.log.confirm();
  await drain(site, a2);
  expect(a2.in!.session.queuedMessages).toBe(0);
});

it('QoS 2 that came from the queue after a restart is not lost when its taker ends unsent', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, '$share/g/t', 2);
  const b = await site.admit('b');
  await site.subscribe(b, '$share/g/t', 2);
  a.end();
  b.end();
  await site.calm();
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'm', 2, 7));
  await site.calm();
  expect(p.said()).toEqual(['pubrec 7']);
  expect(queueOf(site, '$share/g/t')).toEqual(['m']);
  site.boot();
  const a2 = await site.admit('a2');
  const tenant = a2.in!.tenant;
  tenant.takeDelivery = () => false; // the tenant's delivery rate is used up
  const a3 = await site.admit('a');
  await site.calm();
  expect([a3.said().filter((x) => x.startsWith('publish')), inboxOf(site, 'a'), queueOf(site, '$share/g/t')]).toEqual([
    [],
    ['m'],
    [],
  ]);
  a3.end({ publishWill: false, expirySeconds: 0 });
  await site.calm();
  tenant.takeDelivery = () => true;
  const b2 = await site.admit('b');
  expect(await drain(site, b2)).toEqual(['m']);
});

it.each([1000, 1001, 1002, 1003, 1004, 1005])(
  'a session that ends while it is reading a page does not spin, and loses nothing %d',
  async (micro) => {
    const site = new Site();
    const a = await site.admit('a');
    await site.subscribe(a, '$share/g/t', 1);
    const p = await site.admit('p');
    p.take();
    for (let i = 1; i <= 5; i++) p.send(pub('t', `m${i}`, 1, i));
    await site.calm();
    a.end();
    await site.calm(); // parked: all in the table
    expect(inboxOf(site, 'a')).toHaveLength(5);
    const b = await site.admit('b');
    await site.subscribe(b, '$share/g/t', 1);
    b.end();
    await site.calm();
    // A read that takes 1000 microtasks; a real one takes a turn of the event loop, which never comes.
    const read = site.log.read.bind(site.log);
    site.log.read = async (...args) => {
      for (let i = 0; i < micro; i++) await Promise.resolve();
      return read(...args);
    };
    const a2 = await site.admit('a'); // begins to read
    a2.end({ publishWill: false, expirySeconds: 0 });
    await site.calm();
    const got = await drain(site, await site.admit('b'));
    expect([got.sort()]).toEqual([['m1', 'm2', 'm3', 'm4', 'm5']]);
  },
);

it('a session that ends and begins again within a second has keys of its own', async () => {
  const site = new Site();
  const a = await site.admit('a');
  await site.subscribe(a, 't', 2);
  const p = await site.admit('p');
  p.take();
  p.send(pub('t', 'old', 2, 1));
  site.log.take();
  site.log.write();
  site.log.confirm(); // stored for a, not known to the publisher's state yet
  a.end({ publishWill: false, expirySeconds: 0 }); // its delete waits for that
  await settle(5);
  site.clock.advance(50);
  const a2 = await site.admit('a', { clean: true });
  a2.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 1 }] });
  await settle();
  a2.end();
  p.send(pub('t', 'new', 1, 2));
  await site.calm();
  expect(p.said()).toEqual(['pubrec 1', 'puback 2']);
  expect(inboxOf(site, 'a')).toEqual(['new']);
});

it('a delayed will is not lost when a clean start crashes', async () => {
  const site = new Site();
  const w = await site.admit('watch');
  await site.subscribe(w, 'will', 1);
  w.end();
  await site.calm();
  const a = await site.admit('a', { will: { topic: 'will', payload: 'dead', delay: 100 } });
  await site.subscribe(a, 't', 1);
  a.end({ publishWill: true });
  await site.calm();
  site.connect('a', { clean: true, expiry: 1000 }); // [MQTT-3.1.3-9] the session ends, so the will is due
  await settle(5);
  site.boot();
  site.clock.advance(200_000);
  expect(await drain(site, await site.admit('watch'))).toEqual(['dead']);
});

it('a will of a client that is taken over is not lost', async () => {
  const site = new Site();
  const w = await site.admit('watch');
  await site.subscribe(w, 'will', 1);
  w.end();
  await site.calm();
  await site.admit('a', { will: { topic: 'will', payload: 'dead' } });
  site.connect('a', { clean: false, expiry: 1000 });
  await settle(5);
  site.boot();
  site.clock.advance(200_000);
  expect(await drain(site, await site.admit('watch'))).toEqual(['dead']);
});
