/** Compares the tables as they are with their definitions. Used at start and by health checks; changes nothing. */
import { DescribeTableCommand, type TableDescription } from '@aws-sdk/client-dynamodb';
import { DynamoMisconfigured } from './errors.js';
import { type IndexDefinition, type KeyAttribute, type TableDefinition, tableDefinitions } from './tables.js';
import type { Dynamo } from './client.js';

/** Throws DynamoMisconfigured for the first table that is missing or has other keys. */
export async function checkTables(dynamo: Dynamo): Promise<void> {
  const found = await Promise.all(tableDefinitions.map(({ name }) => describeTable(dynamo, name)));
  for (const [i, definition] of tableDefinitions.entries()) {
    const wrong = tableFault(definition, found[i]!);
    if (wrong !== undefined)
      throw new DynamoMisconfigured(`DynamoDB table ${dynamo.tableName(definition.name)} ${wrong}; create it anew`);
  }
}

export async function describeTable(dynamo: Dynamo, name: TableDefinition['name']): Promise<TableDescription> {
  const command = new DescribeTableCommand({ TableName: dynamo.tableName(name) });
  const { Table } = await dynamo.run(name, 'DescribeTable', (client) => client.send(command));
  return Table ?? {};
}

/** What is wrong with a table in a few words; undefined when it fits. */
export function tableFault(definition: TableDefinition, found: TableDescription): string | undefined {
  const expected = [definition.partitionKey, definition.sortKey];
  if (!hasKeys(found, found.KeySchema, expected)) return `has other keys than ${expected.map(words).join(', ')}`;
  return definition.indexes.map((index) => indexFault(index, found)).find((fault) => fault !== undefined);
}

function indexFault(index: IndexDefinition, found: TableDescription): string | undefined {
  const actual = found.GlobalSecondaryIndexes?.find(({ IndexName }) => IndexName === index.name);
  if (actual === undefined) return `has no index ${index.name}`;
  return hasKeys(found, actual.KeySchema, [index.partitionKey])
    ? undefined
    : `has other keys in index ${index.name} than ${words(index.partitionKey)}`;
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
