/** SUBSCRIBE, UNSUBSCRIBE, filters and matching in every version. */
import { bytes } from '../../support/packet-bytes.js';
import type { Trial } from '../trial.js';

const noProperties = (t: Trial): Buffer[] => (t.v5 ? [bytes.properties()] : []);

export async function subscribeFlags(t: Trial): Promise<void> {
  const body = [bytes.u16(1), ...noProperties(t), bytes.utf8(t.topic()), bytes.u8(0)];
  for (const flags of [0, 1, 3, 6, 10]) await t.refuses(0x81, bytes.packet('subscribe', flags, ...body));
}

export async function unsubscribeFlags(t: Trial): Promise<void> {
  const body = [bytes.u16(1), ...noProperties(t), bytes.utf8(t.topic())];
  for (const flags of [0, 1, 3, 6, 10]) await t.refuses(0x81, bytes.packet('unsubscribe', flags, ...body));
}

export async function subscribeUtf8(t: Trial): Promise<void> {
  for (const text of ['c328', 'eda080', 'f8888080', '610062'])
    await t.refuses(
      0x81,
      bytes.packet(
        'subscribe',
        2,
        bytes.u16(1),
        ...noProperties(t),
        bytes.binary(Buffer.from(text, 'hex')),
        bytes.u8(0),
      ),
    );
}

export async function unsubscribeUtf8(t: Trial): Promise<void> {
  for (const text of ['c328', 'eda080', '610062'])
    await t.refuses(
      0x81,
      bytes.packet('unsubscribe', 2, bytes.u16(1), ...noProperties(t), bytes.binary(Buffer.from(text, 'hex'))),
    );
}

export async function subscribeWithoutFilter(t: Trial): Promise<void> {
  await t.refuses(0x82, bytes.packet('subscribe', 2, bytes.u16(1), ...noProperties(t)));
}

export async function unsubscribeWithoutFilter(t: Trial): Promise<void> {
  await t.refuses(0x82, bytes.packet('unsubscribe', 2, bytes.u16(1), ...noProperties(t)));
}

export async function reservedOptions(t: Trial): Promise<void> {
  const wrong = t.v5 ? [0x40, 0x80, 0xc1] : [0x04, 0x08, 0x10, 0x20, 0x40, 0x80];
  for (const options of wrong)
    await t.refuses(
      0x81,
      bytes.packet('subscribe', 2, bytes.u16(1), ...noProperties(t), bytes.utf8(t.topic()), bytes.u8(options)),
    );
}

export async function requestedQosThree(t: Trial): Promise<void> {
  const body = [bytes.u16(1), ...noProperties(t), bytes.utf8(t.topic()), bytes.u8(3)];
  await t.refuses([0x81, 0x82], bytes.packet('subscribe', 2, ...body));
}

export async function acknowledged(t: Trial): Promise<void> {
  const s = await t.connect();
  s.sendSubscribe([{ filter: t.topic('a'), qos: 0 }], undefined, 4711);
  await s.expect('suback', { packetId: 4711, reasonCodes: [0] });
  s.sendSubscribe([{ filter: t.topic('b'), qos: 1 }], undefined, 65535);
  await s.expect('suback', { packetId: 65535, reasonCodes: [1] });
  await s.expectNothing();
}

/** One answer code for each filter, in their order. */
export async function answersInOrder(t: Trial): Promise<void> {
  const s = await t.connect();
  const filters = [2, 0, 1, 0, 2].map((qos, i) => ({ filter: t.topic(`f${i}`), qos }));
  await s.expect('suback', { packetId: s.sendSubscribe(filters), reasonCodes: [2, 0, 1, 0, 2] });
}

export async function severalFilters(t: Trial): Promise<void> {
  const s = await t.connect();
  await s.subscribe(
    { filter: t.topic('a'), qos: 1 },
    { filter: t.topic('b'), qos: 2 },
    { filter: t.topic('a'), qos: 0 },
  );
  const p = await t.connect();
  for (const rest of ['a', 'b', 'c']) await p.publish({ topic: t.topic(rest), payload: rest, qos: 2 });
  await s.receive({ payload: 'a', qos: 0 });
  await s.receive({ payload: 'b', qos: 2 });
  await s.expectNothing();
}

export async function replaced(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic, 0);
  await s.subscribe({ filter: topic, qos: 2 });
  await (await t.connect()).publish({ topic, payload: 'x', qos: 2 });
  await s.receive({ payload: 'x', qos: 2 });
  await s.expectNothing();
}

/** Replacing a subscription loses nothing that is published meanwhile. */
export async function replacedWithoutLoss(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.subscriber(topic, 1);
  const p = await t.connect();
  for (let i = 0; i < 40; i++) p.sendPublish({ topic, payload: `${i}`, qos: 1 });
  for (let i = 0; i < 10; i++) s.sendSubscribe([{ filter: topic, qos: 1 }]);
  for (let i = 0; i < 40; i++) await p.expect('puback');
  let next = 0;
  for (let i = 0; i < 50; i++) {
    const packet = await s.next();
    if (packet.cmd === 'suback') continue;
    if (String(packet.payload) !== `${next}`) throw new Error(`message ${next} is missing`);
    s.sendAck('puback', packet.packetId!);
    next++;
  }
}

