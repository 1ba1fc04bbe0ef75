/** The way from HTTPS to the Lambda: every path and method to one function, slowed down and logged at the gateway. */
import { Duration } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import { DomainName, HttpApi, HttpStage, LogGroupLogDestination, SecurityPolicy } from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import { Certificate, CertificateValidation } from 'aws-cdk-lib/aws-certificatemanager';
import type { Function } from 'aws-cdk-lib/aws-lambda';
import type { LogGroup } from 'aws-cdk-lib/aws-logs';
import { ARecord, type IHostedZone, RecordTarget } from 'aws-cdk-lib/aws-route53';
import { ApiGatewayv2DomainProperties } from 'aws-cdk-lib/aws-route53-targets';
import { Construct } from 'constructs';
import type { Stage } from '../stages.js';
import { acknowledge } from './acknowledge.js';

/** One JSON object a request. No header and no query, which may carry keys. */
const accessLogFormat = AccessLogFormat.custom(
  JSON.stringify({
    requestId: '$context.requestId',
    time: '$context.requestTimeEpoch',
    address: '$context.identity.sourceIp',
    method: '$context.httpMethod',
    path: '$context.path',
    status: '$context.status',
    bytes: '$context.responseLength',
    latencyMs: '$context.responseLatency',
    functionLatencyMs: '$context.integrationLatency',
    error: '$context.integrationErrorMessage',
  }),
);

export interface TenantsHttpApiProps {
  readonly stage: Stage;
  readonly accessLog: LogGroup;
  readonly zone: IHostedZone | undefined;
}

export class TenantsHttpApi extends Construct {
  readonly api: HttpApi;
  readonly url: string;
  /** Target of a CNAME record for `apiDomainName`. */
  readonly domainTarget: string | undefined;

  constructor(scope: Construct, id: string, { stage, accessLog, zone }: TenantsHttpApiProps) {
    super(scope, id);
    this.api = new HttpApi(this, 'api', {
      apiName: `shoal-${stage.name}-tenants-api`,
      createDefaultStage: false,
      // With a name of its own it has no second address.
      disableExecuteApiEndpoint: stage.apiDomainName !== undefined,
    });
    const domain = this.#domain(stage, zone);
    new HttpStage(this, 'stage', {
      httpApi: this.api,
      stageName: '$default',
      autoDeploy: true,
      throttle: { rateLimit: stage.apiRatePerSecond, burstLimit: stage.apiBurst },
      accessLogSettings: { destination: new LogGroupLogDestination(accessLog), format: accessLogFormat },
      detailedMetricsEnabled: stage.containerInsights,
      ...(domain && { domainMapping: { domainName: domain } }),
    });
    this.domainTarget = domain?.regionalDomainName;
    this.url = stage.apiDomainName === undefined ? this.api.apiEndpoint : `https://${stage.apiDomainName}`;
  }

  handleWith(handler: Function): void {
    const integration = new HttpLambdaIntegration('function', handler, { timeout: Duration.seconds(29) });
    const routes = this.api.addRoutes({ path: '/{proxy+}', integration });
    routes.push(...this.api.addRoutes({ path: '/', integration }));
    for (const route of routes)
      acknowledge(route, {
        'AwsSolutions-APIG4': 'The function checks API keys itself, as on one machine; sign-up and health need none',
      });
  }

  #domain(stage: Stage, zone: IHostedZone | undefined): DomainName | undefined {
    const domainName = stage.apiDomainName;
    if (domainName === undefined) return undefined;
    const certificate =
      stage.apiCertificateArn !== undefined
        ? Certificate.fromCertificateArn(this, 'certificate', stage.apiCertificateArn)
        : new Certificate(this, 'certificate', { domainName, validation: CertificateValidation.fromDns(zone) });
    const domain = new DomainName(this, 'domain', { domainName, certificate, securityPolicy: SecurityPolicy.TLS_1_2 });
    if (zone)
      new ARecord(this, 'name', {
        zone,
        recordName: `${domainName}.`,
        target: RecordTarget.fromAlias(
          new ApiGatewayv2DomainProperties(domain.regionalDomainName, domain.regionalHostedZoneId),
        ),
      });
    return domain;
  }
}
