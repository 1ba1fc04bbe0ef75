/**
 * Whether DynamoDB is set up as this program needs it: every table is there, active, with its keys, and,
 * where the caller says what it will do, each of these actions is allowed. Used at start and by health checks. Changes
 * nothing: its writes state a condition that never holds, or delete what cannot exist.
 */
import { DescribeTableCommand, type TableDescription } from '@aws-sdk/client-dynamodb';
import type { Dynamo } from './client.js';
import { type CallWords, ConditionFailed, DynamoMisconfigured, DynamoUnavailable, mayPass, nameOf } from './errors.js';
import { foreign } from './set-up.js';
import {
  type KeyAttribute,
  type TableDefinition,
  tableDefinition,
  tableDefinitions,
  type TableKey,
  type TableName,
} from './tables.js';

/** Each is a permission of its own in AWS. */
export type Action = 'GetItem' | 'BatchGetItem' | 'Query' | 'PutItem' | 'UpdateItem' | 'DeleteItem' | 'BatchWriteItem';

/** What a program does with which table. */
export type Access = Readonly<Partial<Record<TableName, readonly Action[]>>>;

/** Whoever starts a program waits for it; DynamoDB answers in 10 ms, and three attempts take no longer. */
const checkWithinMs = 6000;
/** No item has it: partitions begin with the id of a tenant or are the words of `cluster`. */
const noKey: TableKey = { pk: '#check', sk: '#check' };
const never = { condition: 'attribute_exists(pk) AND attribute_not_exists(pk)' };
const once = { deadlineMs: checkWithinMs };

/**
 * Throws DynamoMisconfigured for what is set up wrongly, all of it in one line, and DynamoUnavailable when DynamoDB does
 * not answer; after some seconds at the latest.
 */
export async function checkTables(dynamo: Dynamo, access: Access = {}): Promise<void> {
  await allOrFault(
    tableDefinitions.map(({ name }) => async () => {
      const found = await describeTable(dynamo, name);
      const wrong = tableFault(tableDefinition(name), found);
      const call = describing(dynamo, name);
      if (wrong !== undefined) throw new DynamoMisconfigured(`DynamoDB ${nameOf(call)} shows ${wrong}`, { call });
    }),
  );
  await allOrFault(
    Object.entries(access).flatMap(([table, actions]) =>
      actions.flatMap((action) => probes[action].map((probe) => () => probe(dynamo, table as TableName))),
    ),
  );
}

export async function describeTable(dynamo: Dynamo, name: TableName): Promise<TableDescription> {
  const command = new DescribeTableCommand({ TableName: dynamo.tableName(name) });
  const { Table } = await dynamo.run(name, 'DescribeTable', (client, o) => client.send(command, o), once);
  if (Table) return Table;
  const { code, remedy } = foreign(200, dynamo.place);
  const call = describing(dynamo, name);
  throw new DynamoMisconfigured(`DynamoDB ${nameOf(call)} failed (${code}): ${remedy}`, { code, call });
}

function describing(dynamo: Dynamo, name: TableName): CallWords {
  return { action: 'DescribeTable', tables: [dynamo.tableName(name)], place: dynamo.place };
}

type Probe = (dynamo: Dynamo, table: TableName) => Promise<unknown>;

const probes: Readonly<Record<Action, readonly Probe[]>> = {
  GetItem: [(dynamo, table) => dynamo.get(table, noKey, once)],
  BatchGetItem: [(dynamo, table) => dynamo.batchGet(table, [noKey])],
  Query: [(dynamo, table) => dynamo.query(table, { pk: noKey.pk, limit: 1, ...once })],
  PutItem: [(dynamo, table) => dynamo.put(table, { ...noKey }, { ...never, ...once }).catch(asExpected)],
  UpdateItem: [
    (dynamo, table) =>
      dynamo
        .update(table, noKey, { update: 'SET checked = :yes', values: { ':yes': true }, ...never, ...once })
        .catch(asExpected),
  ],
  DeleteItem: [(dynamo, table) => dynamo.delete(table, noKey, { ...never, ...once }).catch(asExpected)],
  // Not `batchWriteOnce`: one attempt is too few to end a start.
  BatchWriteItem: [(dynamo, table) => dynamo.batchWrite(table, [], [noKey])],
};

