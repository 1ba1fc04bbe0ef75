/** Session state in every version: kept, resumed, discarded. */
import type { Trial } from '../trial.js';

function present(client: { connack: { sessionPresent?: boolean } }, wanted: boolean): void {
  if (client.connack.sessionPresent !== wanted) throw new Error(`session present is ${client.connack.sessionPresent}`);
}

export async function cleanDiscards(t: Trial): Promise<void> {
  const topic = t.topic();
  const first = await t.persistent('x');
  await first.subscribe(topic);
  await first.disconnect();
  const clean = await t.connect({ clientId: t.id('x'), clean: true });
  present(clean, false);
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
  await clean.expectNothing();
  await clean.disconnect();
  present(await t.persistent('x'), false);
}

export async function resumed(t: Trial): Promise<void> {
  const topic = t.topic();
  const first = await t.persistent('x');
  present(first, false);
  await first.subscribe(topic);
  await first.disconnect();
  const p = await t.connect();
  await p.publish({ topic, payload: 'one', qos: 1 });
  await p.publish({ topic, payload: 'two', qos: 2 });
  const again = await t.persistent('x');
  present(again, true);
  await again.receive({ payload: 'one', qos: 1, dup: false });
  await again.receive({ payload: 'two', qos: 2, dup: false });
  await p.publish({ topic, payload: 'three', qos: 1 });
  await again.receive({ payload: 'three' });
}

export async function keptAfterDrop(t: Trial): Promise<void> {
  const topic = t.topic();
  const first = await t.persistent('x');
  await first.subscribe(topic);
  await first.drop();
  await (await t.connect()).publish({ topic, payload: 'x', qos: 1 });
  const again = await t.persistent('x');
  present(again, true);
  await again.receive({ payload: 'x' });
}

/** While the connection is open, nothing of the session is lost, even without expiry. */
export async function keptWhileConnected(t: Trial): Promise<void> {
  const topic = t.topic();
  const s = await t.connect();
  await s.subscribe(topic);
  const p = await t.connect();
  for (let i = 0; i < 20; i++) await p.publish({ topic, payload: `${i}`, qos: 2 });
  for (let i = 0; i < 20; i++) await s.receive({ payload: `${i}` });
}

/** Matching messages are added to the session of a client that is away. */
export async function addedWhileAway(t: Trial): Promise<void> {
  const topic = t.topic();
  const away = await t.persistent('away');
  await away.subscribe({ filter: t.topic('#'), qos: 1 });
  await away.disconnect();
  const p = await t.connect();
  for (let i = 0; i < 5; i++) await p.publish({ topic, payload: `${i}`, qos: 1 });
  await p.publish({ topic: `${t.topic('x')}y`, payload: 'last', qos: 2 });
  const back = await t.persistent('away');
  for (let i = 0; i < 5; i++) await back.receive({ payload: `${i}`, qos: 1 });
  await back.receive({ payload: 'last', qos: 1 });
  await back.expectNothing();
}
