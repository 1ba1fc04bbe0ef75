/** The tables, from the same definitions that the services use. Everything durable is in this stack. */
import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib';
import {
  type Attribute,
  AttributeType,
  Billing,
  type GlobalSecondaryIndexPropsV2,
  ProjectionType,
  TableEncryptionV2,
  TableV2,
} from 'aws-cdk-lib/aws-dynamodb';
import type { Construct } from 'constructs';
import {
  type IndexDefinition,
  type KeyAttribute,
  type TableDefinition,
  tableDefinitions,
  type TableName,
} from '../../services/dynamo/dynamo.js';
import type { Stage } from '../stages.js';

export interface DataStackProps extends StackProps {
  readonly stage: Stage;
}

export class DataStack extends Stack {
  readonly tables: Readonly<Record<TableName, TableV2>>;

  constructor(scope: Construct, id: string, props: DataStackProps) {
    super(scope, id, { terminationProtection: props.stage.keepsData, ...props });
    this.tables = Object.fromEntries(
      tableDefinitions.map((definition) => [definition.name, this.#table(definition, props.stage)]),
    ) as Record<TableName, TableV2>;
  }

  #table(definition: TableDefinition, stage: Stage): TableV2 {
    return new TableV2(this, definition.name, {
      tableName: stage.tablePrefix + definition.name,
      partitionKey: toAttribute(definition.partitionKey),
      sortKey: toAttribute(definition.sortKey),
      globalSecondaryIndexes: definition.indexes.map(toIndex),
      timeToLiveAttribute: definition.ttlAttribute,
      billing: Billing.onDemand(),
      encryption: TableEncryptionV2.dynamoOwnedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: stage.keepsData,
      removalPolicy: stage.keepsData ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
  }
}

function toAttribute({ name, type }: KeyAttribute): Attribute {
  const types = { S: AttributeType.STRING, N: AttributeType.NUMBER, B: AttributeType.BINARY };
  return { name, type: types[type] };
}

function toIndex({ name, partitionKey, projection }: IndexDefinition): GlobalSecondaryIndexPropsV2 {
  return {
    indexName: name,
    partitionKey: toAttribute(partitionKey),
    projectionType: projection === 'all' ? ProjectionType.ALL : ProjectionType.KEYS_ONLY,
  };
}
