/** What CONNECT must do in every version: order, validation, identifiers, take-over, keep alive. */
import { bytes, connectBytes } from '../../support/packet-bytes.js';
import type { Trial } from '../trial.js';

/** A CONNECT taken apart, so that one part can be broken. */
export function connectParts(
  t: Trial,
  change: { flags?: number; name?: string; level?: number; payload?: Buffer[] },
): Buffer {
  const account = t.broker.account;
  return bytes.packet(
    'connect',
    0,
    bytes.utf8(change.name ?? 'MQTT'),
    bytes.u8(change.level ?? t.level),
    bytes.u8(change.flags ?? 0xc2),
    bytes.u16(0),
    ...(t.v5 ? [bytes.properties()] : []),
    ...(change.payload ?? [bytes.utf8(t.fresh()), bytes.utf8(account.username), bytes.utf8(account.password)]),
  );
}

/** A malformed CONNECT: v5 may be told with a CONNACK, v3 is closed without one. */
export async function malformedConnect(t: Trial, ...parts: (Buffer | string)[]): Promise<void> {
  const client = await t.raw();
  client.send(...parts);
  if (t.v5) await client.expectClosed(0x81);
  else await client.expectSilentClose();
}

export async function firstPacketIsConnect(t: Trial): Promise<void> {
  for (const packet of [
    bytes.packet('pingreq', 0),
    bytes.packet('subscribe', 2, bytes.u16(1), ...(t.v5 ? [bytes.properties()] : []), bytes.utf8('#'), bytes.u8(0)),
    bytes.packet('publish', 0, bytes.utf8('a'), ...(t.v5 ? [bytes.properties()] : [])),
    bytes.packet('disconnect', 0),
  ]) {
    const client = await t.raw();
    client.send(packet);
    await client.expectSilentClose();
  }
}

export async function secondConnect(t: Trial): Promise<void> {
  await t.refuses(0x82, connectBytes(t.fields()));
}

export async function wrongProtocolName(t: Trial): Promise<void> {
  for (const name of ['MQTX', 'mqtt', 'MQTT ', 'MQIsdp2']) {
    const client = await t.raw();
    client.send(connectParts(t, { name }));
    await client.expectClosed();
  }
}

export async function reservedConnectFlag(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0xc3 }));
}

export async function connectFieldOrder(t: Trial): Promise<void> {
  const watcher = await t.subscriber(t.topic('will'));
  const fields = t.fields({ will: { topic: t.topic('will'), payload: 'gone', qos: 1 } });
  await (await (await t.raw()).connect(fields)).drop();
  await watcher.receive({ topic: t.topic('will'), payload: 'gone' });
  // The same fields in another order do not parse as an account and are refused.
  const client = await t.raw();
  const { username, password } = t.broker.account;
  client.send(connectParts(t, { payload: [bytes.utf8(username), bytes.binary(password), bytes.utf8(t.fresh())] }));
  await client.expectClosed();
}

export async function usernameFlagWithoutField(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0x82, payload: [bytes.utf8(t.fresh())] }));
}

export async function usernameWithoutFlag(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0x02, payload: [bytes.utf8(t.fresh()), bytes.utf8('surplus')] }));
}

export async function passwordFlagWithoutField(t: Trial): Promise<void> {
  const payload = [bytes.utf8(t.fresh()), bytes.utf8(t.broker.account.username)];
  await malformedConnect(t, connectParts(t, { flags: 0xc2, payload }));
}

export async function passwordWithoutFlag(t: Trial): Promise<void> {
  const { username, password } = t.broker.account;
  const payload = [bytes.utf8(t.fresh()), bytes.utf8(username), bytes.utf8(password)];
  await malformedConnect(t, connectParts(t, { flags: 0x82, payload }));
}

export async function willFlagWithoutFields(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0x06, payload: [bytes.utf8(t.fresh())] }));
}

export async function willQosWithoutWill(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0xc2 | 0x08 }));
}

export async function willRetainWithoutWill(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0xc2 | 0x20 }));
}

export async function willQosThree(t: Trial): Promise<void> {
  const { username, password } = t.broker.account;
  const will = [...(t.v5 ? [bytes.properties()] : []), bytes.utf8(t.topic()), bytes.utf8('x')];
  const payload = [bytes.utf8(t.fresh()), ...will, bytes.utf8(username), bytes.utf8(password)];
  await malformedConnect(t, connectParts(t, { flags: 0xc2 | 0x04 | 0x18, payload }));
}

