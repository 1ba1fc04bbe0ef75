/** What a whole service says at its most talkative: who was refused and why, and never a secret or a message. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { heard, Stack, type TestTenant } from '../support/stack.js';
import { until } from '../support/until.js';
import { call } from './shoal.js';

const chosen = 'chosen-Password-4711';
const wrong = 'wrong-Password-4712';
const payload = 'payload-4713';
const topic = 'topic-4714';
const willPayload = 'will-4715';

let stack: Stack;
let tenant: TestTenant;
beforeAll(async () => {
  stack = await Stack.start(['--log-level', 'debug']);
  tenant = await stack.tenant();
}, 60_000);
afterAll(() => stack?.close());

/** Does what is told somewhere, and returns the secrets that were made. */
async function live(): Promise<readonly string[]> {
  const grants = [{ effect: 'allow', action: 'all', topic: `${topic}/#` }];
  const body = { name: 'sensor-1', password: chosen, grants };
  const account = { username: String((await tenant.api('/credentials', { body }))['username']), password: chosen };
  const away = await tenant.client({ clientId: 'away', properties: { sessionExpiryInterval: 300 } }, account);
  await away.subscribe({ filter: `${topic}/#`, qos: 1 });
  await away.drop();
  const will = { topic: `${topic}/will`, payload: willPayload, qos: 1, retain: true };
  const publisher = await tenant.client({ clientId: 'publisher', will }, account);
  await publisher.publish({ topic: `${topic}/state`, payload, qos: 1, retain: true });
  await publisher.publish({ topic: 'forbidden', payload, qos: 1 });
  await tenant.tryConnect({ clientId: 'guesser' }, { ...account, password: wrong });

  const { url } = stack.endpoints.api;
  expect((await call(`${url}/v1/tenants/${tenant.id}/keys?cursor=${payload}`, { key: wrong })).status).toBe(401);
  expect((await call(`${url}/v1/tenants`, { body: { name: 'NO NAME', secret: chosen } })).status).toBe(422);
  const { password } = await tenant.api('/credentials/sensor-1/rotate', { method: 'POST' });
  await heard(() => publisher.ended, 'the connection with the old password is closed');
  const { apiKey } = await tenant.api('/keys', { method: 'POST' });
  return [String(password), String(apiKey)];
}

test('the log has no passwords, keys, payloads and topics', async () => {
  const made = await live();
  const told = ['bad-user-name-or-password', 'connection-lost', '"clientId":"publisher"', 'control entry', '"path":'];
  for (const words of told) await until(() => stack.log.includes(words), `the log says ${words}`);
  const { log } = stack;
  for (const secret of [chosen, wrong, payload, topic, willPayload, stack.endpoints.operatorKey, ...made])
    expect(log).not.toContain(secret);
});
