/** Shared subscriptions. */
import type { PacketClient } from '../../support/packet-client.js';
import { nothingRetainedComes } from './retaining.js';
import type { Trial } from '../trial.js';

/** A share name and filter of this trial. */
export function shared(t: Trial, rest = 'a'): string {
  return `$share/${t.fresh()}/${t.topic(rest)}`;
}

async function members(t: Trial, filter: string, count: number, qos = 2): Promise<PacketClient[]> {
  const all = [];
  for (let i = 0; i < count; i++) {
    const client = await t.persistent(`m${i}`);
    await client.subscribe({ filter, qos });
    all.push(client);
  }
  return all;
}

/** Takes what has arrived at each client and answers nothing. */
export async function arrived(clients: PacketClient[]): Promise<{ payload: string; packetId: number }[][]> {
  const all = [];
  for (const client of clients) {
    const own = [];
    client.send('c000');
    for (let p = await client.next(); p.cmd !== 'pingresp'; p = await client.next())
      if (p.cmd === 'publish')
        own.push({ payload: String(p.payload), packetId: p.packetId ?? 0, qos: p.qos, dup: p.dup });
    all.push(own);
  }
  return all;
}

function expectTotals(got: { payload: string }[][], wanted: string[]): void {
  const all = got
    .flat()
    .map((m) => m.payload)
    .sort();
  if (all.join() !== [...wanted].sort().join()) throw new Error(`arrived: ${JSON.stringify(got)}`);
}

/** Each message goes to one member, in turn. */
export async function roundRobin(t: Trial): Promise<void> {
  const filter = shared(t);
  const clients = await members(t, filter, 3, 1);
  const p = await t.connect();
  for (let i = 0; i < 9; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
  const got = await arrived(clients);
  expectTotals(got, ['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  if (got.some((own) => own.length !== 3)) throw new Error(`not in turn: ${JSON.stringify(got)}`);
}

/** Groups are apart from each other and from ordinary subscriptions. */
export async function groupsAreIndependent(t: Trial): Promise<void> {
  const one = await t.subscriber(shared(t));
  const two = await t.subscriber(shared(t));
  const plain = await t.subscriber(t.topic());
  await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
  for (const s of [one, two, plain]) {
    await s.receive({ payload: 'x' });
    await s.expectNothing();
  }
}

export async function grantedQos(t: Trial): Promise<void> {
  const filter = shared(t);
  const low = await t.connect();
  await low.subscribe({ filter, qos: 0 });
  const p = await t.connect();
  await p.publish({ topic: t.topic(), payload: 'x', qos: 2 });
  await low.receive({ payload: 'x', qos: 0 });
  await low.unsubscribe(filter);
  const high = await t.connect();
  await high.subscribe({ filter, qos: 1 });
  await p.publish({ topic: t.topic(), payload: 'y', qos: 2 });
  await high.receive({ payload: 'y', qos: 1 });
}

export async function completedWithMember(t: Trial): Promise<void> {
  const filter = shared(t);
  const [a] = await members(t, filter, 1);
  await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 2 });
  const { packetId } = await a!.expect('publish', { payload: 'x', qos: 2 });
  const b = await t.connect();
  await b.subscribe(filter);
  await a!.drop();
  const again = await t.persistent('m0');
  await again.receive({ payload: 'x', dup: true, packetId: packetId! });
  await b.expectNothing();
}

export async function notHandedOnAtQosTwo(t: Trial): Promise<void> {
  const filter = shared(t);
  const a = await t.connect();
  await a.subscribe(filter);
  await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 2 });
  await a.expect('publish', { payload: 'x', qos: 2 });
  const b = await t.connect();
  await b.subscribe(filter);
  await a.drop();
  await b.expectNothing();
}

export async function refusedIsDiscarded(t: Trial): Promise<void> {
  const filter = shared(t);
  const a = await t.connect();
  await a.subscribe(filter);
  const p = await t.connect();
  for (const qos of [1, 2] as const) {
    await p.publish({ topic: t.topic(), payload: `${qos}`, qos });
    const { packetId } = await a.expect('publish', { payload: `${qos}` });
    const b = await t.connect();
    await b.subscribe(filter);
    a.sendAck(qos === 1 ? 'puback' : 'pubrec', packetId!, 0x83);
    await a.expectNothing();
    await b.expectNothing();
    await b.unsubscribe(filter);
  }
  await a.disconnect();
}

/** A member that leaves for good before acknowledging QoS 1 hands its messages on. */
export async function handedOnWhenMemberLeaves(t: Trial): Promise<void> {
  const filter = shared(t);
  const a = await t.connect();
  await a.subscribe({ filter, qos: 1 });
  const p = await t.connect();
  for (const payload of ['one', 'two']) await p.publish({ topic: t.topic(), payload, qos: 1 });
  await a.expect('publish', { payload: 'one' });
  await a.expect('publish', { payload: 'two' });
  const b = await t.connect();
  await b.subscribe({ filter, qos: 1 });
  await a.drop();
  await b.receive({ payload: 'one', qos: 1 });
  await b.receive({ payload: 'two', qos: 1 });
  await b.expectNothing();
}

/** Members that are away or have a full window are skipped. */
export async function skipsAwayAndFull(t: Trial): Promise<void> {
  const filter = shared(t);
  const away = await t.persistent('away');
  await away.subscribe({ filter, qos: 1 });
  await away.disconnect();
  const narrow = await t.connect(t.v5 ? { properties: { receiveMaximum: 1 } } : {});
  await narrow.subscribe({ filter, qos: 1 });
  const open = await t.connect();
  await open.subscribe({ filter, qos: 1 });
  const p = await t.connect();
  for (let i = 0; i < 6; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
  const [few, most] = await arrived([narrow, open]);
  expectTotals([few!, most!], ['0', '1', '2', '3', '4', '5']);
  if (t.v5 && (few!.length !== 1 || most!.length !== 5)) throw new Error(JSON.stringify([few, most]));
}

/** With every member away, messages wait and go to whoever comes back. */
export async function waitsForMembers(t: Trial): Promise<void> {
  const filter = shared(t);
  for (const client of await members(t, filter, 2, 1)) await client.disconnect();
  const p = await t.connect();
  for (let i = 0; i < 4; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
  const [a, b] = [await t.persistent('m0'), await t.persistent('m1')];
  const got = [];
  for (const client of [a, b]) {
    client.send('c000');
    for (let m = await client.next(); m.cmd !== 'pingresp'; m = await client.next()) {
      got.push([{ payload: String(m.payload) }]);
      client.sendAck('puback', m.packetId!);
    }
  }
  expectTotals(got, ['0', '1', '2', '3']);
}

export async function noRetainedMessages(t: Trial): Promise<void> {
  const p = await t.connect();
  await p.publish({ topic: t.topic(), payload: 'kept', qos: 1, retain: true });
  const s = await t.subscriber(shared(t));
  await nothingRetainedComes(t, s);
  await p.publish({ topic: t.topic(), payload: 'live', qos: 1 });
  await s.receive({ payload: 'live' });
}

export async function unsubscribeLeavesGroup(t: Trial): Promise<void> {
  const filter = shared(t);
  const clients = await members(t, filter, 2, 1);
  await clients[0]!.unsubscribe(filter);
  const p = await t.connect();
  for (let i = 0; i < 3; i++) await p.publish({ topic: t.topic(), payload: `${i}`, qos: 1 });
  const got = await arrived(clients);
  if (got[0]!.length !== 0 || got[1]!.length !== 3) throw new Error(JSON.stringify(got));
}
