/** The rules of AwsSolutions (cdk-nag) hold, or it is said beside the construct why one does not. */
import { App, Stack } from 'aws-cdk-lib';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { AwsSolutionsChecks } from 'cdk-nag';
import { describe, expect, it } from 'vitest';
import { type Context } from '../../infra/settings.js';
import { synthesise } from './synthesis.js';

const certificateArn = 'arn:aws:acm:eu-central-1:123456789012:certificate/0b1c2d3e';
const tlsSecretArn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
const zone = { hostedZoneId: 'Z0123456789ABCDEFGHIJ', hostedZoneName: 'example.com' };

function findings(app: App): readonly string[] {
  return new AwsSolutionsChecks(app)
    .validateScope(app)
    .violations.flatMap(({ ruleName, violatingResources }) =>
      (violatingResources ?? []).map((resource) => `${ruleName}: ${JSON.stringify(resource)}`),
    );
}

/** Every choice that makes other resources. */
const variants: readonly Context[] = [
  { stage: 'dev' },
  { stage: 'prod' },
  { stage: 'dev', egress: 'endpoints', executeCommand: 'true' },
  { stage: 'prod', egress: 'nat', mqttTls: 'broker', tlsSecretArn, brokerMemoryMiB: '8192' },
  { stage: 'prod', domainName: 'mqtt.example.com', apiDomainName: 'api.example.com', ...zone },
  { stage: 'prod', certificateArn, alarmEmail: 'ops@example.com' },
  { stage: 'prod', encryption: 'customer-managed', region: 'eu-central-1' },
  { stage: 'prod', clustered: 'true', brokersMax: '4' },
];

// The first of them loads the CDK and all rules: half a minute where other processes have the cores.
describe('the rules of AwsSolutions', { timeout: 90_000 }, () => {
  it.each(variants.map((variant) => [JSON.stringify(variant), variant] as const))('hold for %s', (_, variant) => {
    expect(findings(synthesise(variant).app)).toEqual([]);
  });

  it('are looked at: what breaks one is found', () => {
    const app = new App();
    new Vpc(new Stack(app, 'planted'), 'vpc', { restrictDefaultSecurityGroup: false });
    expect(findings(app)).toEqual([expect.stringContaining('AwsSolutions-VPC7') as unknown]);
  });
});