export async function unsubscribed(t: Trial): Promise<void> {
  const s = await t.connect();
  await s.subscribe(t.topic('+'), t.topic('a'));
  await s.unsubscribe(t.topic('+'));
  const p = await t.connect();
  await p.publish({ topic: t.topic('b'), payload: 'b', qos: 1 });
  await p.publish({ topic: t.topic('a'), payload: 'a', qos: 1 });
  await s.receive({ payload: 'a' });
  await s.expectNothing();
}

/** Filters are compared character by character: a filter that only covers another does not remove it. */
export async function comparedExactly(t: Trial): Promise<void> {
  const topic = t.topic('a/b');
  const s = await t.subscriber(topic);
  for (const filter of [t.topic('a/+'), t.topic('a/#'), t.topic('A/b'), `${topic}/`]) await s.unsubscribe(filter);
  await (await t.connect()).publish({ topic, payload: 'still', qos: 1 });
  await s.receive({ payload: 'still' });
}

export async function unsubscribeAlwaysAcknowledged(t: Trial): Promise<void> {
  const s = await t.connect();
  const ack = await s.unsubscribe(t.topic('never'));
  if (t.v5 && ack.reasonCodes?.join() !== `${0x11}`) throw new Error(`reason codes ${ack.reasonCodes?.join()}`);
}

export async function unsubscribesSeveral(t: Trial): Promise<void> {
  const s = await t.connect();
  const filters = ['a', 'b', 'c'].map((rest) => t.topic(rest));
  await s.subscribe(...filters);
  await s.unsubscribe(filters[0]!, filters[2]!);
  const p = await t.connect();
  for (const topic of filters) await p.publish({ topic, payload: topic, qos: 1 });
  await s.receive({ topic: filters[1]! });
  await s.expectNothing();
}

/** What was on its way when the subscription ended is completed. */
export async function startedDeliveryCompletes(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.persistent('x');
  await s.subscribe(topic);
  const p = await t.connect();
  await p.publish({ topic, payload: 'one', qos: 1 });
  await p.publish({ topic, payload: 'two', qos: 2 });
  const one = await s.expect('publish', { payload: 'one' });
  const two = await s.expect('publish', { payload: 'two' });
  await s.unsubscribe(topic);
  s.sendAck('pubrec', two.packetId!);
  await s.expect('pubrel', { packetId: two.packetId! });
  await s.drop();
  const again = await t.persistent('x');
  await again.receive({ payload: 'one', dup: true, packetId: one.packetId! });
  await again.expect('pubrel', { packetId: two.packetId! });
  again.sendAck('pubcomp', two.packetId!);
  await again.expectNothing();
}

// ---- filters and matching

async function delivers(t: Trial, filter: string, yes: string[], no: string[]): Promise<void> {
  const s = await t.subscriber(t.topic(filter), 0);
  const p = await t.connect();
  for (const rest of [...no, ...yes]) await p.publish({ topic: t.topic(rest), payload: rest, qos: 1 });
  for (const rest of yes) await s.expect('publish', { topic: t.topic(rest), payload: rest });
  await s.expectNothing();
}

export async function multiLevel(t: Trial): Promise<void> {
  await delivers(t, 'm/#', ['m', 'm/', 'm/a', 'm/a/b/c'], ['mm', 'n/a']);
}

export async function singleLevel(t: Trial): Promise<void> {
  await delivers(t, 's/+', ['s/a', 's/'], ['s', 's/a/b', 's/a/']);
  await delivers(t, 'd/+/e/+', ['d/x/e/y', 'd//e/'], ['d/x/f/y', 'd/x/e', 'd/x/e/y/z']);
  const s = await t.subscriber(`+/${t.topic('f').slice('trial/'.length)}`);
  await (await t.connect()).publish({ topic: t.topic('f'), payload: 'f', qos: 1 });
  await s.receive({ payload: 'f' });
}

export async function noNormalization(t: Trial): Promise<void> {
  await delivers(t, 'N/a', ['N/a'], ['n/a', 'N/A', 'N/a/', '/N/a', 'N//a', 'N/ a', 'N/%61']);
  // U+00E9 and e followed by U+0301 look alike and differ.
  await delivers(t, 'caf\u00e9', ['caf\u00e9'], ['cafe\u0301', 'cafe']);
}

/** A filter that breaks the wildcard rules is answered (v5 0x8F, v3 0x80), and the good one beside it is granted. */
export async function badFilters(t: Trial, ...filters: string[]): Promise<void> {
  const s = await t.connect();
  for (const filter of filters) {
    const suback = await s.subscribe(filter, { filter: t.topic('good'), qos: 1 });
    const wanted = t.v5 ? [0x8f, 1] : [0x80, 1];
    if (suback.reasonCodes?.join() !== wanted.join()) throw new Error(`${filter}: ${suback.reasonCodes?.join()}`);
  }
}

