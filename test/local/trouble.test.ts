/**
 * While a broker runs, an operator takes a permission away, or a table: the broker goes on, tells each cause once, counts
 * every failure, tries again, and needs nobody when the operator has mended it. A real process, tables and clients.
 */
import { DeleteTableCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { brokerAccess, createTables, type TableName } from '../../services/dynamo/dynamo.js';
import type { ClientId } from '../../services/kernel/kernel.js';
import { sessionKey } from '../../services/tenancy/tenancy.js';
import { seed } from '../crash/settings.js';
import { Site } from '../crash/site.js';
import { type ConnectFields, LiveClient } from '../support/live-client.js';
import { scopeOfName } from '../support/scope.js';
import { until } from '../support/until.js';

let site: Site;
let clients: LiveClient[] = [];
beforeAll(async () => {
  site = await Site.open(seed, { withProxy: true });
  await site.start();
});
afterEach(() => {
  site.proxy!.deny = () => undefined;
  for (const client of clients) client.destroy();
  clients = [];
});
afterAll(async () => await site.close());

async function open(): Promise<LiveClient> {
  const client = await LiveClient.open(site.broker()!.port);
  clients.push(client);
  return client;
}

async function connect(fields: ConnectFields): Promise<LiveClient> {
  const client = await open();
  await client.connect({ ...site.account, ...fields });
  return client;
}

/** One that is away and gets whatever is published to `kept/#`: each such message has to be stored. */
async function sleeper(clientId: string): Promise<void> {
  const client = await connect({ clientId, clean: false, properties: { sessionExpiryInterval: 3600 } });
  await client.subscribe({ filter: `kept/${clientId}`, qos: 1 });
  await client.disconnect();
}

/** What it takes to be sure that it would have been told more than once. */
const manyFailures = 5;

function refuse(action: string, table: TableName): void {
  const name = site.dynamo.tableName(table);
  site.proxy!.deny = (asked, of) =>
    asked === action && of === name
      ? `User: arn:aws:sts::123456789012:assumed-role/broker/task is not authorized to perform: dynamodb:${action}`
      : undefined;
}

async function failures(action: string, table: TableName): Promise<number> {
  const metrics = await site.running!.metrics();
  const labels = `table="${table}",action="${action}",kind="misconfigured"`;
  return Number(new RegExp(`^shoal_dynamodb_errors_total\\{${labels}\\} (\\d+)$`, 'm').exec(metrics)?.[1] ?? 0);
}

interface LogLine {
  readonly time: string;
  readonly msg: string;
  readonly action?: string;
  readonly error?: { readonly message: string };
}

const now = (): string => new Date().toISOString();

/** What the broker has logged since then. */
function linesSince(since: string, wanted: (line: LogLine) => boolean): LogLine[] {
  return site
    .running!.lines.filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter((line) => line.time >= since && wanted(line));
}

const isTrouble =
  (words: string) =>
  ({ error }: LogLine): boolean =>
    error?.message.includes(words) === true;
const isEnd =
  (action: string) =>
  (line: LogLine): boolean =>
    line.msg === 'DynamoDB works again' && line.action === action;

/** Publishes what cannot be stored, lets it fail for a while, mends it, and sees everything come right by itself. */
async function storeInTrouble(
  topic: string,
  words: string,
  trouble: () => unknown,
  mend: () => unknown,
): Promise<void> {
  const publisher = await connect({ clientId: 'publisher' });
  const listener = await connect({ clientId: 'listener' });
  await listener.subscribe({ filter: 'live/#', qos: 0 });
  const since = now();
  const before = await failures('BatchWriteItem', 'inbox');
  await trouble();
  let isAcknowledged = false;
  const acknowledged = publisher.publish({ topic, payload: 'x', qos: 1 }).then((answer) => {
    isAcknowledged = true;
    return answer;
  });
  await until(async () => (await failures('BatchWriteItem', 'inbox')) >= before + manyFailures, 'failures', 15_000);
  expect(isAcknowledged).toBe(false);
  // What needs no database goes on.
  await publisher.publish({ topic: 'live/on', payload: 'y', qos: 0 });
  await listener.receivedCount(1, 2000);
  const told = linesSince(since, isTrouble(words));
  expect(told.map(({ msg }) => msg)).toEqual(['messages cannot be stored, trying again; publishers wait']);
  expect(told[0]!.error!.message).toMatch(/^DynamoDB BatchWriteItem on table .*inbox failed \(\w+\): \w/);
  await mend();
  expect((await acknowledged)?.reasonCode).toBe(0);
  await until(() => linesSince(since, isEnd('BatchWriteItem')).length === 1, 'the line that it is over');
  expect(linesSince(since, isTrouble(words))).toHaveLength(1);
}

test('access to write messages is taken away, twice', { timeout: 40_000 }, async () => {
  await sleeper('one');
  const allow = (): unknown => (site.proxy!.deny = () => undefined);
  const round = (): Promise<void> =>
    storeInTrouble('kept/one', 'AccessDeniedException', () => refuse('BatchWriteItem', 'inbox'), allow);
  await round();
  // It had worked again in between: that it fails once more is news.
  await round();
  const back = await connect({ clientId: 'one', clean: false, properties: { sessionExpiryInterval: 0 } });
  await back.receivedCount(2, 5000);
});

test('a table disappears, and comes back empty', { timeout: 40_000 }, async () => {
  await sleeper('two');
  const { dynamo } = site;
  const command = new DeleteTableCommand({ TableName: dynamo.tableName('inbox') });
  const drop = (): Promise<unknown> => dynamo.run('inbox', 'DeleteTable', (client) => client.send(command));
  const isGone = (): Promise<boolean> =>
    drop().then(
      () => false,
      (error: Error) => error.message.includes('ResourceNotFoundException'),
    );
  await storeInTrouble('kept/two', 'ResourceNotFoundException', drop, async () => {
    await until(isGone, 'the table to be gone');
    await createTables(dynamo);
  });
  const back = await connect({ clientId: 'two', clean: false, properties: { sessionExpiryInterval: 0 } });
  await back.receivedCount(1, 5000);
});

test('clients cannot be admitted: each is refused, and the cause is told once', async () => {
  const since = now();
  refuse('UpdateItem', 'sessions');
  for (let i = 0; i < manyFailures; i++) {
    const refused = await (await open()).tryConnect({ ...site.account, clientId: `late-${i}` });
    expect(refused.reasonCode).toBe(0x88);
  }
  expect(await failures('UpdateItem', 'sessions')).toBe(manyFailures);
  expect(linesSince(since, isTrouble('AccessDenied')).map(({ msg }) => msg)).toEqual([
    'a client could not be admitted',
  ]);
  site.proxy!.deny = () => undefined;
  await connect({ clientId: 'late' });
  await until(() => linesSince(since, isEnd('UpdateItem')).length === 1, 'the line that it is over');
});

test.each<[what: string, action: string, sentences: string[]]>([
  [
    'neither the control log nor the leases of others can be read',
    'Query',
    ['the control log cannot be read, trying again', 'the leases of other brokers could not be read, trying again'],
  ],
  ['the lease cannot be renewed', 'UpdateItem', ['the lease could not be renewed, trying again']],
])('%s: told once, and tried again', { timeout: 30_000 }, async (_, action, sentences) => {
  const since = now();
  const before = await failures(action, 'cluster');
  refuse(action, 'cluster');
  await until(async () => (await failures(action, 'cluster')) >= before + manyFailures, 'failures', 15_000);
  const told = linesSince(since, isTrouble('AccessDenied')).map(({ msg }) => msg);
  expect(told.toSorted()).toEqual(sentences);
  site.proxy!.deny = () => undefined;
  await until(() => linesSince(since, isEnd(action)).length === 1, 'the line that it is over');
});

test('the record of a client that leaves is written once access is back', async () => {
  const client = await connect({ clientId: 'leaver', clean: false, properties: { sessionExpiryInterval: 3600 } });
  refuse('PutItem', 'sessions');
  await client.disconnect();
  await until(async () => (await failures('PutItem', 'sessions')) >= 1, 'a failure');
  const key = sessionKey(await scopeOfName(site.dynamo, 'crash'), 'leaver' as ClientId);
  const stored = async (): Promise<unknown> =>
    (await site.dynamo.get('sessions', key, { consistent: true }))?.['connected'];
  expect(await stored()).toBe(true);
  site.proxy!.deny = () => undefined;
  await until(async () => (await stored()) === false, 'the record', 10_000);
});

test('what a broker does with DynamoDB is what it checks at its start', async () => {
  const metrics = await site.running!.metrics();
  const calls = [...metrics.matchAll(/^shoal_dynamodb_calls_total\{table="(\w+)",action="(\w+)"\}/gm)];
  expect(calls.length).toBeGreaterThan(10);
  const unchecked = calls.filter(([, table, action]) => !brokerAccess[table as TableName]?.includes(action as never));
  expect(unchecked.map(([, table, action]) => `${action} ${table}`)).toEqual([]);
});
