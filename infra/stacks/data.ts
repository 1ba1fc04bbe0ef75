/** The tables, from the same definitions that the services use. Everything durable is in this stack. */
import { Stack, type StackProps } from 'aws-cdk-lib';
import {
  type Attribute,
  AttributeType,
  Billing,
  type ITableV2,
  TableEncryptionV2,
  TableV2,
} from 'aws-cdk-lib/aws-dynamodb';
import { Key } from 'aws-cdk-lib/aws-kms';
import type { Construct } from 'constructs';
import { type KeyAttribute, type TableDefinition, tableDefinitions } from '../../services/dynamo/dynamo.js';
import { isProtected, removalPolicy } from '../constructs/removal.js';
import type { Tables } from '../constructs/table-access.js';
import type { Stage } from '../stages.js';

export interface DataStackProps extends StackProps {
  readonly stage: Stage;
}

export class DataStack extends Stack implements Tables {
  readonly tables: Tables['tables'];
  readonly key: Key | undefined;

  constructor(scope: Construct, id: string, { stage, ...props }: DataStackProps) {
    super(scope, id, props);
    this.key = stage.encryption === 'customer-managed' ? this.#key(stage) : undefined;
    this.tables = Object.fromEntries(
      tableDefinitions.map((definition) => [definition.name, this.#table(definition, stage) as ITableV2]),
    ) as Tables['tables'];
  }

  #key(stage: Stage): Key {
    return new Key(this, 'key', {
      description: `Shoal (${stage.name}): all durable data`,
      enableKeyRotation: true,
      removalPolicy: removalPolicy(stage),
    });
  }

  #table(definition: TableDefinition, stage: Stage): TableV2 {
    return new TableV2(this, definition.name, {
      tableName: stage.tablePrefix + definition.name,
      partitionKey: toAttribute(definition.partitionKey),
      sortKey: toAttribute(definition.sortKey),
      timeToLiveAttribute: definition.ttlAttribute,
      billing: Billing.onDemand(),
      encryption: this.key ? TableEncryptionV2.customerManagedKey(this.key) : TableEncryptionV2.dynamoOwnedKey(),
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: isProtected(stage),
      removalPolicy: removalPolicy(stage),
    });
  }
}

function toAttribute({ name, type }: KeyAttribute): Attribute {
  const types = { S: AttributeType.STRING, N: AttributeType.NUMBER, B: AttributeType.BINARY };
  return { name, type: types[type] };
}