/** An empty filter, alone, first or second, also where the packet ends behind it: malformed, and nothing is subscribed. */
export async function emptyFilter(t: Trial): Promise<void> {
  const good = bytes.utf8(t.topic('good'));
  const none = bytes.utf8('');
  const option = bytes.u8(0);
  const head = [bytes.u16(1), ...noProperties(t)];
  const subscribes = [
    [none, option],
    [none, option, good, option],
    [good, option, none, option],
    [good, option, none],
    [none],
  ];
  for (const filters of subscribes) await t.refuses(0x81, bytes.packet('subscribe', 2, ...head, ...filters));
  for (const filters of [[none], [none, good], [good, none]])
    await t.refuses(0x81, bytes.packet('unsubscribe', 2, ...head, ...filters));
}

/** `$share/name` and `$share/name/`: a protocol error of MQTT 5.0, and of the whole packet. */
export async function shareOfNothing(t: Trial, ...filters: string[]): Promise<void> {
  const good = bytes.utf8(t.topic('good'));
  const option = bytes.u8(0);
  const head = [bytes.u16(1), ...noProperties(t)];
  for (const filter of filters.map(bytes.utf8)) {
    await t.refuses(0x82, bytes.packet('subscribe', 2, ...head, good, option, filter, option));
    await t.refuses(0x82, bytes.packet('unsubscribe', 2, ...head, good, filter));
  }
}

export async function dollarTopics(t: Trial): Promise<void> {
  const unique = t.fresh();
  // A tenant apart: a subscription to everything would also get what other rows publish, and count as their subscriber.
  const as = await t.broker.credential({ tenant: 'dollar' });
  const topics = [`$${unique}`, `$d/${unique}`];
  const s = await t.connect({ as });
  await s.subscribe(...['#', '+', `+/${unique}`, '+/#'].map((filter) => ({ filter, qos: 0 })));
  const own = await t.connect({ as });
  await own.subscribe(...topics);
  const p = await t.connect({ as });
  for (const topic of topics) {
    await p.publish({ topic, payload: 'x', qos: 1 });
    await own.receive({ topic, payload: 'x' });
  }
  s.send('c000');
  // The same row of another version may be at work in this tenant.
  for (let packet = await s.next(); packet.cmd !== 'pingresp'; packet = await s.next())
    if (packet.topic?.startsWith('$')) throw new Error(`${packet.topic} came through a leading wildcard`);
}

export async function wildcardInTopicName(t: Trial): Promise<void> {
  for (const topic of [t.topic('#'), t.topic('+/a'), '#', 'a+']) {
    const client = await t.connect();
    client.sendPublish({ topic, payload: 'x', qos: 1 });
    await client.expectClosed(t.v5 ? 0x90 : undefined);
  }
}

export async function emptyTopicName(t: Trial): Promise<void> {
  const client = await t.connect();
  client.sendPublish({ topic: '', payload: 'x' });
  await client.expectClosed(t.v5 ? 0x82 : undefined);
}

export async function nullInTopicName(t: Trial): Promise<void> {
  for (const qos of [0, 1] as const) {
    const client = await t.connect();
    client.sendPublish({ topic: 'a\u0000b', payload: 'x', qos });
    await client.expectClosed(t.v5 ? 0x81 : undefined);
  }
}

export async function topicUtf8(t: Trial): Promise<void> {
  for (const text of ['c328', 'eda080', 'c080', 'f4908080', 'ff'])
    await t.refuses(
      0x81,
      bytes.packet('publish', 0, bytes.binary(Buffer.from(text, 'hex')), ...noProperties(t), Buffer.from('x')),
    );
}

export async function bomKept(t: Trial): Promise<void> {
  const topic = `\uFEFF${t.topic('bom')}`;
  const s = await t.connect();
  await s.subscribe(topic);
  await (await t.connect()).publish({ topic: topic.slice(1), payload: 'no', qos: 1 });
  await (await t.connect()).publish({ topic, payload: 'yes', qos: 1 });
  await s.receive({ topic, payload: 'yes' });
}

/** A client with overlapping subscriptions gets one copy at the highest granted QoS. */
export async function overlapping(t: Trial): Promise<void> {
  const s = await t.connect();
  await s.subscribe(
    { filter: t.topic('#'), qos: 0 },
    { filter: t.topic('o/+'), qos: 2 },
    { filter: t.topic('o/a'), qos: 1 },
  );
  await (await t.connect()).publish({ topic: t.topic('o/a'), payload: 'x', qos: 2 });
  await s.receive({ payload: 'x', qos: 2 });
  await s.expectNothing();
}

/** Longest topic that fits a string, or a refusal that names it; never a crash or another topic. */
export async function longTopic(t: Trial): Promise<void> {
  const topic = t.topic('l'.repeat(900));
  const s = await t.subscriber(topic);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
  await s.receive({ topic, payload: 'x' });
}
