import { Match } from 'aws-cdk-lib/assertions';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../services/broker/config.js';
import { only, type Resource, resources, stageNames, synthesise } from './synthesis.js';

const taskDefinition = 'AWS::ECS::TaskDefinition';
const service = 'AWS::ECS::Service';
const targetGroup = 'AWS::ElasticLoadBalancingV2::TargetGroup';
const listener = 'AWS::ElasticLoadBalancingV2::Listener';
const loadBalancer = 'AWS::ElasticLoadBalancingV2::LoadBalancer';

const secret = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:shoal-tls-a1B2c3';
const passing = { mqttTls: 'broker', tlsSecretArn: secret, mqttIdleSeconds: '6000', connectionsMax: '20000' };

interface Container {
  readonly Environment: readonly { readonly Name: string; readonly Value: unknown }[];
  readonly Secrets?: readonly { readonly Name: string; readonly ValueFrom: unknown }[];
  readonly [name: string]: unknown;
}

function containerOf(task: Resource): Container {
  const containers = task.Properties['ContainerDefinitions'] as Container[];
  expect(containers).toHaveLength(1);
  return containers[0]!;
}

function environmentOf(task: Resource): Record<string, unknown> {
  return Object.fromEntries(containerOf(task).Environment.map(({ Name, Value }) => [Name, Value]));
}

/** As the process would find them: what only AWS knows is a word here. */
function settingsOf(task: Resource): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environmentOf(task)).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : 'eu-central-1',
    ]),
  );
}

function attributesOf({ Properties }: Resource, list: string): Record<string, string> {
  const attributes = Properties[list] as { Key: string; Value: string }[];
  return Object.fromEntries(attributes.map(({ Key, Value }) => [Key, Value]));
}

