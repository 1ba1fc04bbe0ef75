/** Creates the tables on an embedded server. In AWS the infrastructure does, from the same definitions. */
import { CreateTableCommand, UpdateTimeToLiveCommand } from '@aws-sdk/client-dynamodb';
import { describeTable } from './check.js';
import type { Dynamo } from './client.js';
import { DynamoRejected, DynamoUnavailable } from './errors.js';
import { type TableDefinition, tableDefinitions } from './tables.js';

/** An embedded server takes half a second a table, DynamoDB some ten. */
const activeWithinMs = 60_000;
const pollEveryMs = 50;

/** Returns when all tables are there and active. Those that exist are left alone; `Dynamo.check` tells if they fit. */
export async function createTables(dynamo: Dynamo): Promise<void> {
  await Promise.all(tableDefinitions.map((definition) => createTable(dynamo, definition)));
}

async function createTable(dynamo: Dynamo, definition: TableDefinition): Promise<void> {
  await tolerate('ResourceInUseException', () =>
    dynamo.run(definition.name, 'CreateTable', (client) => client.send(toCommand(dynamo, definition))),
  );
  await untilActive(dynamo, definition);
  const ttl = new UpdateTimeToLiveCommand({
    TableName: dynamo.tableName(definition.name),
    TimeToLiveSpecification: { AttributeName: definition.ttlAttribute, Enabled: true },
  });
  // An embedded server may not know the operation; where it does, enabling it twice is refused. Readers filter anyway.
  await tolerate('UnknownOperationException', () =>
    tolerate('ValidationException', () =>
      dynamo.run(definition.name, 'UpdateTimeToLive', (client) => client.send(ttl)),
    ),
  );
}

async function untilActive(dynamo: Dynamo, definition: TableDefinition): Promise<void> {
  const givingUpAtMs = performance.now() + activeWithinMs;
  while ((await describeTable(dynamo, definition.name)).TableStatus !== 'ACTIVE') {
    if (performance.now() > givingUpAtMs)
      throw new DynamoUnavailable(`DynamoDB table ${dynamo.tableName(definition.name)} did not become active`);
    await new Promise((resolve) => setTimeout(resolve, pollEveryMs));
  }
}

async function tolerate(errorName: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const isTolerated = error instanceof DynamoRejected && (error.cause as Error).name === errorName;
    if (!isTolerated) throw error;
  }
}

function toCommand(dynamo: Dynamo, definition: TableDefinition): CreateTableCommand {
  return new CreateTableCommand({
    TableName: dynamo.tableName(definition.name),
    BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [definition.partitionKey, definition.sortKey].map(({ name, type }) => ({
      AttributeName: name,
      AttributeType: type,
    })),
    KeySchema: [
      { AttributeName: definition.partitionKey.name, KeyType: 'HASH' },
      { AttributeName: definition.sortKey.name, KeyType: 'RANGE' },
    ],
  });
}
