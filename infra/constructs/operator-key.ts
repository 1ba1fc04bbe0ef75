import { RemovalPolicy } from 'aws-cdk-lib';
import { type IKey, Key } from 'aws-cdk-lib/aws-kms';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';

/** What opens every tenant for operators. Made by AWS, seen by nobody at deployment. */
export function operatorKey(scope: Construct, stage: Stage, tablesKey: IKey | undefined): ISecret {
  // By its name: rights go to who uses it, for its own policy belongs to another stack.
  const encryptionKey = tablesKey && Key.fromKeyArn(scope, 'key', tablesKey.keyArn);
  const secret = new Secret(scope, 'operator-key', {
    description: `Shoal (${stage.name}): operator key of the tenant API`,
    generateSecretString: { passwordLength: 48, excludePunctuation: true },
    ...(encryptionKey && { encryptionKey }),
    removalPolicy: stage.keepsData ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
  });
  acknowledge(secret, {
    'AwsSolutions-SMG4': 'People and their scripts use it, so they renew it: docs/deploy.md says how',
  });
  return secret as ISecret;
}