describe.each(stageNames)('the brokers of %s', (name) => {
  const { templates, stage } = synthesise({ stage: name });
  const template = templates.broker;
  const task = only(template, taskDefinition);

  it('are one ARM64 task of the size that the stage says', () => {
    template.hasResourceProperties(taskDefinition, {
      RequiresCompatibilities: ['FARGATE'],
      NetworkMode: 'awsvpc',
      RuntimePlatform: { CpuArchitecture: 'ARM64', OperatingSystemFamily: 'LINUX' },
      Cpu: String(stage.brokerCpu),
      Memory: String(stage.brokerMemoryMiB),
    });
  });

  it('have most of the memory for the heap, and a young generation that is collected in short pauses', () => {
    const heapMiB = Math.floor(stage.brokerMemoryMiB * 0.6);
    expect(environmentOf(task)['NODE_OPTIONS']).toBe(`--max-old-space-size=${heapMiB} --max-semi-space-size=8`);
  });

  it('cannot write to their root file system, have no capabilities and enough file descriptors', () => {
    expect(containerOf(task)).toMatchObject({
      ReadonlyRootFilesystem: true,
      Privileged: false,
      LinuxParameters: { Capabilities: { Drop: ['ALL'] }, InitProcessEnabled: true },
      Ulimits: [{ Name: 'nofile', SoftLimit: 1_048_576, HardLimit: 1_048_576 }],
    });
  });

  it('have time to send their clients away before they are killed', () => {
    expect(containerOf(task)['StopTimeout']).toBe(120);
    // Nobody else serves meanwhile: a long drain would be a long gap.
    expect(Number(environmentOf(task)['SHOAL_DRAIN_SECONDS'])).toBe(20);
  });

  it('log to a group that ends, without ever waiting for it', () => {
    expect(containerOf(task)['LogConfiguration']).toMatchObject({
      LogDriver: 'awslogs',
      Options: { mode: 'non-blocking' },
    });
    template.hasResource('AWS::Logs::LogGroup', {
      Properties: { RetentionInDays: stage.logRetentionDays },
      DeletionPolicy: stage.keepsData ? 'RetainExceptOnCreate' : 'Delete',
    });
  });

  it('are replaced one after the other, and go back by themselves when the new version fails', () => {
    template.hasResourceProperties(service, {
      DesiredCount: 1,
      LaunchType: 'FARGATE',
      AvailabilityZoneRebalancing: 'DISABLED',
      DeploymentConfiguration: {
        MinimumHealthyPercent: 0,
        MaximumPercent: 100,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
    template.resourceCountIs('AWS::ApplicationAutoScaling::ScalableTarget', 0);
  });

  it('are not taken for dead while they wait for the one before', () => {
    const { HealthCheckGracePeriodSeconds } = only(template, service).Properties;
    expect(HealthCheckGracePeriodSeconds).toBeGreaterThanOrEqual(120 + 15 + 30);
  });

  it('have no public address and no shell', () => {
    template.hasResourceProperties(service, {
      EnableExecuteCommand: false,
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'DISABLED' } },
    });
  });

  it('take nothing but what the load balancer sends', () => {
    const ingress = resources(template, 'AWS::EC2::SecurityGroupIngress');
    expect(ingress.map(({ Properties }) => Properties['FromPort']).toSorted()).toEqual([1883, 8080, 9090]);
    for (const { Properties } of ingress) expect(Properties).toHaveProperty('SourceSecurityGroupId');
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'Brokers: in from the load balancer, out to AWS',
      SecurityGroupIngress: Match.absent(),
      SecurityGroupEgress: [Match.objectLike({ FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
    });
  });

  it('believe PROXY headers of the subnets of the load balancer alone', () => {
    const subnets = resources(templates.network, 'AWS::EC2::Subnet')
      .filter(({ Properties }) => JSON.stringify(Properties['Tags']).includes('"Public"'))
      .map(({ Properties }) => Properties['CidrBlock']);
    expect(subnets).toHaveLength(2);
    expect(environmentOf(task)['SHOAL_TRUST_PROXY']).toBe(subnets.join(','));
  });

  it('have settings that they take', () => {
    const config = readConfig(settingsOf(task));
    expect(config.ports).toEqual({ mqtt: 1883, mqtts: undefined, ws: 8080, wss: undefined });
    expect(config).toMatchObject({ emfStage: name, keepAliveSecondsMax: 300, connectionsMax: stage.connectionsMax });
    expect(config.dynamo.tablePrefix).toBe(stage.tablePrefix);
    expect(config.health).toEqual({ host: '0.0.0.0', port: 9090 });
    expect(config.drainMsMax + 15_000).toBeLessThan(120_000);
  });

  it('keep no secret in their settings', () => {
    for (const variable of Object.keys(environmentOf(task))) expect(variable).not.toMatch(/KEY$|CERT|SECRET|PASSWORD/);
  });

  it('say where they are', () => {
    for (const output of ['MqttEndpoint', 'WebSocketEndpoint', 'LoadBalancerName', 'Cluster', 'Service', 'LogGroup'])
      template.hasOutput(output, {});
  });
});

describe.each(stageNames)('the load balancer of %s', (name) => {
  const { templates, stage } = synthesise({ stage: name });
  const template = templates.broker;

  it('is open to clients on its two ports with TLS alone, and sends to brokers alone', () => {
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'Load balancer: in from clients, out to brokers',
      SecurityGroupIngress: [
        Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 8883, ToPort: 8883 }),
        Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 443, ToPort: 443 }),
      ],
    });
    const egress = resources(template, 'AWS::EC2::SecurityGroupEgress');
    expect(egress.map(({ Properties }) => Properties['FromPort']).toSorted()).toEqual([1883, 8080, 9090]);
    for (const { Properties } of egress) expect(Properties).toHaveProperty('DestinationSecurityGroupId');
  });

  it('serves all zones from any, and is not deleted by mistake', () => {
    const balancer = only(template, loadBalancer);
    expect(balancer.Properties).toMatchObject({ Type: 'network', Scheme: 'internet-facing' });
    expect(attributesOf(balancer, 'LoadBalancerAttributes')).toMatchObject({
      'load_balancing.cross_zone.enabled': 'true',
      'deletion_protection.enabled': String(stage.keepsData),
    });
  });

  it('ends TLS with 1.2 at least', () => {
    expect(resources(template, listener)).toHaveLength(2);
    for (const port of [8883, 443])
      template.hasResourceProperties(listener, {
        Port: port,
        Protocol: 'TLS',
        SslPolicy: 'ELBSecurityPolicy-TLS13-1-2-Res-2021-06',
        Certificates: [Match.anyValue()],
        ListenerAttributes: Match.absent(), // AWS refuses an idle time-out for TLS
      });
  });

  it('tells brokers whose connection it is', () => {
    for (const group of resources(template, targetGroup))
      expect(attributesOf(group, 'TargetGroupAttributes')).toMatchObject({
        'proxy_protocol_v2.enabled': 'true',
        'preserve_client_ip.enabled': 'false',
      });
  });

  it('leaves a broker that stops the time to send its clients away', () => {
    for (const group of resources(template, targetGroup)) {
      const attributes = attributesOf(group, 'TargetGroupAttributes');
      expect(attributes).toMatchObject({
        'deregistration_delay.timeout_seconds': '15',
        'deregistration_delay.connection_termination.enabled': 'false',
        'target_health_state.unhealthy.connection_termination.enabled': 'true',
      });
      // It would be found unhealthy, and its connections cut, only after it is no target any more.
      const { HealthCheckIntervalSeconds: seconds, UnhealthyThresholdCount: times } = group.Properties;
      expect((seconds as number) * (times as number)).toBeGreaterThan(15);
    }
  });

  it('asks the health port of brokers', () => {
    const groups = resources(template, targetGroup);
    expect(groups).toHaveLength(2);
    for (const { Properties } of groups)
      expect(Properties).toMatchObject({
        TargetType: 'ip',
        Protocol: 'TCP',
        HealthCheckProtocol: 'HTTP',
        HealthCheckPort: '9090',
        HealthCheckPath: '/healthz',
        Matcher: { HttpCode: '200' },
      });
  });

  it('grants no keep alive that outlasts its idle time-out', () => {
    const environment = environmentOf(only(template, taskDefinition));
    expect(Number(environment['SHOAL_KEEP_ALIVE_SECONDS_MAX'])).toBeLessThan(350);
  });

  it('asks for a certificate at deployment when the stage has none', () => {
    template.hasParameter('CertificateArn', { Type: 'String' });
  });
});

