/**
 * Retained messages in every version. They may be read from a store and come later than the answer to a PINGREQ, so
 * that something is not retained is shown by a retained marker that comes instead.
 */
import type { PacketClient } from '../../support/packet-client.js';
import type { SubscriptionFields } from '../../support/packet-bytes.js';
import type { Trial } from '../trial.js';

/** Payloads of what is retained on the one-level topics of this trial, in topic order. */
export async function retainedOn(
  t: Trial,
  s: PacketClient,
  options: Partial<SubscriptionFields> = {},
): Promise<string[]> {
  const marker = { topic: t.topic('~'), payload: 'marker' };
  await (await t.connect()).publish({ ...marker, qos: 1, retain: true });
  await s.subscribe({ filter: t.topic('+'), qos: 0, ...options });
  const payloads = [];
  for (;;) {
    const { topic, payload } = await s.receive({ retain: true });
    if (topic === marker.topic) return payloads.sort();
    payloads.push(String(payload));
  }
}

/** None of the subscriptions that this client has made so far brings retained messages. */
export async function nothingRetainedComes(t: Trial, s: PacketClient): Promise<void> {
  const marker = { topic: t.topic(`marker/${t.fresh()}`), payload: 'marker' };
  await (await t.connect()).publish({ ...marker, qos: 1, retain: true });
  await s.subscribe({ filter: marker.topic, qos: 1 });
  await s.receive({ ...marker, retain: true });
  await s.expectNothing();
}

function same(got: string[], wanted: string[]): void {
  if (got.join() !== wanted.join()) throw new Error(`retained: ${got.join()}`);
}

export async function replaced(t: Trial): Promise<void> {
  const topic = t.topic();
  const p = await t.connect();
  await p.publish({ topic, payload: 'old', qos: 1, retain: true });
  await p.publish({ topic, payload: 'new', qos: 2, retain: true });
  await (await t.subscriber(t.topic('#'))).receive({ topic, payload: 'new', qos: 2, retain: true });
}

export async function sentToNewSubscription(t: Trial): Promise<void> {
  const p = await t.connect();
  for (const rest of ['a', 'b/c', 'b/d'])
    await p.publish({ topic: t.topic(rest), payload: rest, qos: 1, retain: true });
  const s = await t.subscriber(t.topic('b/+'), 1);
  const got = [await s.receive({ retain: true }), await s.receive({ retain: true })];
  const payloads = got
    .map((m) => String(m.payload))
    .sort()
    .join();
  if (payloads !== 'b/c,b/d') throw new Error(`got ${payloads}`);
  await s.expectNothing();
}

export async function removedByEmpty(t: Trial): Promise<void> {
  const topic = t.topic();
  const p = await t.connect();
  const online = await t.subscriber(topic);
  await p.publish({ topic, payload: 'kept', qos: 1, retain: true });
  await online.receive({ payload: 'kept' });
  await p.publish({ topic, qos: 1, retain: true });
  await online.receive({ payload: '', retain: false });
  same(await retainedOn(t, await t.connect()), []);
}

export async function emptyNotStored(t: Trial): Promise<void> {
  const topic = t.topic();
  await (await t.connect()).publish({ topic, qos: 1, retain: true });
  same(await retainedOn(t, await t.connect()), []);
}

export async function untouchedWithoutFlag(t: Trial): Promise<void> {
  const topic = t.topic();
  const p = await t.connect();
  await p.publish({ topic, payload: 'kept', qos: 1, retain: true });
  await p.publish({ topic, payload: 'passing', qos: 1 });
  await p.publish({ topic, payload: '', qos: 1 });
  same(await retainedOn(t, await t.connect()), ['kept']);
}

export async function qosZeroReplaces(t: Trial): Promise<void> {
  const topic = t.topic();
  const p = await t.connect();
  await p.publish({ topic, payload: 'old', qos: 1, retain: true });
  await p.publish({ topic, payload: 'new', qos: 0, retain: true });
  await p.expectNothing();
  await (await t.subscriber(topic)).receive({ payload: 'new', qos: 0, retain: true });
  same(await retainedOn(t, await t.connect()), ['new']);
}

export async function flagClearWhenForwarded(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1, retain: true });
  await s.receive({ payload: 'x', retain: false });
}

export async function outlivesSession(t: Trial): Promise<void> {
  const topic = t.topic();
  const p = await t.connect();
  await p.publish({ topic, payload: 'kept', qos: 1, retain: true });
  await p.disconnect();
  await (await t.subscriber(topic)).receive({ payload: 'kept', retain: true });
}

/** Subscribing again to the same filter sends the retained messages again. */
export async function sentAgainOnResubscribe(t: Trial): Promise<void> {
  const topic = t.topic();
  await (await t.connect()).publish({ topic, payload: 'kept', qos: 1, retain: true });
  const s = await t.subscriber(topic);
  await s.receive({ payload: 'kept', retain: true });
  await s.subscribe({ filter: topic, qos: 1 });
  await s.receive({ payload: 'kept', retain: true, qos: 1 });
  await (await t.connect()).publish({ topic, payload: 'live', qos: 2 });
  await s.receive({ payload: 'live', retain: false, qos: 1 });
  await s.expectNothing();
}
