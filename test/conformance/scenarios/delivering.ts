/** The QoS protocols, retransmission and order in every version. */
import { bytes } from '../../support/packet-bytes.js';
import type { Trial } from '../trial.js';

export async function responses(t: Trial): Promise<void> {
  const p = await t.connect();
  const topic = t.topic();
  await t.subscriber(topic);
  p.sendPublish({ topic, payload: '0' });
  p.sendPublish({ topic, payload: '1', qos: 1, packetId: 11 });
  p.sendPublish({ topic, payload: '2', qos: 2, packetId: 12 });
  await p.expect('puback', { packetId: 11, reasonCode: 0 });
  await p.expect('pubrec', { packetId: 12, reasonCode: 0 });
  p.sendAck('pubrel', 12);
  await p.expect('pubcomp', { packetId: 12, reasonCode: 0 });
  await p.expectNothing();
}

export async function qosZero(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  await (await t.connect()).publish({ topic, payload: 'x' });
  await s.expect('publish', { topic, payload: 'x', qos: 0, dup: false });
  await s.expectNothing();
}

/** Each new QoS 1 or 2 message has an identifier that is not in use, not DUP. */
export async function freshIdentifiers(t: Trial, qos: 1 | 2): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  for (let i = 0; i < 10; i++) await p.publish({ topic, payload: `${i}`, qos });
  const ids = new Set<number>();
  for (let i = 0; i < 10; i++) ids.add((await s.expect('publish', { payload: `${i}`, qos, dup: false })).packetId!);
  if (ids.size !== 10 || ids.has(0)) throw new Error(`identifiers ${[...ids].join()}`);
}

/** Not acknowledged means sent again after reconnect, with DUP and the same identifier, in order. */
export async function resent(t: Trial, qos: 1 | 2): Promise<void> {
  const topic = t.topic();
  const first = await t.persistent('x');
  await first.subscribe(topic);
  const p = await t.connect();
  for (const payload of ['a', 'b', 'c']) await p.publish({ topic, payload, qos });
  const ids = [];
  for (const payload of ['a', 'b', 'c']) ids.push((await first.expect('publish', { payload, dup: false })).packetId!);
  await first.expectNothing();
  await first.drop();
  const again = await t.persistent('x');
  for (const [i, payload] of ['a', 'b', 'c'].entries())
    await again.receive({ payload, dup: true, qos, packetId: ids[i]! });
  await again.expectNothing();
  await again.disconnect();
  await (await t.persistent('x')).expectNothing();
}

/** While connected, nothing is sent twice. */
export async function notResentWhileConnected(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  await p.publish({ topic, payload: 'x', qos: 1 });
  await s.expect('publish', { payload: 'x', dup: false });
  // The clock: a connection that ends by its keep alive.
  const clock = await t.connect({ keepalive: 1 });
  clock.boundMs = 10_000;
  await clock.expectClosed();
  await s.expectNothing();
}

/** PUBREL is sent for PUBREC, again after reconnect until PUBCOMP; the PUBLISH is not. */
export async function releaseResent(t: Trial): Promise<void> {
  const topic = t.topic();
  const first = await t.persistent('x');
  await first.subscribe(topic);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 2 });
  const { packetId } = await first.expect('publish', { payload: 'x', qos: 2 });
  first.sendAck('pubrec', packetId!);
  await first.expect('pubrel', { packetId: packetId! });
  await first.expectNothing();
  await first.drop();
  const again = await t.persistent('x');
  await again.expect('pubrel', { packetId: packetId! });
  again.sendAck('pubcomp', packetId!);
  await again.expectNothing();
  await again.disconnect();
  await (await t.persistent('x')).expectNothing();
}

/** After PUBACK the same identifier is a new message, whatever DUP says. */
export async function identifierFreeAfterPuback(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  await p.publish({ topic, payload: 'a', qos: 1, packetId: 7 });
  await p.publish({ topic, payload: 'b', qos: 1, packetId: 7, dup: true });
  await s.receive({ payload: 'a', dup: false });
  await s.receive({ payload: 'b', dup: false });
}

/** Until PUBREL, the same identifier is the same message: acknowledged again, delivered once. */
export async function duplicateBeforeRelease(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  for (const dup of [false, true, true]) {
    p.sendPublish({ topic, payload: 'x', qos: 2, packetId: 9, dup });
    await p.expect('pubrec', { packetId: 9 });
  }
  p.sendAck('pubrel', 9);
  await p.expect('pubcomp', { packetId: 9 });
  await s.receive({ payload: 'x', qos: 2 });
  await s.expectNothing();
}

