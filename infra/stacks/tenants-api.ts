/** The control plane: an HTTP API, the Lambda behind it, and the operator key. */
import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib';
import type { HttpApi } from 'aws-cdk-lib/aws-apigatewayv2';
import type { Function } from 'aws-cdk-lib/aws-lambda';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import type { Construct } from 'constructs';
import { ApiFunction } from '../constructs/api-function.js';
import { generatedSecret } from '../constructs/generated-secret.js';
import { hostedZone } from '../constructs/hosted-zone.js';
import { TenantsHttpApi } from '../constructs/http-api.js';
import { retainedLogGroup } from '../constructs/log-group.js';
import type { Tables } from '../constructs/table-access.js';
import type { Stage } from '../stages.js';

export interface TenantsApiStackProps extends StackProps {
  readonly stage: Stage;
  readonly data: Tables;
  /** What devices connect to. */
  readonly endpoints: { readonly mqtts: string; readonly wss: string };
}

export class TenantsApiStack extends Stack {
  readonly api: HttpApi;
  readonly function: Function;
  readonly logGroup: LogGroup;

  constructor(scope: Construct, id: string, { stage, data, endpoints, ...props }: TenantsApiStackProps) {
    super(scope, id, props);
    this.logGroup = retainedLogGroup(this, 'log', stage);
    const accessLog = retainedLogGroup(this, 'access-log', stage);
    const gateway = new TenantsHttpApi(this, 'gateway', { stage, accessLog, zone: hostedZone(this, stage) });
    // What opens every tenant for operators.
    const key = generatedSecret(this, 'operator-key', {
      ...{ stage, tablesKey: data.key, what: 'operator key of the tenant API' },
      renewal: 'People and their scripts use it, so they renew it: docs/deploy.md says how',
    });
    const { function: handler } = new ApiFunction(this, 'handler', {
      stage,
      data,
      logGroup: this.logGroup,
      operatorKey: key,
      endpoints: { ...endpoints, api: gateway.url },
    });
    gateway.handleWith(handler);
    this.api = gateway.api;
    this.function = handler;
    this.#tell('ApiEndpoint', gateway.url, 'Tenant API');
    this.#tell('Function', handler.functionName, 'Lambda of the tenant API');
    this.#tell('OperatorKeySecret', key.secretArn, 'Secret with the operator key');
    if (gateway.domainTarget !== undefined)
      this.#tell('ApiDomainTarget', gateway.domainTarget, 'Target for your own CNAME record');
  }

  #tell(name: string, value: string, description: string): void {
    new CfnOutput(this, name, { value, description });
  }
}
