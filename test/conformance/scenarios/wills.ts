/** Will messages in every version. */
import { retainedOn } from './retaining.js';
import type { Trial } from '../trial.js';

export async function stored(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  const client = await t.connect({ will: { topic, payload: 'gone', qos: 1 } });
  await watcher.expectNothing();
  await client.drop();
  await watcher.receive({ topic, payload: 'gone', qos: 1, retain: false });
}

export async function afterKeepAlive(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  await t.connect({ keepalive: 1, will: { topic, payload: 'silent' } });
  await watcher.receive({ topic, payload: 'silent' });
}

export async function afterProtocolError(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  const client = await t.connect({ will: { topic, payload: 'broken' } });
  client.send('f100');
  await client.expectClosed();
  await watcher.receive({ topic, payload: 'broken' });
}

export async function qosAndTopicUsed(t: Trial): Promise<void> {
  const watcher = await t.subscriber(t.topic('#'));
  for (const qos of [0, 1, 2]) {
    const client = await t.connect({ will: { topic: t.topic(`w${qos}`), payload: `qos ${qos}`, qos } });
    await client.drop();
    await watcher.receive({ topic: t.topic(`w${qos}`), payload: `qos ${qos}`, qos });
  }
}

/** Published once, and gone with a normal DISCONNECT. */
export async function publishedOnce(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  const first = await t.persistent('x', { will: { topic, payload: 'gone' } });
  await first.drop();
  await watcher.receive({ payload: 'gone' });
  const second = await t.persistent('x');
  await second.drop();
  const third = await t.persistent('x', { will: { topic, payload: 'never' } });
  await third.disconnect();
  await watcher.expectNothing();
}

export async function noneWithoutFlag(t: Trial): Promise<void> {
  const watcher = await t.subscriber(t.topic('#'));
  await (await t.connect()).drop();
  await watcher.expectNothing();
}

export async function notRetained(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  await (await t.connect({ will: { topic, payload: 'gone', retain: false } })).drop();
  await watcher.receive({ payload: 'gone' });
  const kept = await retainedOn(t, await t.connect());
  if (kept.length > 0) throw new Error(`retained: ${kept.join()}`);
}

export async function retained(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  await (await t.connect({ will: { topic, payload: 'gone', retain: true } })).drop();
  await watcher.receive({ payload: 'gone', retain: false });
  await (await t.subscriber(topic)).receive({ topic, payload: 'gone', retain: true });
}

export async function discardedOnDisconnect(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  await (await t.connect({ will: { topic, payload: 'never' } })).disconnect();
  await watcher.expectNothing();
}

/** Session take-over ends the old connection without a DISCONNECT from the client. */
export async function onTakeOver(t: Trial): Promise<void> {
  const topic = t.topic('will');
  const watcher = await t.subscriber(topic);
  const old = await t.connect({ clientId: t.id('x'), will: { topic, payload: 'taken over' } });
  await t.connect({ clientId: t.id('x') });
  await old.expectClosed();
  await watcher.receive({ payload: 'taken over' });
}
