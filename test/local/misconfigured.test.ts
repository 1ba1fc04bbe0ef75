/**
 * A broker that is set up wrongly ends at its start: with one line that names the table, the action and what to do, with
 * an exit code, and soon. Real processes; the faults are made in a real table, or told by a server as DynamoDB tells them.
 */
import {
  type CreateTableCommandInput,
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
} from '@aws-sdk/client-dynamodb';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTables, Dynamo, type TableName } from '../../services/dynamo/dynamo.js';
import { type Dynalite, startDynalite } from '../support/dynalite.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { until } from '../support/until.js';
import { BrokerProcess, endBrokers } from './broker-process.js';

/** Starting Node and the bundle, and six seconds of patience with a DynamoDB that does not answer. */
const endsWithinMs = 12_000;

let dynalite: Dynalite;
const servers: Server[] = [];
const proxies: FaultProxy[] = [];
beforeAll(async () => {
  dynalite = await startDynalite();
});
afterAll(async () => await dynalite.stop());
afterEach(async () => {
  endBrokers();
  for (const proxy of proxies.splice(0)) await proxy.close();
  for (const server of servers.splice(0)) server.close();
});

interface Given {
  readonly endpoint?: string;
  readonly prefix?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** The one line. */
async function refusal({ endpoint, prefix = 'shoal-', env = {} }: Given): Promise<string> {
  const broker = new BrokerProcess({
    SHOAL_TABLE_PREFIX: prefix,
    ...(endpoint !== undefined && { SHOAL_DYNAMODB_ENDPOINT: endpoint }),
    ...env,
  });
  expect(await broker.exited).toBe(1);
  expect(broker.ranMs).toBeLessThan(endsWithinMs);
  expect(broker.stdout).toBe('');
  expect(broker.stderr).toMatch(/^broker: [^\n]+\n$/);
  expect(broker.stderr).not.toMatch(/\bat .*:\d+:\d+|[{}]/);
  return broker.stderr.slice('broker: '.length, -1);
}

const listen = async (server: Server): Promise<string> => {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

/** One that answers everything in the same words. */
const answering = (status: number, contentType: string, body: string): Promise<string> =>
  listen(
    createHttpServer((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': contentType }).end(body);
    }),
  );

const dynamoError = (type: string, message: string): Promise<string> =>
  answering(400, 'application/x-amz-json-1.0', JSON.stringify({ __type: `com.amazon.coral.service#${type}`, message }));

describe('tables', () => {
  const keys = (partition: string, sort: string, type: 'S' | 'N' = 'S'): CreateTableCommandInput => ({
    TableName: '',
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [
      { AttributeName: partition, AttributeType: 'S' },
      { AttributeName: sort, AttributeType: type },
    ],
    KeySchema: [
      { AttributeName: partition, KeyType: 'HASH' },
      { AttributeName: sort, KeyType: 'RANGE' },
    ],
  });

  /** All tables, but `without` the one, or with another in its place. */
  async function tables(prefix: string, without: TableName, instead?: CreateTableCommandInput): Promise<void> {
    const dynamo = new Dynamo({ endpoint: dynalite.endpoint, region: 'eu-central-1', tablePrefix: prefix });
    const TableName = dynamo.tableName(without);
    await createTables(dynamo);
    await dynamo.run(without, 'DeleteTable', (client) => client.send(new DeleteTableCommand({ TableName })));
    const command = new DescribeTableCommand({ TableName });
    const isGone = (): Promise<boolean> =>
      dynamo
        .run(without, 'DescribeTable', (client) => client.send(command))
        .then(
          () => false,
          (error: Error) => error.message.includes('ResourceNotFoundException'),
        );
    await until(isGone, 'the table to be gone');
    if (instead) {
      const command = new CreateTableCommand({ ...instead, TableName });
      await dynamo.run(without, 'CreateTable', (client) => client.send(command));
      await createTables(dynamo); // Waits until it is active.
    }
    dynamo.close();
  }

  test('one that is missing', async () => {
    await tables('one-', 'inbox');
    expect(await refusal({ endpoint: dynalite.endpoint, prefix: 'one-' })).toBe(
      'DynamoDB DescribeTable on table one-inbox failed (ResourceNotFoundException): create the tables, or check ' +
        `SHOAL_TABLE_PREFIX and AWS_REGION; no such table at ${dynalite.endpoint}`,
    );
  });

  test('all of them: another prefix', async () => {
    const line = await refusal({ endpoint: dynalite.endpoint, prefix: 'nobodys-' });
    expect(line).toContain('DescribeTable on tables nobodys-tenants, nobodys-sessions, nobodys-routes');
    expect(line).toContain('check SHOAL_TABLE_PREFIX');
  });

  test.each<[string, CreateTableCommandInput]>([
    ['partition key', keys('id', 'sk')],
    ['sort key', keys('pk', 'at')],
    ['sort key of another type', keys('pk', 'sk', 'N')],
  ])('another %s', async (what, instead) => {
    const prefix = `${what.replaceAll(' ', '-')}-`;
    await tables(prefix, 'retained', instead);
    expect(await refusal({ endpoint: dynalite.endpoint, prefix })).toBe(
      `DynamoDB DescribeTable on table ${prefix}retained shows keys other than pk (S), sk (S); create it again`,
    );
  });
});

describe('access', () => {
  let prefix: string;
  beforeAll(async () => {
    prefix = (await dynalite.open()).tableName('cluster').replace('cluster', '');
  });

  const role = 'arn:aws:sts::123456789012:assumed-role/broker/task';

  /** A real table behind a policy that refuses one action on some tables. */
  async function refusing(action: string, ...tables: readonly TableName[]): Promise<string> {
    const proxy = await FaultProxy.start(dynalite.endpoint);
    proxies.push(proxy);
    proxy.deny = (asked, table) =>
      asked === action && tables.some((name) => table === prefix + name)
        ? `User: ${role} is not authorized to perform: dynamodb:${action} on resource: ` +
          `arn:aws:dynamodb:eu-central-1:123456789012:table/${table} ` +
          `because no identity-based policy allows the dynamodb:${action} action`
        : undefined;
    return await refusal({ endpoint: proxy.endpoint, prefix });
  }

  const remedy = `(AccessDeniedException): grant this action on the table to ${role} (because no identity-based policy allows it)`;

  test.each<[string, TableName]>([
    ['DescribeTable', 'usage'],
    ['GetItem', 'tenants'],
    ['Query', 'cluster'],
    ['PutItem', 'retained'],
    ['UpdateItem', 'sessions'],
    ['DeleteItem', 'routes'],
    ['BatchWriteItem', 'inbox'],
  ])('to %s on %s', async (action, table) => {
    expect(await refusing(action, table)).toBe(`DynamoDB ${action} on table ${prefix}${table} failed ${remedy}`);
  });

  test('to one action on several tables is one line', async () => {
    const line = await refusing('BatchWriteItem', 'routes', 'inbox');
    expect(line).toBe(`DynamoDB BatchWriteItem on tables ${prefix}routes, ${prefix}inbox failed ${remedy}`);
  });

  test('to what a broker does not do is no matter', async () => {
    const proxy = await FaultProxy.start(dynalite.endpoint);
    proxies.push(proxy);
    proxy.deny = (action, table) =>
      table === `${prefix}tenants` && !['DescribeTable', 'GetItem'].includes(action) ? 'not authorized' : undefined;
    const broker = new BrokerProcess({ SHOAL_DYNAMODB_ENDPOINT: proxy.endpoint, SHOAL_TABLE_PREFIX: prefix });
    await broker.ready();
    expect(broker.stderr).toBe('');
    broker.process.kill('SIGTERM');
    expect(await broker.exited).toBe(0);
  });
});

describe('credentials', () => {
  test.each([
    [
      'UnrecognizedClientException',
      'The security token included in the request is invalid.',
      'check the AWS credentials in use',
    ],
    ['ExpiredTokenException', 'The security token included in the request is expired', 'renew the AWS credentials'],
    ['InvalidSignatureException', 'Signature expired: 20260101T000000Z is now earlier', 'the clock of this machine'],
  ])('%s', async (type, message, remedy) => {
    const line = await refusal({ endpoint: await dynamoError(type, message) });
    expect(line).toMatch(/^DynamoDB DescribeTable on tables shoal-tenants, .*, shoal-usage failed/);
    expect(line).toContain(`(${type}): `);
    expect(line).toContain(remedy);
  });

  test.each([
    ['', undefined],
    [' for the endpoint of a VPC', 'https://vpce-1-a.dynamodb.eu-central-1.vpce.amazonaws.com'],
  ])('none at all%s', async (_, endpoint) => {
    const line = await refusal(endpoint === undefined ? {} : { endpoint });
    expect(line).toContain('DescribeTable on tables shoal-tenants');
    expect(line).toContain('(CredentialsProviderError): provide AWS credentials');
  });
});

describe('region and endpoint', () => {
  const account = { AWS_ACCESS_KEY_ID: 'AKIAEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' };

  test('a region that is none', async () => {
    const line = await refusal({ env: { ...account, AWS_REGION: 'frankfurt am main' } });
    expect(line).toContain('check AWS_REGION: it is not a region');
  });

  // The resolver of a machine without a network answers "try again" instead of "no such name".
  const unresolved = /the host name does not exist|EAI_AGAIN/;

  test('a region that does not exist', async () => {
    const line = await refusal({ env: { ...account, AWS_REGION: 'eu-nowhere-9' } });
    expect(line).toMatch(/check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION.* in region eu-nowhere-9|EAI_AGAIN/);
    expect(line).toMatch(unresolved);
  });

  test('a host name that does not exist', async () => {
    const line = await refusal({ endpoint: 'http://tables.invalid:8000' });
    expect(line).toContain('at http://tables.invalid:8000');
    expect(line).toContain('check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION');
    expect(line).toMatch(unresolved);
  });

  test('a port where nobody listens', async () => {
    const server = createServer();
    const endpoint = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const line = await refusal({ endpoint });
    expect(line).toMatch(/^DynamoDB DescribeTable on tables shoal-tenants, .* failed: ECONNREFUSED at http:/);
    expect(line).toContain(`at ${endpoint}; check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION, and that this machine can`);
  });

  test.each([
    ['HTML, 404', 404, 'text/html', '<html>no such page</html>'],
    ['HTML, 200', 200, 'text/html', '<html>welcome</html>'],
    ['JSON, 404', 404, 'application/json', '{"error":"not found"}'],
    ['JSON, 200', 200, 'application/json', '{}'],
    ['nothing, 403', 403, 'text/plain', ''],
  ])('something else that answers %s', async (_, status, contentType, body) => {
    const endpoint = await answering(status, contentType, body);
    const line = await refusal({ endpoint });
    expect(line).toMatch(/^DynamoDB DescribeTable on tables shoal-tenants, .*, shoal-usage failed/);
    expect(line).toContain(`(HTTP ${status}, not a DynamoDB answer): check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION`);
    expect(line).toContain(`something else answers at ${endpoint}`);
  });

  test('something else that speaks no HTTP', async () => {
    const endpoint = await listen(
      createServer((socket) => socket.on('error', () => {}).end('220 mail.example ESMTP\r\n')),
    );
    expect(await refusal({ endpoint })).toContain(`something else answers at ${endpoint}`);
  });

  test('https where http is expected', async () => {
    const endpoint = (await answering(404, 'text/plain', '')).replace('http:', 'https:');
    expect(await refusal({ endpoint })).toContain('https where http is expected');
  });

  test('something that takes connections and never answers', async () => {
    const endpoint = await listen(createServer((socket) => socket.on('error', () => {}).resume()));
    const line = await refusal({ endpoint });
    expect(line).toContain('no answer in time');
    expect(line).toContain(`at ${endpoint}; check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION`);
  });

  test.each([
    ['500, in words of DynamoDB', 500, 'application/x-amz-json-1.0', '{"__type":"x#InternalServerError"}', 'Internal'],
    ['502, from a proxy', 502, 'text/html', '<html>bad gateway</html>', 'HTTP 502'],
  ])('one that only answers %s', async (_, status, contentType, body, code) => {
    const endpoint = await answering(status, contentType, body);
    const line = await refusal({ endpoint });
    expect(line).toContain(` failed: ${code}`);
    expect(line).toContain(` at ${endpoint}; try again later`);
  });

  test('an endpoint that is no URL', async () => {
    expect(await refusal({ endpoint: 'localhost:8000' })).toContain(
      'SHOAL_DYNAMODB_ENDPOINT=localhost:8000 is not a URL',
    );
  });
});

test('a setting that is misspelt', async () => {
  const line = await refusal({ endpoint: dynalite.endpoint, env: { SHOAL_INFLIGHT_MAX: '9' } });
  expect(line).toBe('SHOAL_INFLIGHT_MAX is not a setting; did you mean SHOAL_IN_FLIGHT_MAX?');
});
