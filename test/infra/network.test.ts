import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { resources, stageNames, synthesise } from './synthesis.js';

describe.each(stageNames)('the network of %s', (name) => {
  const { templates } = synthesise({ stage: name });
  const template = templates.network;

  it('has two zones, which AWS chooses', () => {
    const zones = resources(template, 'AWS::EC2::Subnet').map(({ Properties }) =>
      JSON.stringify(Properties['AvailabilityZone']),
    );
    expect(zones).toHaveLength(4);
    expect(new Set(zones).size).toBe(2);
    expect(zones[0]).toContain('Fn::GetAZs');
  });

  it('gives no public address to anything by itself', () => {
    for (const { Properties } of resources(template, 'AWS::EC2::Subnet'))
      expect(Properties['MapPublicIpOnLaunch']).toBe(false);
  });

  it('reaches DynamoDB without leaving AWS', () => {
    template.hasResourceProperties('AWS::EC2::VPCEndpoint', {
      VpcEndpointType: 'Gateway',
      ServiceName: { 'Fn::Join': ['', ['com.amazonaws.', { Ref: 'AWS::Region' }, '.dynamodb']] },
    });
  });

  it('records what was refused, for as long as other logs', () => {
    template.hasResourceProperties('AWS::EC2::FlowLog', {
      TrafficType: 'REJECT',
      LogDestinationType: 'cloud-watch-logs',
    });
    template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: name === 'prod' ? 90 : 7 });
  });
});

/** The services that have an interface in the network. */
function endpointsOf(context: Record<string, unknown>): readonly string[] {
  const { templates } = synthesise(context);
  return resources(templates.network, 'AWS::EC2::VPCEndpoint')
    .filter(({ Properties }) => Properties['VpcEndpointType'] === 'Interface')
    .map(({ Properties }) => /\.([a-z.]+)"[\]}]*$/.exec(JSON.stringify(Properties['ServiceName']))?.[1] ?? 'none')
    .toSorted();
}

describe('the way out of the network', () => {
  it('is interface endpoints alone, and as many as a task needs', () => {
    const { templates } = synthesise({ stage: 'prod' });
    templates.network.resourceCountIs('AWS::EC2::NatGateway', 0);
    templates.network.resourceCountIs('AWS::EC2::EIP', 0);
    expect(endpointsOf({ stage: 'prod' })).toEqual(['ecr.api', 'ecr.dkr', 'logs']);
    expect(endpointsOf({ stage: 'prod', mqttTls: 'broker', tlsSecretArn: secret, brokerMemoryMiB: '8192' })).toContain(
      'secretsmanager',
    );
    templates.network.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'HTTPS from the VPC to AWS',
      SecurityGroupIngress: [Match.objectLike({ FromPort: 443, ToPort: 443 })],
    });
  });

  it('is NAT gateways where they are asked for', () => {
    const { templates } = synthesise({ stage: 'dev' });
    templates.network.resourceCountIs('AWS::EC2::NatGateway', 1);
    expect(endpointsOf({ stage: 'dev' })).toEqual([]);
    const two = synthesise({ stage: 'prod', egress: 'nat', natGateways: '2', availabilityZones: '3' });
    two.templates.network.resourceCountIs('AWS::EC2::NatGateway', 2);
    two.templates.network.resourceCountIs('AWS::EC2::Subnet', 6);
  });
});

const secret = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
