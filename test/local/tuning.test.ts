/** What tunes the broker reaches it through `npm start`; what nobody knows, or is out of bounds, ends the start. */
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { PacketClient } from '../support/packet-client.js';
import { until } from '../support/until.js';
import { call, endpointsIn, freePorts, Workshop } from './shoal.js';

const workshop = new Workshop();
const clients: PacketClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await workshop.clean();
});

const windowMax = 3;

test('SHOAL_IN_FLIGHT_MAX bounds what is under way to a client, unless it takes less', async () => {
  const folder = workshop.folder();
  await workshop
    .start(['--ephemeral', '--data', folder, ...freePorts], { SHOAL_IN_FLIGHT_MAX: String(windowMax) })
    .ready();
  const { api, mqtt } = endpointsIn(folder);
  const { body } = await call(`${api.url}/v1/tenants`, { body: { name: 'acme' } });
  const made = await call(`${api.url}/v1/tenants/acme/credentials`, {
    key: String(body['apiKey']),
    body: { name: 'device' },
  });
  const { username, password } = made.body as { username: string; password: string };
  const connect = async (fields: Parameters<PacketClient['connect']>[0]): Promise<PacketClient> => {
    const client = await PacketClient.open(mqtt.port);
    clients.push(client);
    await client.connect({ username, password, ...fields });
    return client;
  };
  const subscribers = [
    { client: await connect({ clientId: 'before 5', version: 4 }), window: windowMax },
    { client: await connect({ clientId: 'takes more' }), window: windowMax },
    { client: await connect({ clientId: 'takes less', properties: { receiveMaximum: 2 } }), window: 2 },
  ];
  for (const { client } of subscribers) await client.subscribe({ filter: 'a', qos: 1 });
  const publisher = await connect({ clientId: 'publisher' });
  for (let i = 0; i < 5; i++) await publisher.publish({ topic: 'a', payload: `${i}`, qos: 1 });
  for (const { client, window } of subscribers) {
    const packetIds: number[] = [];
    for (let i = 0; i < window; i++) packetIds.push((await client.next()).packetId!);
    client.send('c000');
    expect((await client.next()).cmd).toBe('pingresp'); // Nothing more is under way.
    client.sendAck('puback', packetIds[0]!);
    expect(String((await client.next()).payload)).toBe(String(window));
  }
});

test('SHOAL_CONNECTIONS_MAX bounds what is open on all listeners; who comes then takes the place of a newcomer', async () => {
  const folder = workshop.folder();
  await workshop
    .start(['--ephemeral', '--data', folder, ...freePorts], {
      SHOAL_CONNECTIONS_MAX: '3',
      SHOAL_NEWCOMERS_PERCENT_MAX: '100',
      SHOAL_NEWCOMERS_PER_ADDRESS_PERCENT_MAX: '100',
    })
    .ready();
  const { mqtt, ws, broker } = endpointsIn(folder);
  const metrics = async (): Promise<string> => (await fetch(broker.metricsUrl)).text();
  const open = async (): Promise<PacketClient> => {
    const client = await PacketClient.open(mqtt.port);
    clients.push(client);
    return client;
  };
  const first = [await open(), await open()];
  const webSocket = new WebSocket(ws.url, 'mqtt');
  await once(webSocket, 'open');
  expect(await metrics()).toContain('\nshoal_sockets_used_percent 100\n');
  const next = await open();
  await first[0]!.expectSilentClose(); // The oldest of those that have not said who they are.
  const told = await metrics();
  expect(told).toContain('shoal_sockets_refused_total{reason="displaced"} 1\n');
  expect(told).toContain('shoal_sockets{state="connect"} 3\n');
  next.send('c000');
  await next.expectSilentClose(); // Not a CONNECT: it was read.
  await until(async () => (await metrics()).includes('\nshoal_sockets{state="connect"} 2\n'), 'the room');
  webSocket.terminate();
});

test.each<[env: Record<string, string>, line: string]>([
  [{ SHOAL_IN_FLIGHT_MAX: '40000' }, 'broker: SHOAL_IN_FLIGHT_MAX=40000 is not a number from 1 to 16383\n'],
  [{ SHOAL_UNSAFE_MB_MAX: 'lots' }, 'broker: SHOAL_UNSAFE_MB_MAX=lots is not a number from 1 to 65536\n'],
  [
    { SHOAL_TRUST_PROXY: '10.0.0.0/33' },
    'broker: SHOAL_TRUST_PROXY=10.0.0.0/33 has 10.0.0.0/33, which is not a network; use addresses or CIDRs such as 10.0.0.0/16,fd00::/8\n',
  ],
  [
    { SHOAL_PERSIST_DELAY: '20' },
    'shoal: SHOAL_PERSIST_DELAY is not a setting; did you mean SHOAL_PERSIST_DELAY_MS?\n',
  ],
])('%j', async (env, line) => {
  const shoal = workshop.start(['--ephemeral', ...freePorts], env);
  expect(await shoal.exited).toBe(1);
  expect(shoal.stdout).toBe('');
  expect(shoal.stderr).toBe(line);
});
