/** What ECS answers a task, from a server of the same kind on this machine. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { readConfig } from '../../../services/broker/config.js';
import { withTaskAddress } from '../../../services/broker/task-address.js';

const linked = { SHOAL_MQTT_PORT: '0', SHOAL_CLUSTER_KEY: 'one key for the brokers of a cluster' };

/** As Fargate answers, but for what is not read here. */
const container = {
  DockerId: 'cd189a933e5849daa93386466019ab50-2495160603',
  Name: 'broker',
  Networks: [{ NetworkMode: 'awsvpc', IPv4Addresses: ['10.0.17.42'], IPv4SubnetCIDRBlock: '10.0.16.0/20' }],
};

/** The URL of a server that answers so. */
async function metadata(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v4/cd189a93`;
}

const asked = (url: string, waitMsMax?: number): Promise<unknown> =>
  withTaskAddress(
    readConfig({
      ...linked,
      ...{ SHOAL_MESH_HOST: '0.0.0.0', SHOAL_MESH_PORT: '7883', SHOAL_MESH_ADDRESS: 'ecs' },
      ECS_CONTAINER_METADATA_URI_V4: url,
    }),
    waitMsMax,
  ).then(({ mesh }) => mesh?.address);

test('a task is dialled at the address that ECS gave it, and the port that its setting names', async () => {
  const urls: unknown[] = [];
  const url = await metadata(({ url: path }, response) => {
    urls.push(path);
    response.end(JSON.stringify(container));
  });
  expect(await asked(url)).toBe('10.0.17.42:7883');
  expect(urls).toEqual(['/v4/cd189a93']);
});

const useless: readonly (readonly [string, RequestListener, string])[] = [
  ['an error', (_, response) => response.writeHead(500).end('{}'), 'answers 500'],
  ['no JSON', (_, response) => response.end('<html>'), 'does not answer in JSON'],
  ['null', (_, response) => response.end('null'), 'names no IPv4 address of this task'],
  ['no network', (_, response) => response.end('{}'), 'names no IPv4 address of this task'],
  [
    'a network that is not the task’s own',
    (_, response) => response.end('{"Networks":[{"NetworkMode":"host"}]}'),
    'names no IPv4 address of this task',
  ],
  [
    'no address',
    (_, response) => response.end('{"Networks":[{"IPv4Addresses":["here"]}]}'),
    'names no IPv4 address of this task',
  ],
  ['a redirection', (_, response) => response.writeHead(302, { location: '/' }).end(), 'does not answer ('],
  ['half an answer', ({ socket }) => socket.destroy(), 'does not answer ('],
];

test.each(useless)('it does not start with %s, and says so in one line', async (_, answer, words) => {
  const url = await metadata(answer);
  const error = await asked(url).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: 'ConfigError' });
  const { message } = error as Error;
  expect(message).toContain(`SHOAL_MESH_ADDRESS=ecs: ${url} ${words}`);
  expect(message).toMatch(/; outside ECS set host:port$/);
  expect(message).not.toContain('\n');
});

test('nor does it wait for ever', async () => {
  const url = await metadata(() => undefined);
  await expect(asked(url, 50)).rejects.toThrow('does not answer (within 0.05 s)');
});

test('nobody is asked unless it is wanted', async () => {
  const config = readConfig({ ...linked, ECS_CONTAINER_METADATA_URI_V4: 'http://127.0.0.1:1' });
  expect(await withTaskAddress(config)).toBe(config);
});
