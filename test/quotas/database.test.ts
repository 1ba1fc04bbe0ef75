/** The quota of database units, with a real database: what it reports is what is charged. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { heard, Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
beforeAll(async () => {
  stack = await Stack.start();
}, 60_000);
afterAll(() => stack?.close());

test('databaseUnitsPerSecond: who has used more waits and is not let in, others are; with more of it he is again', async () => {
  const tenant = await stack.tenant({ databaseUnitsPerSecond: 1 });
  const client = await tenant.client();
  // 200 units, of which a minute's worth had been saved up.
  await client.publish({ topic: 't', qos: 1, retain: true, payload: Buffer.alloc(200_000) });
  const refused = await tenant.tryConnect({ clientId: 'late' });
  expect(refused).toMatchObject({ reasonCode: 0x97 });
  expect(refused.properties?.reasonString).toBe('the tenant has used up its database units; try again later');
  expect((await (await stack.tenant()).client()).connack).toMatchObject({ reasonCode: 0 });

  const late = client.publish({ topic: 'u', qos: 1, retain: true, payload: Buffer.from('kept') });
  await client.ping();
  await tenant.setQuotas({ databaseUnitsPerSecond: null });
  await heard(async () => (await tenant.tryConnect({ clientId: 'late' })).reasonCode === 0, 'the new quota');
  expect(await late).toMatchObject({ reasonCode: 0 });
  const next = await tenant.client();
  await next.subscribe('u', '$SYS/broker/database/units/month');
  await until(() => next.received.length === 2, 'what was retained, and the number');
  const told = Object.fromEntries(next.received.map(({ topic, payload }) => [topic, payload.toString()]));
  expect(told['u']).toBe('kept');
  expect(Number(told['$SYS/broker/database/units/month'])).toBeGreaterThan(200);
});