describe('TLS in the broker', () => {
  const { templates } = synthesise({ stage: 'prod', ...passing });
  const template = templates.broker;

  it('gets the bytes of clients as they are, behind a header with their addresses', () => {
    template.hasResourceProperties(listener, {
      Port: 8883,
      Protocol: 'TCP',
      Certificates: Match.absent(),
      ListenerAttributes: [{ Key: 'tcp.idle_timeout.seconds', Value: '6000' }],
    });
    const group = resources(template, targetGroup).find(({ Properties }) => Properties['Port'] === 8883)!;
    expect(attributesOf(group, 'TargetGroupAttributes')).toMatchObject({
      'proxy_protocol_v2.enabled': 'true',
      'preserve_client_ip.enabled': 'false',
    });
  });

  it('leaves WebSocket as it was', () => {
    template.hasResourceProperties(listener, { Port: 443, Protocol: 'TLS' });
    const group = resources(template, targetGroup).find(({ Properties }) => Properties['Port'] === 8080)!;
    expect(attributesOf(group, 'TargetGroupAttributes')['proxy_protocol_v2.enabled']).toBe('true');
  });

  it('has its certificate from Secrets Manager, by the role that starts the task', () => {
    const task = only(template, taskDefinition);
    expect(containerOf(task).Secrets).toEqual([
      { Name: 'SHOAL_TLS_CERT', ValueFrom: `${secret}:cert::` },
      { Name: 'SHOAL_TLS_KEY', ValueFrom: `${secret}:key::` },
    ]);
    const certificate = { SHOAL_TLS_CERT: 'PEM of the certificate', SHOAL_TLS_KEY: 'PEM of the key' };
    const config = readConfig({ ...settingsOf(task), ...certificate });
    expect(config.ports).toEqual({ mqtt: undefined, mqtts: 8883, ws: 8080, wss: undefined });
    expect(config.tls?.cert.toString()).toBe(certificate.SHOAL_TLS_CERT);
    expect(config.tls?.key.toString()).toBe(certificate.SHOAL_TLS_KEY);
  });
});

