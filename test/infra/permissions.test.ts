/** Who may do what: each program gets the actions that it makes, on the tables that it makes them on, and nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Template } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { brokerAccess, tableDefinitions, type TableName, tenantsApiAccess } from '../../services/dynamo/dynamo.js';
import { resources, stageNames, synthesise } from './synthesis.js';

interface Statement {
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: unknown;
}

const listed = (one: string | readonly string[]): readonly string[] => (typeof one === 'string' ? [one] : one);

/** Of the policies whose role is called so. */
function statementsOf(template: Template, role: RegExp): readonly Statement[] {
  const policies = resources(template, 'AWS::IAM::Policy').filter(({ Properties }) =>
    role.test(JSON.stringify(Properties['Roles'])),
  );
  expect(policies).not.toHaveLength(0);
  return policies.flatMap(({ Properties }) => (Properties['PolicyDocument'] as { Statement: Statement[] }).Statement);
}

/** Action by table, as far as they are of DynamoDB; each statement must be for one table. */
function tableActions(statements: readonly Statement[]): Record<string, string[]> {
  const granted: Record<string, Set<string>> = {};
  for (const { Effect, Action, Resource: resource } of statements) {
    const actions = listed(Action).filter((action) => action.startsWith('dynamodb:'));
    if (actions.length === 0) continue;
    expect(Effect).toBe('Allow');
    const text = JSON.stringify(resource);
    const table = tableDefinitions.find(({ name }) => new RegExp(`GetAtt${name}[0-9A-F]{8}Arn`).test(text));
    expect(table, `the table of ${text}`).toBeDefined();
    const set = (granted[table!.name] ??= new Set());
    for (const action of actions) set.add(action.slice('dynamodb:'.length));
  }
  return Object.fromEntries(Object.entries(granted).map(([name, actions]) => [name, [...actions].toSorted()]));
}

describe.each(stageNames)('the rights in %s', (name) => {
  const { templates } = synthesise({ stage: name });

  it('of a broker are what it tries out at its start, and to look at each table', () => {
    const granted = tableActions(statementsOf(templates.broker, /TaskRole/));
    const expected = Object.fromEntries(
      tableDefinitions.map((table) => [table.name, ['DescribeTable', ...(brokerAccess[table.name] ?? [])].toSorted()]),
    );
    expect(granted).toEqual(expected);
  });

  it('of the API are what it does', () => {
    const granted = tableActions(statementsOf(templates.tenantsApi, /role/));
    const expected = Object.fromEntries(
      Object.entries(tenantsApiAccess).map(([table, actions]) => [table, [...actions].toSorted()]),
    );
    expect(granted).toEqual(expected);
  });

  it('are for no more than one kind of thing, but for a word that has no resource', () => {
    for (const stack of Object.values(templates))
      for (const { Properties } of resources(stack, 'AWS::IAM::Policy'))
        for (const { Action, Resource: resource } of (Properties['PolicyDocument'] as { Statement: Statement[] })
          .Statement) {
          if (resource === '*') expect(listed(Action)).toEqual(['ecr:GetAuthorizationToken']);
          for (const action of listed(Action)) expect(action).not.toContain('*');
        }
  });

  it('come from no managed policy', () => {
    for (const stack of Object.values(templates))
      for (const { Properties } of resources(stack, 'AWS::IAM::Role'))
        expect(Properties['ManagedPolicyArns']).toBeUndefined();
  });

  it('of the API to read secrets are for the key of the operators alone', () => {
    const statements = statementsOf(templates.tenantsApi, /role/).filter(({ Action }) =>
      listed(Action).some((action) => action.startsWith('secretsmanager:')),
    );
    expect(statements).toEqual([
      {
        Effect: 'Allow',
        Action: 'secretsmanager:GetSecretValue',
        Resource: { Ref: expect.stringContaining('operatorkey') as unknown },
      },
    ]);
  });
});

/** By the method of `Dynamo`: what it asks of AWS. */
const actionOf: Readonly<Record<string, string>> = {
  get: 'GetItem',
  batchGet: 'BatchGetItem',
  look: 'BatchGetItem',
  query: 'Query',
  queryAll: 'Query',
  put: 'PutItem',
  update: 'UpdateItem',
  delete: 'DeleteItem',
  batchWrite: 'BatchWriteItem',
  batchWriteOnce: 'BatchWriteItem',
};

/** `dynamo.put('tenants', …` and the like, whatever the client is called. Calls whose table is a variable have an empty one. */
function callsIn(
  folder: string,
): readonly { readonly action: string; readonly table: string; readonly where: string }[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.flatMap((file) =>
    [
      ...readFileSync(join(folder, file), 'utf8').matchAll(
        /(?:\bdynamo|\breads|#records|#contents)\.(\w+)\(\s*(?:'(\w+)')?/g,
      ),
    ].flatMap(([, method, table]) => {
      const action = actionOf[method!];
      return action === undefined ? [] : [{ action, table: table ?? '', where: file }];
    }),
  );
}

describe.each([
  { program: 'the broker', folder: 'services/broker', access: brokerAccess },
  { program: 'the API', folder: 'tenants-api', access: tenantsApiAccess },
])('the calls in the code of $program', ({ folder, access }) => {
  const calls = callsIn(folder);
  const granted = Object.entries(access).flatMap(([table, actions]) => actions.map((action) => `${table} ${action}`));

  it('are all granted', () => {
    expect(calls.length).toBeGreaterThan(10);
    for (const { action, table, where } of calls)
      if (table === '') expect(Object.values(access).flat(), where).toContain(action);
      else expect(access[table as TableName], `${where}: ${table}`).toContain(action);
  });

  it('are all that is granted', () => {
    const made = new Set(calls.map(({ table, action }) => `${table} ${action}`));
    const anyTable = new Set(calls.filter(({ table }) => table === '').map(({ action }) => action));
    const unused = granted.filter((one) => !made.has(one) && !anyTable.has(one.split(' ')[1]!));
    expect(unused).toEqual([]);
  });
});
