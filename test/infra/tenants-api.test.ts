import { readFileSync } from 'node:fs';
import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { only, resources, stageNames, synthesise } from './synthesis.js';

const handler = 'AWS::Lambda::Function';
const api = 'AWS::ApiGatewayV2::Api';

describe.each(stageNames)('the tenant API of %s', (name) => {
  const { templates, stage } = synthesise({ stage: name });
  const template = templates.tenantsApi;

  it('is one Lambda on ARM64, from the bundle, with an end to its time', () => {
    const { Properties } = only(template, handler);
    expect(Properties).toMatchObject({ Architectures: ['arm64'], Handler: 'index.handler', Timeout: 29 });
    expect(Properties['Runtime']).toMatch(/^nodejs2[2-9]\.x$/);
    expect(readFileSync('dist/tenants-api-lambda/index.mjs', 'utf8')).toMatch(/export\{.*handler/s);
  });

  it('has its operator key from Secrets Manager, not among its settings', () => {
    const environment = only(template, handler).Properties['Environment'] as { Variables: Record<string, unknown> };
    expect(environment.Variables).toMatchObject({
      SHOAL_TABLE_PREFIX: stage.tablePrefix,
      SHOAL_OPERATOR_KEY_SECRET: { Ref: expect.stringContaining('operatorkey') as unknown },
    });
    expect(environment.Variables).not.toHaveProperty('SHOAL_OPERATOR_KEY');
    expect(JSON.stringify(template.toJSON())).not.toContain('{{resolve:secretsmanager');
    template.hasResource('AWS::SecretsManager::Secret', {
      Properties: { GenerateSecretString: { PasswordLength: 48, ExcludePunctuation: true } },
      DeletionPolicy: stage.keepsData ? 'RetainExceptOnCreate' : 'Delete',
    });
  });

  it('tells tenants where to connect', () => {
    const environment = only(template, handler).Properties['Environment'] as { Variables: Record<string, unknown> };
    const endpoints = JSON.stringify(environment.Variables['SHOAL_ENDPOINTS']);
    for (const part of ['mqtts://', ':8883', 'wss://', ':443/mqtt', 'ApiEndpoint']) expect(endpoints).toContain(part);
  });

  it('is slowed down and logged at the gateway', () => {
    template.hasResourceProperties('AWS::ApiGatewayV2::Stage', {
      StageName: '$default',
      DefaultRouteSettings: { ThrottlingRateLimit: stage.apiRatePerSecond, ThrottlingBurstLimit: stage.apiBurst },
      AccessLogSettings: { DestinationArn: Match.anyValue(), Format: Match.stringLikeRegexp('requestId') },
    });
  });

  it('keeps its logs as long as the stage says', () => {
    const groups = resources(template, 'AWS::Logs::LogGroup');
    expect(groups).toHaveLength(2);
    for (const { Properties } of groups) expect(Properties['RetentionInDays']).toBe(stage.logRetentionDays);
  });

  it('sends every path to the function', () => {
    const routes = resources(template, 'AWS::ApiGatewayV2::Route').map(({ Properties }) => Properties['RouteKey']);
    expect(routes.toSorted()).toEqual(['ANY /', 'ANY /{proxy+}']);
    template.hasResourceProperties('AWS::ApiGatewayV2::Integration', {
      IntegrationType: 'AWS_PROXY',
      PayloadFormatVersion: '2.0',
    });
  });

  it('says where it is', () => {
    for (const output of ['ApiEndpoint', 'Function', 'OperatorKeySecret']) template.hasOutput(output, {});
  });
});

describe('a name for the API', () => {
  const zone = { hostedZoneId: 'Z0123456789ABCDEFGHIJ', hostedZoneName: 'example.com' };
  const names = { domainName: 'mqtt.example.com', apiDomainName: 'api.example.com' };

  it('is made in Route 53, and is its only address', () => {
    const { templates } = synthesise({ stage: 'prod', ...names, ...zone });
    templates.tenantsApi.hasResourceProperties('AWS::ApiGatewayV2::DomainName', {
      DomainName: 'api.example.com',
      DomainNameConfigurations: [Match.objectLike({ SecurityPolicy: 'TLS_1_2', EndpointType: 'REGIONAL' })],
    });
    templates.tenantsApi.hasResourceProperties('AWS::Route53::RecordSet', { Name: 'api.example.com.', Type: 'A' });
    templates.tenantsApi.hasResourceProperties(api, { DisableExecuteApiEndpoint: true });
    templates.tenantsApi.hasOutput('ApiEndpoint', { Value: 'https://api.example.com' });
  });

  it('may be made elsewhere, with a certificate that is given', () => {
    const apiCertificateArn = 'arn:aws:acm:eu-central-1:123456789012:certificate/0b1c2d3e';
    const { templates } = synthesise({ stage: 'prod', ...names, apiCertificateArn });
    templates.tenantsApi.resourceCountIs('AWS::Route53::RecordSet', 0);
    templates.tenantsApi.resourceCountIs('AWS::CertificateManager::Certificate', 0);
    templates.tenantsApi.hasOutput('ApiDomainTarget', {});
  });
});
