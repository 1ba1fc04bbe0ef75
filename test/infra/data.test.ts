import type { Stack } from 'aws-cdk-lib';
import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { tableDefinitions } from '../../services/dynamo/dynamo.js';
import { only, type Resource, resources, stageNames, synthesise } from './synthesis.js';

const globalTable = 'AWS::DynamoDB::GlobalTable';

describe.each(stageNames)('the tables of %s', (name) => {
  const { templates, stage, stacks } = synthesise({ stage: name });
  const template = templates.data;

  it('are those of the definitions and no more', () => {
    template.resourceCountIs(globalTable, tableDefinitions.length);
    expect(Object.keys(stacks.data.tables)).toEqual(tableDefinitions.map(({ name }) => name));
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
      DeletionPolicy: stage.keepsData ? 'RetainExceptOnCreate' : 'Delete',
      UpdateReplacePolicy: stage.keepsData ? 'Retain' : 'Delete',
    });
  });

  it('are encrypted, by the key of DynamoDB unless the stage says otherwise', () => {
    for (const { Properties } of resources(template, globalTable))
      expect(Properties['SSESpecification']).toEqual({ SSEEnabled: false }); // false: the key of DynamoDB
  });
});

describe('stages', () => {
  it('keep the stacks of production, which refuse to be deleted', () => {
    const protectedOf = (stage: string): boolean[] =>
      Object.values(synthesise({ stage }).stacks).map((stack: Stack) => stack.terminationProtection);
    expect(protectedOf('prod')).toEqual([true, true, true, true, true]);
    expect(protectedOf('dev')).toEqual([false, false, false, false, false]);
  });
});

describe('a first deployment that fails', () => {
  const { templates, stacks } = synthesise({ stage: 'prod', protects: 'false' });
  const all = Object.values(templates).flatMap((template) =>
    Object.values(template.toJSON().Resources as Record<string, Resource>),
  );

  it('can be undone: nothing refuses to be deleted', () => {
    expect(Object.values(stacks).map((stack: Stack) => stack.terminationProtection)).not.toContain(true);
    expect(JSON.stringify(all)).not.toMatch(/"DeletionProtectionEnabled":true/);
    expect(JSON.stringify(all)).not.toMatch(/deletion_protection.enabled","Value":"true"/);
  });

  it('leaves nothing behind that has the name of what the next one makes', () => {
    for (const { DeletionPolicy } of all) expect(DeletionPolicy).not.toBe('Retain');
  });

  it('keeps the data of one that succeeds as any other does', () => {
    const policies = resources(templates.data, globalTable).map(({ DeletionPolicy }) => DeletionPolicy);
    expect(new Set(policies)).toEqual(new Set(['RetainExceptOnCreate']));
  });
});

describe('what one stack uses of another', () => {
  const { templates } = synthesise({ stage: 'prod' });

  it.each(Object.keys(templates) as (keyof typeof templates)[])('can be replaced: %s', (stack) => {
    // CloudFormation refuses to change an export that another stack imports.
    expect(JSON.stringify(templates[stack].toJSON())).not.toContain('Fn::ImportValue');
    expect(templates[stack].findOutputs('*', { Export: Match.anyValue() })).toEqual({});
  });

  it.each(Object.keys(templates) as (keyof typeof templates)[])('says with which settings it was made: %s', (stack) => {
    const other = synthesise({ stage: 'prod', keepAliveSecondsMax: '299' });
    expect(templates[stack].toJSON()['Metadata']).toMatchObject({ ShoalSettings: { keepAliveSecondsMax: 300 } });
    expect(other.templates[stack].toJSON()['Metadata']).toMatchObject({
      ShoalSettings: { keepAliveSecondsMax: 299 },
    });
  });
});

describe('a key of the customer', () => {
  const { templates } = synthesise({ stage: 'prod', encryption: 'customer-managed', region: 'eu-central-1' });

  it('encrypts every table, is rotated and is kept as long as they are', () => {
    const key = only(templates.data, 'AWS::KMS::Key');
    expect(key).toMatchObject({ Properties: { EnableKeyRotation: true }, DeletionPolicy: 'RetainExceptOnCreate' });
    const tables = resources(templates.data, globalTable);
    expect(tables).toHaveLength(tableDefinitions.length);
    for (const { Properties } of tables) {
      expect(Properties['SSESpecification']).toEqual({ SSEEnabled: true, SSEType: 'KMS' });
      expect(JSON.stringify(Properties['Replicas'])).toContain('KMSMasterKeyId');
    }
  });

  it('encrypts the key of the operators', () => {
    templates.tenantsApi.hasResourceProperties('AWS::SecretsManager::Secret', { KmsKeyId: Match.anyValue() });
  });

  it.each([
    ['broker', /definitionTaskRoleDefaultPolicy/],
    ['tenantsApi', /roleDefaultPolicy/],
  ] as const)('may be used by the %s', (stack, policy) => {
    const found = Object.entries(templates[stack].findResources('AWS::IAM::Policy')).filter(([id]) => policy.test(id));
    expect(JSON.stringify(found)).toContain('kms:Decrypt');
  });
});
