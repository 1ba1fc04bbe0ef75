import { type IKey, Key } from 'aws-cdk-lib/aws-kms';
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import type { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { removalPolicy } from './removal.js';

export interface GeneratedSecret {
  readonly stage: Stage;
  /** Encrypts it, if the tables have a key of their own. */
  readonly tablesKey: IKey | undefined;
  readonly what: string;
  /** Why it is not rotated by a Lambda. */
  readonly renewal: string;
}

/** Made by AWS, seen by nobody at deployment: 48 letters and digits. */
export function generatedSecret(scope: Construct, id: string, options: GeneratedSecret): ISecret {
  const { stage, tablesKey, what, renewal } = options;
  // By its name: rights go to who uses it, for its own policy belongs to another stack.
  const encryptionKey = tablesKey && Key.fromKeyArn(scope, `${id}-encryption`, tablesKey.keyArn);
  const secret = new Secret(scope, id, {
    description: `Shoal (${stage.name}): ${what}`,
    generateSecretString: { passwordLength: 48, excludePunctuation: true },
    ...(encryptionKey && { encryptionKey }),
    removalPolicy: removalPolicy(stage),
  });
  acknowledge(secret, { 'AwsSolutions-SMG4': renewal });
  return secret as ISecret;
}