/** The identifier of an unreleased message is remembered across connections. */
export async function duplicateAcrossConnections(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const first = await t.persistent('p');
  first.sendPublish({ topic, payload: 'x', qos: 2, packetId: 9 });
  await first.expect('pubrec', { packetId: 9 });
  await first.drop();
  const again = await t.persistent('p');
  again.sendPublish({ topic, payload: 'x', qos: 2, packetId: 9, dup: true });
  await again.expect('pubrec', { packetId: 9 });
  again.sendAck('pubrel', 9);
  await again.expect('pubcomp', { packetId: 9 });
  await s.receive({ payload: 'x' });
  await s.expectNothing();
}

export async function identifierFreeAfterPubcomp(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  await p.publish({ topic, payload: 'a', qos: 2, packetId: 7 });
  await p.publish({ topic, payload: 'b', qos: 2, packetId: 7, dup: true });
  await s.receive({ payload: 'a' });
  await s.receive({ payload: 'b' });
}

/** DUP of the publisher does not travel. */
export async function dupNotPropagated(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1, dup: true });
  await s.receive({ payload: 'x', dup: false });
}

export async function dupClearOnQosZero(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic, 0);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1, dup: true });
  await s.expect('publish', { payload: 'x', qos: 0, dup: false });
}

/** Messages of one publisher, topic and QoS come in the order of publication. */
export async function ordered(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  const p = await t.connect();
  const count = 50;
  for (let i = 0; i < count; i++) p.sendPublish({ topic, payload: `q0 ${i}` });
  for (let i = 0; i < count; i++) p.sendPublish({ topic, payload: `q1 ${i}`, qos: 1 });
  for (let i = 0; i < count; i++) await p.expect('puback');
  for (let i = 0; i < count; i++) await s.receive({ payload: `q0 ${i}` });
  for (let i = 0; i < count; i++) await s.receive({ payload: `q1 ${i}` });
  for (let i = 0; i < count; i++) await p.publish({ topic, payload: `q2 ${i}`, qos: 2 });
  for (let i = 0; i < count; i++) {
    const m = await s.expect('publish', { payload: `q2 ${i}` });
    s.sendAck('pubrec', m.packetId!);
  }
  for (let i = 0; i < count; i++) await s.expect('pubrel');
}

/** QoS of a delivery: the lower of what was published and what was granted. */
export async function qosIsMinimum(t: Trial): Promise<void> {
  const p = await t.connect();
  for (const granted of [0, 1, 2] as const) {
    const s = await t.subscriber(t.topic(`g${granted}`), granted);
    for (const qos of [0, 1, 2] as const) {
      await p.publish({ topic: t.topic(`g${granted}`), payload: `${qos}`, qos });
      await s.receive({ payload: `${qos}`, qos: Math.min(qos, granted) });
    }
  }
}

/** Both QoS bits set is malformed. */
export async function qosThree(t: Trial): Promise<void> {
  const body = [bytes.utf8(t.topic()), bytes.u16(1), ...(t.v5 ? [bytes.properties()] : []), Buffer.from('x')];
  await t.refuses(0x81, bytes.packet('publish', 6, ...body));
}

export async function releaseFlags(t: Trial): Promise<void> {
  for (const flags of [0, 1, 3, 6, 10]) await t.refuses(0x81, bytes.packet('pubrel', flags, bytes.u16(1)));
}

/** Acknowledgements come in the order of what they acknowledge. */
export async function acknowledgedInOrder(t: Trial): Promise<void> {
  const topic = t.topic();
  await t.subscriber(topic);
  const p = await t.connect();
  for (let i = 1; i <= 20; i++) p.sendPublish({ topic, qos: 1, packetId: i });
  for (let i = 1; i <= 20; i++) await p.expect('puback', { packetId: i });
  for (let i = 1; i <= 20; i++) p.sendPublish({ topic, qos: 2, packetId: i });
  for (let i = 1; i <= 20; i++) await p.expect('pubrec', { packetId: i });
  for (let i = 1; i <= 20; i++) p.sendAck('pubrel', i);
  for (let i = 1; i <= 20; i++) await p.expect('pubcomp', { packetId: i });
}
