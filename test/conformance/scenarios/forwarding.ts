/** What MQTT 5 adds between publisher and subscriber: properties, identifiers, windows. */
import { bytes } from '../../support/packet-bytes.js';
import { type Properties } from '../../support/packet-codec.js';
import type { Trial } from '../trial.js';

/** Lets real time pass: an expiry in seconds has no other clock from outside. */
export async function pass(_t: Trial, ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Each set of properties arrives at an online, a returning and a later (retained) subscriber as it was sent. */
export async function unaltered(t: Trial, ...sets: Properties[]): Promise<void> {
  const topic = t.topic();
  const away = await t.persistent('away');
  await away.subscribe(topic);
  await away.disconnect();
  const online = await t.subscriber(topic);
  const p = await t.connect();
  for (const properties of sets) {
    await p.publish({ topic, payload: 'text', qos: 1, retain: true, properties });
    await online.receive({ topic, payload: 'text', properties });
    await (await t.subscriber(topic)).receive({ payload: 'text', retain: true, properties });
  }
  const back = await t.persistent('away');
  for (const properties of sets) await back.receive({ payload: 'text', properties });
}

export async function brokenStringProperty(t: Trial, id: number): Promise<void> {
  for (const text of ['c328', 'eda080', '610062']) {
    const property = Buffer.concat([bytes.u8(id), bytes.binary(Buffer.from(text, 'hex'))]);
    const properties = Buffer.concat([bytes.varint(property.length), property]);
    await t.refuses(0x81, bytes.packet('publish', 0, bytes.utf8(t.topic()), properties));
  }
}

export async function subscriptionIdentifiers(t: Trial): Promise<void> {
  const s = await t.connect();
  await s.expect('suback', {
    packetId: s.sendSubscribe([{ filter: t.topic('#'), qos: 1 }], { subscriptionIdentifier: 268_435_455 }),
  });
  await (await t.connect()).publish({ topic: t.topic(), payload: 'x', qos: 1 });
  await s.receive({ payload: 'x', properties: { subscriptionIdentifier: [268_435_455] } });
}

export async function allIdentifiersOnOneCopy(t: Trial): Promise<void> {
  const s = await t.connect();
  const topic = t.topic('i/a');
  const filters: [string, number | undefined, number][] = [
    [t.topic('#'), 7, 0],
    [t.topic('i/+'), 300, 2],
    [topic, undefined, 1],
    [t.topic('+/a'), 7, 1],
  ];
  for (const [filter, id, qos] of filters) {
    const packetId = s.sendSubscribe([{ filter, qos }], id === undefined ? {} : { subscriptionIdentifier: id });
    await s.expect('suback', { packetId });
  }
  await (await t.connect()).publish({ topic, payload: 'x', qos: 2 });
  const { properties } = await s.receive({ payload: 'x', qos: 2 });
  const ids = [properties.subscriptionIdentifier ?? []].flat().sort((a, b) => a - b);
  // Two subscriptions share the identifier 7: it may be there once or twice.
  if (
    ![
      ['7', '300'],
      ['7', '7', '300'],
    ].some((wanted) => wanted.join() === ids.join())
  )
    throw new Error(ids.join());
  await s.expectNothing();
}

/** Never more in flight than allowed; each acknowledgement lets one more through, in order. */
export async function receiveMaximum(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic, 2, { properties: { receiveMaximum: 2 } });
  const p = await t.connect();
  for (let i = 0; i < 6; i++) await p.publish({ topic, payload: `${i}`, qos: i % 2 ? 1 : 2 });
  const first = await s.expect('publish', { payload: '0', qos: 2 });
  const second = await s.expect('publish', { payload: '1', qos: 1 });
  await s.expectNothing();
  s.sendAck('puback', second.packetId!);
  const third = await s.expect('publish', { payload: '2' });
  s.sendAck('pubrec', first.packetId!);
  await s.expect('pubrel', { packetId: first.packetId! });
  await s.expectNothing();
  s.sendAck('pubcomp', first.packetId!);
  const fourth = await s.expect('publish', { payload: '3' });
  // A PUBREC that refuses also frees its place.
  s.sendAck('pubrec', third.packetId!, 0x80);
  await s.receive({ payload: '4' });
  s.sendAck('puback', fourth.packetId!);
  await s.receive({ payload: '5' });
  await s.expectNothing();
}

export async function othersPassFullWindow(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic, 2, { properties: { receiveMaximum: 1 } });
  const p = await t.connect();
  for (const payload of ['one', 'two']) await p.publish({ topic, payload, qos: 1 });
  const one = await s.expect('publish', { payload: 'one' });
  await s.expectNothing();
  await s.subscribe(t.topic('other'));
  await s.unsubscribe(t.topic('other'));
  await s.publish({ topic: t.topic('nobody'), qos: 2 });
  // QoS 0 is not part of the window.
  await p.publish({ topic, payload: 'three' });
  await s.expect('publish', { payload: 'three', qos: 0 });
  s.sendAck('puback', one.packetId!);
  await s.receive({ payload: 'two' });
}
