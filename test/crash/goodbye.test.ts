/** DISCONNECT has no answer: the connection ends when DynamoDB has stored that the client has left, and not before. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PacketClient } from '../support/packet-client.js';
import { until } from '../support/until.js';
import { Site } from './site.js';

let site: Site;

beforeAll(async () => {
  site = await Site.open(1, { withProxy: true });
  await site.start();
});

afterAll(async () => {
  await site.close();
});

test.each([
  ['a session that lives on', 3600, 'PutItem'],
  ['one that ends', 0, 'DeleteItem'],
])('the connection ends when that is stored: %s', async (clientId, sessionExpiryInterval, action) => {
  const client = await PacketClient.open(site.broker()!.port);
  const properties = { sessionExpiryInterval };
  await client.connect({ ...site.account, clientId, properties, will: { topic: 'w', payload: 'gone', qos: 2 } });
  let goOn = (): void => undefined;
  let isAsked = false;
  site.proxy!.onRequest = (asked, body, when) => {
    if (asked !== action || when !== 'before' || !body.includes(clientId)) return;
    isAsked = true;
    return new Promise((resolve) => (goOn = resolve));
  };
  client.sendDisconnect();
  await until(() => isAsked, 'the record to be written', 10_000);
  expect(client.closed).toBe(false);
  site.proxy!.onRequest = undefined;
  goOn();
  await client.expectClosed();
});
