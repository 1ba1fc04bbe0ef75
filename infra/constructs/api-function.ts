/** The tenant API as a Lambda: the bundle of `services/local/bundle.mjs`, its settings and its rights. */
import { join } from 'node:path';
import { Duration } from 'aws-cdk-lib';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Architecture, Code, Function, Runtime } from 'aws-cdk-lib/aws-lambda';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { ISecret } from 'aws-cdk-lib/aws-secretsmanager';
import { Construct } from 'constructs';
import { tenantsApiAccess } from '../../services/dynamo/dynamo.js';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';
import { settingsMark } from './settings-mark.js';
import { grantAccess, type Tables, tablesKeyReasons } from './table-access.js';

const bundle = join(import.meta.dirname, '../../dist/tenants-api-lambda');
/** The gateway gives up after 30 s; the function ends before, with an answer. */
const timeoutSeconds = 29;
/** CPU comes with it: half a processor, so that scrypt and a cold start stay short. */
const memoryMiB = 1024;

export interface ApiFunctionProps {
  readonly stage: Stage;
  readonly data: Tables;
  readonly logGroup: LogGroup;
  readonly operatorKey: ISecret;
  /** What tenants are told to connect to, `api` included. */
  readonly endpoints: Readonly<Record<string, string>>;
}

export class ApiFunction extends Construct {
  readonly function: Function;

  constructor(scope: Construct, id: string, { stage, data, logGroup, operatorKey, endpoints }: ApiFunctionProps) {
    super(scope, id);
    // Not the managed policy for logs, which may write to every log of the account.
    const role = new Role(this, 'role', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
    logGroup.grantWrite(role);
    this.function = new Function(this, 'function', {
      description: `Shoal (${stage.name}): tenant API (settings ${settingsMark(stage)})`,
      runtime: Runtime.NODEJS_24_X,
      architecture: Architecture.ARM_64,
      code: Code.fromAsset(bundle),
      handler: 'index.handler',
      memorySize: memoryMiB,
      timeout: Duration.seconds(timeoutSeconds),
      role,
      logGroup,
      environment: {
        SHOAL_TABLE_PREFIX: stage.tablePrefix,
        SHOAL_ENDPOINTS: JSON.stringify(endpoints),
        SHOAL_OPERATOR_KEY_SECRET: operatorKey.secretArn,
        SHOAL_SIGN_UPS_PER_MINUTE: String(stage.signUpsPerMinute),
      },
    });
    grantAccess(role, data, tenantsApiAccess, { describes: false });
    role.addToPolicy(
      new PolicyStatement({ actions: ['secretsmanager:GetSecretValue'], resources: [operatorKey.secretArn] }),
    );
    operatorKey.encryptionKey?.grantDecrypt(role);
    if (data.key) acknowledge(role, tablesKeyReasons);
  }
}
