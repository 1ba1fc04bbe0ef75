import { App } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { DataStack } from '../../infra/stacks/data.js';
import { type Stage, stageOf, stages } from '../../infra/stages.js';
import { tableDefinitions } from '../../services/dynamo/dynamo.js';

const globalTable = 'AWS::DynamoDB::GlobalTable';

function synthesise(stage: Stage): { template: Template; stack: DataStack } {
  const stack = new DataStack(new App(), 'data', { stage });
  return { template: Template.fromStack(stack), stack };
}

describe.each(Object.values(stages))('the tables of $name', (stage) => {
  const { template, stack } = synthesise(stage);

  it('are those of the definitions and no more', () => {
    template.resourceCountIs(globalTable, tableDefinitions.length);
    expect(Object.keys(stack.tables)).toEqual(tableDefinitions.map(({ name }) => name));
  });

  it.each(tableDefinitions)('$name has its keys, TTL, on-demand capacity and recovery', (definition) => {
    template.hasResource(globalTable, {
      Properties: {
        TableName: stage.tablePrefix + definition.name,
        BillingMode: 'PAY_PER_REQUEST',
        KeySchema: [
          { AttributeName: definition.partitionKey.name, KeyType: 'HASH' },
          { AttributeName: definition.sortKey.name, KeyType: 'RANGE' },
        ],
        AttributeDefinitions: Match.arrayWith([
          { AttributeName: definition.partitionKey.name, AttributeType: definition.partitionKey.type },
          { AttributeName: definition.sortKey.name, AttributeType: definition.sortKey.type },
        ]),
        TimeToLiveSpecification: { AttributeName: 'ttl', Enabled: true },
        Replicas: [
          Match.objectLike({
            DeletionProtectionEnabled: stage.keepsData,
            PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
          }),
        ],
      },
      DeletionPolicy: stage.keepsData ? 'Retain' : 'Delete',
      UpdateReplacePolicy: stage.keepsData ? 'Retain' : 'Delete',
    });
  });

  it('sessions are found by owner, with their keys alone', () => {
    template.hasResourceProperties(globalTable, {
      TableName: `${stage.tablePrefix}sessions`,
      AttributeDefinitions: Match.arrayWith([{ AttributeName: 'owner', AttributeType: 'S' }]),
      GlobalSecondaryIndexes: [
        {
          IndexName: 'by-owner',
          KeySchema: [{ AttributeName: 'owner', KeyType: 'HASH' }],
          Projection: { ProjectionType: 'KEYS_ONLY' },
        },
      ],
    });
  });
});

describe('stages', () => {
  it('keep the data of production, whose stack refuses to be deleted', () => {
    expect(synthesise(stages.prod).stack.terminationProtection).toBe(true);
    expect(synthesise(stages.dev).stack.terminationProtection).toBe(false);
  });

  it('are found by name, and a wrong name says which there are', () => {
    expect(stageOf('prod')).toBe(stages.prod);
    expect(() => stageOf('production')).toThrow('stage production is not one of dev, prod');
  });
});