export async function missingClientId(t: Trial): Promise<void> {
  await malformedConnect(t, connectParts(t, { flags: 0x02, payload: [] }));
}

const broken = [Buffer.from('c328', 'hex'), Buffer.from('eda080', 'hex'), Buffer.from('00', 'hex')];

export async function clientIdUtf8(t: Trial): Promise<void> {
  const { username, password } = t.broker.account;
  for (const text of broken) {
    const payload = [bytes.binary(text), bytes.utf8(username), bytes.utf8(password)];
    await malformedConnect(t, connectParts(t, { payload }));
  }
}

export async function usernameUtf8(t: Trial): Promise<void> {
  for (const text of broken) {
    const payload = [bytes.utf8(t.fresh()), bytes.binary(text), bytes.utf8(t.broker.account.password)];
    await malformedConnect(t, connectParts(t, { payload }));
  }
}

export async function willTopicUtf8(t: Trial): Promise<void> {
  const { username, password } = t.broker.account;
  for (const text of broken) {
    const will = [...(t.v5 ? [bytes.properties()] : []), bytes.binary(text), bytes.utf8('x')];
    const payload = [bytes.utf8(t.fresh()), ...will, bytes.utf8(username), bytes.utf8(password)];
    await malformedConnect(t, connectParts(t, { flags: 0xc2 | 0x04, payload }));
  }
}

export async function plainClientIds(t: Trial): Promise<void> {
  const alphabet = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
  // The other way round for 3.1.1, because both tables run side by side against one broker.
  const characters = t.v5 ? alphabet : [...alphabet].reverse().join('');
  for (const clientId of [characters[3]!, ...(characters.match(/.{1,23}/g) ?? [])])
    await (await t.connect({ clientId })).disconnect();
}

export async function clientIdNamesSession(t: Trial): Promise<void> {
  const one = await t.persistent('one');
  await one.subscribe(t.topic('one'));
  await one.disconnect();
  const two = await t.persistent('two');
  if (two.connack.sessionPresent) throw new Error('another client identifier got the session');
  const again = await t.persistent('one');
  if (!again.connack.sessionPresent) throw new Error('the session was not found by its client identifier');
}

export async function rejectedConnectIsDeaf(t: Trial): Promise<void> {
  const watcher = await t.subscriber(t.topic());
  const client = await t.raw();
  const publish = bytes.packet(
    'publish',
    0,
    bytes.utf8(t.topic()),
    ...(t.v5 ? [bytes.properties()] : []),
    Buffer.from('x'),
  );
  client.send(connectBytes(t.fields({ password: 'certainly not the password' })), publish);
  await client.expectClosed(t.v5 ? [0x86, 0x87] : [4, 5]);
  await watcher.expectNothing();
}

export async function takeOver(t: Trial): Promise<void> {
  const old = await t.connect({ clientId: t.id('x') });
  const young = await t.connect({ clientId: t.id('x') });
  await old.expectClosed(t.v5 ? 0x8e : undefined);
  await young.expectNothing();
}

/** Silence for one and a half keep alives ends the connection; a packet in time does not. */
export async function keepAlive(t: Trial): Promise<void> {
  const client = await t.connect({ keepalive: 1 });
  const start = performance.now();
  await client.expectClosed(t.v5 ? 0x8d : undefined);
  const tookMs = performance.now() - start;
  if (tookMs < 1_400 || tookMs > 4_000) throw new Error(`closed after ${Math.round(tookMs)} ms`);
}

export async function pingKeepsAlive(t: Trial): Promise<void> {
  const client = await t.connect({ keepalive: 1 });
  // Another connection of the same keep alive, silent from now on, is the clock: it ends no earlier than this one could.
  for (let i = 0; i < 2; i++) {
    const clock = await t.connect({ keepalive: 1 });
    const beat = setInterval(() => client.send('c000'), 400);
    await clock.expectClosed();
    clearInterval(beat);
  }
  if (client.closed) throw new Error('closed in spite of PINGREQ');
  while (!client.closed && client.pending > 0) await client.expect('pingresp');
  await client.expectNothing();
}

export async function pings(t: Trial): Promise<void> {
  const client = await t.connect();
  client.send('c000', 'c000');
  await client.expect('pingresp');
  await client.expect('pingresp');
}