describe('brokers that form a cluster', () => {
  const { templates } = synthesise({ stage: 'prod', clustered: 'true', brokersMin: '2', brokersMax: '20' });
  const template = templates.broker;

  it('are replaced while as many go on serving', () => {
    template.hasResourceProperties(service, {
      AvailabilityZoneRebalancing: 'ENABLED',
      DeploymentConfiguration: {
        MinimumHealthyPercent: 100,
        MaximumPercent: 200,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
    });
  });

  it('are as many as their connections and CPU need', () => {
    template.hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', { MinCapacity: 2, MaxCapacity: 20 });
    const policies = resources(template, 'AWS::ApplicationAutoScaling::ScalingPolicy').map(
      ({ Properties }) => Properties['TargetTrackingScalingPolicyConfiguration'],
    );
    expect(policies).toHaveLength(2);
    expect(policies).toContainEqual(
      expect.objectContaining({
        PredefinedMetricSpecification: { PredefinedMetricType: 'ECSServiceAverageCPUUtilization' },
      }),
    );
    expect(policies).toContainEqual(
      expect.objectContaining({
        TargetValue: 35_000,
        CustomizedMetricSpecification: {
          Namespace: 'Shoal',
          MetricName: 'Connections',
          Dimensions: expect.arrayContaining([
            { Name: 'Stage', Value: 'prod' },
            { Name: 'Service', Value: 'broker' },
          ]) as unknown,
          Statistic: 'Average',
        },
      }),
    );
  });
});

describe('names', () => {
  const zone = { hostedZoneId: 'Z0123456789ABCDEFGHIJ', hostedZoneName: 'example.com' };

  it('are made in Route 53, with their certificates', () => {
    const { templates } = synthesise({ stage: 'prod', domainName: 'mqtt.example.com', ...zone });
    templates.broker.hasResourceProperties('AWS::Route53::RecordSet', {
      Name: 'mqtt.example.com.',
      Type: 'A',
      HostedZoneId: zone.hostedZoneId,
    });
    templates.broker.hasResourceProperties('AWS::CertificateManager::Certificate', {
      DomainName: 'mqtt.example.com',
      ValidationMethod: 'DNS',
    });
    templates.broker.hasOutput('MqttEndpoint', { Value: 'mqtts://mqtt.example.com:8883' });
    templates.broker.hasOutput('WebSocketEndpoint', { Value: 'wss://mqtt.example.com:443/mqtt' });
    expect(templates.broker.findParameters('CertificateArn')).toEqual({});
  });

  it('may be made elsewhere, with a certificate that is given', () => {
    const certificateArn = 'arn:aws:acm:eu-central-1:123456789012:certificate/0b1c2d3e';
    const { templates } = synthesise({ stage: 'prod', domainName: 'mqtt.example.com', certificateArn });
    templates.broker.resourceCountIs('AWS::Route53::RecordSet', 0);
    templates.broker.resourceCountIs('AWS::CertificateManager::Certificate', 0);
    templates.broker.hasResourceProperties(listener, { Certificates: [{ CertificateArn: certificateArn }] });
    templates.broker.hasOutput('MqttEndpoint', { Value: 'mqtts://mqtt.example.com:8883' });
  });
});

describe('a shell in a task', () => {
  it('is for stages that keep nothing, and makes the root file system writable', () => {
    const { templates } = synthesise({ stage: 'dev', executeCommand: 'true' });
    templates.broker.hasResourceProperties(service, { EnableExecuteCommand: true });
    expect(containerOf(only(templates.broker, taskDefinition))['ReadonlyRootFilesystem']).toBe(false);
  });
});
