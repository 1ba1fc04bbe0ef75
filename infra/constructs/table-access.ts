/** The right to do with each table what a program does with it, action by action, and nothing else. */
import type { ITableV2 } from 'aws-cdk-lib/aws-dynamodb';
import { type IGrantable, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import type { IKey } from 'aws-cdk-lib/aws-kms';
import { type Access, tableDefinitions, type TableName } from '../../services/dynamo/dynamo.js';

export interface Tables {
  readonly tables: Readonly<Record<TableName, ITableV2>>;
  /** Of all tables, if they are not encrypted with a key of DynamoDB. */
  readonly key: IKey | undefined;
}

/** Why the rights to the key have a star: for `acknowledge`. */
export const tablesKeyReasons: Readonly<Record<string, string>> = {
  'AwsSolutions-IAM5[Action::kms:GenerateDataKey*]': 'Both variants, on the one key of the tables',
  'AwsSolutions-IAM5[Action::kms:ReEncrypt*]': 'Both directions, on the one key of the tables',
};

/** `describes`: the program looks at every table at its start, those included that it does not use. */
export function grantAccess(
  grantee: IGrantable,
  { tables, key }: Tables,
  access: Access,
  { describes }: { readonly describes: boolean },
): void {
  for (const { name } of tableDefinitions) {
    const actions = [...(describes ? ['DescribeTable'] : []), ...(access[name] ?? [])];
    const arn = tables[name].tableArn;
    if (actions.length > 0) grantee.grantPrincipal.addToPrincipalPolicy(statement(actions, arn));
  }
  key?.grantEncryptDecrypt(grantee);
}

function statement(actions: readonly string[], arn: string): PolicyStatement {
  return new PolicyStatement({ actions: actions.map((action) => `dynamodb:${action}`), resources: [arn] });
}