function asExpected(error: unknown): void {
  if (!(error instanceof ConditionFailed)) throw error;
}

/** Runs all, and throws one error that tells what all those that failed had to say. */
async function allOrFault(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  const settled = await Promise.allSettled(steps.map((step) => inTime(step())));
  const failures = settled.flatMap((step): unknown[] => (step.status === 'rejected' ? [step.reason] : []));
  const other = failures.find((error) => !mayPass(error));
  if (other !== undefined) throw other as Error;
  const wrong = failures.filter((error) => error instanceof DynamoMisconfigured);
  if (wrong.length > 0) throw new DynamoMisconfigured(merged(wrong), { cause: wrong[0] });
  const away = failures.filter((error) => error instanceof DynamoUnavailable);
  if (away.length > 0) throw new DynamoUnavailable(`${merged(away)}; ${remedyOf(away[0]!)}`, { cause: away[0] });
}

function remedyOf({ isUnreachable, throttled }: DynamoUnavailable): string {
  if (isUnreachable) return 'check SHOAL_DYNAMODB_ENDPOINT and AWS_REGION, and that this machine can connect to it';
  return throttled ? 'try again later, or raise the limits of the account' : 'try again later';
}

/** One line: calls that failed in the same words are told together. */
function merged(failures: readonly (DynamoMisconfigured | DynamoUnavailable)[]): string {
  /** By words: tables by action. */
  const groups = new Map<string, Map<string, string[]>>();
  for (const { message, call } of failures) {
    const words = call ? message.slice(message.indexOf(nameOf(call)) + nameOf(call).length) : message;
    const actions = groups.get(words) ?? new Map<string, string[]>();
    groups.set(words, actions);
    for (const table of call?.tables ?? []) {
      const tables = actions.get(call!.action) ?? [];
      actions.set(call!.action, tables.includes(table) ? tables : [...tables, table]);
    }
  }
  const texts = [...groups].map(([words, actions]) => {
    const names = [...actions].map(([action, tables]) => nameOf({ action, tables }));
    return names.length === 0 ? words : `DynamoDB ${names.join(', ')}${words}`;
  });
  return texts.join('; ');
}

/** Not everything heeds a deadline: looking for credentials, for one. */
async function inTime(step: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    const error = new DynamoUnavailable(`DynamoDB was not reached within ${checkWithinMs / 1000} s`);
    timer = setTimeout(() => reject(error), checkWithinMs + 500);
  });
  await Promise.race([step, tooLate]).finally(() => clearTimeout(timer));
}

/** What is wrong with a table, and what to do, in a few words; undefined when it fits. */
export function tableFault(definition: TableDefinition, found: TableDescription): string | undefined {
  const { TableStatus } = found;
  if (TableStatus !== 'ACTIVE' && TableStatus !== 'UPDATING')
    return `the state ${TableStatus}; wait until it is ACTIVE, or create it again`;
  const expected = [definition.partitionKey, definition.sortKey];
  if (!hasKeys(found, found.KeySchema, expected))
    return `keys other than ${expected.map(words).join(', ')}; create it again`;
  return undefined;
}

function hasKeys(
  found: TableDescription,
  schema: TableDescription['KeySchema'],
  expected: readonly KeyAttribute[],
): boolean {
  const roles = ['HASH', 'RANGE'];
  return (
    schema?.length === expected.length &&
    expected.every(({ name, type }, i) => {
      const attribute = found.AttributeDefinitions?.find(({ AttributeName }) => AttributeName === name);
      const key = schema.find(({ AttributeName }) => AttributeName === name);
      return key?.KeyType === roles[i] && attribute?.AttributeType === type;
    })
  );
}

function words({ name, type }: KeyAttribute): string {
  return `${name} (${type})`;
}
